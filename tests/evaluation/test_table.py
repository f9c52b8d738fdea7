"""The tables say what they should, in 80 columns."""

import dataclasses
import io

from rich.console import Console
from rich.table import Table
from sample_results import EVALUATION, HYBRID, result

from ssm_metarl.evaluation.report import (
    Evaluation,
    Success,
    differences,
    success_rates,
    with_success,
)
from ssm_metarl.evaluation.table import make_difference_table, make_table

RATES = ((0.04, 0.0, 0.1), (0.5, 0.4, 0.6), (1.0, 1.0, 1.0), (0.1, 0.05, 0.25))
SOLVED = tuple(
    dataclasses.replace(row, success=Success(mean, (low, high), mean, (mean,) * 3))
    for row, (mean, low, high) in zip(EVALUATION.results, RATES, strict=True)
)
SOLVED = dataclasses.replace(
    EVALUATION,
    results=(*SOLVED, result("from_scratch", 20, 1, 81.25), result("hybrid", 40, 2, 499.5)),
)
SOLVED = dataclasses.replace(
    SOLVED,
    results=tuple(with_success(SOLVED.results)),
    differences=differences(SOLVED.results, seed=0),
    success_differences=differences(success_rates(SOLVED.results), seed=0),
)


def printed(table: Table | None, **terminal: object) -> str:
    """The table as a terminal of 100 columns shows it."""
    assert table is not None
    console = Console(file=io.StringIO(), width=100, **terminal)  # pyright: ignore
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def rendered(evaluation: Evaluation) -> str:
    """The table of an evaluation, with styles as ANSI codes."""
    return printed(make_table(evaluation), force_terminal=True, color_system="standard")


def plain(evaluation: Evaluation) -> str:
    """The table of an evaluation, without styles."""
    return printed(make_table(evaluation))


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


def test_a_table_of_returns() -> None:
    assert lines(plain(EVALUATION)) == lines("""
CartPole-v1: 3 held-out tasks, seed 0

                                     Env
  Mode                  Episodes   steps  Mean return [95% CI]    IQM  Greedy
 ─────────────────────────────────────────────────────────────────────────────
  zero-shot                    0       0   34.0 [ 33.7,  34.3]   34.1    35.0

  standard, 1 step            20     690  481.2 [480.9, 481.6]  481.4   482.2
  standard, 2 steps           40   1,380  499.0 [498.7, 499.3]  499.1   500.0

  from scratch, 1 step     1,000  34,500   83.0 [ 82.7,  83.3]   83.1    84.0

Return of complete episodes, stochastic policy. [95% CI]: bootstrap over tasks.
IQM: mean of the middle half of tasks. Greedy: taking the most likely action.
Episodes and env steps: what adaptation used of each new task.
""")


def test_a_table_with_success_rates() -> None:
    assert lines(plain(SOLVED)) == lines("""
CartPole-v1: 3 held-out tasks, seed 0

                                     Env                             Success %
  Mode                  Episodes   steps  Mean return [95% CI]        [95% CI]
 ──────────────────────────────────────────────────────────────────────────────
  zero-shot                    0       0   34.0 [ 33.7,  34.3]    4 [  0,  10]

  standard, 1 step            20     690  481.2 [480.9, 481.6]   50 [ 40,  60]
  standard, 2 steps           40   1,380  499.0 [498.7, 499.3]  100 [100, 100]

  from scratch, 1 step     1,000  34,500   83.0 [ 82.7,  83.3]   10 [  5,  25]
  from scratch, 1 step        20     690   81.2 [ 80.9,  81.6]    0 [  0,   0]

  hybrid, 2 steps             40   1,380  499.5 [499.2, 499.8]    0 [  0,   0]

Return of complete episodes, stochastic policy. [95% CI]: bootstrap over tasks.
Success: the share of these episodes in which the task was solved.
Episodes and env steps: what adaptation used of each new task.
""")


def test_a_table_of_differences() -> None:
    assert lines(printed(make_difference_table(SOLVED))) == lines("""
Differences

  Return of the one minus the other  Steps  Episodes   Difference [95% CI]
 ──────────────────────────────────────────────────────────────────────────
  hybrid minus standard                  2        40    0.5 [  0.5,   0.5]

  standard minus from scratch            1        20  400.0 [400.0, 400.0]

  standard minus zero-shot               1        20  447.2 [447.2, 447.2]
  standard minus zero-shot               2        40  465.0 [465.0, 465.0]

Mean over tasks, paired by task. [95% CI]: bootstrap.
hybrid minus standard: what recalling earlier tasks adds to the same
episodes.
standard minus from scratch: what meta-training adds to the same steps.
standard minus zero-shot: what the steps add.
""")


