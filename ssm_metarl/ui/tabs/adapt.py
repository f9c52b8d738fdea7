"""Adapt: an agent meets a task that it has never seen, and one watches it adapt."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from html import escape
from typing import Any

import gradio as gr
import numpy as np

from ssm_metarl.commands.common import best_return
from ssm_metarl.core.parameters import Params
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.evaluation.evaluate import summarise
from ssm_metarl.evaluation.figures import budget_curve
from ssm_metarl.evaluation.modes import EXPLAINED
from ssm_metarl.evaluation.report import MODES, ModeResult, counted
from ssm_metarl.ui.api import Json, endpoint
from ssm_metarl.ui.clips import clips
from ssm_metarl.ui.errors import handled
from ssm_metarl.ui.figures import svg
from ssm_metarl.ui.jobs import HEAVY, Job, Jobs
from ssm_metarl.ui.limits import ADAPT_SECONDS, EPISODES, SEED, STEPS
from ssm_metarl.ui.player import clips_value, player
from ssm_metarl.ui.query import Query, Subject, answers, mode_choices
from ssm_metarl.ui.sliders import Sliders
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.widgets import (
    FAILED,
    LATE,
    PRIVATE,
    QUEUED,
    QUIET,
    REFILL,
    STOPPED,
    TO_RESULTS,
    adaptation_inputs,
    heavy,
    message,
    table,
)

KIND = "adapting"
PATIENCE = 5.0  # seconds for a discarded job to end
REDRAW = 1.0  # seconds between drawings of the curve, at least
ENOUGH = 0.95  # of the gain in return: the headline names the least data that reaches it
STOPPING = "Stopping after this measurement ..."
COMING = "The clips come when all is measured."
WAITING = "Press Adapt: the agent plays this task before and after adapting, here side by side."


@dataclass(frozen=True)
class Screen:
    """What is on the tab: buttons and inputs on the left, results on the right."""

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
                    label="Modes of adapting",
                    elem_id="modes",
                )
                gr.HTML(modes_explained(), js_on_load=REFILL)
                gr.HTML("<h3>The task</h3>")
                sliders = Sliders.build(family.name)
                adaptation = adaptation_inputs("the task")
            with gr.Column(scale=5, min_width=320, elem_classes="results-column"):
                sentence = gr.HTML(
                    introduction(family), elem_id="sentence", elem_classes="sentence"
                )
                shown = player(WAITING, "clips")
                curve = gr.HTML(elem_id="curve")
        return cls(go, stop, surprise, modes, sliders, *adaptation, sentence, shown, curve)

    @property
    def buttons(self) -> list[gr.Button]:
        """Adapt, Surprise me and Stop."""
        return [self.go, self.surprise, self.stop]


def build(store: RunStore, jobs: Jobs, run: gr.Dropdown, query: gr.State) -> None:
    """Add the tab to the page.

    Args:
        store: Where agents are.
        jobs: Where visitors stop their jobs.
        run: Which agent; it stands above the tabs.
        query: The visitor's last query, for the other tabs.
    """
    screen = Screen.build(store)
    actions = Actions(store, jobs, screen.sliders)
    connect(actions, screen, run, query)
    endpoint(actions.adapt, concurrency_id=HEAVY, concurrency_limit=1)


def connect(actions: "Actions", screen: Screen, run: gr.Dropdown, query: gr.State) -> None:
    """Let Adapt and Surprise me check, then meet the task; let Stop stop.

    Args:
        actions: What the buttons do.
        screen: What is asked, and where the answer goes.
        run: Which agent; the screen follows it.
        query: Takes what was asked.
    """
    sliders = screen.sliders
    # Read before waiting: by the time that their turn comes the inputs may say something else.
    settings = [screen.modes, screen.episodes, screen.steps, screen.seed]
    asked = gr.State([None, {}, [], EPISODES.default, STEPS.default, SEED.default])
    status = [screen.sentence, *screen.buttons]
    surprised = screen.surprise.click(handled(actions.invent), run, sliders.flat, **QUIET)
    for start in (screen.go.click, surprised.success):
        met = start(
            handled(actions.ready),
            [run, *settings, *sliders.flat],
            [asked, *status],
            js=TO_RESULTS % "sentence",
            **QUIET,
        ).success(
            handled(actions.respond),
            asked,
            [screen.sentence, screen.clips, screen.curve, query],
            **heavy(screen.sentence),
            **PRIVATE,
        )
        met.then(handled(partial(pressed, busy=False)), None, screen.buttons, **QUIET)
        met.failure(handled(failed), None, status, **QUIET)
    # Said first and done then, or a job that has ended would be called ending.
    screen.stop.click(handled(actions.stopping), None, status, queue=False, **PRIVATE).then(
        handled(actions.stop), None, None, queue=False, **PRIVATE, api_name="stop_adapting"
    )
    chosen = [screen.modes, screen.curve, screen.clips, *status, *sliders.groups.values()]
    run.change(handled(actions.choose), run, chosen, **QUIET)


@dataclass(frozen=True)
class Actions:
    """What happens when the buttons are pressed."""

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
                yield (gr.skip(),) * 4  # without this Gradio would empty what is shown
            else:
                yield from follow(self.store, Query.asked(*asked), job)

    def stop(self, request: gr.Request) -> None:
        """Stop before the next measurement."""
        self.jobs.stop(request, KIND)

    def stopping(self, request: gr.Request) -> list[Any]:
        """Say that Stop was heard; a job that only waits is cancelled at once."""
        if self.jobs.cancel_waiting(request, KIND):
            return [message(STOPPED, "working"), *pressed(busy=False)]
        return [message(STOPPING, "working"), gr.skip(), gr.skip(), gr.update(interactive=False)]

    def choose(self, request: gr.Request, run: str) -> list[Any]:
        """Show another agent's modes and the sliders of its family; discard what runs."""
        self.jobs.discard(request, KIND, PATIENCE)  # or its last word would come after this
        agent, family = self.store.agent(run)
        choices = mode_choices(agent)
        return [
            gr.update(choices=choices, value=[mode for _, mode in choices]),
            "",
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
        """Adapt an agent to one task; return the mean return in every mode, at every budget."""
        if modes is None:
            modes = [mode for _, mode in mode_choices(self.store.agent(run)[0])]
        asked = Query.asked(run, task or {}, modes, episodes, steps, seed)
        subject = Subject.of(self.store, asked)
        rows: list[ModeResult] = []
        with self.jobs.run(request, KIND, ADAPT_SECONDS) as job:
            for measurement in answers(subject, asked):
                rows.append(measurement.result)
                if job.should_stop:
                    break
        return {"summary": [summary(rows)], "results": [asdict(row) for row in rows]}


def pressed(*, busy: bool) -> list[Any]:
    """Return updates of Adapt, Surprise me and Stop."""
    return [gr.update(interactive=not busy)] * 2 + [gr.update(interactive=busy)]


def failed() -> list[Any]:
    """Return updates of the sentence and the buttons after an error, which a toast has shown."""
    return [message(FAILED, "working"), *pressed(busy=False)]


def follow(store: RunStore, query: Query, job: Job) -> Iterator[tuple[Any, ...]]:
    """Answer a query; yield the sentence, the clips, the curve and the query as they come."""
    subject = Subject.of(store, query)
    rows: list[ModeResult] = []
    asked, drawn = vars(query), 0.0
    adapted: dict[str, Params] = {}  # by mode, from all of its data
    for measurement in answers(subject, query):
        if job.discarded:
            return
        if job.should_stop:
            ended = message(LATE if job.timed_out else STOPPED, "working")
            yield ended, [], curve_of(rows, subject, query), asked
            return
        row = measurement.result
        rows.append(row)
        adapted[row.mode] = measurement.params
        text = f"Measured {MODES[row.mode]} after {counted(row.shots, 'episode')} ..."
        due = time.monotonic() - drawn > REDRAW
        curve = curve_of(rows, subject, query) if due else gr.skip()
        drawn = time.monotonic() if due else drawn
        yield message(text, "working"), COMING, curve, asked
    outcome, shown = headline(rows, subject.family), []
    curve = curve_of(rows, subject, query)
    for clip in clips(subject, query, adapted):
        if job.discarded:
            return
        shown.append(clip)
        yield outcome + message(f"Recorded: {clip.name} ...", "working"), gr.skip(), curve, asked
        curve = gr.skip()
        if job.should_stop:
            break
    yield outcome, clips_value(shown), gr.skip(), asked


def modes_explained() -> str:
    """Return a folded list of the modes and what an agent does in each."""
    rows = "".join(
        f"<dt>{escape(MODES[mode])}</dt><dd>{escape(words)}</dd>"
        for mode, words in EXPLAINED.items()
    )
    return f'<details class="modes"><summary>What are these?</summary><dl>{rows}</dl></details>'


def introduction(family: TaskFamily) -> str:
    """Say what a visitor is looking at."""
    return (
        f"<p>This agent has trained on a family of tasks: {escape(family.description)}. It cannot "
        "know which task it is on until it has tried. Choose one that it has never met and see "
        "what a few episodes teach it.</p>"
    )


def leading(rows: Sequence[ModeResult]) -> ModeResult:
    """Return the result with the least data that reaches nearly all of the gain in return.

    The untrained network is there to compare with, and leads only where it is alone.
    """
    adapted = [row for row in rows if row.shots and row.mode != "from_scratch"]
    adapted = adapted or [row for row in rows if row.shots] or list(rows)
    before, best = rows[0].mean, max(row.mean for row in adapted)
    goal = min(best, before + ENOUGH * (best - before))
    return min((row for row in adapted if row.mean >= goal), key=lambda row: row.shots)


def summary(rows: Sequence[ModeResult]) -> str:
    """Say the return before and after adapting in one line."""
    after = leading(rows)
    return (
        f"Mean return {rows[0].mean:.4g} before and {after.mean:.4g} after "
        f"{counted(after.shots, 'episode')} ({MODES[after.mode]})."
    )


def headline(rows: Sequence[ModeResult], family: TaskFamily) -> str:
    """Return the mean return before and after adapting as one number and one line."""
    after, best = leading(rows), best_return(family)
    of_best = f" of {best:.0f}" if best else ""
    number = message(f"{rows[0].mean:.4g} → {after.mean:.4g}{of_best}", "outcome")
    return number + message(summary(rows), "others")


def means_table(rows: Sequence[ModeResult]) -> str:
    """Return all mean returns: a row for each mode, a column for each number of episodes."""
    shots = sorted({row.shots for row in rows})
    means = {(row.mode, row.shots): row.mean for row in rows}
    lines = (
        f'<tr class="mark-{mode}"><th scope="row">{escape(MODES[mode])}</th>'
        + "".join(f"<td>{_cell(means.get((mode, count)))}</td>" for count in shots)
        + "</tr>"
        for mode in dict.fromkeys(row.mode for row in rows)
    )
    heads = ["Episodes used", *(f"{count}" for count in shots)]
    return table(heads, lines, "Mean returns")


def _cell(mean: float | None) -> str:
    return "" if mean is None else f"{mean:.4g}"


def curve_of(rows: Sequence[ModeResult], subject: Subject, query: Query) -> str:
    """Draw the mean return against the episodes used, with two budgets or more, and a table."""
    numbers = means_table(rows) if rows else ""
    if len({row.shots for row in rows if row.shots and row.steps in (0, 1)}) < 2:
        return numbers
    family = subject.family
    evaluation = summarise(family, subject.task, "task", query.plan(), rows)
    figure = budget_curve(evaluation, best=best_return(family), titles=[""])
    return svg(figure, f"Mean return against the episodes used. {summary(rows)}") + numbers
