"""Rollouts of native environments under ``torch.compile``, several steps at once.

Nothing here is ever differentiated: compilers lose the second order of an autograd.Function (torch
2.13), but a rollout only acts.
"""

import functools
import logging
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from ssm_metarl.core.action_scaling import ActionScaling
from ssm_metarl.core.policy import BoundPolicy, State
from ssm_metarl.env_runner.environment import Step
from ssm_metarl.env_runner.simulated import Dynamics, LaneState, SimulatedEnvironment
from ssm_metarl.env_runner.walk import Walk, act

log = logging.getLogger(__name__)

WORTH_IT = 200_000
"""Steps in a row from which the compiler's time is earned back: an estimate."""
STEPS = 8
"""That are one compiled function. More make it faster to run, and slower to compile."""


class Carry(NamedTuple):
    """What a step of a rollout hands on to the next."""

    lanes: LaneState
    action: Shaped[Tensor, "..."]
    reward: Float[Tensor, "K E"]
    start: Bool[Tensor, "K E"]
    done: Bool[Tensor, "K E"]
    ended: Int[Tensor, "K E"]
    memory: State


class Structure(NamedTuple):
    """What a compiled function is specialised on, beside the shapes of its arguments."""

    dynamics: Dynamics
    resets: bool
    forgets: bool


def advance(
    structure: Structure,
    bound: BoundPolicy,
    scaling: ActionScaling | None,
    task_params: Any,  # noqa: ANN401 (the simulator's)
    carry: Carry,
    time: Int[Tensor, ""],
    limit: Int[Tensor, ""],
    noise: Float[Tensor, "K steps E A"] | None,
    step_noise: Float[Tensor, "K steps E W"] | None,
    first: Float[Tensor, "S K steps E"] | None,
) -> tuple[Carry, tuple[Tensor, ...]]:
    """Take `STEPS` steps in every lane: a pure function, which is what is compiled.

    Returns what is handed on, and of every step, stacked: what it returned (an observation, a
    reward, and whether the episode terminated or was truncated), the action, the outputs of the
    action head, and whether an episode begins with the observation.
    """
    dynamics, resets, forgets = structure
    rows = []
    lanes, action, reward, start, done, ended, memory = carry
    observation = dynamics.observe(task_params, lanes.state)
    for i in range(STEPS):
        drawn = None if noise is None else noise[:, i]
        action, head, memory = act(
            bound, observation, action, reward, start, memory, drawn, forgets
        )
        lanes, step = dynamics.step(
            task_params,
            lanes,
            time + (i + 1),
            limit,
            scaling(action) if scaling else action,
            None if step_noise is None else step_noise[:, i],
            None if first is None else first[:, :, i],
        )
        start = done if resets else torch.zeros_like(done)
        done = step.terminated | step.truncated
        ended, reward, observation = ended + done, step.reward, step.observation
        rows.append((*step[:4], action, head, start))
    stacked = tuple(torch.stack(column) for column in zip(*rows, strict=True))
    return Carry(lanes, action, reward, start, done, ended, memory), stacked


def wanted(choice: str, steps: int, *, native: bool = True, units_change: bool = False) -> bool:
    """Return whether to compile, and write to the log why not, if that was not to be expected.

    Args:
        choice: The setting.
        steps: That the training is going to take in a row.
        native: Whether the environment is a simulator of ours.
        units_change: Whether those of observations or rewards do, which are numbers in what is
            compiled.
    """
    if choice == "off" or (choice == "auto" and (steps < WORTH_IT or units_change or not native)):
        return False
    if not native:
        log.warning("nothing is compiled: only native environments can be (docs/scaling.md)")
        return False
    if units_change:
        log.warning("nothing is compiled: --norm_obs and --norm_reward change units as they train")
        return False
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        log.warning("nothing is compiled: there is no C++ compiler %s", compiler)
        return False
    return True


@functools.cache
def compiled(device: str) -> Callable[..., tuple[Carry, tuple[Tensor, ...]]]:
    """Return `advance` as a function that is compiled whenever it meets new shapes.

    Where that fails it says so, once, and works as it is.
    """
    from torch._dynamo.exc import TorchDynamoException

    log.info("compiling: half a minute the first time, some seconds where that has been done")
    options: Any = {"cpp_wrapper": True} if device == "cpu" else None
    fast, broken = torch.compile(advance, fullgraph=True, dynamic=False, options=options), []

    def call(*arguments: Any) -> tuple[Carry, tuple[Tensor, ...]]:  # noqa: ANN401
        if not broken:
            try:
                return fast(*arguments)
            except TorchDynamoException as error:
                log.warning("not compiled after all: %s", str(error).partition("\n")[0])
                broken.append(error)
        return advance(*arguments)

    return call


@torch.no_grad()
def several_steps(walk: Walk) -> None:
    """Advance a rollout of native environments by `STEPS` steps."""
    environment = walk.environment
    assert isinstance(environment, SimulatedEnvironment)
    carry, rows = compiled(environment.device.type)(
        Structure(environment.dynamics, walk.resets, walk.forgets),
        walk.bound,
        walk.bound.policy.spaces.action_scaling(walk.action),
        environment.params,
        Carry(
            environment.lane_state,
            walk.action,
            walk.reward,
            walk.start,
            walk.done,
            walk.ended,
            walk.state,
        ),
        torch.tensor(environment.time),
        torch.tensor(environment.max_episode_steps),
        None if walk.deterministic else walk.noise.several(STEPS),
        *environment.noise_ahead(STEPS),
    )
    environment.move_on(carry.lanes, STEPS)
    _, walk.action, walk.reward, walk.start, walk.done, walk.ended, walk.state = carry
    observation, reward, terminated, truncated, action, head, start = rows
    walk.observation = observation[-1]
    walk.record(STEPS, Step(observation, reward, terminated, truncated), action, head, start)
