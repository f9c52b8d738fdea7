"""What is asked of a number that somebody gives."""

import numpy as np
import pytest

from ssm_metarl.errors import UserError, check_whole


@pytest.mark.parametrize("value", [1.0, 2.5, True, "5", None])
def test_what_is_no_number_of_things_is_named(value: object) -> None:
    with pytest.raises(UserError, match=r"episodes is .*; it must be a whole number, at least 1"):
        check_whole("episodes", value, 1)


@pytest.mark.parametrize("value", [1, 20, np.int8(100)])
def test_a_number_of_things_comes_back_as_a_plain_one(value: int) -> None:
    assert type(check_whole("episodes", value, 1)) is int
    assert check_whole("episodes", value, 1) == value


@pytest.mark.parametrize(("value", "words"), [(0, "at least 1"), (10**30, "at most 9223")])
def test_numbers_out_of_range_are_named(value: int, words: str) -> None:
    with pytest.raises(UserError, match=f"episodes is {value}; it must be {words}"):
        check_whole("episodes", value, 1)
