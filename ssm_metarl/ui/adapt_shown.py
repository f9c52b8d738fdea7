"""What the first screen shows of an adaptation: it in words, and as a curve."""

from collections.abc import Sequence
from html import escape

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.evaluation.report import MODES, ModeResult, counted
from ssm_metarl.ui.charts import Axis, Line, chart
from ssm_metarl.ui.limits import EPISODES
from ssm_metarl.ui.query import Query
from ssm_metarl.ui.scales import reached, return_scale

ENOUGH = 0.95  # of the best return: from here on a way has adapted
INTRODUCTION = (
    "<p>This agent has trained on many CartPoles, each with its own physics, and on half of them "
    "<strong>left and right are swapped</strong>. It cannot know which one it is on until it has "
    "tried. Choose a task it has never met and see what a few episodes teach it.</p>"
)


def introduction(family: TaskFamily) -> str:
    """Say what a visitor is looking at."""
    if family.name == "CartPole-v1":
        return INTRODUCTION
    return (
        f"<p>This agent has trained on a family of tasks: {escape(family.description)}. Choose one "
        "that it has never met and see what a few episodes teach it.</p>"
    )


def message(text: str, kind: str) -> str:
    """Return a paragraph."""
    return f'<p class="{kind}" role="status">{escape(text)}</p>'


def before_of(rows: Sequence[ModeResult], mode: str) -> float:
    """Return the return before adapting; from scratch begins as another network."""
    own = mode if mode == "from_scratch" else "zero_shot"
    return next(row.mean for row in rows if row.mode == own and not row.shots)


def best_of(rows: Sequence[ModeResult], mode: str) -> ModeResult:
    """Return the first result of a way from which on more data gains little; it may be a loss."""
    own = [row for row in rows if row.mode == mode and (row.shots or mode == "in_context")]
    before = before_of(rows, mode)
    best = max(own, key=lambda row: row.mean)
    goal = before + ENOUGH * (best.mean - before)
    return next((row for row in own if row.mean >= goal), best)


def summary(rows: Sequence[ModeResult], family: TaskFamily) -> str:
    """Say in words what happened, for the page."""
    lead, *others = summary_text(rows, family)
    return message(lead, "outcome") + "".join(message(text, "others") for text in others)


def summary_text(rows: Sequence[ModeResult], family: TaskFamily) -> list[str]:
    """Say in words what happened: first of the best way, then of the others, if there are any.

    From scratch is there to compare with, and leads only where it is alone.
    """
    modes = list(dict.fromkeys(row.mode for row in rows if row.shots))
    if not modes:
        before = next(row.mean for row in rows if row.mode == "zero_shot")
        return [f"Without adapting, the agent {reached(before, family)}."]
    found = {mode: best_of(rows, mode) for mode in modes}
    leading = [mode for mode in modes if mode != "from_scratch"] or modes
    best = max(leading, key=lambda mode: (found[mode].mean, -found[mode].shots))
    row = found[best]
    equals = [
        mode
        for mode in leading
        if mode != best and (found[mode].mean, found[mode].shots) == (row.mean, row.shots)
    ]
    lead = (
        f"{_when(row).capitalize()}, the {MODES[best]} agent "
        f"{reached(row.mean, family)}{_as_well(equals)}; "
        f"before, {reached(before_of(rows, best), family, brief=True)}."
    )
    if not row.shots:
        lead = (
            f"Already in its first episode, while it works the task out, the {MODES[best]} agent "
            f"{reached(row.mean, family)}; more episodes add little."
        )
    others = "; ".join(
        f"{MODES[mode]}: {reached(found[mode].mean, family, brief=True)} {_when(found[mode])}"
        for mode in modes
        if mode not in (best, *equals)
    )
    return [lead, others] if others else [lead]


def _when(row: ModeResult) -> str:
    """Say how much of the task had been seen."""
    return f"after {counted(row.shots, 'episode')}" if row.shots else "in its first episode"


def _as_well(modes: Sequence[str]) -> str:
    """Say that others do the same."""
    names = " and ".join(f"the {MODES[mode]}" for mode in modes)
    return f", and so {'does' if len(modes) == 1 else 'do'} {names} one" if modes else ""


def curve_of(rows: Sequence[ModeResult], family: TaskFamily, query: Query) -> str:
    """Draw the return against the episodes used, a line for each way."""
    before = [row.mean for row in rows if row.mode == "zero_shot"]
    lines = []
    for mode in query.modes:
        points = [(float(row.shots), row.mean) for row in rows if row.mode == mode]
        if before and points and points[0][0] > 0:
            points = [(0.0, before[0]), *points]
        lines.append(Line(MODES[mode], mode, points))
    if before:
        lines.insert(0, Line("before adapting", "zero_shot", [(0.0, before[0])]))
    most = float(query.episodes * query.steps)
    alt = "; ".join(
        f"{line.name}: {line.points[-1][1]:.4g} after {counted(int(line.points[-1][0]), 'episode')}"
        for line in lines
        if line.points
    )
    return _curve(lines, family, most, f"Mean return against episodes used. {alt}")


def empty_curve(family: TaskFamily) -> str:
    """Draw the axes alone, so that nothing moves when the curve comes."""
    return _curve([], family, EPISODES.default, "No task has been met yet.")


def _curve(lines: Sequence[Line], family: TaskFamily, most: float, alt: str) -> str:
    y, rules = return_scale(family)
    return chart(lines, Axis("Episodes of the new task used", 0.0, most), y, alt, rules)
