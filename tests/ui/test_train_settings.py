"""What a visitor may ask of a training, and what it is said to take."""

from typing import Any

import pytest

from ssm_metarl.errors import UserError
from ssm_metarl.meta_rl.registry import LEARNERS
from ssm_metarl.training.pace import PACE, duration, expected_seconds, is_large, iterations_of
from ssm_metarl.ui.form import expect
from ssm_metarl.ui.train_settings import defaults, train_settings

ASKED = ("CartPole-v1", "meta_rl", 2, 10)


def test_the_most_that_the_page_trains_with() -> None:
    config = train_settings("CartPole-v1", "rl2", 400.0, 200, None, 0.1, 64, 128, 1, "gru", 3)
    assert (config.num_epochs, config.tasks_per_epoch, config.width) == (400, 64, 128)
    assert (config.inner_lr, config.outer_lr, config.seed) == (None, 0.1, 3)
    assert (config.device, config.trust_env_code) == ("cpu", False)
    assert config.compile == "off"  # nobody could stop it meanwhile


def test_what_steps_change_is_asked_of_learners_that_train_them() -> None:
    choices = *[None] * 5, "gru", 0, "context", "loaded_dice"
    for learner, adapts in (("promp", "context"), ("reptile", "all"), ("rl2", "all")):
        config = train_settings("CartPole-v1", learner, 4, 10, *choices)
        assert (config.adapts, config.surrogate) == (adapts, "loaded_dice")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("os.path:Env-v0", "meta_rl", 2, 10), "families"),
        (("Blackjack-v1", "meta_rl", 2, 10), "families"),
        ((["CartPole-v1"], "meta_rl", 2, 10), "families"),
        (("CartPole-v1", "evil", 2, 10), "policy_gradient, .*rl2"),
        (("CartPole-v1", ["meta_rl"], 2, 10), "meta_rl, .*rl2, policy_gradient"),
        (("CartPole-v1", "meta_rl", float("nan"), 10), "iterations must be a whole number"),
        (("CartPole-v1", "meta_rl", "2", 10), "iterations must be a whole number from 1 to 400"),
        (("CartPole-v1", "meta_rl", 401, 10), "iterations must be a whole number from 1 to 400"),
        (("CartPole-v1", "meta_rl", 2.5, 10), "iterations must be a whole number from 1 to 400"),
        ((*ASKED, True), "inner_lr must be a number"),
        ((*ASKED, None, float("nan")), "outer_lr must be a number"),
        ((*ASKED, None, None, None, None, None, "lstm"), "lstm.*gru"),
        ((*ASKED, None, None, None, 129), "width must be a whole number from 1 to 128"),
        ((*ASKED, None, None, None, None, None, "ssm", None), "seed must be a whole number"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(asked: tuple[Any, ...], words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        train_settings(*asked)
    assert "\n" not in str(error.value)


def test_the_form_says_how_long_it_takes_or_what_is_not_valid() -> None:
    assert expect(*ASKED) == '<span class="inside">Takes a few seconds on one core.</span>'
    assert "longer with this large network" in expect(*ASKED, None, None, None, 128)
    wrong = "inner_lr must be a number from 1e-06 to 1.0"
    assert expect(*ASKED, 5.0) == f'<span class="outside">{wrong}</span>'


def test_every_learner_of_every_family_has_a_time_and_defaults() -> None:
    for family, paces in PACE.items():
        assert paces.keys() >= {"meta_rl", "rl2", "policy_gradient"}
        for learner in paces.keys() & LEARNERS.keys():
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
