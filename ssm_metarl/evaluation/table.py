"""The tables that people read of an evaluation, in a terminal of 80 columns."""

from collections.abc import Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from ssm_metarl.evaluation.report import COMPARED, MODES, Evaluation, describe, label, part


def make_table(evaluation: Evaluation) -> Table:
    """Lay an evaluation out for a terminal of 80 columns, with the best mean in bold.

    Returns of five digits and more make it wider.

    Rows that print the same best mean are all bold.
    """
    rows = evaluation.results
    digits = 1 if any(abs(row.mean) >= 100 for row in rows) else 2
    means = _aligned([row.mean for row in rows], digits)
    lows = _aligned([row.ci95[0] for row in rows], digits)
    highs = _aligned([row.ci95[1] for row in rows], digits)
    best = f"{max((row.mean for row in rows), default=0.0):.{digits}f}"
    over = "tasks" if evaluation.tasks != 1 else "episodes"
    table = Table(
        title=escape(describe(evaluation)),
        caption="Return of complete episodes, stochastic policy. "
        f"[95% CI]: bootstrap over {over}.\n"
        "IQM: mean of the middle half of tasks. Greedy: taking the most likely action.\n"
        "Episodes and env steps: what adaptation used of each new task.",
        box=box.SIMPLE_HEAD,
        title_style="bold",
        title_justify="left",
        caption_justify="left",
        collapse_padding=True,
    )
    table.add_column("Mode", no_wrap=True)
    for name in ("Episodes", "Env\nsteps", "Mean return [95% CI]", "IQM", "Greedy"):
        table.add_column(name, justify="right", no_wrap=True)
    for row, following, mean, low, high in zip(
        rows, (*rows[1:], None), means, lows, highs, strict=True
    ):
        table.add_row(
            label(row.mode, row.steps, row.shots),
            f"{row.shots:,}",
            f"{row.adaptation_env_steps:,.0f}",
            f"{mean} [{low}, {high}]",
            f"{row.iqm:.{digits}f}",
            f"{row.deterministic_mean:.{digits}f}",
            style="bold" if mean.strip() == best else "",
            end_section=following is not None and part(following) != part(row),
        )
    return table


def _aligned(values: Sequence[float], digits: int) -> list[str]:
    """Format numbers to one width, so that those of a column stand under each other."""
    texts = [f"{value:.{digits}f}" for value in values]
    width = max(map(len, texts), default=0)
    return [text.rjust(width) for text in texts]


def make_difference_table(evaluation: Evaluation) -> Table | None:
    """Lay out how much better one mode is than another; None if no two were measured."""
    rows = evaluation.differences
    if not rows:
        return None
    pairs = list(dict.fromkeys((row.mode, row.than) for row in rows))
    said = (f"{_minus(*pair)}: {COMPARED[pair]}." for pair in pairs)
    table = Table(
        title="Differences",
        caption="\n".join(("Mean over tasks, paired by task. [95% CI]: bootstrap.", *said)),
        box=box.SIMPLE_HEAD,
        title_style="bold",
        title_justify="left",
        caption_justify="left",
        collapse_padding=True,
    )
    table.add_column("Return of the one minus the other", no_wrap=True)
    for name in ("Steps", "Episodes", "Difference [95% CI]"):
        table.add_column(name, justify="right", no_wrap=True)
    means, lows, highs = (
        _aligned(values, 1) for values in zip(*((row.mean, *row.ci95) for row in rows), strict=True)
    )
    for row, following, mean, low, high in zip(
        rows, (*rows[1:], None), means, lows, highs, strict=True
    ):
        pair = row.mode, row.than
        table.add_row(
            _minus(*pair),
            str(row.steps),
            f"{row.shots:,}",
            f"{mean} [{low}, {high}]",
            end_section=following is not None and (following.mode, following.than) != pair,
        )
    return table


def _minus(mode: str, than: str) -> str:
    return f"{MODES[mode]} minus {MODES[than]}"
