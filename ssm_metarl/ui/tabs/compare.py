"""Compare: how good agents are on tasks that none of them has met, with all that belongs to it."""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from ssm_metarl.evaluation.report import MODES
from ssm_metarl.ui.adapt_shown import message
from ssm_metarl.ui.api import Json, endpoint
from ssm_metarl.ui.comparing import Comparison, Measured
from ssm_metarl.ui.comparison_files import as_csv, as_json, as_png
from ssm_metarl.ui.comparison_shown import curves, results_table, scatters
from ssm_metarl.ui.comparison_words import in_words
from ssm_metarl.ui.errors import handled
from ssm_metarl.ui.jobs import HEAVY, Job, Jobs
from ssm_metarl.ui.limits import EPISODES, EVALUATE_SECONDS, EVALUATION_TASKS, SEED, STEPS
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.tabs.adapt import FAILED, LATE, QUEUED, QUIET, STOPPED
from ssm_metarl.ui.widgets import adaptation_inputs, slider

INTRODUCTION = (
    "<p>One task proves little. Here agents meet many that they have never seen, in every way, and "
    "one sees how sure the difference is: each number comes with the range in which it lies with "
    "95% confidence.</p>"
)
WAYS = [(name, mode) for mode, name in MODES.items() if mode != "zero_shot"]
SETS = (
    ("unseen, from the training ranges", "held_out"),
    ("outside the training ranges", "shifted"),
)
KIND = "comparing"


def build(store: RunStore, jobs: Jobs, place: gr.State, run: gr.Dropdown) -> None:
    """Add the tab to the page, and its endpoint.

    Args:
        store: Where agents are.
        jobs: Where visitors stop their work.
        place: The tab that is open.
        run: Which agent; it stands above the tabs.
    """
    with gr.Row(elem_classes="screen"):
        with gr.Column(scale=2, min_width=300):
            with gr.Row(elem_classes="actions"):
                go = gr.Button("Compare", variant="primary", elem_id="compare-go")
                stop = gr.Button("Stop", elem_id="compare-stop", interactive=False)
            runs, *settings = controls(store)
        with gr.Column(scale=5, min_width=320):
            sentence, *others = results()

    def pressed(said: str, *, busy: bool) -> list[Any]:
        buttons = [gr.update(interactive=not busy), gr.update(interactive=busy)]
        return [message(said, "working") if said else gr.skip(), *buttons]

    def ready(request: gr.Request) -> list[Any]:
        jobs.enqueue(request, KIND)
        return pressed(QUEUED, busy=True)

    def halt(request: gr.Request) -> list[Any]:
        if jobs.cancel_waiting(request, KIND):
            return pressed(STOPPED, busy=False)
        jobs.stop(request, KIND)
        return [gr.skip()] * 3

    def respond(request: gr.Request, *given: Any) -> Iterator[tuple[Any, ...]]:
        with jobs.run(request, KIND, EVALUATE_SECONDS) as job:
            if job.discarded:
                yield (gr.skip(),) * 7
                return
            yield from follow(store, Comparison.asked(*given), job)

    told_and_buttons = [sentence, go, stop]
    met = go.click(handled(ready), None, told_and_buttons, **QUIET).success(
        handled(respond),
        [runs, *settings],
        [sentence, *others],
        trigger_mode="multiple",
        concurrency_id=HEAVY,
        concurrency_limit=1,
        show_progress="minimal",
        show_progress_on=[sentence],
        api_visibility="private",
    )
    met.then(handled(partial(pressed, "", busy=False)), None, told_and_buttons, **QUIET)
    met.failure(handled(partial(pressed, FAILED, busy=False)), None, told_and_buttons, **QUIET)
    stop.click(handled(halt), None, told_and_buttons, queue=False, api_visibility="private")
    suggest(store, place, run, runs)
    endpoint(without_page(store, jobs), concurrency_id=HEAVY, concurrency_limit=1)


