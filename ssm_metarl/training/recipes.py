"""From the resolved settings of a run to the configuration of each part."""

from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.core.config import PolicyConfig, from_settings
from ssm_metarl.core.policy import Policy
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.training.config import TrainConfig


def make_policy(config: TrainConfig, spaces: Spaces) -> Policy:
    """Return the network of a run, from its resolved settings.

    To find out what task it is on, a memory has to relate what was done to what came of it. That
    is a product of things seen at different times, which takes a second block to make use of.
    """
    trial_inputs = config.trial_inputs or config.memory == "trial"
    return Policy(from_settings(PolicyConfig, vars(config), trial_inputs=trial_inputs), spaces)


def adaptation_config(config: TrainConfig) -> AdaptationConfig:
    """Return how the agent of a run adapts, from its resolved settings.

    Only meta-training makes gradient steps safe at full length: other agents have taken none.
    """
    return from_settings(
        AdaptationConfig,
        vars(config),
        inner_steps=config.inner_steps if config.mode == "meta_rl" else 0,
        horizon=config.support_steps,
        discount=config.adaptation_discount,
        gae_lambda=config.adaptation_gae_lambda,
        episodes=config.episodes_per_task,
        adapted_std=config.adapted_std or None,
    )
