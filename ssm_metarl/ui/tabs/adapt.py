"""The first screen: an agent meets a task it has never seen, and one watches it adapt."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import gradio as gr
import numpy as np

from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.evaluation.report import MODES, ModeResult, counted
from ssm_metarl.ui.adapt_shown import (
    INTRODUCTION,
    curve_of,
    empty_curve,
    introduction,
    message,
    summary,
    summary_text,
)
from ssm_metarl.ui.api import Json, endpoint
from ssm_metarl.ui.clips import clips
from ssm_metarl.ui.errors import handled
from ssm_metarl.ui.jobs import HEAVY, Job, Jobs
from ssm_metarl.ui.limits import ADAPT_SECONDS, EPISODES, SEED, STEPS
from ssm_metarl.ui.player import clips_value, player
from ssm_metarl.ui.query import Query, Subject, answers, mode_choices
from ssm_metarl.ui.sliders import Sliders
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.widgets import REFILL, adaptation_inputs
from ssm_metarl.ui.words import ways_explained

STOPPED, LATE = "Stopped.", "This took too long; ask for less to see it to the end."
KIND = "adapting"
PATIENCE = 5.0  # seconds for work to end that nobody waits for any more
FAILED = "That did not work; nothing was measured."
STOPPING = "Stopping after the measurement it is at ..."
QUEUED = "Your turn comes when those before you are done."
TO_RESULTS = """(...inputs) => {
  const results = document.querySelector("#sentence");
  if (window.innerWidth < 768) results.scrollIntoView({behavior: "smooth"});
  return inputs;
}"""
COMING = "The clips come when all is measured."
WAITING = "Press Adapt: the agent plays this task before and after adapting, here side by side."
QUIET: dict[str, Any] = {
    "concurrency_limit": None,  # queued, because only then are mistakes shown
    "show_progress": "hidden",
    "api_visibility": "private",
}


@dataclass(frozen=True)
class Screen:
    """What is on the tab: buttons and inputs on the left, on the right what comes of them."""

    go: gr.Button
    stop: gr.Button
    surprise: gr.Button
    modes: gr.CheckboxGroup
    sliders: Sliders
    episodes: gr.Slider
    steps: gr.Slider
    seed: gr.Number
    sentence: gr.HTML
    clips: gr.HTML
    curve: gr.HTML

    @classmethod
    def build(cls, store: RunStore) -> "Screen":
        """Add it to the page, as it is before anything was asked."""
        first = store.first()
        agent, family = store.agent(first) if first else (None, get_family("CartPole-v1"))
        choices = mode_choices(agent) if agent else []
        with gr.Row(elem_classes="screen"):
            with gr.Column(scale=2, min_width=300, elem_classes="controls-column"):
                with gr.Row(elem_classes="actions"):
                    go = gr.Button("Adapt", variant="primary", elem_id="adapt", min_width=80)
                    stop = gr.Button("Stop", elem_id="adapt-stop", interactive=False, min_width=80)
                    surprise = gr.Button("Surprise me", elem_id="surprise", min_width=120)
                modes = gr.CheckboxGroup(
                    choices,
                    value=[mode for _, mode in choices],
                    label="Ways of adapting",
                    elem_id="modes",
                )
                gr.HTML(ways_explained(), js_on_load=REFILL)
                gr.HTML("<h3>The task</h3>")
                sliders = Sliders.build(family.name)
                adaptation = adaptation_inputs("the task")
            with gr.Column(scale=5, min_width=320, elem_classes="results-column"):
                sentence = gr.HTML(INTRODUCTION, elem_id="sentence", elem_classes="sentence")
                clips_shown = player(WAITING, "clips")
                curve = gr.HTML(empty_curve(family), elem_id="curve")
        shown = sentence, clips_shown, curve
        return cls(go, stop, surprise, modes, sliders, *adaptation, *shown)

    @property
    def buttons(self) -> list[gr.Button]:
        """Adapt, Surprise me and Stop."""
        return [self.go, self.surprise, self.stop]


def build(store: RunStore, jobs: Jobs, run: gr.Dropdown, query: gr.State) -> None:
    """Add the tab to the page.

    Args:
        store: Where agents are.
        jobs: Where visitors stop their work.
        run: Which agent; it stands above the tabs.
        query: The visitor's last query, for the other tabs.
    """
    screen = Screen.build(store)
    meetings = Meetings(store, jobs, screen.sliders)
    connect(meetings, screen, run, query)
    endpoint(meetings.adapt, concurrency_id=HEAVY, concurrency_limit=1)


def connect(meetings: "Meetings", screen: Screen, run: gr.Dropdown, query: gr.State) -> None:
    """Let Adapt and Surprise me check, then meet the task; let Stop stop.

    Args:
        meetings: What is done.
        screen: What is asked, and where the answer goes.
        run: Which agent; the screen follows it.
        query: Takes what was asked.
    """
    sliders = screen.sliders
    # Read before waiting: by the time that their turn comes the inputs may say something else.
    settings = [screen.modes, screen.episodes, screen.steps, screen.seed]
    asked = gr.State([None, {}, [], EPISODES.default, STEPS.default, SEED.default])
    surprised = screen.surprise.click(handled(meetings.invent), run, sliders.flat, **QUIET)
    for start in (screen.go.click, surprised.success):
        met = start(
            handled(meetings.ready),
            [run, *settings, *sliders.flat],
            [asked, screen.sentence, *screen.buttons],
            js=TO_RESULTS,
            **QUIET,
        ).success(
            handled(meetings.respond),
            asked,
            [screen.sentence, screen.clips, screen.curve, query],
            trigger_mode="multiple",  # also while one still waits that is not wanted any more
            concurrency_id=HEAVY,
            concurrency_limit=1,
            show_progress="minimal",
            show_progress_on=[screen.sentence],
            api_visibility="private",
        )
        met.then(handled(partial(pressed, busy=False)), None, screen.buttons, **QUIET)
        met.failure(handled(failed), None, [screen.sentence, *screen.buttons], **QUIET)
    quick: dict[str, Any] = {"queue": False, "api_visibility": "private"}
    screen.stop.click(  # said first and done then, or what has ended would be called ending
        handled(meetings.stopping), None, [screen.sentence, *screen.buttons], **quick
    ).then(handled(meetings.stop), None, None, **quick, api_name="stop_adapting")
    run.change(
        handled(meetings.choose),
        run,
        [
            *(screen.modes, screen.curve, screen.clips, screen.sentence),
            *screen.buttons,
            *sliders.groups.values(),
        ],
        **QUIET,
    )


@dataclass(frozen=True)
class Meetings:
    """What happens when the buttons are pressed, with agents from a store and work at a jobs."""

    store: RunStore
    jobs: Jobs
    sliders: Sliders

    def invent(self, run: str) -> list[Any]:
        """Set the sliders to a task drawn from the training ranges."""
        family = get_family(self.store.config(run).env_name)
        drawn = family.sample(1, np.random.SeedSequence())
        return self.sliders.values(family.name, drawn.parameters(0))

    def ready(
        self,
        request: gr.Request,
        run: Any,
        modes: Any,
        episodes: Any,
        steps: Any,
        seed: Any,
        *values: Any,
    ) -> list[Any]:
        """Read what is asked, the task from the sliders, and wait for a turn."""
        task = self.sliders.task(self.store.config(run).env_name, values)
        self.jobs.enqueue(request, KIND)
        asked = [run, task, modes, episodes, steps, seed]
        return [asked, message(QUEUED, "working"), *pressed(busy=True)]

    def respond(self, request: gr.Request, asked: list[Any]) -> Iterator[tuple[Any, ...]]:
        """Adapt an agent to one task; stream the sentence, the clips and the curve."""
        with self.jobs.run(request, KIND, ADAPT_SECONDS) as job:
            if job.discarded:
                yield (gr.skip(),) * 4  # without a word Gradio would empty what is shown
                return
            yield from follow(self.store, Query.asked(*asked), job)

    def stop(self, request: gr.Request) -> None:
        """Stop before the next measurement."""
        self.jobs.stop(request, KIND)

    def stopping(self, request: gr.Request) -> list[Any]:
        """Say that this has been heard; who only waits need not wait for the end of anything."""
        if self.jobs.cancel_waiting(request, KIND):
            return [message(STOPPED, "working"), *pressed(busy=False)]
        return [message(STOPPING, "working"), gr.skip(), gr.skip(), gr.update(interactive=False)]

    def choose(self, request: gr.Request, run: str) -> list[Any]:
        """Show another agent's ways and the sliders of its family; what is at work is not."""
        self.jobs.discard(request, KIND, PATIENCE)  # or a last word of it would come after this
        agent, family = self.store.agent(run)
        choices = mode_choices(agent)
        return [
            gr.update(choices=choices, value=[mode for _, mode in choices]),
            empty_curve(family),
            [],
            introduction(family),
            *pressed(busy=False),
            *self.sliders.show(family.name),
        ]

    def adapt(
        self,
        request: gr.Request,
        run: Json,
        task: Json = None,
        modes: Json = None,
        episodes: Json = EPISODES.default,
        steps: Json = STEPS.default,
        seed: Json = SEED.default,
    ) -> Json:
        """Adapt an agent to one task; return the mean return in every way, at every budget."""
        able = [mode for _, mode in mode_choices(self.store.agent(run)[0])]
        asked = Query.asked(
            run, task or {}, able if modes is None else modes, episodes, steps, seed
        )
        subject = Subject.of(self.store, asked)
        rows: list[ModeResult] = []
        with self.jobs.run(request, KIND, ADAPT_SECONDS) as job:
            for row in answers(subject, asked):
                rows.append(row)
                if job.should_stop:
                    break
        results = [asdict(row) for row in rows]
        return {"summary": summary_text(rows, subject.family), "results": results}


