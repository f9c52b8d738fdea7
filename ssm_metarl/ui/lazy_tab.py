"""What the tabs look at that look closer: the visitor's last query, or else a telling one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from ssm_metarl.ui.errors import handled
from ssm_metarl.ui.jobs import HEAVY
from ssm_metarl.ui.limits import EPISODES, SEED, STEPS
from ssm_metarl.ui.query import Query, mode_choices
from ssm_metarl.ui.store import RunStore
from ssm_metarl.video.before_after import choose_task

# What a tab showed before stays, faded, until it shows the new: nothing jumps, nothing misleads.
STALE = """(...inputs) => {
  document.querySelector("#%s").classList.add("stale");
  return inputs;
}"""
FRESH = """() => document.querySelector("#%s").classList.remove("stale")"""


def query_of(store: RunStore, run: Any, last: Mapping[str, Any]) -> Query:
    """Return what a visitor asked this agent last; if nothing, to meet a task with a surprise.

    Args:
        store: Where agents are.
        run: The agent.
        last: Fields of their last query, of whichever agent; empty if there was none.

    Raises:
        UserError: There is no such run, or no such query.
    """
    if last and last["run"] == run:
        return Query.asked(**last)
    agent, family = store.agent(run)
    tasks = family.validation()
    task = tasks.parameters(choose_task(family, tasks))
    rounded = {name: float(f"{value:.3g}") for name, value in task.items()}
    modes = [mode for _, mode in mode_choices(agent)]
    return Query.asked(run, rounded, modes, EPISODES.default, STEPS.default, SEED.default)


def was_asked(run: Any, last: Mapping[str, Any]) -> bool:
    """Whether :func:`query_of` is the visitor's own."""
    return bool(last) and last["run"] == run


def fill(
    tab: str,
    place: gr.State,
    given: Sequence[Component],
    show: Callable[..., Iterator[Any]],
    outputs: Sequence[Component],
) -> None:
    """Fill a tab when somebody comes to see it, and again when what they gave has changed.

    Args:
        tab: Its name; what is faded meanwhile has the id ``NAME-screen``.
        place: Name of the tab that is open.
        given: The agent, the last query and whatever else, which ``show`` takes.
        show: What fills the tab; it waits for the heavy slot.
        outputs: Where to.
    """
    wanted = gr.State([])

    def want(place: str, before: list, *given: Any) -> list:
        return list(given) if place == tab else before

    def shown(wanted: list) -> Iterator[Any]:
        """Gradio calls a state changed when it is set for the first time, to whatever."""
        yield from show(*wanted) if wanted else [[gr.skip()] * len(outputs)]

    changes: list[Any] = [getattr(one, "change") for one in (place, *given)]  # noqa: B009
    gr.on(
        changes,
        handled(want),
        [place, wanted, *given],
        wanted,
        concurrency_limit=None,  # queued, because only then does a change of state set off others
        show_progress="hidden",
        api_visibility="private",
    )
    screen = f"{tab.lower()}-screen"
    looked = wanted.change(
        handled(shown),
        wanted,
        list(outputs),
        concurrency_id=HEAVY,
        concurrency_limit=1,
        show_progress="minimal",
        show_progress_on=[outputs[0]],
        api_visibility="private",
        js=STALE % screen,
    )
    for ended in (looked.then, looked.failure):
        ended(None, None, None, js=FRESH % screen, api_visibility="private")
