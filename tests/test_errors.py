"""What is asked of a number that somebody gives."""

import numpy as np
import pytest

from ssm_metarl.errors import UserError, check_whole


@pytest.mark.parametrize("value", [0, 1.0, 2.5, True, "5", None])
def test_what_is_no_number_of_things_is_named(value: object) -> None:
    with pytest.raises(UserError, match=r"episodes is .*; it must be a whole number, at least 1"):
        check_whole("episodes", value, 1)


@pytest.mark.parametrize("value", [1, 20, np.int64(3)])
def test_a_number_of_things_is_let_through(value: object) -> None:
    check_whole("episodes", value, 1)