def pressed(*, busy: bool) -> list[Any]:
    """Return updates of Adapt, Surprise me and Stop."""
    return [gr.update(interactive=not busy)] * 2 + [gr.update(interactive=busy)]


def failed() -> list[Any]:
    """Return updates of the sentence and the buttons; the page has said what went wrong."""
    return [message(FAILED, "working"), *pressed(busy=False)]


def follow(store: RunStore, query: Query, job: Job) -> Iterator[tuple[Any, ...]]:
    """Answer a query; yield the sentence, the clips, the curve and the query as they come."""
    subject = Subject.of(store, query)
    rows: list[ModeResult] = []
    asked = vars(query)
    for row in answers(subject, query):
        if job.discarded:
            return
        if job.should_stop:
            ended = message(LATE if job.timed_out else STOPPED, "working")
            yield ended, [], curve_of(rows, subject.family, query), asked
            return
        rows.append(row)
        doing = f"Measured {MODES[row.mode]} after {counted(row.shots, 'episode')} ..."
        yield message(doing, "working"), COMING, curve_of(rows, subject.family, query), asked
    outcome, drawn = summary(rows, subject.family), curve_of(rows, subject.family, query)
    filmed = []
    for clip in clips(subject, query):
        if job.discarded:
            return
        filmed.append(clip)
        yield outcome + message(f"Filmed: {clip.name} ...", "working"), gr.skip(), drawn, asked
        if job.should_stop:
            break
    yield outcome, clips_value(filmed), drawn, asked
