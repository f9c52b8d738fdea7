"""The page without a page: its actions as named endpoints.

One rule says where they live: an endpoint lives in the module of the tab whose action it is. It is
made by `endpoint` and answers with plain numbers, or, where a button's own answer will do as it is,
it is the event of that button, under an `api_name`. Every other event is private. Here are
`endpoint` itself, what there is to act on, and the action of the first screen.

from gradio_client import Client
Client("http://localhost:7860").predict("cartpole", {"swap": 1}, api_name="/adapt")
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.events import api as gradio_api

from ssm_metarl.evaluation.report import ModeResult
from ssm_metarl.ui.adapt_shown import summary_text
from ssm_metarl.ui.courtesy import courteous
from ssm_metarl.ui.desk import HEAVY, Desk
from ssm_metarl.ui.limits import ADAPT_SECONDS, EPISODES, SEED, STEPS
from ssm_metarl.ui.question import Question, Subject, answers, ways
from ssm_metarl.ui.shelf import Shelf

Json = Any
"""Anything; the functions check it."""


def build(shelf: Shelf, desk: Desk) -> None:
    """Add the endpoints to the page."""

    def list_agents() -> Json:
        """List the agents, their families and the ways in which each can adapt."""
        found = []
        for run in shelf.trained():
            agent, family = shelf.agent(run)
            modes = [mode for _, mode in ways(agent)]
            found.append({"run": run, "family": family.name, "modes": modes})
        return found

    def adapt(
        request: gr.Request,
        run: Json,
        task: Json = None,
        modes: Json = None,
        episodes: Json = EPISODES.default,
        steps: Json = STEPS.default,
        seed: Json = SEED.default,
    ) -> Json:
        """Adapt an agent to one task; return the mean return in every way, at every budget."""
        every = [mode for _, mode in ways(shelf.agent(run)[0])] if modes is None else modes
        asked = Question.asked(run, task or {}, every, episodes, steps, seed)
        subject = Subject.of(shelf, asked)
        rows: list[ModeResult] = []
        with desk.working(request, ADAPT_SECONDS) as work:
            for row in answers(subject, asked):
                rows.append(row)
                if work.stopped:
                    break
        results = [dataclasses.asdict(row) for row in rows]
        return {"summary": summary_text(rows, subject.family), "results": results}

    endpoint(list_agents, queue=False)
    endpoint(adapt, concurrency_id=HEAVY, concurrency_limit=1)


def endpoint(action: Callable[..., Any], **how: Any) -> None:
    """Make a function an endpoint of its own name; its docstring is what the API page says."""
    gradio_api(courteous(action), api_name=action.__name__, **how)
