"""From a run's settings and family to the configuration of each part."""

from typing import Any

from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.meta_rl.maml import MetaConfig
from ssm_metarl.meta_rl.policy_gradient import PolicyGradientConfig
from ssm_metarl.meta_rl.rl2 import RL2Config
from ssm_metarl.training.config import TrainConfig


def make_policy(config: TrainConfig, family: TaskFamily) -> Policy:
    """Return the network of a run.

    To find out what task it is on, a memory has to relate what was done to what came of it. That
    is a product of things seen at different times, which takes a second block to make use of.
    """
    values = _resolved(config, family)
    network = PolicyConfig(
        cell=values["cell"],
        width=values["width"],
        state_size=values["state_size"],
        blocks=values["blocks"],
        max_time_constant=values["max_time_constant"],
        norm=values["norm"],
        trial_inputs=values["trial_inputs"] or values["memory"] == "trial",
        memory=values["memory"],
        initial_log_std=values["initial_log_std"],
        encoder=values["encoder"],
    )
    return Policy(network, policy_spaces(family))


def meta_config(config: TrainConfig, family: TaskFamily) -> MetaConfig:
    """Return the settings of meta-training, and of adapting what any training led to.

    Only meta-training makes gradient steps safe at full length: other agents have taken none.
    """
    values, meta = _resolved(config, family), config.mode == "meta_rl"
    given = {
        "inner_lr": values["inner_lr"],
        "outer_lr": values["outer_lr"],
        "iterations": values["num_epochs"],
        "inner_steps": values["inner_steps"] if meta else 0,
        "tasks": values["tasks_per_epoch"],
        "episodes": values["episodes_per_task"],
        "episodes_per_trial": values["episodes_per_trial"],
        "support_horizon": values["support_steps"],
        "query_horizon": values["query_steps"],
        "discount": values["discount"],
        "adaptation_discount": values["adaptation_discount"],
        "gae_lambda": values["gae_lambda" if meta else "adaptation_gae_lambda"],
        "epochs": values["outer_epochs"],
        "clip": values["clip"],
        "entropy": values["entropy"],
        "support_weight": values["support_weight"],
        "max_grad_norm": values["max_grad_norm"],
        "trust": values["trust"],
        "adapted_std": values["adapted_std"] or None,
        "surrogate": values["surrogate"],
        "first_order": values["first_order"],
        "learn_rates": values["learn_inner_lr"],
    }
    return MetaConfig(**{name: value for name, value in given.items() if value is not None})


def rl2_config(config: TrainConfig, family: TaskFamily) -> RL2Config:
    """Return the settings of training over trials."""
    values = _resolved(config, family)
    return RL2Config(
        lr=values["outer_lr"],
        iterations=values["num_epochs"],
        tasks=values["tasks_per_epoch"],
        episodes=values["episodes_per_trial"],
        first_horizon=min(values["first_steps"], values["query_steps"]),
        horizon=values["query_steps"],
        discount=values["discount"],
        gae_lambda=values["gae_lambda"],
        clip=values["clip"],
        entropy=values["entropy"],
        max_grad_norm=values["max_grad_norm"],
    )


def policy_gradient_config(config: TrainConfig, family: TaskFamily) -> PolicyGradientConfig:
    """Return the settings of training on the nominal task."""
    values = _resolved(config, family)
    return PolicyGradientConfig(
        lr=values["outer_lr"],
        total_episodes=values["num_episodes"],
        discount=values["discount"],
        gae_lambda=values["gae_lambda"],
        clip=values["clip"],
        entropy=values["entropy"],
        max_grad_norm=values["max_grad_norm"],
    )


def _resolved(config: TrainConfig, family: TaskFamily) -> dict[str, Any]:
    return vars(config.resolve(family))
