"""The JSON contract round-trips and is strict; modes are compared where they had the same data."""

import dataclasses
import json

import numpy as np
import pytest
from sample_results import EVALUATION, HYBRID, result

from ssm_metarl.evaluation.report import (
    ModeDifference,
    describe,
    differences,
    label,
    part,
)
from ssm_metarl.evaluation.statistics import paired_difference


def test_json_holds_every_number_exactly() -> None:
    empty = dataclasses.replace(EVALUATION, results=())
    for evaluation in (EVALUATION, HYBRID, empty):
        expected = json.loads(json.dumps(dataclasses.asdict(evaluation)))
        del expected["success_differences"], expected["software"]  # which are empty
        for row in expected["results"]:
            del row["success"], row["failed_episodes"]
        assert json.loads(evaluation.to_json()) == expected


def test_json_has_a_result_on_each_line() -> None:
    *results, last = (json.dumps(row.to_record()) for row in EVALUATION.results)
    assert EVALUATION.to_json().split("\n") == [
        '{"family": "CartPole-v1", "tasks": 3, "seed": 0, "split": "held_out", "results": [',
        *(f"  {row}," for row in results),
        f"  {last}",
        '], "differences": []}',
        "",
    ]


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
    assert label("hybrid", 1000) == "hybrid, 1,000 steps"
    assert describe(EVALUATION) == "CartPole-v1: 3 held-out tasks, seed 0"
    one = dataclasses.replace(EVALUATION, tasks=1, split="shifted", seed=7)
    assert describe(one) == "CartPole-v1: 1 shifted task, seed 7"


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


def test_the_parts_of_a_table_stand_in_order() -> None:
    rows = (("zero_shot", 0), ("in_context", 0), ("standard", 2), ("in_context", 2), ("hybrid", 1))
    assert [part(result(mode, 1, steps, 0.0)) for mode, steps in rows] == [0, 1, 2, 3, 4]


def test_one_task_is_not_compared_with_itself() -> None:
    rows = (result("zero_shot", 0, 0, 34.0), result("standard", 20, 1, 481.25))
    for tasks, count in ((1, 0), (2, 1)):
        few = tuple(dataclasses.replace(row, per_task=row.per_task[:tasks]) for row in rows)
        assert len(differences(few, 0)) == count
    assert differences((), 0) == ()
