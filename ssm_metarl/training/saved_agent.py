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
from ssm_metarl.meta_rl.registry import INNER_LOSSES
from ssm_metarl.training.config import MOST_STEPS, TrainConfig
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
    """Build an agent that was saved by itself.

    Args:
        checkpoint: What was saved of it.
        source: Where it lies, for messages.

    Raises:
        CheckpointError: Its settings are missing, malformed, or do not fit its tensors.
    """
    try:
        settings: dict[str, Any] = checkpoint.meta[AGENT]
        network = read_fields(PolicyConfig, settings["policy"], f"{source}: policy")
        spaces = read_spaces(settings["spaces"], f"{source}: spaces")
        saved = saved_adaptation(settings["config"])
        config = read_fields(AdaptationConfig, saved, f"{source}: config")
        family = settings["family"]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{source}: is not a saved agent: {error} is missing") from error
    except UserError as error:
        raise CheckpointError(str(error)) from error
    if not isinstance(family, str):
        raise CheckpointError(f"{source}: family cannot be {family!r}")
    _check_values(network, config, source)
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


def _check_values(network: PolicyConfig, config: AdaptationConfig, source: str) -> None:
    """Refuse numbers that no agent was ever saved with."""
    known = settings_of(TrainConfig)
    sizes = {n: (getattr(network, n), known[n].most) for n in ("width", "state_size", "blocks")}
    sizes["horizon"] = config.horizon, MOST_STEPS
    for name, (value, most) in sizes.items():
        if not 1 <= value <= most:
            raise CheckpointError(f"{source}: {name} cannot be {value}")
    if config.surrogate not in INNER_LOSSES:
        raise CheckpointError(f"{source}: surrogate cannot be {config.surrogate!r}")
