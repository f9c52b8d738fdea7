"""What goes into environments in lanes, and what comes out."""

import gymnasium
import numpy as np
import pytest

from ssm_metarl.env_runner.lane_records import (
    MAX_REWARD,
    Records,
    block_type,
    records_of,
    unusable,
)

OBSERVATION = gymnasium.spaces.Box(-np.inf, np.inf, (3,), dtype=np.float32)


def make_records(lanes: int) -> Records:
    return records_of(np.zeros((), block_type(OBSERVATION, gymnasium.spaces.Discrete(2), lanes)))


def test_a_part_writes_into_the_whole() -> None:
    records = make_records(4)
    part = records.part(slice(1, 3))
    part.observation[:], part.action[:], part.reward[:], part.flags[:] = 2, 1, 0.5, True
    np.testing.assert_array_equal(records.observation[:, 0], [0, 2, 2, 0])
    np.testing.assert_array_equal(records.action, [0, 1, 1, 0])
    np.testing.assert_array_equal(records.reward, [0, 0.5, 0.5, 0])
    assert records.flags.sum() == 8


def test_large_numbers_are_usable() -> None:
    records = make_records(4)  # sums of their squares are too large
    records.observation[:], records.reward[:] = 3e38, -MAX_REWARD
    assert not unusable(records)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["observation", "reward"])
def test_what_is_not_finite_is_found(field: str, value: float) -> None:
    records = make_records(4)
    getattr(records, field)[2] = value
    assert list(unusable(records)) == [2]
    assert field in unusable(records)[2]


def test_rewards_that_are_too_large_are_found() -> None:
    records = make_records(3)
    records.reward[:] = 1.0, 2 * MAX_REWARD, 1e300
    assert list(unusable(records)) == [1, 2]
