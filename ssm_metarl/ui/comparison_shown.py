"""A comparison, as the page shows it: in words, as curves and scatters, and as a table."""

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from ssm_metarl.commands.common import best_return
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.evaluation.report import MODES, ModeResult, counted, label
from ssm_metarl.evaluation.statistics import Difference, paired_difference
from ssm_metarl.ui.adapt_shown import told
from ssm_metarl.ui.charts import Axis, Line, Rule, chart
from ssm_metarl.ui.comparing import Measured
from ssm_metarl.ui.tables import note, table

LEADING = ("hybrid", "in_context", "standard", "from_scratch")  # not the best: chosen before
DASHES = ("", " dash-1", " dash-2", " dash-3")  # of the first run, the second, ...


def in_words(found: Sequence[Measured]) -> str:
    """Say what came out, task by task where two things are compared."""
    if not any(one.rows for one in found):
        return told("Nothing was measured.", "outcome")
    lines = [line for one in found for line in _lead(one, several=len(found) > 1)]
    gains = [line for one in found for line in _recall_gain(one, several=len(found) > 1)]
    between = list(_between_runs(found))
    first, *others = lines
    rest = [*others, *gains, *between]
    return told(_capital(first), "outcome") + "".join(told(_capital(t), "others") for t in rest)


def _capital(text: str) -> str:
    """Begin a sentence, unless it begins with the name of a run, which stays as it is."""
    return text if ": " in text.split(",")[0] else text[0].upper() + text[1:]


def _lead(one: Measured, *, several: bool) -> Iterator[str]:
    """Say what adapting was worth, in the way that `LEADING` names first, whatever came out."""
    whose = f"{one.run}: " if several else ""
    before = one.row("zero_shot")
    if before is None:
        return
    after = next((row for mode in LEADING if (row := one.row(mode))), None)
    if after is None:
        yield f"{whose}without adapting, {before.mean:.4g} on average of {len(one.tasks)} tasks."
        return
    most = one.row(after.mode, most=True)
    later = "" if most is None or most == after else f"; after {most.shots}, {most.mean:.4g}"
    yield (
        f"{whose}after {counted(after.shots, 'episode')}, {MODES[after.mode]} adaptation earns "
        f"{after.mean:.4g} on average{later}; before, {before.mean:.4g}."
    )
    gain = _difference(after, before, one.plan.seed)
    better = sum(a > b for a, b in zip(after.per_task, before.per_task, strict=True))
    yield (
        f"{whose}{counted(after.shots, 'episode')} made it better on {better} of "
        f"{len(one.tasks)} tasks, by {gain.mean:.4g} on average {_range(gain.ci95)}."
    )


def _range(ci95: tuple[float, float]) -> str:
    """Return an interval in words, and whether it leaves open which of two is better."""
    low, high = ci95
    open_ = "; it may be chance" if low <= 0.0 <= high else ""
    return f"(95% sure: {low:+.3g} to {high:+.3g}{open_})"


def _recall_gain(one: Measured, *, several: bool) -> Iterator[str]:
    """Say what recalling earlier tasks was worth, at the least data."""
    whose = f"{one.run}: " if several else ""
    pairs = [d for d in one.evaluation().differences if (d.mode, d.than) == ("hybrid", "standard")]
    for gain in sorted(pairs, key=lambda pair: pair.shots)[:1]:
        word = "more" if gain.mean > 0 else "less"
        yield (
            f"{whose}recalling earlier tasks, from the same {counted(gain.shots, 'episode')} "
            f"hybrid earns {abs(gain.mean):.3g} {word} than standard, task by task "
            f"{_range(gain.ci95)}."
        )


def _between_runs(found: Sequence[Measured]) -> Iterator[str]:
    """Compare each further run of a family with the first, by the same way and data."""
    for name in dict.fromkeys(one.family.name for one in found):
        first, *others = [one for one in found if one.family.name == name]
        for other in others:
            pair = _alike(first, other)
            if pair is None:
                continue
            mine, theirs = pair
            gain = _difference(theirs, mine, first.plan.seed)
            word = "more" if gain.mean > 0 else "less"
            yield (
                f"{label(mine.mode, mine.steps, mine.shots).capitalize()}: {other.run} earns "
                f"{abs(gain.mean):.3g} {word} than {first.run} on the same tasks "
                f"{_range(gain.ci95)}."
            )


def _alike(first: Measured, other: Measured) -> tuple[ModeResult, ModeResult] | None:
    """Return the results of two runs in the same way from the same data, the least they used."""
    theirs = {(row.mode, row.shots, row.steps): row for row in other.rows}
    pairs = [
        (row, theirs[key])
        for row in first.rows
        for key in [(row.mode, row.shots, row.steps)]
        if key in theirs and row.mode != "from_scratch"
    ]
    adapted = [pair for pair in pairs if pair[0].shots]
    return min(adapted or pairs, key=lambda pair: pair[0].shots, default=None)


def _difference(a: ModeResult, b: ModeResult, seed: int) -> Difference:
    mine, theirs = (np.array(row.per_task)[None] for row in (a, b))
    return paired_difference(mine, theirs, seed=seed)


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
    """Return every measurement as a row, the best of each agent in bold."""
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
        "half of the tasks. Greedy: always taking the likeliest action."
    )
    return "<h3>In numbers</h3>" + table(heads, rows, "Results") + note(text)


def _rows(one: Measured, several: bool) -> Iterator[str]:
    if several:
        yield f'<tr class="group"><th scope="rowgroup" colspan="7">{escape(one.run)}</th></tr>'
    best = max((row.mean for row in one.rows), default=0.0)
    for row in one.rows:
        name = label(row.mode, row.steps, row.shots)
        low, high = row.ci95
        cells = (
            f"{row.shots:,}",
            f"{row.adaptation_env_steps:,.0f}",
            f"{row.mean:.4g}",
            f"{low:.4g} to {high:.4g}",
            f"{row.iqm:.4g}",
            f"{row.deterministic_mean:.4g}",
        )
        kind = f"mark-{row.mode}{' best' if row.mean == best else ''}"
        inner = "".join(f"<td>{cell}</td>" for cell in cells)
        yield f'<tr class="{kind}"><th scope="row">{escape(name)}</th>{inner}</tr>'
