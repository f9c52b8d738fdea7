"""What was recalled, as the page shows it: in words, as a table, and as charts."""

from collections.abc import Sequence
from html import escape

from ssm_metarl.analysis.names import (
    action_names,
    choice_effect,
    observation_names,
    with_unit,
)
from ssm_metarl.analysis.retrieval import Match, Retrieval, action_response, first_episode
from ssm_metarl.env_runner.family import Parameter, TaskFamily
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.evaluation.report import counted
from ssm_metarl.experience.records import StoredTask
from ssm_metarl.ui.adapt_shown import message
from ssm_metarl.ui.charts import Axis, Line, chart, histogram
from ssm_metarl.ui.query import Subject
from ssm_metarl.ui.sliders import reach
from ssm_metarl.ui.tables import note, numbered, percent, table

LISTED = 500  # stored tasks in the table, the newest


def in_words(found: Retrieval, subject: Subject) -> str:
    """Say what was recalled, and with what weight."""
    own = counted(found.episodes, "episode")
    if not found.used:
        best = found.matches[0].prediction_error
        return message("Nothing it remembers resembles this task.", "outcome") + message(
            f"The prediction error of the best match is {best:.3g} times what a model of a task "
            f"leaves unexplained of that task itself; beyond {found.limit:.3g}, none is trusted. "
            f"So hybrid learns from the {own} of the new task alone, as standard does.",
            "others",
        )
    lead = f"From {own}, hybrid recalls {found.used} earlier tasks that behave alike."
    mine = "one episode" if found.episodes == 1 else own
    verb = "weighs" if found.episodes == 1 else "weigh"
    parts = [f"The {mine} of the new task {verb} {found.own:.0%} in the gradient step"]
    parts += [
        f"task {match.task.id}{_kinship(match, subject)} weighs {match.weight:.0%}"
        for match in found.matches[:2]
        if match.weight > 0
    ]
    rest = sum(match.weight for match in found.matches[2:])
    parts += [f"the others together {rest:.0%}"] * (rest > 0)
    return message(lead, "outcome") + message("; ".join(parts) + ".", "others")


def _kinship(match: Match, subject: Subject) -> str:
    """Say whether a task has the same surprise in it as the new one."""
    for parameter in subject.family.parameters:
        if not parameter.choices:
            continue
        new, stored = subject.task.values[parameter.name][0], match.task.parameters[parameter.name]
        does = choice_effect(parameter)
        if new != parameter.default:
            return f", which {does} too," if stored == new else f", although it never {does},"
        if stored != new:
            return f", although it {does},"
    return ""


def matches_table(found: Retrieval, subject: Subject) -> str:
    """Return the recalled tasks beside the new one, each with its weight as a bar."""
    family = subject.family
    new = {name: float(values[0]) for name, values in subject.task.values.items()}
    heads = ["Task", "Share of the step", "Misfit"]
    heads += [escape(with_unit(p.name.replace("_", " "), p.unit)) for p in family.parameters]
    rows = [_row("the new task", "new", found.own, None, new, new, family)]
    rows += [
        _row(
            f"task {m.task.id}",
            "recalled",
            m.weight,
            m.prediction_error,
            m.task.parameters,
            new,
            family,
        )
        for m in found.matches
    ]
    last = found.unlike
    rows.append(
        _row(
            f"task {last.task.id}: least alike",
            "unlike",
            0.0,
            last.prediction_error,
            last.task.parameters,
            new,
            family,
        )
    )
    text = (
        "Misfit: how badly a small model of the earlier task foretells the new task's steps; "
        "near 1, or below, it is as good as for its own. In each cell the dot is the earlier task, "
        "the bar the new one, on the scale of the sliders."
    )
    return (
        "<h3>What it recalls</h3>"
        + table(heads, rows, "Recalled tasks beside the new one")
        + note(text)
    )


def _row(
    name: str,
    style: str,
    share: float,
    prediction_error: float | None,
    values: dict[str, float],
    new: dict[str, float],
    family: TaskFamily,
) -> str:
    bar = (
        f'<td class="share"><span class="bar"><span style="width: {100 * share:.1f}%"></span>'
        f"</span><b>{percent(share)}</b></td>"
    )
    fits = "" if prediction_error is None else f"{prediction_error:.3g}"
    cells = "".join(_cell(p, values[p.name], new[p.name], style) for p in family.parameters)
    return (
        f'<tr class="mark-{style}"><th scope="row">{escape(name)}</th>{bar}'
        f"<td>{fits}</td>{cells}</tr>"
    )


