"""The JSON contract round-trips and is strict; the table says what it should in 100 columns."""

import dataclasses
import io
import json

import numpy as np
import pytest
from rich.console import Console

from ssm_metarl.evaluation.report import (
    Evaluation,
    ModeDifference,
    ModeResult,
    describe,
    differences,
    label,
    part,
)
from ssm_metarl.evaluation.statistics import paired_difference
from ssm_metarl.evaluation.table import make_difference_table, make_table


def result(mode: str, shots: int, steps: int, mean: float) -> ModeResult:
    """A result of three tasks around a mean."""
    return ModeResult(
        mode=mode,
        shots=shots,
        steps=steps,
        mean=mean,
        iqm=mean + 0.1,
        ci95=(mean - 1 / 3, mean + 1 / 3),
        adaptation_env_steps=34.5 * shots,
        deterministic_mean=mean + 1,
        per_task=(mean - 1, mean, mean + 1),
    )


EVALUATION = Evaluation(
    family="CartPole-v1",
    tasks=3,
    seed=0,
    split="held_out",
    results=(
        result("zero_shot", 0, 0, 34.0),
        result("standard", 20, 1, 481.25),
        result("standard", 40, 2, 499.0),
        result("from_scratch", 1000, 1, 83.0),
    ),
)


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


def test_json_holds_every_number_exactly() -> None:
    empty = dataclasses.replace(EVALUATION, results=())
    for evaluation in (EVALUATION, HYBRID, empty):
        expected = json.loads(json.dumps(dataclasses.asdict(evaluation)))
        del expected["success_differences"], expected["software"]  # which are empty
        for row in expected["results"]:
            del row["success"], row["failed_episodes"]
        assert json.loads(evaluation.to_json()) == expected


def test_json_has_the_keys_of_the_contract() -> None:
    raw = json.loads(EVALUATION.to_json())
    assert list(raw) == ["family", "tasks", "seed", "split", "results", "differences"]
    assert list(raw["results"][0]) == [
        "mode",
        "shots",
        "steps",
        "mean",
        "iqm",
        "ci95",
        "adaptation_env_steps",
        "deterministic_mean",
        "per_task",
    ]
    assert raw["results"][1]["ci95"] == [481.25 - 1 / 3, 481.25 + 1 / 3]


def test_numbers_that_json_cannot_say_are_never_written() -> None:
    broken = dataclasses.replace(EVALUATION.results[0], mean=float("nan"))
    with pytest.raises(ValueError, match="not JSON compliant"):
        dataclasses.replace(EVALUATION, results=(broken,)).to_json()


def test_names_are_those_people_use() -> None:
    assert label("zero_shot") == "zero-shot"
    assert label("in_context") == "in-context"
    assert label("in_context", 0, 2) == "in-context, 2 episodes"
    assert label("in_context", 1, 23) == "1 step + in-context"
    assert label("standard", 1) == "standard, 1 step"
    assert label("standard", 1, 20) == "standard, 1 step"
    assert label("from_scratch", 3) == "from scratch, 3 steps"
    assert describe(EVALUATION) == "CartPole-v1: 3 held-out tasks, seed 0"


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


HYBRID = dataclasses.replace(
    EVALUATION,
    results=(
        result("standard", 1, 1, 300.0),
        result("standard", 20, 1, 480.0),
        result("standard", 40, 2, 490.0),
        result("hybrid", 1, 1, 480.0),
        result("hybrid", 20, 1, 479.0),
        result("hybrid", 60, 3, 495.0),
    ),
)
HYBRID = dataclasses.replace(HYBRID, differences=differences(HYBRID.results, seed=0))


def test_only_results_of_the_same_data_are_compared_except_with_zero_shot() -> None:
    assert HYBRID.differences == (
        ModeDifference("hybrid", "standard", 1, 1, 180.0, (180.0, 180.0)),
        ModeDifference("hybrid", "standard", 20, 1, -1.0, (-1.0, -1.0)),
    )
    both = (*EVALUATION.results, result("from_scratch", 20, 1, 81.25))
    memory = (
        result("in_context", shots, steps, 100.0) for shots, steps in ((0, 0), (3, 0), (4, 1))
    )
    assert differences((*both, *memory), seed=0) == (
        ModeDifference("standard", "from_scratch", 20, 1, 400.0, (400.0, 400.0)),
        ModeDifference("standard", "zero_shot", 20, 1, 447.25, (447.25, 447.25)),
        ModeDifference("standard", "zero_shot", 40, 2, 465.0, (465.0, 465.0)),
        ModeDifference("in_context", "zero_shot", 3, 0, 66.0, (66.0, 66.0)),
    )


def test_intervals_of_differences_are_of_the_seed() -> None:
    mine, theirs = np.random.default_rng(0).normal(size=(2, 12))
    rows = [
        dataclasses.replace(result(mode, 20, 1, 0.0), per_task=tuple(returns.tolist()))
        for mode, returns in (("standard", mine), ("from_scratch", theirs))
    ]
    (found,) = differences(rows, seed=5)
    assert found.ci95 == paired_difference(mine[None], theirs[None], seed=5).ci95
    assert found.ci95 != paired_difference(mine[None], theirs[None]).ci95


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


def test_the_parts_of_a_table_stand_in_order() -> None:
    rows = (("zero_shot", 0), ("in_context", 0), ("standard", 2), ("in_context", 2), ("hybrid", 1))
    assert [part(result(mode, 1, steps, 0.0)) for mode, steps in rows] == [0, 1, 2, 3, 4]


def test_one_task_is_not_compared_with_itself() -> None:
    rows = (result("zero_shot", 0, 0, 34.0), result("standard", 20, 1, 481.25))
    for tasks, count in ((1, 0), (2, 1)):
        few = tuple(dataclasses.replace(row, per_task=row.per_task[:tasks]) for row in rows)
        assert len(differences(few, 0)) == count


def test_the_table_of_differences_says_what_it_is() -> None:
    compared = differences(EVALUATION.results, 0)
    table = make_difference_table(dataclasses.replace(EVALUATION, differences=compared))
    assert table is not None
    assert table.title == "Differences"
    assert str(table.caption).startswith("Mean over tasks, paired by task. [95% CI]: bootstrap.\n")
