"""What the tabs look at that look closer: the visitor's last question, or else a telling one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from ssm_metarl.ui.courtesy import courteous
from ssm_metarl.ui.desk import HEAVY
from ssm_metarl.ui.limits import EPISODES, SEED, STEPS
from ssm_metarl.ui.question import Question, ways
from ssm_metarl.ui.shelf import Shelf
from ssm_metarl.video.before_after import choose_task

# What a tab showed before stays, faded, until it shows the new: nothing jumps, nothing misleads.
STALE = """(...inputs) => {
  document.querySelector("#%s").classList.add("stale");
  return inputs;
}"""
FRESH = """() => document.querySelector("#%s").classList.remove("stale")"""


def question_of(shelf: Shelf, run: Any, last: Mapping[str, Any]) -> Question:
    """Return what a visitor asked this agent last; if nothing, to meet a task with a surprise.

    Args:
        shelf: Where agents are.
        run: The agent.
        last: Fields of their last question, of whichever agent; empty if there was none.

    Raises:
        UserError: There is no such run, or no such question.
    """
    if last and last["run"] == run:
        return Question.asked(**last)
    agent, family = shelf.agent(run)
    tasks = family.validation()
    task = tasks.parameters(choose_task(family, tasks))
    rounded = {name: float(f"{value:.3g}") for name, value in task.items()}
    modes = [mode for _, mode in ways(agent)]
    return Question.asked(run, rounded, modes, EPISODES.default, STEPS.default, SEED.default)


def was_asked(run: Any, last: Mapping[str, Any]) -> bool:
    """Whether :func:`question_of` is the visitor's own."""
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
        given: The agent, the last question and whatever else, which ``show`` takes.
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
        courteous(want),
        [place, wanted, *given],
        wanted,
        concurrency_limit=None,  # queued, because only then does a change of state set off others
        show_progress="hidden",
        api_visibility="private",
    )
    screen = f"{tab.lower()}-screen"
    looked = wanted.change(
        courteous(shown),
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
