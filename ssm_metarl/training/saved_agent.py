"""Agents that are saved by themselves: their tensors, and their settings as plain JSON."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.config import AdaptationConfig, saved_adaptation
from ssm_metarl.checkpoint.fields import read_fields
from ssm_metarl.checkpoint.format import Checkpoint
from ssm_metarl.core.parameters import partition
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.errors import CheckpointError, UserError
from ssm_metarl.meta_rl.inner_rule import ACTING
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.learners import check_same_shapes, part, read_spaces
from ssm_metarl.training.settings import settings_of

AGENT = "agent"  # the folder, and the key of the settings in its manifest


def agent_state(agent: Agent) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of an agent, and its settings, for a checkpoint."""
    rates = agent.rates if isinstance(agent.rates, Mapping) else {}
    tensors = {f"params/{name}": value for name, value in agent.params.items()}
    tensors |= {f"rates/{name}": value for name, value in rates.items()}
    settings = {
        "policy": dataclasses.asdict(agent.policy.config),
        "spaces": dataclasses.asdict(agent.policy.spaces),
        "config": dataclasses.asdict(agent.config),
        "family": agent.family,
    }
    return tensors, {AGENT: settings}


def read_agent(checkpoint: Checkpoint, source: str) -> Agent:
    """Build an agent that was saved by itself; `source`, where it lies, is for messages.

    Raises:
        CheckpointError: Its settings are missing, malformed, or do not fit its tensors.
    """
    known = settings_of(TrainConfig)
    try:
        settings: dict[str, Any] = checkpoint.meta[AGENT]
        network = read_fields(PolicyConfig, settings["policy"], "policy")
        spaces = read_spaces(settings["spaces"], "spaces")
        config = read_fields(AdaptationConfig, saved_adaptation(settings["config"]), "config")
        family = known["env_name"].check(settings["family"])
        for name in ("width", "state_size", "blocks"):
            known[name].check(getattr(network, name))
        known["support_steps"].check(config.horizon)
        known["surrogate"].check(config.surrogate)
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{source}: is not a saved agent: {error} is missing") from error
    except UserError as error:
        raise CheckpointError(f"{source}: {error}") from error
    policy = Policy(network, spaces)
    with torch.device("meta"):  # shapes alone: a network that was never saved takes no memory
        shapes = policy.init(torch.Generator())
    expected = {f"params/{name}": value for name, value in shapes.items()}
    if any(name.startswith("rates/") for name in checkpoint.tensors):
        rated, _ = partition(shapes, policy.leaves, ACTING)
        expected |= {f"rates/{name}": value for name, value in rated.items()}
    check_same_shapes(checkpoint.tensors, expected)
    params = {name: checkpoint.tensors[f"params/{name}"] for name in policy.leaves}
    rates = part(checkpoint.tensors, "rates/")
    return Agent(policy, params, rates or config.inner_lr, config, family)
