"""The tables that people read of an evaluation, in a terminal of 80 columns."""

from collections.abc import Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from ssm_metarl.evaluation.report import (
    COMPARED,
    MODES,
    Evaluation,
    ModeDifference,
    ModeResult,
    counted,
    describe,
    label,
    part,
)

IQM_AND_GREEDY = "IQM: mean of the middle half of tasks. Greedy: taking the most likely action."
SUCCESS = "Success: the share of these episodes in which the task was solved."


def make_table(evaluation: Evaluation) -> Table:
    """Lay an evaluation out for a terminal of 80 columns, with the best mean in bold.

    Returns of five digits and more make it wider. Rows that print the same best mean are all bold.
    Success rates, where there are any, take the place of the last two columns.
    """
    rows = evaluation.results
    rates = evaluation.of_success.results
    largest = max((abs(row.mean) for row in rows), default=0.0)
    digits = 2 if largest < 100 else 1 if largest < 1000 or not rates else 0
    best = f"{max((row.mean for row in rows), default=0.0):.{digits}f}"
    over = "tasks" if evaluation.tasks != 1 else "episodes"
    failed = sum(row.failed_episodes or 0 for row in rows)
    left_out = f"\nLeft out: {counted(failed, 'episode')} that failed." if failed else ""
    table = _table(
        escape(describe(evaluation)),
        "Return of complete episodes, stochastic policy. "
        f"[95% CI]: bootstrap over {over}.\n{SUCCESS if rates else IQM_AND_GREEDY}\n"
        f"Episodes and env steps: what adaptation used of each new task.{left_out}",
        (
            *("Mode", "Episodes", "Env\nsteps", "Mean return [95% CI]"),
            *(("Success %\n[95% CI]",) if rates else ("IQM", "Greedy")),
        ),
    )
    last = (
        [(rate.replace("%", ""),) for rate in _intervals(rates, 0, percent=True)]
        if rates
        else [(f"{row.iqm:.{digits}f}", f"{row.deterministic_mean:.{digits}f}") for row in rows]
    )
    above = None
    for row, interval, others in zip(rows, _intervals(rows, digits), last, strict=True):
        if part(row) != above:
            table.add_section()
        above = part(row)
        table.add_row(
            label(row.mode, row.steps, row.shots),
            f"{row.shots:,}",
            f"{row.adaptation_env_steps:,.0f}",
            interval,
            *others,
            style="bold" if f"{row.mean:.{digits}f}" == best else "",
        )
    return table


def make_difference_table(evaluation: Evaluation, *, success: bool = False) -> Table | None:
    """Lay out how much better one mode is than another; None if no two were measured.

    Args:
        evaluation: All modes.
        success: Compare success rates, in percentage points, rather than returns.
    """
    rows = evaluation.success_differences if success else evaluation.differences
    if not rows:
        return None
    pairs = list(dict.fromkeys((row.mode, row.than) for row in rows))
    said = (f"{_minus(*pair)}: {COMPARED[pair]}." for pair in pairs)
    what = "Success" if success else "Return"
    table = _table(
        "Differences of success rates" if success else "Differences",
        "\n".join(("Mean over tasks, paired by task. [95% CI]: bootstrap.", *said)),
        (f"{what} of the one minus the other", "Steps", "Episodes", "Difference [95% CI]"),
    )
    above = None
    intervals = _intervals(rows, 0 if success else 1, percent=success)
    for row, interval in zip(rows, intervals, strict=True):
        pair = row.mode, row.than
        if pair != above:
            table.add_section()
        above = pair
        table.add_row(_minus(*pair), str(row.steps), f"{row.shots:,}", interval)
    return table


def _table(title: str, caption: str, columns: Sequence[str]) -> Table:
    """Return an empty table whose columns are numbers but for the first."""
    table = Table(
        title=title,
        caption=caption,
        box=box.SIMPLE_HEAD,
        title_style="bold",
        title_justify="left",
        caption_justify="left",
        collapse_padding=True,
    )
    for name in columns:
        table.add_column(name, justify="left" if name == columns[0] else "right", no_wrap=True)
    return table


def _intervals(
    rows: Sequence[ModeResult] | Sequence[ModeDifference], digits: int, *, percent: bool = False
) -> list[str]:
    """Return ``480.0 [470.1, 491.2]`` for each row, with numbers that stand under each other.

    In percent it is ``48% [47, 49]``.
    """
    columns, factor, sign = [], 100.0 if percent else 1.0, "%" if percent else ""
    for values in zip(*((row.mean, *row.ci95) for row in rows), strict=True):
        rounded = (round(factor * value, digits) + 0.0 for value in values)  # no -0
        texts = [f"{value:.{digits}f}" for value in rounded]
        columns.append([text.rjust(max(map(len, texts))) for text in texts])
    return [f"{mean}{sign} [{low}, {high}]" for mean, low, high in zip(*columns, strict=True)]


def _minus(mode: str, than: str) -> str:
    return f"{MODES[mode]} minus {MODES[than]}"
