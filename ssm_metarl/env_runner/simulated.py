"""Native environments: a simulator, its time limit and its new episodes, as pure functions."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.env_runner.environment import Step
from ssm_metarl.env_runner.simulators.base import Simulator
from ssm_metarl.env_runner.streams import NoiseKind, NoiseStream, substream
from ssm_metarl.env_runner.tasks import Tasks

RESET_STREAM, STEP_STREAM = 0, 1


class LaneState(NamedTuple):
    """What K x E lanes hand on from step to step."""

    state: Float[Tensor, "S K E"]
    """Of the simulator."""
    born: Int[Tensor, "K E"]
    """Time at which each episode began."""
    done: Bool[Tensor, "K E"]
    """Lanes that start a new episode on the next step."""


@dataclass(frozen=True)
class Dynamics:
    """What a step does to lanes, whatever their tasks: a pure function, which can be compiled."""

    simulator: Simulator[Any]
    autoreset: bool
    observed: Int[Tensor, "O"] | None
    """Which of the simulator's observations the agent sees; None for all."""

    def observe(self, params: Any, state: Float[Tensor, "S K E"]) -> Float[Tensor, "K E O"]:  # noqa: ANN401 (the simulator's)
        """Return what the agent sees of the simulator's state."""
        seen = self.simulator.observe(params, state)
        return seen if self.observed is None else seen.index_select(-1, self.observed)

    def step(
        self,
        params: Any,  # noqa: ANN401 (as above)
        lanes: LaneState,
        time: int | Int[Tensor, ""],
        limit: int | Int[Tensor, ""],
        action: Shaped[Tensor, "K E *A"],
        noise: Float[Tensor, "K E W"] | None,
        first: Float[Tensor, "S K E"] | None,
    ) -> tuple[LaneState, Step]:
        """Advance every lane.

        Args:
            params: Of the simulator.
            lanes: As they were.
            time: Steps since the reset, this one included.
            limit: Steps after which an episode is truncated.
            action: In every lane.
            noise: Of the simulator; None if it has none.
            first: What lanes that are done start from; None if there are none.
        """
        born = lanes.born
        state, reward, terminated = self.simulator.step(params, lanes.state, action, noise)
        if first is not None:
            state = torch.where(lanes.done, first, state)
            born = born.masked_fill(lanes.done, time)
            reward = reward.masked_fill(lanes.done, 0.0)
            terminated = terminated & ~lanes.done
        truncated = born <= time - limit
        done = terminated | truncated if self.autoreset else lanes.done
        step = Step(self.observe(params, state), reward, terminated, truncated)
        return LaneState(state, born, done), step


class SimulatedEnvironment:
    """An `Environment` that runs a `Simulator`, all lanes at once.

    What a task gets depends on (seed, its identity, its actions) only, bit for bit, whatever the
    other tasks of the batch are.
    """

    def __init__(
        self,
        simulator: Simulator[Any],
        tasks: Tasks,
        lanes: int,
        *,
        autoreset: bool,
        max_episode_steps: int,
        observed: tuple[int, ...] | None = None,
        observation_space: gymnasium.spaces.Box | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Compute what the task parameters imply, once.

        Args:
            simulator: The world.
            tasks: K tasks.
            lanes: E, lanes per task.
            autoreset: Whether lanes start a new episode by themselves.
            max_episode_steps: Steps after which an episode is truncated.
            observed: Which of the simulator's observations the agent sees; None for all.
            observation_space: As the agent sees it; None for the simulator's.
            device: Where the state lives.
            dtype: Of state, observations and rewards.
        """
        self.tasks, self.lanes, self.autoreset = tasks, lanes, autoreset
        self.observation_space = observation_space or simulator.observation_space
        self.action_space = simulator.action_space
        self.max_episode_steps = max_episode_steps
        self.device, self.dtype = torch.device(device), dtype
        seen = None if observed is None else torch.tensor(observed, device=self.device)
        self.dynamics = Dynamics(simulator, autoreset, seen)
        values = {name: self._column(column) for name, column in tasks.values.items()}
        self.params = simulator.derive(values)

    def _column(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.device, self.dtype)[:, None]  # [K, 1]

    def reset(self, seed: SeedSequence) -> Tensor:
        """Start every lane anew from the streams of `seed`; return observations `[K, E, O]`."""
        simulator, block = self.dynamics.simulator, 64 if self.autoreset else 1
        self._reset_noise = self._noise(seed, RESET_STREAM, simulator.reset_noise, "uniform", block)
        self._step_noise = (
            self._noise(seed, STEP_STREAM, simulator.step_noise, "normal", 64)
            if simulator.step_noise
            else None
        )
        self._drawn = torch.empty(0)  # noise of the first states
        state = self._first_state(0).contiguous()
        born = torch.zeros(state.shape[1:], dtype=torch.int64, device=self.device)
        self.time, self.lane_state = 0, LaneState(state, born, done=born > 0)
        self._any_done = False
        return self.dynamics.observe(self.params, state)

    def step(self, action: Tensor) -> Step:
        """Advance every lane by actions `[K, E]` (int64) or `[K, E, A]` (float)."""
        noise = self._step_noise.at(self.time) if self._step_noise else None
        self.time += 1
        # Numbers for first states are drawn where they are needed, and otherwise skipped.
        first = self._first_state(self.time) if self._any_done else None
        self.lane_state, step = self.dynamics.step(
            self.params, self.lane_state, self.time, self.max_episode_steps, action, noise, first
        )
        self._any_done = self.autoreset and bool(self.lane_state.done.any())
        return step

    def noise_ahead(self, steps: int) -> tuple[Tensor | None, Tensor | None]:
        """Return what the next steps may need of random numbers, to take them all at once.

        Returns:
            Noise ``[K, steps, E, W]`` of the steps, and first states ``[S, K, steps, E]`` of lanes
            whose episode begins there; None where nothing is needed.
        """
        end = self.time + steps
        noise = self._step_noise.between(self.time, end) if self._step_noise else None
        if not self.autoreset:
            return noise, None
        blocks = self._reset_noise.blocks(self.time + 1, end + 1)
        return noise, torch.cat(
            [self._first_states(block)[:, :, rows] for block, rows in blocks], 2
        )

    def move_on(self, lanes: LaneState, steps: int) -> None:
        """Take over what steps that were taken elsewhere led to."""
        self.lane_state, self.time = lanes, self.time + steps
        self._any_done = self.autoreset and bool(lanes.done.any())

    def close(self) -> None:
        """Do nothing: tensors free themselves."""

    def _noise(
        self, seed: SeedSequence, key: int, width: int, kind: NoiseKind, block: int
    ) -> NoiseStream:
        return NoiseStream(
            substream(seed, key),
            self.tasks.index,
            self.lanes,
            width,
            kind,
            dtype=self.dtype,
            device=self.device,
            block=block,
        )

    def _first_state(self, time: int) -> Float[Tensor, "S K E"]:
        # Every lane has its own numbers for every time step, used only if its episode begins there.
        noise, row = self._reset_noise.block_at(time)
        return self._first_states(noise)[:, :, row]

    def _first_states(self, noise: Float[Tensor, "K block E W"]) -> Float[Tensor, "S K block E"]:
        if noise is not self._drawn:
            self._drawn = noise
            drawn = self.dynamics.simulator.reset(self.params, noise.flatten(1, 2))
            self._first = drawn.unflatten(-1, noise.shape[1:3])
        return self._first
