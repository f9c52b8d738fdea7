"""Memory: what an agent remembers, and which earlier tasks hybrid adaptation uses for a new one."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gradio as gr
import pandas as pd
from pandas.io.formats.style_render import StylerRenderer

from ssm_metarl.analysis import retrieval
from ssm_metarl.analysis.names import action_names, observation_names, with_unit
from ssm_metarl.analysis.retrieval import Retrieval
from ssm_metarl.env_runner.family import Parameter, TaskFamily
from ssm_metarl.evaluation.report import counted
from ssm_metarl.experience.records import StoredTask
from ssm_metarl.ui.api import Json, endpoint
from ssm_metarl.ui.figures import line_plot, lines_of
from ssm_metarl.ui.jobs import HEAVY
from ssm_metarl.ui.lazy_tab import fill, query_of, task_line
from ssm_metarl.ui.limits import EPISODES, SEED, integer
from ssm_metarl.ui.query import Query, Subject
from ssm_metarl.ui.sliders import reach
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.widgets import TABLE, cell_bar, message, percent, tiles

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
BINS = 12  # of the histogram of returns, about
LISTED = 500  # stored tasks in the table, the newest


def build(store: RunStore, run: gr.Dropdown, query: gr.State, place: gr.State) -> None:
    """Add the tab to the page: of the agent ``run`` and the last ``query``, when it is opened."""
    steps: dict[str, Any] = {"color_map": COLOURS, "x_title": "Step of the first episode"}
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
            with gr.Row():
                with gr.Column(min_width=320):
                    response_note = gr.HTML()
                    response = line_plot(**steps)
                with gr.Column(min_width=320):
                    observed_note = gr.HTML()
                    observed = line_plot(**steps)
            gr.HTML("<h3>Everything it remembers</h3>")
            with gr.Row():
                with gr.Column(min_width=320):
                    facts = gr.HTML(elem_id="memory-facts")
                    gr.HTML(f'<p class="note">{STORED_NOTE}</p>')
                with gr.Column(min_width=320):
                    returns = gr.BarPlot(x="Mean return", y="Tasks", y_aggregate="sum", height=220)
            with gr.Accordion(f"The stored tasks, the newest first (at most {LISTED})", open=False):
                stored = gr.Dataframe(elem_id="memory-store", max_height=420, **TABLE)
    outputs = [outcome, own, found, matches, response_note, response, observed_note, observed]

    def show(run_id: str, last: dict, by: str) -> Iterator[Sequence[Any]]:
        asked, mine = query_of(store, run_id, last)
        yield shown(Subject.of(store, asked), asked, by, mine=mine)

    def memory(
        run: Json,
        task: Json = None,
        episodes: Json = 1,
        seed: Json = SEED.default,
    ) -> Json:
        """Return which earlier tasks hybrid adaptation recalls for a task, with their weights."""
        asked = Query.asked(run, task or {}, [], episodes, 1, seed)
        subject = Subject.of(store, asked)
        found = retrieved(subject, integer(EPISODES, "episodes", episodes), asked.seed)
        return retrieval.as_numbers(found, retrieval.stored_tasks(subject.agent))

    fill("Memory", place, [run, query, own], show, [*outputs, facts, returns, stored])
    endpoint(memory, concurrency_id=HEAVY, concurrency_limit=1)


def shown(subject: Subject, query: Query, own: str, *, mine: bool) -> Sequence[Any]:
    """Return the values of the tab's outputs; ``own`` is :data:`ONE` or :data:`ALL` episodes."""
    found = retrieved(subject, 1 if own == ONE else query.episodes, query.seed)
    several = gr.update(visible=found is not None and query.episodes > 1)
    if found is None:
        told = message(NOTHING, "outcome") + message(WITHOUT, "others")
        return told, several, gr.update(visible=False), *[gr.skip()] * 8
    return (
        in_words(found) + task_line(subject.family, query, mine=mine),
        several,
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
    if not found.used:
        line = (
            f"The best match has a prediction error of {best.prediction_error:.3g}, above the "
            f"limit of {found.limit:.3g}. Hybrid then does what standard does."
        )
        return message("No earlier task resembles this one.", "outcome") + message(line, "others")
    line = (
        f"Weight in the gradient step: {after} of the new task {percent(found.own)}, "
        f"task {best.task.id} {percent(best.weight)}."
    )
    lead = f"From {after}, hybrid recalls {counted(found.used, 'earlier task')}."
    return message(lead, "outcome") + message(line, "others")


def matches_table(found: Retrieval, subject: Subject) -> StylerRenderer:
    """Return the new task, the matches and the task least alike, with bars in the cells."""
    family, last = subject.family, found.unlike
    new = {name: float(values[0]) for name, values in subject.task.values.items()}
    rows = [("new task", "new", found.own, math.nan, new)]
    rows += [
        (f"task {one.task.id}", "recalled", one.weight, one.prediction_error, one.task.parameters)
        for one in found.matches
    ]
    name = f"task {last.task.id}, least alike"
    rows.append((name, "unlike", 0.0, last.prediction_error, last.task.parameters))
    names, kinds, weights, errors, tasks = zip(*rows, strict=True)
    share, error = "Share of the step", "Prediction error"
    heads = dict(zip(parameter_names(family), family.parameters, strict=True))
    table = pd.DataFrame(
        {"Task": names, share: weights, error: errors}
        | {head: [task[p.name] for task in tasks] for head, p in heads.items()}
    )
    pairs = list(zip(tasks, kinds, strict=True))
    styles = pd.DataFrame(
        {
            "Task": [f"box-shadow: inset 4px 0 var(--mark-{kind})" for kind in kinds],
            share: [cell_bar(w, f"var(--mark-{k})") for w, k in zip(weights, kinds, strict=True)],
            error: "",
        }
        | {h: [_place(p, t[p.name], new[p.name], k) for t, k in pairs] for h, p in heads.items()}
    )
    formats: dict[Any, Any] = {share: percent, **dict.fromkeys([error, *heads], "{:.3g}")}
    return table.style.apply(lambda _: styles, axis=None).format(formats, na_rep="")


def parameter_names(family: TaskFamily) -> list[str]:
    """Return the names of a family's parameters with their units."""
    return [with_unit(p.name.replace("_", " "), p.unit) for p in family.parameters]


def _place(parameter: Parameter, value: float, new: float, kind: str) -> str:
    """Mark a value by a dot and that of the new task by a bar, from the least to the greatest."""
    if parameter.choices:
        return "" if value == new else "color: var(--mark-unlike); font-weight: 600"
    low, high = reach(parameter)
    dot, bar = (100 * min(max((x - low) / (high - low), 0.02), 0.98) for x in (value, new))
    edge = f"calc({bar:.0f}% - 1px), var(--mark-new) 0, var(--mark-new) calc({bar:.0f}% + 2px)"
    return (
        f"background: radial-gradient(circle at {dot:.0f}% calc(100% - 5px), var(--mark-{kind}) "
        f"3.5px, transparent 4px), linear-gradient(to right, transparent {edge}, transparent 0) "
        "0 100% / 100% 10px no-repeat"
    )


def comparison(found: Retrieval, family: TaskFamily) -> tuple[str, Any, str, Any]:
    """Return why these tasks match: two notes, each with its line plot.

    Both show the observation by which the best match and the task least alike differ most.
    """
    best, unlike = found.matches[0], found.unlike
    names = [*observation_names(family), ("reward", "")]
    name, unit = names[found.telling]
    played = dict(zip(COLOURS, (best.played, unlike.played, found.played), strict=True))
    sums = {who: retrieval.action_response(one, found.telling) for who, one in played.items()}
    seen = {
        who: retrieval.first_episode(one)[0][:, found.telling].tolist()
        for who, one in played.items()
    }
    action = action_names(family, 2)[-1]
    return (
        message(
            f"Response of the {name} to {action}, summed over the episode: it rises where the "
            f"action raises it. Best match: task {best.task.id}; least alike: {unlike.task.id}.",
            "note",
        ),
        plot(sums, with_unit("Sum", unit)),
        message(f"The {name} itself, by which the two differ most.", "note"),
        plot(seen, with_unit(name, unit).capitalize()),
    )


def plot(lines: Mapping[str, Sequence[float]], title: str) -> Any:
    """Return an update of a line plot over steps."""
    return gr.update(value=lines_of({n: enumerate(v) for n, v in lines.items()}), y_title=title)


def store_shown(tasks: Sequence[StoredTask], family: TaskFamily) -> tuple[str, Any, pd.DataFrame]:
    """Return everything that is stored: totals, a histogram of returns, and the newest tasks."""
    returns = [task.mean_return for task in tasks if task.mean_return is not None]
    mean = f"{sum(returns) / len(returns):.4g}" if returns else "unknown"
    totals = {
        "Tasks": f"{len(tasks):,}",
        "Episodes": f"{sum(task.episodes for task in tasks):,}",
        "Steps": f"{sum(task.transitions for task in tasks):,}",
        "Mean return": mean,
    }
    width = (max(returns) - min(returns)) / BINS if returns else 0.0
    bars = pd.DataFrame({"Mean return": returns, "Tasks": [1] * len(returns)})
    histogram = gr.update(value=bars, x_bin=float(f"{width or 1.0:.1g}"), visible=bool(returns))
    newest = [
        [task.id, task.label, task.episodes, task.transitions, _short(task.mean_return)]
        + [_short(task.parameters[parameter.name]) for parameter in family.parameters]
        for task in reversed(tasks[-LISTED:])
    ]
    heads = ["Task", "Iteration", "Episodes", "Steps", "Mean return", *parameter_names(family)]
    return tiles(totals), histogram, pd.DataFrame(newest, columns=heads)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
