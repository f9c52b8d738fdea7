"""Reading what a run has saved: its settings, and the spaces, units and tensors of a policy."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssm_metarl.checkpoint.fields import read_fields
from ssm_metarl.checkpoint.format import Checkpoint
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.core.statistics import RunningStatistics
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.errors import CheckpointError, UserError
from ssm_metarl.training.config import TrainConfig

MAX_ACTIONS = 100_000
CONFIG = "config.json"


def read_config(run_dir: Path, *, trust_env_code: bool = False) -> TrainConfig:
    """Read the settings of a run.

    Whether its environment may import and run code is never read from the run itself, which may
    come from someone else.

    Raises:
        UserError: There are none, or they are malformed.
    """
    path = run_dir / CONFIG
    if not path.is_file():
        hub = "there is no such folder (a run on the Hugging Face Hub is hf://owner/name)"
        reason = f"it has no {CONFIG}" if run_dir.exists() else hub
        raise UserError(f"{run_dir} is not a run: {reason}")
    try:
        config = TrainConfig.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{run_dir}: {error}") from error
    return dataclasses.replace(config, trust_env_code=trust_env_code)


def saved_spaces(meta: Mapping[str, Any], family: TaskFamily) -> Spaces:
    """Return the spaces of a checkpoint; those of version 0.1 have only what the family declares.

    Raises:
        CheckpointError: They are malformed, or not those of the family.
    """
    declared = policy_spaces(family)
    if "spaces" not in meta:
        return declared
    try:
        saved = read_spaces(meta["spaces"], "the checkpoint: spaces")
    except UserError as error:
        raise CheckpointError(str(error)) from error
    if len(saved.observation_scale) != len(declared.observation_scale):
        raise CheckpointError("the checkpoint does not fit its environment: other observations")
    if not saved.same_actions(declared):
        raise CheckpointError("the checkpoint does not fit its environment: other actions")
    return saved


def saved_statistics(checkpoint: Checkpoint) -> RunningStatistics | None:
    """Return the running statistics of a checkpoint.

    There are none where the family declares its scales, and in runs of version 0.1.

    Raises:
        CheckpointError: Some are missing, or of another shape.
    """
    found = part(checkpoint.tensors, "statistics/")
    if not found:
        return None
    size = len(checkpoint.meta.get("spaces", {}).get("observation_scale", ()))
    none = torch.zeros(1, size)
    check_same_shapes(found, RunningStatistics.of(none, none[:, 0]).tensors())
    return RunningStatistics(**found)


def read_spaces(values: object, source: str) -> Spaces:
    """Read saved spaces.

    Raises:
        UserError: No policy was ever saved with them.
    """
    spaces = read_fields(Spaces, values, source)
    size = len(spaces.observation_scale)
    if not size or min(spaces.observation_scale) <= 0:
        raise UserError(f"{source}: observation_scale must be positive numbers")
    if len(spaces.observation_offset) not in (0, size):
        raise UserError(f"{source}: observation_offset does not fit observation_scale")
    if spaces.reward_scale <= 0:
        raise UserError(f"{source}: reward_scale must be positive")
    if not 1 <= spaces.actions <= MAX_ACTIONS:
        raise UserError(f"{source}: actions cannot be {spaces.actions}")
    bounds = len(spaces.action_low), len(spaces.action_high)
    if bounds not in {(0, 0), (0, 0) if spaces.discrete else (spaces.actions, spaces.actions)}:
        raise UserError(f"{source}: action_low and action_high do not fit the actions")
    image = spaces.image
    if image and not (len(image) == 3 and min(image) > 0 and math.prod(image) <= size):
        raise UserError(f"{source}: image does not fit observation_scale")
    choices, shape = spaces.choices, spaces.action_shape
    if choices and not (spaces.discrete and min(choices) > 0 and sum(choices) == spaces.actions):
        raise UserError(f"{source}: choices does not fit the actions")
    if len(spaces.action_starts) not in (0, len(choices)):
        raise UserError(f"{source}: action_starts does not fit choices")
    if shape is not None and math.prod(shape) != math.prod(spaces.usual_shape):
        raise UserError(f"{source}: action_shape does not fit the actions")
    return spaces


def check_same_shapes(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not, name by name, shaped as expected."""
    for name in sorted(found.keys() ^ expected.keys()):
        state = "is missing" if name in expected else "does not belong"
        raise CheckpointError(f"the checkpoint does not fit its configuration: {name} {state}")
    for name, value in expected.items():
        if found[name].shape != value.shape or found[name].dtype != value.dtype:
            raise CheckpointError(
                f"the checkpoint does not fit its configuration: {name} is "
                f"{list(found[name].shape)}, not {list(value.shape)}"
            )


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
