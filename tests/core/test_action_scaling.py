"""From a policy's numbers to an environment's bounds, and from recorded actions back."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from ssm_metarl.core.actions import UNBOUNDED
from ssm_metarl.core.spaces import LARGEST, Spaces

SCALE = np.ones(3)


def test_recorded_numbers_become_those_of_a_policy() -> None:
    low, high = [-2.0, 0.0, 5.0, -np.inf], [4.0, np.inf, 5.0, np.inf]
    spaces = Spaces.of(SCALE, Box(np.array(low), np.array(high), dtype=np.float64))
    found = spaces.from_environment(np.array([[1.0, 7.0, 5.0, -1e300], [4.0, 0.5, 5.0, 1e300]]))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[0.0, 7.0, 0.0, -LARGEST], [1.0, 0.5, 0.0, LARGEST]])
    small = Spaces.of(SCALE, Discrete(3, start=-1, dtype=np.int8))
    index = small.from_environment(np.array([-1, 1], np.int8))
    assert (index.dtype, index.tolist()) == (np.int64, [0, 2])


@pytest.mark.parametrize(
    ("low", "high", "scaled"),
    [
        (-LARGEST / 3, LARGEST / 3, True),
        (-LARGEST / 2, LARGEST / 2, False),
        (-LARGEST, -LARGEST / 2, False),
        (LARGEST / 2, LARGEST, False),
    ],
)
def test_ranges_that_float32_cannot_hold_are_not_scaled(
    low: float, high: float, scaled: bool
) -> None:
    spaces = Spaces((1.0,), 1, False, (low,), (high,))
    assert (spaces.action_scaling(torch.zeros(1)) is not None) is scaled


def test_only_some_dimensions_are_told_apart() -> None:
    like = torch.zeros(2, dtype=torch.float64)
    whole = Spaces((1.0,), 2, False, (-2.0, 0.0), (4.0, 1.0)).action_scaling(like)
    part = Spaces((1.0,), 2, False, (-2.0, 0.0), (4.0, UNBOUNDED)).action_scaling(like)
    assert whole is not None
    assert part is not None
    assert whole.scaled is None
    assert part.scaled is not None
    assert part.scaled.tolist() == [True, False]
    assert (part.low.dtype, part.low.tolist()) == (torch.float64, [-2.0, -1.0])
    assert Spaces((1.0,), 2, True).action_scaling(like) is None