def controls(store: RunStore) -> list[Any]:
    """Lay out what to compare, in the order of :meth:`Comparison.asked`."""
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
        WAYS,
        value=[mode for _, mode in WAYS],
        label="Ways of adapting",
        info="those that an agent knows",
    )
    split = gr.Radio(list(SETS), value="held_out", label="Tasks")
    tasks = slider(EVALUATION_TASKS, "How many tasks", "more take longer, and leave less doubt")
    return [runs, modes, split, tasks, *adaptation_inputs("each task")]


def results() -> list[Any]:
    """Lay out what :func:`follow` yields, and return it in that order."""
    sentence = gr.HTML(INTRODUCTION, elem_id="compare-sentence", elem_classes="sentence")
    drawn = gr.HTML(curves([]), elem_id="compare-curves")
    with gr.Row(elem_classes="downloads"):
        files = [
            gr.DownloadButton(
                f"Download {kind}", interactive=False, size="sm", elem_id=f"compare-{kind.lower()}"
            )
            for kind in ("CSV", "JSON", "PNG")
        ]
    numbers = gr.HTML(elem_id="compare-table")
    spread = gr.HTML(elem_id="compare-tasks")
    return [sentence, drawn, numbers, spread, *files]


def suggest(store: RunStore, place: gr.State, run: gr.Dropdown, runs: gr.Dropdown) -> None:
    """Offer the runs there are; choose the visitor's agent until they have chosen otherwise."""
    suggested = gr.State(runs.value)

    def offer(agent: str | None, chosen: list[str] | None, before: list[str]) -> list[Any]:
        there = store.trained()
        own = [agent] if agent in there else []
        left = [name for name in chosen or () if name in there]
        value = left if left and chosen != before else own
        return [gr.update(choices=there, value=value), own]

    gr.on(
        [place.change, run.change],
        handled(offer),
        [run, runs, suggested],
        [runs, suggested],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def without_page(store: RunStore, jobs: Jobs) -> Callable[..., Json]:
    """Return what the endpoint does."""

    def compare(
        request: gr.Request,
        runs: Json,
        modes: Json = None,
        split: Json = "held_out",
        tasks: Json = EVALUATION_TASKS.default,
        episodes: Json = EPISODES.default,
        steps: Json = STEPS.default,
        seed: Json = SEED.default,
    ) -> Json:
        """Evaluate agents on unseen tasks; return each one's ``evaluation.json``."""
        ways = [mode for _, mode in WAYS] if modes is None else modes
        asked = Comparison.asked(runs, ways, split, tasks, episodes, steps, seed)
        found: Sequence[Measured] = []
        with jobs.run(request, KIND, EVALUATE_SECONDS) as job:
            for found in asked.measure(store):  # noqa: B007 the last one is what counts
                if job.should_stop:
                    break
        return {one.run: json.loads(one.evaluation().to_json()) for one in found}

    return compare


def follow(store: RunStore, asked: Comparison, job: Job) -> Iterator[tuple[Any, ...]]:
    """Measure; yield the sentence, the curves, the table, the scatters and the files."""
    nothing = [gr.update(value=None, interactive=False)] * 3
    found: Sequence[Measured] = []
    for found in asked.measure(store):
        newest = found[-1]
        doing = f"{newest.run}: {len(newest.rows)} of {newest.total} measurements ..."
        yield (
            message(doing, "working"),
            curves(found),
            results_table(found),
            scatters(found),
            *nothing,
        )
        if job.should_stop:
            break
    ended = message(LATE if job.timed_out else STOPPED, "working") if job.should_stop else ""
    with tempfile.TemporaryDirectory() as folder:
        paths = [write(found, Path(folder)) for write in (as_csv, as_json, as_png)]
        ready = [gr.update(value=path and str(path), interactive=bool(path)) for path in paths]
        yield in_words(found) + ended, curves(found), results_table(found), scatters(found), *ready
