"""From a run's configuration and family to the settings of each part."""

from typing import TypeVar

import gymnasium

from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.meta_rl.maml import MetaConfig
from ssm_metarl.meta_rl.policy_gradient import PolicyGradientConfig
from ssm_metarl.meta_rl.rl2 import RL2Config
from ssm_metarl.training.config import TrainConfig

T = TypeVar("T")

MAX_TIME_CONSTANT = 100.0  # steps; longer memories are learned from there


def make_policy(config: TrainConfig, family: TaskFamily) -> Policy:
    """Return the network of a run.

    To find out what task it is on, a memory has to relate what was done to what came of it. That
    is a product of things seen at different times, which takes a second block to make use of.
    """
    rl2 = config.mode == "rl2"
    memory = config.memory or ("trial" if rl2 else "episode")
    network = PolicyConfig(
        cell=config.cell,
        width=_or(config.width, 64 if rl2 else 32),
        state_size=_or(config.state_size, 32 if rl2 else 16),
        blocks=_or(config.blocks, 2 if rl2 else 1),
        max_time_constant=min(MAX_TIME_CONSTANT, float(family.max_episode_steps)),
        norm=config.norm,
        trial_inputs=config.trial_inputs or memory == "trial",
        memory=memory,
        initial_log_std=family.initial_log_std,
    )
    return Policy(network, policy_spaces(family))


def meta_config(config: TrainConfig, family: TaskFamily) -> MetaConfig:
    """Return the settings of meta-training, and of adapting what any training led to.

    Only meta-training makes gradient steps safe at full length: other agents have taken none.

    An agent of meta-training whose memory lasts a trial is to adapt before any step too, in
    context. That has to be asked for, in episodes long enough to show it, and takes longer.
    """
    both = config.adapts_both_ways
    support = family.support_steps
    if both:
        support = min(2 * support, family.max_episode_steps)
    discount = _or(config.discount, family.discount)
    discrete = isinstance(family.action_space, gymnasium.spaces.Discrete)
    return MetaConfig(
        inner_lr=_or(config.inner_lr, _or(family.inner_lr, 0.03 if discrete else 0.01)),
        outer_lr=_or(config.outer_lr, _or(family.outer_lr, 0.005 if discrete else 0.01)),
        iterations=_or(config.num_epochs, 150 if both else 40),
        inner_steps=config.inner_steps if config.mode == "meta_rl" else 0,
        tasks=_or(config.tasks_per_epoch, 16),
        episodes=config.episodes_per_task,
        episodes_per_trial=config.episodes_per_trial,
        support_horizon=_or(config.support_steps, support),
        query_horizon=_or(config.query_steps, family.max_episode_steps),
        discount=discount,
        adaptation_discount=_or(
            config.adaptation_discount, _or(family.adaptation_discount, discount)
        ),
        gae_lambda=_or(config.gae_lambda, 1.0),
        epochs=_or(config.outer_epochs, 8 if both else 3),
        clip=config.clip,
        entropy=config.entropy,
        support_weight=_or(config.support_weight, 1.0 if both else family.support_weight),
        max_grad_norm=config.max_grad_norm,
        trust=_or(family.trust, MetaConfig.trust),
        adapted_std=family.adapted_std,
        surrogate=config.surrogate,
        first_order=config.first_order,
        learn_rates=config.learn_inner_lr,
    )


def rl2_config(config: TrainConfig, family: TaskFamily) -> RL2Config:
    """Return the settings of training over trials."""
    horizon = _or(config.query_steps, family.max_episode_steps)
    return RL2Config(
        lr=_or(config.outer_lr, 0.003),
        iterations=_or(config.num_epochs, 80),
        tasks=_or(config.tasks_per_epoch, 32),
        episodes=config.episodes_per_trial,
        first_horizon=min(horizon, _or(config.support_steps, max(1, horizon // 10))),
        horizon=horizon,
        discount=_or(config.discount, family.discount),
        gae_lambda=_or(config.gae_lambda, 0.95),
        clip=config.clip,
        entropy=config.entropy,
        max_grad_norm=config.max_grad_norm,
    )


def policy_gradient_config(config: TrainConfig, family: TaskFamily) -> PolicyGradientConfig:
    """Return the settings of training on the nominal task."""
    return PolicyGradientConfig(
        lr=_or(config.outer_lr, PolicyGradientConfig.lr),
        total_episodes=config.num_episodes,
        discount=_or(config.discount, family.discount),
        gae_lambda=_or(config.gae_lambda, PolicyGradientConfig.gae_lambda),
        clip=config.clip,
        entropy=config.entropy,
        max_grad_norm=config.max_grad_norm,
    )


def _or(value: T | None, default: T) -> T:
    return default if value is None else value
