"""Bounds, rounding and types of actions, at the edges of what their types can hold."""

import numpy as np
import pytest

from ssm_metarl.core.actions import UNBOUNDED, limits, lower_bound, upper_bound, within

MOST = 2**63 - 1


def test_bounds_that_no_float_equals_become_narrower() -> None:
    assert (lower_bound(3, True), upper_bound(3, True)) == (3.0, 3.0)
    assert (lower_bound(-MOST, True), upper_bound(MOST, True)) == (1024.0 - 2**63, 2**63 - 1024.0)
    assert (lower_bound(-MOST - 1, True), lower_bound(MOST, True)) == (-(2.0**63), 2.0**63)
    assert (lower_bound(0.0, False), upper_bound(0.0, False)) == (-UNBOUNDED, UNBOUNDED)


def test_numbers_go_to_the_nearest_whole_one_and_exactly_to_a_bound() -> None:
    low, high = np.array([-128, 1], np.int8), np.array([127, 10], np.int8)
    values = np.array([[-1e30, 2.5], [1e30, 3.5], [-127.4, 10.4], [126.6, -0.4]], np.float32)
    found = within(values, low, high)
    assert found.dtype == np.int8
    assert found.tolist() == [[-128, 2], [127, 4], [-127, 10], [127, 1]]
    least, most = limits(np.dtype(np.int64))
    assert within(np.array([2.0**63, -(2.0**63)]), least, most).tolist() == [MOST, -MOST - 1]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_floats_are_not_rounded_and_nan_stays(kind: type) -> None:
    low, high = np.array([-1.0, 0.0, 0.0, 0.0], kind), np.ones(4, kind)
    found = within(np.array([-2.0, 0.25, np.nan, 5.0], np.float32), low, high)
    assert found.dtype == kind
    np.testing.assert_array_equal(found, [-1.0, 0.25, np.nan, 1.0])


@pytest.mark.parametrize(
    ("kind", "least", "most"),
    [("bool", False, True), ("uint8", 0, 255), ("int8", -128, 127), ("float16", -65504, 65504)],
)
def test_limits_are_those_of_the_type(kind: str, least: float, most: float) -> None:
    found = limits(np.dtype(kind))
    assert [one.item() for one in found] == [least, most]
    assert {one.dtype for one in found} == {np.dtype(kind)}
