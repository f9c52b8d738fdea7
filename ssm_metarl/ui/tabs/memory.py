"""Memory: what an agent remembers, and which earlier tasks hybrid adaptation uses for a new one."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr
import pandas as pd
from gradio.components import Component
from gradio.events import api as endpoint
from pandas.io.formats.style_render import StylerRenderer

from ssm_metarl.analysis import retrieval
from ssm_metarl.analysis.names import action_names, observation_names, with_unit
from ssm_metarl.analysis.retrieval import Retrieval
from ssm_metarl.env_runner.family import Parameter, TaskFamily
from ssm_metarl.evaluation.report import counted
from ssm_metarl.experience.records import StoredTask
from ssm_metarl.ui.figures import line_plot, lines_of
from ssm_metarl.ui.lazy_tab import fill, query_of, task_line
from ssm_metarl.ui.limits import SEED
from ssm_metarl.ui.query import Query, Subject
from ssm_metarl.ui.reproduce import copies, of_retrieval
from ssm_metarl.ui.sliders import reach
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.widgets import ONE_SLOT, TABLE, cell_bar, message, percent, tiles

WAITING = (
    "Hybrid adaptation looks for earlier tasks that resemble the new one, and shows them here."
)
NOTHING = "This agent remembers no earlier tasks."
WITHOUT = (
    "It has no experience, so hybrid adaptation is not offered. Train one under Train by meta_rl, "
    "which keeps its newest episodes, or with: ssm-metarl train --mode meta_rl --experience 40000"
)
ERROR_NOTE = (
    "Prediction error: of a linear model of the earlier task on the steps of the new one, in units "
    "of its error on its own. Dot: the earlier task; bar: the new one, on the scale of the sliders."
)
STORED_NOTE = "These are episodes of training before adaptation, so their returns are low."
ONE, ALL = "the first episode", "all episodes"
COLOURS = {"best match": "#8f6cc4", "least alike": "#c98a14", "new task": "#149e8d"}
BINS = 8  # of the histogram of returns, about
LISTED = 500  # stored tasks in the table, the newest


def build(store: RunStore, run: gr.Dropdown, query: gr.State, place: gr.State) -> None:
    """Add the tab to the page: of the agent ``run`` and the last ``query``, when it is opened."""
    steps = {"color_map": COLOURS, "x_title": "Step of the first episode", "min_width": 320}
    with gr.Column(elem_id="memory-screen"):
        outcome = gr.HTML(
            message(WAITING, "working"), elem_id="memory-sentence", elem_classes="sentence"
        )
        own = gr.Radio(
            [ONE, ALL], value=ONE, label="Recognise the new task by", elem_id="memory-own"
        )
        with gr.Column(visible=False) as found:
            gr.HTML("<h3>What it recalls</h3>")
            matches = gr.Dataframe(elem_id="memory-matches", max_height=640, **TABLE)
            gr.HTML(f'<p class="note">{ERROR_NOTE}</p><h3>Why these</h3>')
            why = gr.HTML()
            with gr.Row():
                response, observed = line_plot(**steps), line_plot(**steps)
            gr.HTML("<h3>Everything it remembers</h3>")
            everything = store_outputs()
            again = copies("the Python")

    def show(run_id: str, last: dict, by: str) -> Iterator[Sequence[Any]]:
        asked, mine = query_of(store, run_id, last)
        subject = Subject.of(store, asked)
        episodes = 1 if by == ONE else asked.episodes
        again = of_retrieval(store, subject.measured(run_id, asked.plan()), episodes)
        yield *shown(subject, asked, by, mine=mine), again

    def memory(run: Any, task: Any = None, episodes: Any = 1, seed: Any = SEED.default) -> Any:
        """Return which earlier tasks hybrid adaptation recalls for a task, with their weights."""
        asked = Query.asked(run, task or {}, [], episodes, 1, seed)
        subject = Subject.of(store, asked)
        found = retrieved(subject, asked.episodes, asked.seed)
        return retrieval.as_numbers(found, retrieval.stored_tasks(subject.agent))

    outputs = [outcome, own, found, matches, why, response, observed, *everything, again]
    fill("Memory", place, [run, query, own], show, outputs)
    endpoint(memory, **ONE_SLOT)


def store_outputs() -> list[Component]:
    """Lay out what :func:`store_shown` returns, in that order."""
    with gr.Row():
        with gr.Column(min_width=320):
            totals = gr.HTML()
        returns = gr.BarPlot(
            x="Mean return", y="Tasks", y_aggregate="sum", height=220, min_width=320
        )
    with gr.Accordion(f"The stored tasks, the newest first (at most {LISTED})", open=False):
        return [totals, returns, gr.Dataframe(max_height=420, **TABLE)]


def shown(subject: Subject, query: Query, own: str, *, mine: bool) -> Sequence[Any]:
    """Return the values of the tab's outputs; ``own`` is :data:`ONE` or :data:`ALL` episodes."""
    found = retrieved(subject, 1 if own == ONE else query.episodes, query.seed)
    if found is None:
        told = message(NOTHING, "outcome") + message(WITHOUT, "others")
        hidden = gr.update(visible=False)
        return told, hidden, hidden, *[gr.skip()] * 7
    return (
        in_words(found) + task_line(subject.family, query, mine=mine),
        gr.update(visible=query.episodes > 1),
        gr.update(visible=True),
        matches_table(found, subject),
        *comparison(found, subject.family),
        *store_shown(retrieval.stored_tasks(subject.agent), subject.family),
    )


