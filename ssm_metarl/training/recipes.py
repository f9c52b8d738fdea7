"""From the resolved settings of a run to the configuration of each part."""

from typing import Any

from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.training.config import TrainConfig


def make_policy(config: TrainConfig, spaces: Spaces) -> Policy:
    """Return the network of a run.

    To find out what task it is on, a memory has to relate what was done to what came of it. That
    is a product of things seen at different times, which takes a second block to make use of.

    Args:
        config: The resolved settings of the run.
        spaces: What the policy sees and does.
    """
    values: dict[str, Any] = vars(config)
    network = PolicyConfig(
        cell=values["cell"],
        width=values["width"],
        state_size=values["state_size"],
        blocks=values["blocks"],
        max_time_constant=values["max_time_constant"],
        r_min=values["r_min"],
        r_max=values["r_max"],
        max_phase=values["max_phase"],
        norm=values["norm"],
        trial_inputs=values["trial_inputs"] or values["memory"] == "trial",
        memory=values["memory"],
        initial_log_std=values["initial_log_std"],
        encoder=values["encoder"],
    )
    return Policy(network, spaces)


def adaptation_config(config: TrainConfig) -> AdaptationConfig:
    """Return how the agent of a run adapts, from its resolved settings.

    Only meta-training makes gradient steps safe at full length: other agents have taken none.
    """
    values: dict[str, Any] = vars(config)
    meta = config.mode == "meta_rl"
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
