"""An agent's acting step as one C99 file that needs nothing but the C library and libm.

The code is that of ``c/policy.c``, with the cell's and the kind of action's put in, between the
constants and weights that are written here.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files

import torch
from torch import Tensor

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.core.linear_encoder import BoundLinearEncoder
from ssm_metarl.core.policy import CONTEXT
from ssm_metarl.deployment.description import describe
from ssm_metarl.deployment.step import ActingStep
from ssm_metarl.errors import UserError

CELLS = {
    "ssm": ("rotation", "B", "C", "D"),
    "gated": ("rate", "B", "gate_bias", "C", "D"),
    "gru": ("W", "U", "input_bias", "state_bias", "C"),
    "mlp": ("W", "bias", "C", "D"),
}
"""The cells that there is C code for, and what of each (when bound) it reads."""
TYPES = {"float16": "float", "float32": "float", "float64": "double", "bool": "uint8_t"}
"""C's types of actions; those of whole numbers are ``int64_t`` and the like."""
PER_LINE = 6  # numbers
ALTERNATIVE = "valid here: .onnx or .pt2"
INTRODUCTION = """\
/* One acting step of an agent, written by ssm-metarl export. C99; link with -lm.
 *
 * Include this file where the agent acts. Call policy_reset once, then for each observation
 * policy_step, whose comment says what it takes. The state is yours: one for each environment.
 *"""


def c_bytes(agent: Agent, *, sample: bool) -> bytes:
    """Return the file.

    Raises:
        UserError: A part of the network has no C code.
    """
    config = agent.policy.config
    step = ActingStep(agent, sample=sample)
    encoder = step.bound.encoder
    if not isinstance(encoder, BoundLinearEncoder):
        raise UserError(f"there is no C code for the encoder {config.encoder!r}; {ALTERNATIVE}")
    if config.context_size:
        encoder = encoder.given(step.bound.params[CONTEXT])
    if config.cell not in CELLS:
        raise UserError(f"there is no C code for the cell {config.cell!r}; {ALTERNATIVE}")
    kind = "choices" if agent.policy.spaces.discrete else "numbers"
    code = _template("policy").replace("/*@CELL@*/\n", _template(config.cell))
    code = code.replace("/*@ACTION@*/\n", _template(kind))
    parts = [_comment(describe(step, agent.family)), *_constants(step, len(encoder.weight))]
    parts += [*_weights(step, encoder), *_action_units(step), code]
    return "\n".join(parts).encode()


def _template(name: str) -> str:
    return (files("ssm_metarl.deployment") / "c" / f"{name}.c").read_text("utf-8")


def _comment(facts: Mapping[str, str]) -> str:
    lines = [f" * {name}: {text}".replace("*/", "* /") for name, text in facts.items()]
    return "\n".join([INTRODUCTION, *lines, " */"])


def _constants(step: ActingStep, inputs: int) -> Iterator[str]:
    """Yield the includes, sizes, switches and types."""
    config, spaces = step.policy.config, step.policy.spaces
    kind = spaces.action_type or spaces.usual_type
    numbers = {
        "OBSERVATIONS": len(spaces.observation_scale),
        "ACTIONS": math.prod(spaces.usual_shape),
        "OUTPUTS": spaces.actions,
        "INPUTS": inputs,
        "WIDTH": config.width,
        "BLOCKS": config.blocks,
        "MEMORY": step.sizes[0],
        "HIDDEN": config.state_size,
        "NORM": int(config.norm),
        "CLIP": int(config.clip_obs > 0),
        "TRIAL_INPUTS": int(config.trial_inputs),
        "FORGETS": int(config.memory == "episode"),
        "SAMPLE": int(step.sample),
        "INTEGER": int("float" not in kind),
        "REWARD_SCALE": _literal(spaces.reward_scale),
        "REWARD_BOUND": _literal(config.clip_reward),
    }
    yield "\n#include <math.h>\n#include <stdint.h>\n#include <string.h>\n"
    yield from (f"#define POLICY_{name} {value}" for name, value in numbers.items())
    yield f"\ntypedef {TYPES.get(kind, f'{kind}_t')} policy_action;"
    yield f"typedef {'float' if kind == 'float32' else 'double'} policy_exact;\n"


def _weights(step: ActingStep, encoder: BoundLinearEncoder) -> Iterator[str]:
    """Yield the weights of the network, and the units of what it sees."""
    policy, bound = step.policy, step.bound
    scale = torch.tensor(policy.spaces.observation_scale)
    offset = policy.spaces.observation_offset or (0.0,) * len(scale)
    yield _array("observation_offset", torch.tensor(offset))
    if policy.config.clip_obs:
        yield _array("observation_bound", policy.config.clip_obs * scale)
    yield _array("encoder_weight", encoder.weight)
    yield _array("encoder_bias", encoder.bias)
    if policy.config.norm:
        yield _blocks("norm_weight", [bound.params[f"{cell.name}.norm"] for cell in policy.cells])
    for name in CELLS[policy.config.cell]:
        yield _blocks(f"cell_{name}", [getattr(cell, name) for cell in bound.cells])
    yield _array("action_weight", bound.params["action.weight"])
    yield _array("action_bias", bound.params["action.bias"])
    if step.sample:
        yield _array("noise_scale", step.noise_scale)


def _action_units(step: ActingStep) -> Iterator[str]:
    """Yield the sizes and starts of choices, or the units and bounds of numbers."""
    spaces, mapping = step.policy.spaces, step.to_environment
    if spaces.discrete:
        choices = torch.tensor(spaces.choices or (spaces.actions,))
        yield _array("action_choices", choices, "int")
        yield _array("action_start", mapping.starts.expand(len(choices)), "int64_t")
        return
    none = torch.zeros(spaces.actions)
    low, high, scaled = mapping.scaling or (none, none, none.bool())
    everywhere = torch.ones(spaces.actions, dtype=torch.bool)
    yield _array("action_scaled", everywhere if scaled is None else scaled, "int")
    yield _array("unit_low", low)
    yield _array("unit_high", high)
    yield _array("action_low", mapping.low, "policy_exact")
    yield _array("action_high", mapping.high, "policy_exact")


def _blocks(name: str, values: Sequence[Tensor]) -> str:
    """Return the definition of an array with a row for each block."""
    rows = ", ".join(f"{{\n{_lines(value)}}}" for value in values)
    return f"static const float {name}[{len(values)}][{values[0].numel()}] = {{{rows}}};"


def _array(name: str, values: Tensor, kind: str = "float") -> str:
    """Return the definition of an array with one axis."""
    return f"static const {kind} {name}[{values.numel()}] = {{\n{_lines(values)}}};"


def _lines(values: Tensor) -> str:
    numbers = [_literal(value, values.dtype) for value in values.flatten().tolist()]
    starts = range(0, len(numbers), PER_LINE)
    return "".join(f"    {', '.join(numbers[i : i + PER_LINE])},\n" for i in starts)


def _literal(value: float | int, kind: torch.dtype = torch.float32) -> str:
    """Return what C reads as the same number."""
    if not kind.is_floating_point:
        return str(int(value))
    digits, suffix = (9, "f") if kind == torch.float32 else (17, "")
    text = f"{value:.{digits}g}"
    return text + ("" if {".", "e"} & {*text} else ".0") + suffix