def retrieved(subject: Subject, episodes: int, seed: int) -> Retrieval | None:
    """Return what hybrid adaptation retrieves for the task of a query."""
    return retrieval.retrieve(
        subject.agent, subject.family, subject.task, episodes=episodes, seed=seed
    )


def in_words(found: Retrieval) -> str:
    """Return how many earlier tasks are used, and with what weight, as HTML."""
    best, after = found.matches[0], counted(found.episodes, "episode")
    lead = f"From {after}, hybrid recalls {counted(found.used, 'earlier task')}."
    line = (
        f"Weight in the gradient step: {after} of the new task {percent(found.own)}, "
        f"task {best.task.id} {percent(best.weight)}."
    )
    if not found.used:
        lead = "No earlier task resembles this one."
        line = (
            f"The best match has a prediction error of {best.prediction_error:.3g}, above the "
            f"limit of {found.limit:.3g}. Hybrid then does what standard does."
        )
    return message(lead, "outcome") + message(line, "others")


def matches_table(found: Retrieval, subject: Subject) -> StylerRenderer:
    """Return the new task, the matches and the task least alike, with bars in the cells."""
    family, last = subject.family, found.unlike
    new = {name: float(values[0]) for name, values in subject.task.values.items()}
    rows = [("new task", "new", found.own, math.nan, new)]
    for name, kind, one in (
        *((f"task {one.task.id}", "recalled", one) for one in found.matches),
        (f"task {last.task.id}, least alike", "unlike", last),
    ):
        rows.append((name, kind, one.weight, one.prediction_error, one.task.parameters))
    cells, styles = [], []
    for name, kind, weight, error, task in rows:
        colour, values = f"var(--mark-{kind})", [task[p.name] for p in family.parameters]
        places = [_place(p, task[p.name], new[p.name], colour) for p in family.parameters]
        cells.append([name, weight, error, *values])
        mark = f"box-shadow: inset 4px 0 {colour}"
        styles.append([mark, cell_bar(weight, colour), "", *places])
    heads = ["Task", "Share of the step", "Prediction error", *parameter_names(family)]
    table = pd.DataFrame(cells, columns=heads)
    formats: dict[Any, Any] = {heads[1]: percent, **dict.fromkeys(heads[2:], "{:.3g}")}
    looks = pd.DataFrame(styles, columns=heads)
    return table.style.apply(lambda _: looks, axis=None).format(formats, na_rep="")


