"""The endpoint that no tab has; every other is in the module of the tab whose action it is.

It is made by `endpoint` and answers with plain numbers, or, where a button's own answer will do as
it is, it is the event of that button, under an `api_name`. Every other event is private.

from gradio_client import Client
Client("http://localhost:7860").predict("cartpole", {"swap": 1}, api_name="/adapt")
"""

from typing import Any

from gradio.events import api as endpoint

from ssm_metarl.errors import SsmMetaRLError
from ssm_metarl.ui.query import able_modes
from ssm_metarl.ui.store import RunStore

Json = Any
"""Anything; the functions check it."""


def build(store: RunStore) -> None:
    """Add it to the page."""

    def list_agents() -> Json:
        """List the agents, their families and the ways in which each can adapt."""
        found = []
        for run in store.trained():
            try:
                agent, family = store.agent(run)
            except SsmMetaRLError:  # damaged: whoever asks for it hears how
                continue
            found.append({"run": run, "family": family.name, "modes": able_modes(agent)})
        return found

    endpoint(list_agents, queue=False)
