"""A comparison, as the page shows it beside the words: curves, scatters, and a table."""

from collections.abc import Iterator, Sequence
from html import escape

from ssm_metarl.commands.common import best_return
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.evaluation.report import MODES, counted, label
from ssm_metarl.ui.charts import Axis, Line, Rule, chart
from ssm_metarl.ui.comparing import Measured
from ssm_metarl.ui.comparison_words import distinguishable
from ssm_metarl.ui.tables import note, table

SHARED = "≈"  # beside a mean that others may equal
DASHES = ("", " dash-1", " dash-2", " dash-3")  # of the first run, the second, ...


def curves(found: Sequence[Measured]) -> str:
    """Draw return against the episodes used: a chart per family, a line per agent and way."""
    names = list(dict.fromkeys(one.family.name for one in found)) or ["CartPole-v1"]
    drawn = ""
    for name in names:
        family, group = get_family(name), [one for one in found if one.family.name == name]
        lines = [line for dash, one in enumerate(group) for line in _lines(one, dash, len(group))]
        best = best_return(family)
        axis = Axis("Mean return" + " (steps)" * (best is not None), 0.0 if best else None)
        if best:
            axis = Axis(axis.label, 0.0, 1.05 * best)
        rules = [Rule(best, "best possible")] if best else []
        most = max((row.shots for one in group for row in one.rows), default=20)
        x = Axis("Episodes of the new task used", 0.0, float(most))
        alt = "Mean return against episodes used. " + "; ".join(
            f"{line.name}: {line.points[-1][1]:.4g} after {line.points[-1][0]:g} episodes"
            for line in lines
        )
        title = f"<h3>{escape(name)}</h3>" if len(names) > 1 else ""
        drawn += title + chart(lines, x, axis, alt, rules)
    return drawn


def _lines(one: Measured, dash: int, several: int) -> Iterator[Line]:
    start = one.row("zero_shot")
    for mode, name in MODES.items():
        rows = sorted(one.of(mode), key=lambda row: row.shots)
        if not rows or (mode == "zero_shot" and len(one.rows) > 1):
            continue  # the other lines start there
        if start and mode in ("standard", "hybrid"):
            rows = [start, *rows]
        yield Line(
            f"{one.run}: {name}" if several > 1 else name,
            mode + DASHES[dash],
            [(float(row.shots), row.mean) for row in rows],
            [row.ci95 for row in rows],
            dots=several == 1,
        )


def scatters(found: Sequence[Measured]) -> str:
    """Draw each task's return after adapting against before, a chart per agent."""
    drawn = [_scatter(one) for one in found if one.row("zero_shot")]
    drawn = [one for one in drawn if one]
    if not drawn:
        return ""
    text = (
        "Every point is a task: how it went before adapting, and after with as little data as was "
        "measured. Above the line, adapting helped."
    )
    return f"<h3>Task by task</h3>{note(text)}<div class='pair'>{''.join(drawn)}</div>"


def _scatter(one: Measured) -> str:
    before = one.row("zero_shot")
    after = [row for mode in MODES if mode != "zero_shot" and (row := one.row(mode))]
    if before is None or not after:
        return ""
    lines = [
        Line(
            f"{MODES[row.mode]}, {counted(row.shots, 'episode')}",
            row.mode,
            list(zip(before.per_task, row.per_task, strict=True)),
            joined=False,
        )
        for row in after
    ]
    values = [value for row in (before, *after) for value in row.per_task]
    low, high = min(0.0, *values), max(values)
    across, upward = (Axis(f"Return {when} adapting", low, high) for when in ("before", "after"))
    alt = f"{one.run}: " + "; ".join(
        f"{line.name}: better on {sum(y > x for x, y in line.points)} of {len(line.points)} tasks"
        for line in lines
    )
    drawn = chart(lines, across, upward, alt, diagonal="no change")
    return f"<div><h4>{escape(one.run)}</h4>{drawn}</div>"


def results_table(found: Sequence[Measured]) -> str:
    """Return every measurement as a row; an agent's best is marked, and what may be as good."""
    heads = [
        "How it met the tasks",
        "Episodes",
        "Env steps",
        "Mean return",
        "95% interval",
        "IQM",
        "Greedy",
    ]
    rows = [row for one in found for row in _rows(one, len(found) > 1)]
    if not rows:
        return ""
    text = (
        "Episodes and environment steps: what adapting used of each task. IQM: mean of the middle "
        "half of the tasks. Greedy: always taking the likeliest action. Bold: an agent's best, "
        f"where the tasks tell it from all its others with 95% confidence; else {SHARED} marks the "
        "best and what is not distinguishable from it."
    )
    return "<h3>In numbers</h3>" + table(heads, rows, "Results") + note(text)


def _rows(one: Measured, several: bool) -> Iterator[str]:
    if several:
        yield f'<tr class="group"><th scope="rowgroup" colspan="7">{escape(one.run)}</th></tr>'
    best = max(one.rows, key=lambda row: row.mean, default=None)
    top = [row for row in one.rows if best and not distinguishable(best, row, one.plan.seed)]
    for row in one.rows:
        shared = f" {SHARED}" if row in top and len(top) > 1 else ""
        name = label(row.mode, row.steps, row.shots)
        low, high = row.ci95
        cells = (
            f"{row.shots:,}",
            f"{row.adaptation_env_steps:,.0f}",
            f"{row.mean:.4g}{shared}",
            f"{low:.4g} to {high:.4g}",
            f"{row.iqm:.4g}",
            f"{row.deterministic_mean:.4g}",
        )
        kind = f"mark-{row.mode}{' best' if [row] == top else ''}"
        inner = "".join(f"<td>{cell}</td>" for cell in cells)
        yield f'<tr class="{kind}"><th scope="row">{escape(name)}</th>{inner}</tr>'
