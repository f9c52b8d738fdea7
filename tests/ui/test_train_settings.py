"""What a visitor may ask of a training, and what it is said to take."""

from typing import Any

import pytest

from ssm_metarl.errors import UserError
from ssm_metarl.meta_rl.registry import LEARNERS
from ssm_metarl.ui.limits import TRAINING
from ssm_metarl.ui.train_settings import (
    PACE,
    clamped,
    defaults,
    duration,
    expected_seconds,
    is_large,
    iterations_of,
    train_settings,
)

ASKED = ("CartPole-v1", "meta_rl", 2, 10)


def test_numbers_are_brought_within_their_limits() -> None:
    config = train_settings(
        "CartPole-v1", "rl2", 1e9, 200, None, None, 1e300, -5, None, "gru", float("inf")
    )
    assert config.num_epochs == TRAINING["num_epochs"]
    assert config.tasks_per_epoch == TRAINING["tasks_per_epoch"]
    assert config.width == 1
    assert config.inner_lr is None
    assert config.device == "cpu"
    assert not config.trust_env_code


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("os.path:Env-v0", "meta_rl", 2, 10), "families"),
        (("Blackjack-v1", "meta_rl", 2, 10), "families"),
        ((["CartPole-v1"], "meta_rl", 2, 10), "families"),
        (("CartPole-v1", "evil", 2, 10), "meta_rl, policy_gradient, rl2"),
        (("CartPole-v1", ["meta_rl"], 2, 10), "meta_rl, rl2, policy_gradient"),
        (("CartPole-v1", "meta_rl", float("nan"), 10), "iterations must be a number"),
        (("CartPole-v1", "meta_rl", "2", 10), "iterations must be a number"),
        ((*ASKED, True), "inner_lr must be a number"),
        ((*ASKED, None, float("nan")), "outer_lr must be a number"),
        ((*ASKED, None, None, None, None, None, "lstm"), "lstm.*gru"),
        ((*ASKED, None, None, None, None, None, "ssm", None), "seed must be a number"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(asked: tuple[Any, ...], words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        train_settings(*asked)
    assert "\n" not in str(error.value)


def test_what_is_brought_within_its_limits_is_said() -> None:
    assert list(clamped([0.01, 0.001, 16, None, 8])) == []
    rate, tasks, width = clamped([5.0, 0.001, 3.5, 10_000, None])
    assert rate == "inner_lr: 1 is taken; valid here: 1e-06 to 1."
    assert tasks == "tasks_per_epoch: 4 is taken; valid here: 1 to 64."
    assert width == "width: 128 is taken; valid here: 1 to 128."


def test_every_learner_of_every_family_has_a_time_and_defaults() -> None:
    for family, paces in PACE.items():
        assert paces.keys() == LEARNERS.keys()
        for learner in LEARNERS:
            config = train_settings(family, learner, 40, 200)
            assert expected_seconds(config) == pytest.approx(paces[learner] * iterations_of(config))
            assert all(value is None or value > 0 for value in defaults(family, learner).values())
    once, twice = (
        train_settings("CartPole-v1", "meta_rl", 40, 9, None, None, n) for n in (None, 32)
    )
    assert expected_seconds(twice) == 2 * expected_seconds(once)
    assert is_large(train_settings("CartPole-v1", "meta_rl", 40, 9, None, None, None, 128, 16))
    assert not is_large(train_settings("CartPole-v1", "meta_rl", 40, 9, None, None, None, 16, 8))
    assert not is_large(twice)


def test_times_are_said_no_more_exactly_than_they_are_known() -> None:
    said = [duration(seconds) for seconds in (1.0, 44.0, 100.0, 7200.0)]
    assert said == ["a few seconds", "about 45 s", "about 2 min", "about 2.0 h"]


def test_what_suits_the_family_is_left_to_it() -> None:
    usual = defaults("Pendulum-v1", "rl2")
    config = train_settings("Pendulum-v1", "rl2", 2, 10, *usual.values())
    assert {getattr(config, name) for name in usual} == {None}
    assert train_settings("Pendulum-v1", "rl2", 2, 10, None, 0.5).outer_lr == 0.1  # the most
