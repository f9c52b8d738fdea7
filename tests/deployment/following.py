"""Exported files run beside `predict`, on the same observations, rewards and episode starts."""

import ctypes
import math
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.core.cells import CELLS
from ssm_metarl.core.config import PolicyConfig
from ssm_metarl.core.policy import Policy
from ssm_metarl.core.spaces import Spaces

OBSERVATIONS, TOLERANCE = 3, 1e-4
BOX = gymnasium.spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 5.0], np.float32))
DISCRETE = gymnasium.spaces.Discrete(4, start=3)
IN_TRIAL = {"memory": "trial", "trial_inputs": True}
VARIANTS: dict[str, tuple[gymnasium.Space, dict[str, Any]]] = {
    "continuous, in a trial": (BOX, {**IN_TRIAL, "norm": True, "blocks": 2}),
    "discrete, in a trial": (DISCRETE, {**IN_TRIAL, "clip_obs": 1.0}),
    "continuous, in an episode": (BOX, {"trial_inputs": True, "norm": True, "clip_reward": 0.5}),
    "discrete": (DISCRETE, {}),
}
OF_CELL = dict(zip(CELLS, VARIANTS, strict=True))
Inputs = dict[str, np.ndarray]
Runner = Callable[[Inputs], tuple[np.ndarray, np.ndarray]]
"""Acts once for a batch of inputs: the action and the next state."""


def make_agent(
    space: gymnasium.Space,
    image: tuple[int, ...] = (),
    **network: Any,  # noqa: ANN401
) -> Agent:
    """Return an agent with all its units and parameters away from where they start."""
    size = OBSERVATIONS + math.prod(image) if image else OBSERVATIONS
    scale, offset = np.linspace(0.5, 2.0, size), np.linspace(0.3, -0.2, size)
    units = {"observation_offset": tuple(offset.tolist()), "reward_scale": 1.5}
    spaces = replace(Spaces.of(scale, space), image=image, **units)
    config = PolicyConfig(**{"width": 12, "state_size": 5, "blocks": 1, **network})
    policy, rng = Policy(config, spaces), torch.Generator().manual_seed(0)
    params = {
        name: value + 0.2 * torch.randn(value.shape, generator=rng)
        for name, value in policy.init(rng).items()
    }
    return Agent(policy, params, 0.1, AdaptationConfig(), "Toy-v0")


def agent_of(cell: str) -> Agent:
    """Return the agent that stands for a cell, each with another kind of memory and action."""
    space, network = VARIANTS[OF_CELL[cell]]
    return make_agent(space, cell=cell, **network)


def follow(agent: Agent, *runners: Runner, steps: int = 1000, lanes: int = 3) -> None:
    """Assert that files do as `predict` does, step by step, though episodes end in between."""
    rng, policy = np.random.default_rng(0), agent.policy
    empty = agent.begin(lanes, torch.Generator()).memory
    memory_size = sum(part.shape[-1] for part in empty)
    extra = policy.spaces.actions if policy.config.trial_inputs else 0
    carried = [np.zeros((lanes, memory_size + extra), np.float32) for _ in runners]
    state = None
    for step in range(steps):
        seen = rng.normal(size=(lanes, len(policy.spaces.observation_scale))).astype(np.float32)
        reward = rng.normal(size=lanes).astype(np.float32)
        start = (rng.random(lanes) < 0.01) | (step == 0)
        action, state = agent.predict(seen, state, start, reward=reward)
        memory = torch.cat(state.memory, -1)[0].numpy()
        given = {"observation": seen, "reward": reward, "episode_start": start}
        for index, act in enumerate(runners):
            found, after = act({**given, "state": carried[index]})
            assert found.shape == action.shape
            for pair in ((found, action), (after[:, :memory_size], memory)):
                own, expected = (np.asarray(each, np.float64) for each in pair)
                gap = abs(own - expected)
                assert (gap <= TOLERANCE * (1.0 + abs(expected))).all(), (step, index, gap.max())
            carried[index] = after


def onnx_session(path: Path) -> Any:  # noqa: ANN401
    """Load a file in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options)


def onnx_runner(path: Path) -> Runner:
    session = onnx_session(path)
    return lambda inputs: tuple(session.run(None, inputs))


def program_runner(path: Path) -> Runner:
    module = torch.export.load(path).module()

    @torch.no_grad()
    def act(inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
        action, state = module(**{name: torch.from_numpy(x) for name, x in inputs.items()})
        return action.numpy(), state.numpy()

    return act


def compiled(path: Path) -> ctypes.CDLL:
    """Compile a C file, with every warning an error, and load it."""
    library = path.with_suffix(".so")
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-pedantic", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, str(path), "-lm", "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def c_runner(path: Path, agent: Agent) -> Runner:
    """Return what acts by a C file: each lane by itself."""
    library, spaces, config = compiled(path), agent.policy.spaces, agent.policy.config
    kind = np.dtype(spaces.action_type or spaces.usual_type)
    kind = np.dtype(np.float32) if kind == np.float16 else kind
    empty = agent.begin(1, torch.Generator()).memory
    sizes = [part.shape[-1] for part in empty]

    def padded(row: np.ndarray) -> np.ndarray:
        """Return the struct: rows of memory with one number more, then the action."""
        blocks = [np.append(part, np.float32(0.0)) for part in np.split(row, np.cumsum(sizes))[:-1]]
        acted = row[sum(sizes) :] if config.trial_inputs else np.zeros(spaces.actions)
        return np.concatenate([*blocks, acted]).astype(np.float32)

    def plain(struct: np.ndarray) -> np.ndarray:
        rows = struct[: sum(sizes) + len(sizes)].reshape(len(sizes), -1)[:, :-1].ravel()
        acted = struct[sum(sizes) + len(sizes) :] if config.trial_inputs else struct[:0]
        return np.concatenate([rows, acted])

    def act(inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
        actions, states = [], []
        for lane, row in enumerate(inputs["state"]):
            state, action = padded(row), np.zeros(spaces.environment_shape, kind)
            noise = [inputs["noise"][lane].ctypes] if "noise" in inputs else []
            library.policy_step(
                np.ascontiguousarray(inputs["observation"][lane]).ctypes,
                ctypes.c_float(inputs["reward"][lane]),
                int(inputs["episode_start"][lane]),
                *noise,
                state.ctypes,
                action.ctypes,
            )
            actions.append(action)
            states.append(plain(state))
        return np.stack(actions), np.stack(states)

    return act
