"""Inside: how long an agent's memory lasts, and what goes on in it while it plays."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from ssm_metarl.analysis.linear_probe import train_probe
from ssm_metarl.analysis.spectrum import ablated_returns, as_numbers
from ssm_metarl.analysis.traces import RecordedAgent
from ssm_metarl.evaluation.report import MODES, counted
from ssm_metarl.ui.adapt_shown import message
from ssm_metarl.ui.api import Json, endpoint
from ssm_metarl.ui.clips import agent_after, film
from ssm_metarl.ui.inside_shown import spectrum_shown, traces_shown
from ssm_metarl.ui.jobs import HEAVY
from ssm_metarl.ui.lazy_tab import fill, query_of, was_asked
from ssm_metarl.ui.limits import EPISODES, SEED, STEPS
from ssm_metarl.ui.player import clips_value, player
from ssm_metarl.ui.query import Query, Subject, mode_choices
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.tabs.memory import task_line
from ssm_metarl.ui.theme import TRACES

WAITING = (
    '<p class="working">A state space is a memory that fades at set speeds. This tab shows the '
    "speeds, and what is in the memory while the agent plays.</p>"
)
PREFERRED = ("in_context", "hybrid", "standard", "from_scratch")


def build(store: RunStore, run: gr.Dropdown, query: gr.State, place: gr.State) -> None:
    """Add the tab to the page.

    Args:
        store: Where agents are.
        run: Which agent; it stands above the tabs.
        query: The visitor's last query.
        place: The tab that is open.
    """
    with gr.Column(elem_id="inside-screen"):
        sentence = gr.HTML(WAITING, elem_id="inside-sentence", elem_classes="sentence")
        clips = player("Here the agent plays before and after adapting.", "inside-clips")
        traces = gr.HTML(elem_id="inside-traces", js_on_load=TRACES)
        spectrum = gr.HTML(elem_id="inside-spectrum")

    def show(run_id: str, last: dict) -> Iterator[tuple[Any, ...]]:
        asked = query_of(store, run_id, last)
        yield from shown(store, asked, mine=was_asked(run_id, last))

    def inside(
        run: Json,
        task: Json = None,
        episodes: Json = EPISODES.default,
        steps: Json = STEPS.default,
        seed: Json = SEED.default,
    ) -> Json:
        """Return an agent's eigenvalues before and after it adapts, with time constants in steps.

        It adapts by the first of hybrid and standard that it can; also said is which parts of its
        network changed by how much.
        """
        asked = Query.asked(run, task or {}, ["hybrid", "standard"], episodes, steps, seed)
        subject = Subject.of(store, asked)
        mode = next(mode for mode in ("hybrid", "standard") if mode in _able(subject))
        after = agent_after(subject, asked, mode)
        return {"mode": mode, **as_numbers(subject.agent, after)}

    fill("Inside", place, [run, query], show, [sentence, clips, traces, spectrum])
    endpoint(inside, concurrency_id=HEAVY, concurrency_limit=1)


def way_of(subject: Subject, query: Query) -> str:
    """Return the way of adapting to look into: that of the query which tells most."""
    able = _able(subject)
    asked = [mode for mode in PREFERRED if mode in query.modes and mode in able]
    return (asked or [mode for mode in PREFERRED if mode in able])[0]


def _able(subject: Subject) -> list[str]:
    return [mode for _, mode in mode_choices(subject.agent)]


def shown(store: RunStore, query: Query, *, mine: bool) -> Iterator[tuple[Any, ...]]:
    """Yield what the tab shows, as it comes: the sentence, the clips, the traces, the eigenvalues.

    Args:
        store: Where agents are.
        query: The agent and the task.
        mine: Whether the visitor asked it.
    """
    subject = Subject.of(store, query)
    mode = way_of(subject, query)
    line = task_line(subject.family, query, mine=mine)
    yield message("Filming, and looking inside ...", "working") + line, *[gr.skip()] * 3
    after = agent_after(subject, query, mode)
    effect = None
    if mode != "in_context":
        effect = ablated_returns(subject.agent, after, subject.family, subject.task, query.seed)
    fades = spectrum_shown(subject.agent, after, mode, effect)
    remembered = query.plan().trial_episodes - 1 if mode == "in_context" else 0
    names = ("before adapting", f"after: {MODES[mode]}")
    if remembered:
        names = ("the first episode", f"after {counted(remembered, 'other')} of the task")
    watched = RecordedAgent.of(subject.agent), RecordedAgent.of(after)
    clips = [
        film(subject, watched[0], names[0], "zero_shot", query.seed, 0),
        film(subject, watched[1], names[1], mode, query.seed, remembered),
    ]
    seen = [one.last_episode(clip.steps) for one, clip in zip(watched, clips, strict=True)]
    reader = train_probe(subject.agent, subject.family) if mode == "in_context" else None
    words, charts = traces_shown(subject, mode, clips, seen, reader)
    yield words + line, clips_value(clips), charts, fades