def test_a_table_of_differences_of_success_rates() -> None:
    assert lines(printed(make_difference_table(SOLVED, success=True))) == lines("""
Differences of success rates

  Success of the one minus the other  Steps  Episodes  Difference [95% CI]
 ──────────────────────────────────────────────────────────────────────────
  standard minus zero-shot                1        20         46% [46, 46]
  standard minus zero-shot                2        40         96% [96, 96]

Mean over tasks, paired by task. [95% CI]: bootstrap.
standard minus zero-shot: what the steps add.
""")


def test_without_differences_there_is_no_table_of_them() -> None:
    assert make_difference_table(EVALUATION) is None
    assert make_difference_table(HYBRID, success=True) is None


def test_success_rates_of_returns_in_the_thousands_fit_80_columns() -> None:
    far = [
        dataclasses.replace(row, mean=-1480.0, ci95=(-1530.0, -1430.0)) for row in SOLVED.results
    ]
    text = printed(make_table(dataclasses.replace(SOLVED, results=tuple(far))))
    assert "-1480 [-1530, -1430]" in text
    assert max(map(len, text.splitlines())) <= 80


def test_differences_fit_80_columns() -> None:
    text = printed(make_difference_table(HYBRID), force_terminal=True)
    assert max(len(line) for line in lines(printed(make_difference_table(HYBRID)))) <= 80
    assert text.startswith("\x1b[1mDifferences ")


def test_table_fits_100_columns_without_cutting_anything() -> None:
    wide = dataclasses.replace(
        EVALUATION,
        results=(
            dataclasses.replace(result("from_scratch", 12_000, 10, -1234.5), mode="from_scratch"),
            result("zero_shot", 0, 0, -1000.0),
        ),
    )
    text = plain(wide)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    assert "from scratch, 10 steps" in text
    assert "-1234.5 [-1234.8, -1234.2]" in text


def test_only_the_best_mean_is_bold() -> None:
    bold = [line for line in rendered(EVALUATION).splitlines() if "\x1b[1m" in line]
    rows = [line for line in bold if "step" in line and "Mode" not in line]
    assert bold[0].startswith("\x1b[1mCartPole-v1: 3 held-out tasks, seed 0")
    assert len(rows) == 1
    assert "standard, 2 steps" in rows[0]


def test_means_that_print_alike_are_bold_alike() -> None:
    tie = dataclasses.replace(
        EVALUATION, results=(result("standard", 5, 1, 499.98), result("hybrid", 5, 1, 500.0))
    )
    rows = [line for line in rendered(tie).splitlines() if "1 step" in line]
    assert len(rows) == 2
    assert all("\x1b[1m" in row for row in rows)


def test_small_returns_get_two_digits_and_names_are_not_markup() -> None:
    small = dataclasses.replace(
        EVALUATION, family="[red]Nav[/red]", results=(result("standard", 40, 1, -3.125),)
    )
    text = plain(small)
    assert "-3.12 [-3.46, -2.79]" in text
    assert "[red]Nav[/red]" in text


def test_returns_have_two_digits_unless_one_is_100_or_more() -> None:
    for largest, shown in ((100.0, "100.0"), (-100.0, "-100.0"), (99.9, "99.90")):
        rows = result("standard", 1, 1, largest), result("standard", 1, 2, 3.0)
        assert f" {shown} [" in plain(dataclasses.replace(EVALUATION, results=rows))


def test_nothing_is_minus_zero() -> None:
    rows = result("standard", 1, 1, -0.04), result("standard", 1, 2, 100.0)
    text = plain(dataclasses.replace(EVALUATION, results=rows))
    assert " 0.0 [" in text
    assert "-0.0" not in text


def test_captions_say_what_is_resampled_and_left_out() -> None:
    failed = dataclasses.replace(EVALUATION.results[0], failed_episodes=1)
    one = dataclasses.replace(EVALUATION, tasks=1, results=(failed, EVALUATION.results[1]))
    said = " ".join(plain(one).split())
    assert "[95% CI]: bootstrap over episodes." in said
    assert said.endswith(" Left out: 1 episode that failed.")


def test_a_table_without_results_has_its_heading() -> None:
    text = plain(dataclasses.replace(EVALUATION, results=()))
    assert text.startswith("CartPole-v1: 3 held-out tasks, seed 0")
    assert "Greedy" in text
