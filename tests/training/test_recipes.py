"""What a family suggests is what a run does, unless a flag says otherwise."""

import dataclasses

import torch

from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.meta_rl.maml import MAMLConfig
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.learners import make_trainer
from ssm_metarl.training.recipes import adaptation_config, make_policy


def settings_of(config: TrainConfig) -> MAMLConfig:
    """Return what the learner of a run was built with."""
    with torch.device("meta"):
        return make_trainer(config, get_family(config.env_name), "meta").learner.config  # pyright: ignore[reportAttributeAccessIssue]


def test_a_run_takes_what_its_family_suggests() -> None:
    family = get_family("Navigation2D-v0")
    config = TrainConfig(env_name=family.name)
    settings, adaptation = settings_of(config), adaptation_config(config, family)
    suggested = (family.inner_lr, family.outer_lr, family.discount)
    assert (settings.inner_lr, settings.outer_lr, settings.discount) == suggested
    assert (adaptation.adapted_std, adaptation.trust) == (family.adapted_std, family.trust)
    assert settings.support_weight == family.support_weight > 0
    assert settings_of(dataclasses.replace(config, support_weight=0.0)).support_weight == 0
    log_std = make_policy(config, family).init(torch.Generator())["action.log_std"]
    assert (log_std == family.initial_log_std).all()


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
    family = get_family("CartPole-v1")
    trained = {
        mode: adaptation_config(TrainConfig(mode=mode, inner_steps=2), family).inner_steps
        for mode in ("meta_rl", "rl2", "policy_gradient")
    }
    assert trained == {"meta_rl": 2, "rl2": 0, "policy_gradient": 0}


def test_without_a_suggestion_adapting_is_as_by_default() -> None:
    adaptation = adaptation_config(TrainConfig(), get_family("CartPole-v1"))
    assert (adaptation.adapted_std, adaptation.trust) == (None, AdaptationConfig.trust)
    assert settings_of(TrainConfig()).support_weight == 0


def test_a_memory_of_a_trial_is_taught_to_adapt_before_any_step_too() -> None:
    family = get_family("CartPole-v1")
    usual, both = (settings_of(TrainConfig(memory=memory)) for memory in ("episode", "trial"))
    assert both.support_weight == 1
    assert both.support_horizon == 2 * usual.support_horizon <= family.max_episode_steps
    assert both.epochs > usual.epochs
    assert both.iterations > usual.iterations
    rl2 = adaptation_config(TrainConfig(mode="rl2", memory="trial"), family)
    assert rl2.horizon == usual.support_horizon
    asked = settings_of(
        TrainConfig(memory="trial", support_weight=0.5, support_steps=7, outer_epochs=1)
    )
    assert (asked.support_weight, asked.support_horizon, asked.epochs) == (0.5, 7, 1)
