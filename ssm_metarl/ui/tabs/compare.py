"""Compare: how good agents are on tasks that none of them has met."""

import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.events import api as endpoint

from ssm_metarl.evaluation.comparison import Measured, as_csv, as_json, as_png, change, summary
from ssm_metarl.evaluation.figures import Scatter, task_scatter
from ssm_metarl.evaluation.report import MODES, counted
from ssm_metarl.ui.comparison import SPLITS, differences_table, measure, results_table
from ssm_metarl.ui.figures import budget_curves, svg
from ssm_metarl.ui.jobs import Job, Jobs
from ssm_metarl.ui.limits import EPISODES, EVALUATE_SECONDS, EVALUATION_TASKS, SEED, STEPS
from ssm_metarl.ui.query import ADAPTING
from ssm_metarl.ui.reproduce import copies, of_evaluation
from ssm_metarl.ui.run_button import RunButton, ending
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.widgets import FOLLOWING, ONE_SLOT, adaptation_inputs, message, slider

INTRODUCTION = (
    "<p>One task proves little. Here agents meet many tasks that they have never seen, in every "
    "mode, and each mean return comes with its 95% confidence interval.</p>"
)
NUMBERS = (
    "Episodes and environment steps are what adapting used of each task. IQM: mean of the middle "
    "half of the tasks. Greedy: always the likeliest action. A difference whose 95% interval "
    "includes 0 may be chance."
)
KIND = "comparing"
REDRAW = 2.0  # seconds between drawings of the curves, at least


def build(store: RunStore, jobs: Jobs, place: gr.State, run: gr.Dropdown) -> None:
    """Add the tab to the page, which starts from the agent ``run`` when ``place`` is changed."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            with gr.Row():
                go = gr.Button("Compare", variant="primary", elem_id="compare-go")
                stop = gr.Button("Stop", elem_id="compare-stop", interactive=False)
            runs, *settings = controls(store)
        with gr.Column(scale=5, min_width=320):
            outputs = results()

    def work(job: Job, *given: Any) -> Iterator[list[Any]]:
        return follow(store, measure(store, *given), job)

    button = RunButton(jobs, KIND, EVALUATE_SECONDS, work, outputs, [go, stop])
    button.connect([go.click], [runs, *settings])
    suggest(store, place, run, runs)
    build_api(store, jobs)


def controls(store: RunStore) -> list[Any]:
    """Lay out what to compare, in the order of the arguments of :func:`measure`."""
    first = store.first()
    runs = gr.Dropdown(
        store.trained(),
        value=[first] if first else [],
        multiselect=True,
        label="Agents",
        elem_id="compare-runs",
        allow_custom_value=True,  # choices come and go; the store knows which there are
    )
    modes = gr.CheckboxGroup(
        [(MODES[mode], mode) for mode in ADAPTING],
        value=list(ADAPTING),
        label="Modes of adapting",
        info="those that an agent knows",
    )
    split = gr.Radio(
        [(words, name) for name, words in SPLITS.items()], value="held_out", label="Tasks"
    )
    tasks = slider(EVALUATION_TASKS, "How many tasks", "more take longer, and leave less doubt")
    return [runs, modes, split, tasks, *adaptation_inputs("each task")]


def results() -> list[Any]:
    """Lay out what :func:`follow` yields, and return it in that order."""
    headline = gr.HTML(INTRODUCTION, elem_id="compare-sentence", elem_classes="sentence")
    curves = gr.HTML()
    with gr.Row():
        files = [
            gr.DownloadButton(
                f"Download {kind}", interactive=False, size="sm", elem_id=f"compare-{kind.lower()}"
            )
            for kind in ("CSV", "JSON", "PNG")
        ]
    hidden: dict[str, Any] = {"interactive": False, "visible": False}
    differences = gr.Dataframe(label="Differences on the same tasks", **hidden)
    tall = {"max_height": 900, "pinned_columns": 1}
    table = gr.Dataframe(label="Results", elem_id="compare-table", **tall, **hidden)
    spread = gr.HTML()
    return [headline, curves, differences, table, spread, copies(), *files]


def suggest(store: RunStore, place: gr.State, run: gr.Dropdown, runs: gr.Dropdown) -> None:
    """Offer the runs there are; choose the visitor's agent until they have chosen otherwise."""
    suggested = gr.State(runs.value)

    def offer(agent: str | None, chosen: list[str] | None, before: list[str]) -> list[Any]:
        there = store.trained()
        own = [agent] if agent in there else []
        left = [name for name in chosen or () if name in there]
        value = left if left and chosen != before else own
        return [gr.update(choices=there, value=value), own]

    changes = [place.change, run.change]
    gr.on(changes, offer, [run, runs, suggested], [runs, suggested], **FOLLOWING)


