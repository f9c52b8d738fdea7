"""The settings of a network: which are refused, in what words, and which a run hands on."""

import math

import pytest

from ssm_metarl.core.config import PolicyConfig, check_ring, from_settings
from ssm_metarl.errors import UserError


@pytest.mark.parametrize(
    ("r_min", "r_max", "expected"),
    [
        (0.5, None, "--r_min needs --r_max too; they must be 0 <= r_min < r_max < 1"),
        (None, 0.5, "--r_max needs --r_min too; they must be 0 <= r_min < r_max < 1"),
        (0.5, 0.5, "--r_min is 0.5 and --r_max is 0.5; they must be 0 <= r_min < r_max < 1"),
        (0.0, 1.0, "--r_min is 0.0 and --r_max is 1.0; they must be"),
        (-0.1, 0.5, "--r_min is -0.1 and"),
    ],
)
def test_a_ring_is_named_with_what_it_must_be(
    r_min: float | None, r_max: float | None, expected: str
) -> None:
    with pytest.raises(UserError, match=f"^{expected}"):
        check_ring(r_min, r_max)


def test_the_ends_of_what_is_allowed_are_allowed() -> None:
    check_ring(None, None)
    check_ring(0.0, 1e-9)
    assert PolicyConfig(max_phase=2.0 * math.pi).max_phase == 2.0 * math.pi
    for phase in (0.0, 6.2832):
        expected = f"^max_phase is {phase}; it must be above 0, at most 2 pi$"
        with pytest.raises(UserError, match=expected):
            PolicyConfig(max_phase=phase)


def test_a_run_hands_on_the_settings_that_have_its_names() -> None:
    found = from_settings(PolicyConfig, {"width": 7, "num_epochs": 3, "norm": True}, norm=False)
    assert found == PolicyConfig(width=7)
