"""Tabs that are filled when they are opened, with the visitor's last query or an example."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.ui.errors import lasting
from ssm_metarl.ui.limits import EPISODES, SEED, STEPS
from ssm_metarl.ui.query import Query, able_modes
from ssm_metarl.ui.sliders import rounded
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.widgets import PRIVATE, QUIET, heavy, message
from ssm_metarl.video.before_after import choose_task

# What a tab showed before stays, faded, until it shows the new.
STALE = """(...inputs) => {
  document.querySelector("#%s").classList.add("stale");
  return inputs;
}"""
FRESH = """() => document.querySelector("#%s").classList.remove("stale")"""


def query_of(store: RunStore, run: Any, last: Mapping[str, Any]) -> tuple[Query, bool]:
    """Return a visitor's last query if it was of this agent, else an example, and which it is.

    ``last`` has the fields of the last query, of whichever agent; it is empty if there was none.
    """
    if last and last["run"] == run:
        return Query.asked(**last), True
    agent, family = store.agent(run)
    tasks = family.validation()
    task = tasks.parameters(choose_task(family, tasks))  # with controls that are not the usual
    chosen = {p.name: rounded(p, task[p.name]) for p in family.parameters}
    modes = able_modes(agent)
    usual = (EPISODES.default, STEPS.default, SEED.default)
    return Query.asked(run, chosen, modes, *usual), False


def task_line(family: TaskFamily, query: Query, *, mine: bool) -> str:
    """Return which task is shown, as HTML."""
    whose = "Your last task under Adapt" if mine else "An example; choose your own under Adapt"
    return message(f"{whose}: {family.task(**query.task).describe(0)}.", "others")


def fill(
    tab: str,
    place: gr.State,
    given: Sequence[Component],
    show: Callable[..., Iterator[Any]],
    outputs: Sequence[Component],
) -> None:
    """Fill a tab when ``place`` says it is open, and again when its inputs have changed since.

    ``show`` runs as a heavy job and yields the outputs, of which the first shows the progress.
    """
    wanted, screen = gr.State([]), f"{tab.lower()}-screen"

    def want(place: str, before: list, *given: Any) -> list:
        return list(given) if place == tab else before

    def shown(wanted: list) -> Iterator[Any]:
        """Gradio calls a state changed when it is set for the first time, to whatever."""
        nothing = [[gr.skip()] * len(outputs)]
        yield from lasting(partial(show, *wanted), len(outputs)) if wanted else nothing

    changes: list[Any] = [getattr(one, "change") for one in (place, *given)]  # noqa: B009
    # Queued, because only then does a change of state set off others.
    gr.on(changes, want, [place, wanted, *given], wanted, **QUIET)
    job = {**heavy(outputs[0]), "trigger_mode": "always_last", **PRIVATE}
    looked = wanted.change(shown, wanted, list(outputs), **job, js=STALE % screen)
    looked.then(None, None, None, js=FRESH % screen, **PRIVATE)
    # Whoever comes back to a tab that failed asks again.
    looked.failure(lambda: [], None, wanted, js=FRESH % screen, **QUIET)