def build_api(store: RunStore, jobs: Jobs) -> None:
    """Add the endpoint."""

    def compare(
        request: gr.Request,
        runs: Any,
        modes: Any = None,
        split: Any = "held_out",
        tasks: Any = EVALUATION_TASKS.default,
        episodes: Any = EPISODES.default,
        steps: Any = STEPS.default,
        seed: Any = SEED.default,
    ) -> Any:
        """Evaluate agents on unseen tasks; return each one's ``evaluation.json``."""
        wanted = list(ADAPTING) if modes is None else modes
        found: Sequence[Measured] = []
        with jobs.run(request, KIND, EVALUATE_SECONDS) as job:
            for found in measure(store, runs, wanted, split, tasks, episodes, steps, seed):  # noqa: B007
                if job.should_stop:
                    break
        return {one.run: json.loads(one.evaluation().to_json()) for one in found}

    endpoint(compare, **ONE_SLOT)


def follow(
    store: RunStore, measured: Iterable[Sequence[Measured]], job: Job
) -> Iterator[list[Any]]:
    """Measure; yield the headline, curves, tables, scatters, what makes it again and files."""
    skipped = [gr.update(value=None, interactive=False)] * 3
    found: Sequence[Measured] = []
    drawn = 0.0
    for found in measured:
        newest = found[-1]
        text = f"{newest.run}: {len(newest.rows)} of {newest.total} measurements ..."
        due = time.monotonic() - drawn > REDRAW
        pictures = curves(found) if due else gr.skip()
        drawn = time.monotonic() if due else drawn
        table = gr.update(value=results_table(found), visible=True)
        again = of_evaluation(store, found)
        yield [message(text, "working"), pictures, gr.skip(), table, gr.skip(), again, *skipped]
        if job.should_stop:
            break
    with tempfile.TemporaryDirectory() as folder:
        paths = [write(found, Path(folder)) for write in (as_csv, as_json, as_png)]
        pairs = differences_table(found)
        yield [
            headline(found) + ending(job),
            curves(found),
            gr.update(value=pairs, visible=len(pairs) > 0),
            gr.update(value=results_table(found), visible=True),
            f'<p class="note">{NUMBERS}</p>' + scatters(found),
            of_evaluation(store, found),
            *(gr.update(value=path and str(path), interactive=bool(path)) for path in paths),
        ]


def headline(found: Sequence[Measured]) -> str:
    """Say for each agent the mean return before and after adapting."""
    lines = []
    for one in found:
        before, after = one.rows[0], one.representative
        lines.append(message(f"{one.run}: {change(before, after)}", "outcome"))
        tasks = counted(len(one.tasks), "task")
        lines.append(message(f"{summary(before, after)} {tasks}.", "others"))
    return "".join(lines)


def curves(found: Sequence[Measured]) -> str:
    """Draw the results of every agent against the episodes used."""
    return _side_by_side(budget_curves(one, f"{one.run} on {one.family.name}") for one in found)


def scatters(found: Sequence[Measured]) -> str:
    """Draw the return of every task after adapting against before."""
    drawn = []
    for one in found:
        before = one.row("zero_shot")
        after = [row for mode in ADAPTING if (row := one.row(mode))]
        if before is None:
            continue
        for row in after:
            title = f"{one.run}: {MODES[row.mode]}, {counted(row.shots, 'episode')}"
            panel = Scatter("", np.array(before.per_task), np.array(row.per_task))
            figure = task_scatter([panel])
            alt = f"{title}; each task after against before"
            drawn.append(svg(figure, alt, (4.6, 4.6), title))
    return f"<h3>Task by task</h3>{_side_by_side(drawn)}" if drawn else ""


def _side_by_side(drawn: Iterable[str]) -> str:
    return f'<div class="pair">{"".join(drawn)}</div>'
