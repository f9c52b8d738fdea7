"""What an exported file says of itself."""

import json
from typing import Any

from ssm_metarl import __version__
from ssm_metarl.core.actions import UNBOUNDED
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.deployment.step import OUTPUTS, ActingStep


def describe(step: ActingStep, family: str) -> dict[str, str]:
    """Return the facts that whoever runs a file has to know, as texts; several are JSON."""
    config, spaces = step.policy.config, step.policy.spaces
    inputs = {name: ["batch", *value.shape[1:]] for name, value in step.example().items()}
    shapes = (spaces.environment_shape, (sum(step.sizes),))
    outputs = {name: ["batch", *shape] for name, shape in zip(OUTPUTS, shapes, strict=True)}
    return {
        "ssm_metarl": __version__,
        "family": family,
        "cell": config.cell,
        "memory": config.memory,
        "sees_reward_and_action": json.dumps(config.trial_inputs),
        "samples": json.dumps(step.sample),
        "inputs": json.dumps(inputs),
        "outputs": json.dumps(outputs),
        "action": json.dumps(describe_action(spaces)),
    }


def describe_action(spaces: Spaces) -> dict[str, Any]:
    """Return the environment's action space in plain words and numbers."""
    kind = spaces.action_type or spaces.usual_type
    about: dict[str, Any] = {"dtype": kind, "shape": spaces.environment_shape}
    if spaces.choices:
        starts = spaces.action_starts or (0,) * len(spaces.choices)
        return {"space": "MultiDiscrete", **about, "choices": spaces.choices, "start": starts}
    if spaces.discrete:
        return {"space": "Discrete", **about, "n": spaces.actions, "start": spaces.action_start}
    low, high = (
        [value if abs(value) < UNBOUNDED else None for value in side]
        for side in (spaces.action_low, spaces.action_high)
    )
    return {"space": "Box", **about, "low": low or None, "high": high or None}
