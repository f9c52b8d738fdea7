"""A comparison in words: what adapting was worth, and which agent is better, where one is."""

from collections.abc import Iterator, Sequence

import numpy as np

from ssm_metarl.evaluation.report import MODES, ModeResult, counted, label
from ssm_metarl.evaluation.statistics import Difference, paired_difference
from ssm_metarl.ui.adapt_shown import message
from ssm_metarl.ui.comparing import Measured

LEADING = ("hybrid", "in_context", "standard", "from_scratch")  # not the best: chosen before


def in_words(found: Sequence[Measured]) -> str:
    """Say what came out, task by task where two things are compared."""
    measured = [one for one in found if one.rows]
    if not measured:
        return message("Nothing was measured.", "outcome")
    several = len(measured) > 1
    lines = [line for group in by_family(measured) for line in _standing(group) if several]
    for say in (_lead, _recall_gain):
        for one in measured:
            for line in say(one):
                named = several or not lines  # the page's agent may have changed meanwhile
                lines.append(f"{one.run}: {line}" if named else _capital(line))
    first, *others = [*lines, *_between_runs(measured)]
    return message(first, "outcome") + "".join(message(line, "others") for line in others)


def by_family(found: Sequence[Measured]) -> list[list[Measured]]:
    """Return the agents of each family; only they met the same tasks."""
    names = dict.fromkeys(one.family.name for one in found)
    return [[one for one in found if one.family.name == name] for name in names]


def distinguishable(one: ModeResult, other: ModeResult, seed: int) -> bool:
    """Whether the tasks tell which of two is better, with 95% confidence."""
    low, high = _difference(one, other, seed).ci95
    return not low <= 0.0 <= high


def _standing(group: Sequence[Measured]) -> Iterator[str]:
    """Name every agent with what it earns, the best first, and say whether it is told apart."""
    ranked = sorted(group, key=lambda one: -_leading(one).mean)
    rows, seed = [_leading(one) for one in ranked], ranked[0].plan.seed
    each = [
        f"{one.run} {row.mean:.4g} ({_how(row)})" for one, row in zip(ranked, rows, strict=True)
    ]
    top = [row for row in rows if not distinguishable(rows[0], row, seed)]
    names = [one.run for one in ranked if _leading(one) in top]
    if len(ranked) == 1:
        lead = ""
    elif len(top) == 1:
        lead = f"{names[0]} earns most: "
    elif all(row.per_task == top[0].per_task for row in top):
        lead = f"{_listed(names)} {'both' if len(names) == 2 else 'all'} earn the same: "
    else:
        lead = f"{_listed(names)} are not distinguishable: "
    yield f"{lead}{'; '.join(each)}, on average of {counted(len(ranked[0].tasks), 'task')}."


def _leading(one: Measured) -> ModeResult:
    """Return the result that speaks for an agent: of the way that `LEADING` names first."""
    return next((row for mode in LEADING if (row := one.row(mode))), one.rows[0])


def _how(row: ModeResult) -> str:
    after = f"after {counted(row.shots, 'episode')}"
    return f"{MODES[row.mode]}, {after}" if row.shots else "without adapting"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _lead(one: Measured) -> Iterator[str]:
    """Say what adapting was worth, in the way that `LEADING` names first, whatever came out."""
    before, after = one.row("zero_shot"), _leading(one)
    if before is None:
        return
    if after == before:
        yield f"without adapting, {before.mean:.4g} on average of {len(one.tasks)} tasks."
        return
    most = one.row(after.mode, most=True)
    later = "" if most is None or most == after else f"; after {most.shots}, {most.mean:.4g}"
    yield (
        f"after {counted(after.shots, 'episode')}, {MODES[after.mode]} adaptation earns "
        f"{after.mean:.4g} on average{later}; before, {before.mean:.4g}."
    )
    gain = _difference(after, before, one.plan.seed)
    better = sum(a > b for a, b in zip(after.per_task, before.per_task, strict=True))
    yield (
        f"{counted(after.shots, 'episode')} made it better on {better} of "
        f"{len(one.tasks)} tasks, by {gain.mean:.4g} on average {_range(gain.ci95)}."
    )


def _recall_gain(one: Measured) -> Iterator[str]:
    """Say what recalling earlier tasks was worth, at the least data."""
    pairs = [d for d in one.evaluation().differences if (d.mode, d.than) == ("hybrid", "standard")]
    for gain in sorted(pairs, key=lambda pair: pair.shots)[:1]:
        yield (
            f"recalling earlier tasks, from the same {counted(gain.shots, 'episode')} hybrid "
            f"earns {_much(gain.mean)} standard, task by task {_range(gain.ci95)}."
        )


def _between_runs(found: Sequence[Measured]) -> Iterator[str]:
    """Compare each further run of a family with the first, by the same way and data."""
    for first, *others in by_family(found):
        for other in others:
            pair = _alike(first, other)
            if pair is None:
                continue
            mine, theirs = pair
            gain = _difference(theirs, mine, first.plan.seed)
            data = f", {counted(mine.shots, 'episode')}" if mine.shots else ""
            yield (
                f"{label(mine.mode, mine.steps).capitalize()}{data}: "
                f"{other.run} earns "
                f"{_much(gain.mean)} {first.run} on the same tasks {_range(gain.ci95)}."
            )


def _much(difference: float) -> str:
    """Say how much more or less, up to what it is compared with."""
    if not difference:
        return "as much as"
    return f"{abs(difference):.3g} {'more' if difference > 0 else 'less'} than"


def _range(ci95: tuple[float, float]) -> str:
    """Return an interval in words, and whether it leaves open which of two is better."""
    low, high = ci95
    open_ = "; it may be chance" if low <= 0.0 <= high and low < high else ""
    return f"(95% sure: {low:+.3g} to {high:+.3g}{open_})"


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
