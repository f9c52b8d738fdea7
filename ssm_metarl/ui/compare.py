"""Compare: how good agents are on tasks that none of them has met, with all that belongs to it."""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from ssm_metarl.evaluation.report import MODES
from ssm_metarl.ui.adapt import FAILED, LATE, QUEUED, QUIET, STOPPED
from ssm_metarl.ui.adapt_shown import told
from ssm_metarl.ui.api import Json, endpoint
from ssm_metarl.ui.comparing import Comparison, Measured
from ssm_metarl.ui.comparison_files import as_csv, as_json, as_png
from ssm_metarl.ui.comparison_shown import curves, results_table, scatters
from ssm_metarl.ui.comparison_words import in_words
from ssm_metarl.ui.courtesy import courteous
from ssm_metarl.ui.desk import HEAVY, Desk, Work
from ssm_metarl.ui.inputs import adaptation_inputs, slider
from ssm_metarl.ui.limits import EPISODES, EVALUATE_SECONDS, EVALUATION_TASKS, SEED, STEPS
from ssm_metarl.ui.shelf import Shelf

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


def build(shelf: Shelf, desk: Desk, place: gr.State, run: gr.Dropdown) -> None:
    """Add the tab to the page, and its endpoint.

    Args:
        shelf: Where agents are.
        desk: Where visitors stop their work.
        place: The tab that is open.
        run: Which agent; it stands above the tabs.
    """
    with gr.Row(elem_classes="screen"):
        with gr.Column(scale=2, min_width=300):
            with gr.Row(elem_classes="actions"):
                go = gr.Button("Compare", variant="primary", elem_id="compare-go")
                stop = gr.Button("Stop", elem_id="compare-stop", interactive=False)
            runs, *settings = controls(shelf)
        with gr.Column(scale=5, min_width=320):
            sentence, *others = results()

    def pressed(said: str, *, busy: bool) -> list[Any]:
        buttons = [gr.update(interactive=not busy), gr.update(interactive=busy)]
        return [told(said, "working") if said else gr.skip(), *buttons]

    def ready(request: gr.Request) -> list[Any]:
        desk.wait(request, KIND)
        return pressed(QUEUED, busy=True)

    def halt(request: gr.Request) -> list[Any]:
        if desk.give_up(request, KIND):
            return pressed(STOPPED, busy=False)
        desk.stop(request, KIND)
        return [gr.skip()] * 3

    def respond(request: gr.Request, *given: Any) -> Iterator[tuple[Any, ...]]:
        with desk.working(request, KIND, EVALUATE_SECONDS) as work:
            if work.unwanted:
                yield (gr.skip(),) * 7
                return
            yield from follow(shelf, Comparison.asked(*given), work)

    told_and_buttons = [sentence, go, stop]
    met = go.click(courteous(ready), None, told_and_buttons, **QUIET).success(
        courteous(respond),
        [runs, *settings],
        [sentence, *others],
        trigger_mode="multiple",
        concurrency_id=HEAVY,
        concurrency_limit=1,
        show_progress="minimal",
        show_progress_on=[sentence],
        api_visibility="private",
    )
    met.then(courteous(partial(pressed, "", busy=False)), None, told_and_buttons, **QUIET)
    met.failure(courteous(partial(pressed, FAILED, busy=False)), None, told_and_buttons, **QUIET)
    stop.click(courteous(halt), None, told_and_buttons, queue=False, api_visibility="private")
    suggest(shelf, place, run, runs)
    endpoint(without_page(shelf, desk), concurrency_id=HEAVY, concurrency_limit=1)


def controls(shelf: Shelf) -> list[Any]:
    """Lay out what to compare, in the order of :meth:`Comparison.asked`."""
    first = shelf.first()
    runs = gr.Dropdown(
        shelf.trained(),
        value=[first] if first else [],
        multiselect=True,
        label="Agents",
        elem_id="compare-runs",
        allow_custom_value=True,  # choices come and go; the shelf knows which there are
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


def suggest(shelf: Shelf, place: gr.State, run: gr.Dropdown, runs: gr.Dropdown) -> None:
    """Offer the runs there are; choose the visitor's agent until they have chosen otherwise."""
    suggested = gr.State(runs.value)

    def offer(agent: str | None, chosen: list[str] | None, before: list[str]) -> list[Any]:
        there = shelf.trained()
        own = [agent] if agent in there else []
        left = [name for name in chosen or () if name in there]
        value = left if left and chosen != before else own
        return [gr.update(choices=there, value=value), own]

    gr.on(
        [place.change, run.change],
        courteous(offer),
        [run, runs, suggested],
        [runs, suggested],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def without_page(shelf: Shelf, desk: Desk) -> Callable[..., Json]:
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
        with desk.working(request, KIND, EVALUATE_SECONDS) as work:
            for found in asked.measure(shelf):  # noqa: B007 the last one is what counts
                if work.stopped:
                    break
        return {one.run: json.loads(one.evaluation().to_json()) for one in found}

    return compare


def follow(shelf: Shelf, asked: Comparison, work: Work) -> Iterator[tuple[Any, ...]]:
    """Measure; yield the sentence, the curves, the table, the scatters and the files."""
    nothing = [gr.update(value=None, interactive=False)] * 3
    found: Sequence[Measured] = []
    for found in asked.measure(shelf):
        newest = found[-1]
        doing = f"{newest.run}: {len(newest.rows)} of {newest.total} measurements ..."
        yield told(doing, "working"), curves(found), results_table(found), scatters(found), *nothing
        if work.stopped:
            break
    ended = told(LATE if work.late else STOPPED, "working") if work.stopped else ""
    with tempfile.TemporaryDirectory() as folder:
        paths = [write(found, Path(folder)) for write in (as_csv, as_json, as_png)]
        ready = [gr.update(value=path and str(path), interactive=bool(path)) for path in paths]
        yield in_words(found) + ended, curves(found), results_table(found), scatters(found), *ready
