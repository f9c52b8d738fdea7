"""Adapt: an agent meets a task that it has never seen, and one watches it adapt."""

import time
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import gradio as gr
import numpy as np
import pandas as pd
from gradio.events import api as endpoint

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.core.parameters import Params
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.errors import SsmMetaRLError
from ssm_metarl.evaluation.comparison import Measured, change, leading, summary
from ssm_metarl.evaluation.modes import EXPLAINED
from ssm_metarl.evaluation.report import (
    MODES,
    ModeResult,
    counted,
    with_success,
)
from ssm_metarl.ui.clips import clips, player
from ssm_metarl.ui.errors import lasting
from ssm_metarl.ui.figures import budget_curves
from ssm_metarl.ui.jobs import Job, Jobs
from ssm_metarl.ui.limits import ADAPT_SECONDS, EPISODES, SEED, STEPS
from ssm_metarl.ui.link import link
from ssm_metarl.ui.query import Query, Subject, able_modes, answers
from ssm_metarl.ui.reproduce import NOTHING, copies, of_evaluation
from ssm_metarl.ui.run_button import RunButton, ending
from ssm_metarl.ui.sliders import Sliders, rounded
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.widgets import ONE_SLOT, QUIET, adaptation_inputs, message

KIND = "adapting"
PATIENCE = 5.0  # seconds for a discarded job to end
REDRAW = 1.0  # seconds between drawings of the curve, at least
COMING = "The clips come when all is measured."
WAITING = "Press Adapt: the agent plays this task before and after adapting, here side by side."


Inputs = tuple[Sliders, Sequence[Any]]  # of the task, and of the data and gradient steps


def build(store: RunStore, jobs: Jobs, run: gr.Dropdown, query: gr.State) -> Inputs:
    """Add the tab to the page: of the agent ``run``; the other tabs get the last ``query``."""
    agent, family = store.agent(run.value)
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            go, stop, surprise = action_buttons()
            modes = gr.CheckboxGroup(
                label="Modes of adapting", elem_id="modes", **choices_of(agent)
            )
            with gr.Accordion("What are these?", open=False):
                gr.Markdown("\n".join(f"- **{MODES[k]}** {how}" for k, how in EXPLAINED.items()))
            gr.HTML("<h3>The task</h3>")
            sliders = Sliders(family.name)
            adaptation = adaptation_inputs("the task")
        with gr.Column(scale=5, min_width=320):
            sentence = gr.HTML(introduction(family), elem_id="sentence", elem_classes="sentence")
            shown = player(WAITING, "clips")
            curve = gr.HTML(elem_id="curve")
            again = copies("a link, the command or the Python")

    def work(job: Job, run: Any, modes: Any, *given: Any) -> Iterator[tuple[Any, ...]]:
        numbers, values = given[: len(adaptation)], given[len(adaptation) :]
        task = sliders.task(store.config(run).env_name, values)
        return follow(store, Query.asked(run, task, modes, *numbers), job)

    def invent(run: Any) -> list[Any]:
        family = get_family(store.config(run).env_name)
        task = family.sample(1, np.random.SeedSequence()).parameters(0)
        return sliders.values(
            family.name, {p.name: rounded(p, task[p.name]) for p in family.parameters}
        )

    outputs = [sentence, shown, curve, again, query]
    button = RunButton(jobs, KIND, ADAPT_SECONDS, work, outputs, [go, surprise, stop])
    surprised = surprise.click(invent, run, sliders.inputs, **QUIET)
    button.connect([go.click, surprised.success], [run, modes, *adaptation, *sliders.inputs])

    def choose(request: gr.Request, run: Any) -> Iterator[list[Any]]:
        jobs.discard(request, KIND, PATIENCE)  # or its last word would come after this
        nothing = [[], "", NOTHING]
        yield ["", *nothing, *[gr.skip()] * (len(chosen) - 4)]  # those were of another agent

        def show() -> Iterator[list[Any]]:
            agent, family = store.agent(run)
            updates = [*button.enabled(busy=False), *sliders.show(family.name)]
            yield [introduction(family), *nothing, gr.update(**choices_of(agent)), *updates]

        yield from lasting(show, len(chosen))

    chosen = [*outputs[:-1], modes, *button.buttons, *sliders.groups.values()]
    run.change(choose, run, chosen, **QUIET)
    build_api(store, jobs)
    return sliders, adaptation


def action_buttons() -> list[gr.Button]:
    """Add Adapt, Stop and Surprise me."""
    with gr.Row():
        return [
            gr.Button("Adapt", variant="primary", elem_id="adapt", min_width=80),
            gr.Button("Stop", elem_id="adapt-stop", interactive=False, min_width=80),
            gr.Button("Surprise me", elem_id="surprise", min_width=120),
        ]


