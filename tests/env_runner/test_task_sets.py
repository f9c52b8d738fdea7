"""Families whose tasks are a fixed collection, and parameters whose values have names."""

import gymnasium
import numpy as np
import pytest
from numpy.random import SeedSequence

import ssm_metarl as sm

KINDS = ("push", "pull", "turn")


def numbered(kinds: list[int], places: list[int]) -> sm.Tasks:
    rows = np.array([(kind, place) for place in places for kind in kinds], np.float64)
    return sm.Tasks(
        {"kind": rows[:, 0], "place": rows[:, 1]}, np.arange(len(rows)), {"kind": KINDS}
    )


SETS = {
    "training": numbered([0, 1], [0, 1, 2]),
    "validation": numbered([0, 1], [3]),
    "held_out": numbered([2], [0, 1, 2, 3]),
}
FAMILY = sm.TaskFamily(
    "Kinds",
    make=lambda task: gymnasium.make("CartPole-v1"),
    parameters=[
        sm.Parameter("kind", choices=(0, 1, 2), labels=KINDS),
        sm.Parameter("place", choices=tuple(range(30))),
    ],
    max_episode_steps=10,
    task_sets=SETS,
)


def pairs(tasks: sm.Tasks) -> list[tuple[float, float]]:
    return list(zip(tasks.values["kind"], tasks.values["place"], strict=True))


def test_training_draws_each_of_a_set_before_any_again() -> None:
    drawn = FAMILY.sample(12, SeedSequence(0))
    known = sorted(pairs(SETS["training"]))
    assert sorted(pairs(drawn[:6])) == sorted(pairs(drawn[6:])) == known
    assert pairs(drawn[:6]) != known
    assert pairs(FAMILY.sample(4, SeedSequence(0))) == pairs(drawn[:4])
    assert pairs(FAMILY.sample(6, SeedSequence(1))) != pairs(drawn[:6])
    assert drawn.index.tolist() == list(range(12))  # two draws of a task have streams of their own


def test_fixed_sets_are_its_own() -> None:
    assert pairs(FAMILY.held_out()) == pairs(SETS["held_out"])
    assert pairs(FAMILY.validation(1)) == pairs(SETS["validation"])[:1]
    with pytest.raises(sm.UserError, match="no shifted tasks; valid: held_out, training"):
        FAMILY.shifted()


def test_values_with_names_are_said_and_taken_by_them() -> None:
    task = FAMILY.task(kind="turn", place=3)
    assert task["kind"] == 2.0
    assert task.describe(0) == "kind=turn, place=3"
    assert FAMILY.held_out()[1].describe(0) == "kind=turn, place=1"
    with pytest.raises(sm.UserError, match="kind 'tirn': did you mean 'turn'"):
        FAMILY.task(kind="tirn")
    with pytest.raises(sm.UserError, match="kind must be one of push, pull, turn, got 3"):
        FAMILY.task(kind=3)
    with pytest.raises(sm.UserError, match="place must be one of 30, 0 to 29, got 30"):
        FAMILY.task(place=30)
    with pytest.raises(sm.UserError, match="place must be a number, got 'here'"):
        FAMILY.task(place="here")
