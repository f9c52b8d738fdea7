"""From the resolved settings of a run to each of its parts."""

from collections.abc import Mapping

import torch
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.core.config import PolicyConfig, from_settings
from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.software import versions
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.meta_rl.inner_rule import Rates
from ssm_metarl.meta_rl.registry import LEARNERS
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.saved import part

INITIAL_STREAM = 0


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
        inner_steps=config.inner_steps if LEARNERS[config.mode].trains_steps else 0,
        horizon=config.support_steps,
        discount=config.adaptation_discount,
        gae_lambda=config.adaptation_gae_lambda,
        episodes=config.episodes_per_task,
        adapted_std=config.adapted_std or None,
    )


def initial_params(policy: Policy, seed: int, device: str = "cpu") -> Params:
    """Draw a network's initial parameters from their own stream of the seed."""
    state = int(substream(SeedSequence(seed), INITIAL_STREAM).generate_state(1)[0])
    params = policy.init(torch.Generator().manual_seed(state))
    return {name: value.to(device) for name, value in params.items()}


def make_agent(
    tensors: Mapping[str, Tensor], policy: Policy, config: TrainConfig, family: TaskFamily
) -> Agent:
    """Build the agent that a learner's tensors define."""
    settings = adaptation_config(config)
    # In the order of the network: sums over parameters depend on it, and files have none.
    params = {name: tensors[f"params/{name}"].detach() for name in policy.leaves}
    gains = part(tensors, "log_gains/")
    rates: Rates = {name: settings.inner_lr * v.detach().exp() for name, v in gains.items()}
    return Agent(
        policy,
        params,
        rates or settings.inner_lr,
        settings,
        family.name,
        family.source,
        simulators=versions(family.simulators),
    )
