"""The tables say what they should, in 80 columns."""

import dataclasses
import io

from rich.console import Console
from sample_results import EVALUATION, HYBRID, result

from ssm_metarl.evaluation.report import Evaluation, differences
from ssm_metarl.evaluation.table import make_difference_table, make_table


def rendered(evaluation: Evaluation) -> str:
    """The table as a terminal of 100 columns would show it, styles as ANSI codes."""
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system="standard")
    console.print(make_table(evaluation))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def plain(evaluation: Evaluation) -> str:
    """The table without styles."""
    console = Console(file=io.StringIO(), width=100)
    console.print(make_table(evaluation))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_table_shows_every_number_of_a_row() -> None:
    lines = [" ".join(line.split()) for line in plain(EVALUATION).splitlines()]
    assert "standard, 1 step 20 690 481.2 [480.9, 481.6] 481.4 482.2" in lines
    assert "from scratch, 1 step 1,000 34,500 83.0 [ 82.7, 83.3] 83.1 84.0" in lines


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


def test_the_table_of_differences_has_a_row_for_each_in_80_columns() -> None:
    alone = dataclasses.replace(EVALUATION, results=EVALUATION.results[:1], differences=())
    assert make_difference_table(alone) is None
    table = make_difference_table(HYBRID)
    assert table is not None
    console = Console(file=io.StringIO(), width=80)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    lines = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]
    assert "hybrid minus standard 1 1 180.0 [180.0, 180.0]" in lines
    assert "hybrid minus standard 1 20 -1.0 [ -1.0, -1.0]" in lines


def test_the_whole_table_is_what_people_read() -> None:
    lines = [line.rstrip() for line in plain(EVALUATION).splitlines()]
    text = "\n".join(" ".join(line.split()) for line in lines)
    for head in ("Episodes", "Env", "steps", "Mean return [95% CI]", "IQM", "Greedy"):
        assert f" {head}" in f" {text}".replace("\n", " ")
    assert "XX" not in text
    assert lines[0] == "CartPole-v1: 3 held-out tasks, seed 0"
    assert lines[-3:] == [
        "Return of complete episodes, stochastic policy. [95% CI]: bootstrap over tasks.",
        "IQM: mean of the middle half of tasks. Greedy: taking the most likely action.",
        "Episodes and env steps: what adaptation used of each new task.",
    ]
    numbers = [line for line in lines if "[" in line and "CI" not in line]
    assert len(numbers) == len(EVALUATION.results)
    rows = [line for line in lines if any(char.isalnum() for char in line)]
    breaks = [number for number, line in enumerate(lines) if not line]
    assert rows.index(numbers[0]) < rows.index(numbers[1])
    assert any(lines.index(numbers[0]) < at < lines.index(numbers[1]) for at in breaks)
    assert lines.index(numbers[2]) == lines.index(numbers[1]) + 1  # of one mode


def test_the_table_of_differences_says_what_it_is() -> None:
    compared = differences(EVALUATION.results, 0)
    table = make_difference_table(dataclasses.replace(EVALUATION, differences=compared))
    assert table is not None
    assert table.title == "Differences"
    assert str(table.caption).startswith("Mean over tasks, paired by task. [95% CI]: bootstrap.\n")


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
