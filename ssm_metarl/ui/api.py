"""The page without a page: its actions as named endpoints.

One rule says where they live: an endpoint lives in the module of the tab whose action it is. It is
made by `endpoint` and answers with plain numbers, or, where a button's own answer will do as it is,
it is the event of that button, under an `api_name`. Every other event is private. Here are
`endpoint` itself, and what there is to act on.

from gradio_client import Client
Client("http://localhost:7860").predict("cartpole", {"swap": 1}, api_name="/adapt")
"""

from collections.abc import Callable
from typing import Any

from gradio.events import api as gradio_api

from ssm_metarl.errors import SsmMetaRLError
from ssm_metarl.ui.errors import handled
from ssm_metarl.ui.query import mode_choices
from ssm_metarl.ui.store import RunStore

Json = Any
"""Anything; the functions check it."""


def build(store: RunStore) -> None:
    """Add the endpoint that no tab has."""

    def list_agents() -> Json:
        """List the agents, their families and the ways in which each can adapt."""
        found = []
        for run in store.trained():
            try:
                agent, family = store.agent(run)
            except SsmMetaRLError:  # damaged: whoever asks for it hears how
                continue
            modes = [mode for _, mode in mode_choices(agent)]
            found.append({"run": run, "family": family.name, "modes": modes})
        return found

    endpoint(list_agents, queue=False)


def endpoint(action: Callable[..., Any], **how: Any) -> None:
    """Make a function an endpoint of its own name; its docstring is what the API page says."""
    gradio_api(handled(action), api_name=action.__name__, **how)