def _cell(parameter: Parameter, value: float, new: float, style: str) -> str:
    """Show a value, and where it is from that of the new task."""
    if parameter.choices:
        alike = "" if style == "new" else " (the same)" if value == new else " (differs)"
        kind = "differs" if value != new else "same"
        return f'<td class="{kind}">{value:g}<small>{alike}</small></td>'
    low, high = reach(parameter)
    here, there = (min(max((x - low) / (high - low), 0.0), 1.0) for x in (value, new))
    return (
        f'<td>{value:.3g}<span class="track" style="--here: {here:.3f}; --new: {there:.3f}">'
        "</span></td>"
    )


def overlay(found: Retrieval, family: TaskFamily) -> str:
    """Draw why the tasks match: episodes of three of them, one over the other."""
    names = [*observation_names(family), ("reward", "")]
    name, unit = names[found.telling]
    best = found.matches[0]
    shown = [
        (f"task {best.task.id}, the best match", "recalled", best.played),
        (f"task {found.unlike.task.id}, least alike", "unlike", found.unlike.played),
        ("the new task", "new", found.played),
    ]
    seen = [
        Line(
            label, style, numbered(first_episode(played)[0][:, found.telling].tolist()), dots=False
        )
        for label, style, played in shown
    ]
    alt = f"The {name} in the first episode of three tasks: " + "; ".join(
        f"{line.name}: from {line.points[0][1]:.2g} to {line.points[-1][1]:.2g}" for line in seen
    )
    steps = Axis("Step of the episode", 0.0)
    raw = chart(seen, steps, Axis(with_unit(name, unit).capitalize()), alt)
    reasons = _responses(shown, found.telling, name, unit, family)
    text = (
        f"The first episode of each: the {name}, by which the best match and the task least alike "
        "are told apart best. The prediction_error counts everything that is seen."
    )
    return f'<h3>Why these</h3><div class="pair">{reasons}<div>{note(text)}{raw}</div></div>'


def _responses(
    shown: Sequence[tuple[str, str, Trajectory]],
    telling: int,
    name: str,
    unit: str,
    family: TaskFamily,
) -> str:
    """Draw how each task answers to actions, and say which of the two the new one is like."""
    lines = [
        Line(label, style, numbered(action_response(played, telling)), dots=False)
        for label, style, played in shown
    ]
    match, unlike, new = (line.points[-1][1] for line in lines)
    nearer = "best match" if abs(new - match) < abs(new - unlike) else "one least alike"
    action = action_names(family, 2)[-1]
    alt = f"Running sums after the first episode: new {new:.2g}, {match:.2g}, {unlike:.2g}"
    drawn = chart(
        lines, Axis("Step of the episode", 0.0), Axis(f"Sum{f' ({unit})' * bool(unit)}"), alt
    )
    text = (
        f"How the {name} answers to {action}: its changes, added up where the agent did so and "
        f"subtracted where it did not. By this, the new task is nearer to the {nearer}."
    )
    return f'<div><p class="note">{escape(text)}</p>{drawn}</div>'


def store_shown(tasks: Sequence[StoredTask], family: TaskFamily) -> str:
    """Show everything that is remembered: numbers, a histogram of returns, and the tasks."""
    transitions = sum(task.transitions for task in tasks)
    returns = [task.mean_return for task in tasks if task.mean_return is not None]
    episodes = sum(task.episodes for task in tasks)
    facts = (
        ("tasks", f"{len(tasks):,}"),
        ("episodes", f"{episodes:,}"),
        ("steps", f"{transitions:,}"),
        ("mean return", f"{sum(returns) / len(returns):.4g}" if returns else "unknown"),
    )
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    bars = (
        histogram(
            returns,
            Axis("Mean return of a stored task"),
            Axis("Tasks"),
            f"Histogram of mean returns, from {min(returns):.3g} to {max(returns):.3g}",
            "recalled",
        )
        if returns
        else ""
    )
    heads = ["Task", "Iteration", "Episodes", "Steps", "Mean return"]
    heads += [escape(with_unit(p.name.replace("_", " "), p.unit)) for p in family.parameters]
    rows = [_stored_row(task, family) for task in reversed(tasks[-LISTED:])]
    what = "All of them, the newest first" if len(tasks) <= LISTED else f"The newest {LISTED}"
    return (
        '<h3>Everything it remembers</h3><div class="pair top"><div>'
        f'<dl class="facts">{tiles}</dl>'
        '<p class="note">These are episodes of training, played before adapting: no wonder that '
        f"they are short of the best possible.</p></div>{bars}</div>"
        f"<details><summary>{what}</summary>{table(heads, rows, 'Stored tasks')}</details>"
    )


def _stored_row(task: StoredTask, family: TaskFamily) -> str:
    earned = "" if task.mean_return is None else f"{task.mean_return:.4g}"
    numbers = [f"{task.label}", f"{task.episodes}", f"{task.transitions:,}", earned]
    numbers += [f"{task.parameters[p.name]:.3g}" for p in family.parameters]
    cells = "".join(f"<td>{number}</td>" for number in numbers)
    return f'<tr><th scope="row">{task.id}</th>{cells}</tr>'
