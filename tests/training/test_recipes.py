"""What a family suggests is what a run does, unless a flag says otherwise."""

import dataclasses
from typing import Any

import pytest
import torch

from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.core.config import PolicyConfig
from ssm_metarl.env_runner.registry import get_family, list_families
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.meta_rl.registry import LEARNERS
from ssm_metarl.training.config import TrainConfig, used_by
from ssm_metarl.training.learners import make_trainer
from ssm_metarl.training.recipes import adaptation_config, make_policy


def settings_of(config: TrainConfig) -> Any:  # noqa: ANN401 (by attribute)
    """Return the settings that the learner of a run has."""
    family = get_family(config.env_name)
    with torch.device("meta"):
        trainer = make_trainer(config.resolve(family), family, policy_spaces(family), "meta")
    return trainer.learner.settings


def adaptation_of(config: TrainConfig) -> AdaptationConfig:
    return adaptation_config(config.resolve(get_family(config.env_name)))


def test_a_run_takes_what_its_family_suggests() -> None:
    family = get_family("Navigation2D-v0")
    config = TrainConfig(env_name=family.name)
    settings, adaptation = settings_of(config), adaptation_of(config)
    suggested = (family.inner_lr, family.outer_lr, family.discount)
    assert (settings.inner_lr, settings.outer_lr, settings.discount) == suggested
    assert (adaptation.adapted_std, adaptation.trust) == (family.adapted_std, family.trust)
    assert settings.support_weight == family.support_weight > 0
    assert settings_of(dataclasses.replace(config, support_weight=0.0)).support_weight == 0
    policy = make_policy(config.resolve(family), policy_spaces(family))
    log_std = policy.init(torch.Generator())["action.log_std"]
    assert (log_std == family.initial_log_std).all()


def test_a_family_s_own_settings_of_a_learner_go_before_the_learner_s() -> None:
    own = {"rl2": {"outer_lr": 0.5, "minibatches": 7}, "meta_rl": {"num_epochs": 3}}
    family = dataclasses.replace(get_family("CartPole-v1"), settings=own)
    trials, steps = (TrainConfig(mode=mode).resolve(family) for mode in ("rl2", "meta_rl"))
    assert (trials.outer_lr, trials.minibatches, steps.num_epochs) == (0.5, 7, 3)
    usual = LEARNERS["rl2"].defaults
    assert (trials.num_epochs, trials.outer_epochs) == (usual["num_epochs"], usual["outer_epochs"])
    assert TrainConfig(mode="rl2", outer_lr=0.25).resolve(family).outer_lr == 0.25


def test_families_suggest_settings_that_there_are() -> None:
    for family in list_families(extras=True):
        for mode, own in family.settings.items():
            assert {name for name in own if mode in used_by(name)} == own.keys()
            TrainConfig(mode=mode, **own)  # pyright: ignore[reportArgumentType]


def test_flags_win_over_the_family() -> None:
    config = TrainConfig(env_name="Navigation2D-v0", inner_lr=0.1, outer_lr=0.2, discount=0.3)
    settings = settings_of(config)
    assert (settings.inner_lr, settings.outer_lr, settings.discount) == (0.1, 0.2, 0.3)


def test_without_a_suggestion_the_kind_of_action_decides() -> None:
    rates = [
        (settings.inner_lr, settings.outer_lr)
        for name in ("CartPole-v1", "Pendulum-v1")
        for settings in [settings_of(TrainConfig(env_name=name))]
    ]
    assert rates == [(0.03, 0.005), (0.01, 0.01)]


def test_only_meta_training_earns_steps_of_full_length() -> None:
    trained = {
        mode: adaptation_of(TrainConfig(mode=mode, inner_steps=2)).inner_steps
        for mode in ("meta_rl", "rl2", "policy_gradient")
    }
    assert trained == {"meta_rl": 2, "rl2": 0, "policy_gradient": 0}


def test_the_ring_of_eigenvalues_reaches_the_network() -> None:
    family = get_family("CartPole-v1")
    config = TrainConfig(r_min=0.5, r_max=0.9, max_phase=3.0).resolve(family)
    network = make_policy(config, policy_spaces(family)).config
    assert (network.r_min, network.r_max, network.max_phase) == (0.5, 0.9, 3.0)
    usual = make_policy(TrainConfig().resolve(family), policy_spaces(family)).config
    assert (usual.r_min, usual.r_max, usual.max_phase) == (None, None, PolicyConfig.max_phase)


def test_without_a_suggestion_adapting_is_as_by_default() -> None:
    adaptation = adaptation_of(TrainConfig())
    assert (adaptation.adapted_std, adaptation.trust) == (None, AdaptationConfig.trust)
    assert settings_of(TrainConfig()).support_weight == 0


def test_a_memory_of_a_trial_is_taught_to_adapt_before_any_step_too() -> None:
    family = get_family("CartPole-v1")
    usual, both = (settings_of(TrainConfig(memory=memory)) for memory in ("episode", "trial"))
    assert both.support_weight == 1
    assert both.support_steps == 2 * usual.support_steps <= family.max_episode_steps
    assert both.outer_epochs > usual.outer_epochs
    assert both.num_epochs > usual.num_epochs
    rl2 = adaptation_of(TrainConfig(mode="rl2", memory="trial"))
    assert rl2.horizon == usual.support_steps
    asked = settings_of(
        TrainConfig(memory="trial", support_weight=0.5, support_steps=7, outer_epochs=1)
    )
    assert (asked.support_weight, asked.support_steps, asked.outer_epochs) == (0.5, 7, 1)


UNUSUAL = {
    "num_epochs": 7,
    "num_episodes": 33,
    "tasks_per_epoch": 3,
    "episodes_per_task": 6,
    "episodes_per_trial": 5,
    "inner_lr": 0.11,
    "outer_lr": 0.22,
    "inner_steps": 2,
    "outer_epochs": 9,
    "support_steps": 13,
    "query_steps": 47,
    "discount": 0.81,
    "gae_lambda": 0.71,
    "clip": 0.31,
    "entropy": 0.41,
    "support_weight": 0.51,
    "max_grad_norm": 0.61,
    "surrogate": "dice",
    "learn_inner_lr": True,
    "first_order": True,
}


@pytest.mark.parametrize("mode", LEARNERS)
def test_every_setting_reaches_the_learner(mode: str) -> None:
    reached = vars(settings_of(TrainConfig(mode=mode, **UNUSUAL)))
    assert {name: reached[name] for name in UNUSUAL} == UNUSUAL


def test_every_setting_of_adaptation_reaches_the_agent() -> None:
    config = TrainConfig(**UNUSUAL, trust=0.2, adapted_std=0.3, adaptation_discount=0.6)
    assert adaptation_of(config) == AdaptationConfig(
        inner_lr=0.11,
        inner_steps=2,
        horizon=13,
        discount=0.6,
        gae_lambda=0.71,
        surrogate="dice",
        episodes=6,
        episodes_per_trial=5,
        trust=0.2,
        adapted_std=0.3,
    )