def build_api(store: RunStore, jobs: Jobs) -> None:
    """Add the endpoint."""

    def adapt(
        request: gr.Request,
        run: Any,
        task: Any = None,
        modes: Any = None,
        episodes: Any = EPISODES.default,
        steps: Any = STEPS.default,
        seed: Any = SEED.default,
    ) -> Any:
        """Adapt an agent to one task; return the mean return in every mode, at every budget."""
        if modes is None:
            modes = able_modes(store.agent(run)[0])
        asked = Query.asked(run, task or {}, modes, episodes, steps, seed)
        subject = Subject.of(store, asked)
        rows: list[ModeResult] = []
        with jobs.run(request, KIND, ADAPT_SECONDS) as job:
            for measurement in answers(subject, asked):
                rows.append(measurement.result)
                if job.should_stop:
                    break
        told = summary(rows[0], leading(rows))
        return {"summary": [told], "results": [row.to_record() for row in rows]}

    endpoint(adapt, **ONE_SLOT)


def follow(store: RunStore, query: Query, job: Job) -> Iterator[tuple[Any, ...]]:
    """Answer a query; yield the sentence, clips, curve, what makes it again and the query."""
    subject = Subject.of(store, query)
    found = subject.measured(query.run, query.plan())
    again = of_evaluation(store, [found], link(job.page, query, subject.family))
    asked, drawn = (again, vars(query)), 0.0
    adapted: dict[str, Params] = {}  # by mode, from all of its data
    for measurement in answers(subject, query):
        if job.discarded:
            return
        if job.should_stop:
            yield ending(job), [], curve_of(found), *asked
            return
        row = measurement.result
        found.rows.append(row)
        adapted[row.mode] = measurement.params
        text = f"Measured {MODES[row.mode]} after {counted(row.shots, 'episode')} ..."
        due = time.monotonic() - drawn > REDRAW
        curve = curve_of(found) if due else gr.skip()
        drawn = time.monotonic() if due else drawn
        yield message(text, "working"), COMING, curve, *asked
    outcome, shown = headline(found.rows, subject.family), []
    yield outcome, gr.skip(), curve_of(found), *asked
    try:
        for clip in clips(subject, query, adapted):
            if job.discarded:
                return
            shown.append(vars(clip))
            recorded = message(f"Recorded: {clip.name} ...", "working")
            yield outcome + recorded, gr.skip(), gr.skip(), *asked
            if job.should_stop:
                break
    except SsmMetaRLError as error:  # it cannot be drawn; what was measured stays
        shown = f"There are no clips: {error}."
    yield outcome, shown, gr.skip(), *asked


def choices_of(agent: Agent) -> dict[str, Any]:
    """Return the choices and the value of the modes of an agent."""
    able = able_modes(agent)
    return {"choices": [(MODES[mode], mode) for mode in able], "value": able}


def introduction(family: TaskFamily) -> str:
    """Say what a visitor is looking at."""
    return (
        f"<p>A family of tasks: {escape(family.description)}. The agent cannot know which of them "
        "it is on until it has tried. Choose one that it has never met and see what a few "
        "episodes teach it.</p>"
    )


def headline(rows: Sequence[ModeResult], family: TaskFamily) -> str:
    """Return the mean return before and after adapting as one number and one line."""
    before, after, best = rows[0], leading(rows), family.best_return
    number = change(before, after) + (f" of {best:.0f}" if best else "")
    return message(number, "outcome") + message(summary(before, after), "others")


def curve_of(found: Measured) -> str:
    """Draw what was measured against the episodes used, and add a table of it."""
    return budget_curves(found) + (means_table(found.rows) if found.rows else "")


def means_table(rows: Sequence[ModeResult]) -> str:
    """Return all means: a row for each number of episodes used, a column for each mode."""
    rows = with_success(rows)
    solved = {row: f" ({row.success.mean:.0%})" if row.success else "" for row in rows}
    texts = {(row.shots, row.mode): f"{row.mean:.4g}{solved[row]}" for row in rows}
    table = pd.Series(texts).unstack(fill_value="")[[*dict.fromkeys(row.mode for row in rows)]]
    table.columns.name = "Episodes"
    drawn = table.style.format_index(MODES.__getitem__, axis=1)
    drawn.apply_index(lambda modes: [f"--mark: var(--mode-{mode})" for mode in modes], axis=1)
    what = "Mean return (success rate)" if rows[0].success else "Mean return"
    return f"<div class='means'>{drawn.set_caption(what).to_html()}</div>"