def parameter_names(family: TaskFamily) -> list[str]:
    """Return the names of a family's parameters with their units."""
    return [with_unit(p.name.replace("_", " "), p.unit) for p in family.parameters]


def _place(parameter: Parameter, value: float, new: float, colour: str) -> str:
    """Mark a value by a dot and that of the new task by a bar, from the least to the greatest."""
    if parameter.choices or not parameter.varies:
        return "" if value == new else "color: var(--mark-unlike); font-weight: 600"
    low, high = reach(parameter)
    dot, bar = (100 * min(max((x - low) / (high - low), 0.02), 0.98) for x in (value, new))
    edge = f"calc({bar:.0f}% - 1px), var(--mark-new) 0, var(--mark-new) calc({bar:.0f}% + 2px)"
    return (
        f"background: radial-gradient(circle at {dot:.0f}% calc(100% - 5px), {colour} "
        f"3.5px, transparent 4px), linear-gradient(to right, transparent {edge}, transparent 0) "
        "0 100% / 100% 10px no-repeat"
    )


def comparison(found: Retrieval, family: TaskFamily) -> tuple[str, Any, Any]:
    """Return why these tasks match: a note and two line plots.

    Both show the observation by which the best match and the task least alike differ most.
    """
    best, unlike, telling = found.matches[0], found.unlike, found.telling
    name, unit = [*observation_names(family), ("reward", "")][telling]
    sums, seen = {}, {}
    for who, played in zip(COLOURS, (best.played, unlike.played, found.played), strict=True):
        sums[who] = enumerate(retrieval.action_response(played, telling))
        seen[who] = enumerate(retrieval.first_episode(played)[0][:, telling].tolist())
    note = (
        f"The best match (task {best.task.id}) and the task least alike ({unlike.task.id}) differ "
        f"most in the {name}. Left: what {action_names(family, 2)[-1]} does to it, added up over "
        "the episode; a line that rises says that it goes up. Right: its values."
    )
    response = gr.update(value=lines_of(sums), y_title=with_unit("Sum of responses", unit))
    observed = gr.update(value=lines_of(seen), y_title=with_unit(name, unit).capitalize())
    return message(note, "note"), response, observed


def store_shown(tasks: Sequence[StoredTask], family: TaskFamily) -> tuple[str, Any, StylerRenderer]:
    """Return everything that is stored: totals, a histogram of returns, and the newest tasks."""
    parameters = parameter_names(family)
    stored = pd.DataFrame(
        [
            [one.id, one.label, one.episodes, one.transitions, one.mean_return]
            + [one.parameters[parameter.name] for parameter in family.parameters]
            for one in reversed(tasks)
        ],
        columns=["Task", "Iteration", "Episodes", "Steps", "Mean return", *parameters],
    )
    returns = stored["Mean return"].dropna().astype(float)
    totals = {
        "Tasks": f"{len(stored):,}",
        "Episodes": f"{stored['Episodes'].sum():,}",
        "Steps": f"{stored['Steps'].sum():,}",
        "Mean return": f"{returns.mean():.4g}" if len(returns) else "unknown",
    }
    width = (returns.max() - returns.min()) / BINS if len(returns) else 0.0
    histogram = gr.update(
        value=pd.DataFrame({"Mean return": returns, "Tasks": 1}),
        x_bin=float(f"{width or 1.0:.1g}"),
        y_lim=[0, None],  # else it starts at the lowest bar, which then has no height
        visible=len(returns) > 0,
    )
    rounded: dict[Any, Any] = dict.fromkeys(["Mean return", *parameters], "{:.4g}")
    newest = stored.head(LISTED).style.format(rounded, na_rep="")
    return tiles(totals) + message(STORED_NOTE, "note"), histogram, newest
