"""From a run's settings and family to the configuration of each part."""

from typing import Any

from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.training.config import TrainConfig


def make_policy(config: TrainConfig, family: TaskFamily, spaces: Spaces | None = None) -> Policy:
    """Return the network of a run, for what the family declares or for the spaces given.

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
    return Policy(network, spaces or policy_spaces(family))


def adaptation_config(config: TrainConfig, family: TaskFamily) -> AdaptationConfig:
    """Return how the agent of a run adapts.

    Only meta-training makes gradient steps safe at full length: other agents have taken none.
    """
    values, meta = _resolved(config, family), config.mode == "meta_rl"
    return AdaptationConfig(
        inner_lr=values["inner_lr"],
        inner_steps=values["inner_steps"] if meta else 0,
        horizon=values["support_steps"],
        discount=values["adaptation_discount"],
        gae_lambda=values["adaptation_gae_lambda"],
        surrogate=values["surrogate"],
        episodes=values["episodes_per_task"],
        episodes_per_trial=values["episodes_per_trial"],
        trust=values["trust"],
        adapted_std=values["adapted_std"] or None,
    )


def _resolved(config: TrainConfig, family: TaskFamily) -> dict[str, Any]:
    return vars(config.resolve(family))
