"""What an environment over `[K, E]` lanes is, and the one that runs a tensor-native world."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import gymnasium
import numpy as np
import torch
from numpy.random import SeedSequence
from numpy.typing import DTypeLike
from torch import Tensor

from ssm_metarl.env_runner.simulators.base import Simulator
from ssm_metarl.env_runner.streams import NoiseKind, NoiseStream, substream
from ssm_metarl.env_runner.tasks import Tasks

RESET_STREAM, STEP_STREAM = 0, 1


class Step(NamedTuple):
    """What one step of all lanes returns."""

    observation: Tensor
    """`[K, E, O]` float."""
    reward: Tensor
    """`[K, E]` float."""
    terminated: Tensor
    """`[K, E]` bool: the episode ended by itself."""
    truncated: Tensor
    """`[K, E]` bool: the time limit was reached (it may have terminated on the same step)."""
    failed: Tensor | None = None
    """`[K, E]` bool: the environment broke down, the episode is void; None if it did nowhere."""
    success: Tensor | None = None
    """`[K, E]` bool: its info said that the task is solved; None where it says nothing of it."""
    why: str = ""
    """Why episodes failed, to begin a sentence with; of one of them, where there are several."""


def lane_tensor(
    values: np.ndarray, kind: DTypeLike = np.bool_, *, tasks: int, device: torch.device
) -> Tensor:
    """Return an array of all lanes ``[K E, ...]`` as a tensor ``[K, E, ...]``, copied."""
    grid = values.astype(kind).reshape(tasks, -1, *values.shape[1:])
    return torch.from_numpy(grid).to(device)


@runtime_checkable
class Environment(Protocol):
    """K tasks with E lanes each, stepped together.

    Resets follow Gymnasium's `AutoresetMode.NEXT_STEP`: a step that ends an episode returns its
    true last observation; the next step of that lane ignores the action and returns the first
    observation of a new episode with reward 0 and neither flag set. Without autoreset a lane that
    has ended stays dead until `reset`, and what it returns has no meaning.
    """

    tasks: Tasks
    lanes: int
    observation_space: gymnasium.spaces.Box
    action_space: gymnasium.Space
    max_episode_steps: int
    device: torch.device

    def reset(self, seed: SeedSequence) -> Tensor:
        """Start every lane anew; return first observations `[K, E, O]`."""
        ...

    def step(self, action: Tensor) -> Step:
        """Advance every lane by actions `[K, E]` (int64, discrete) or `[K, E, A]` (float, box)."""
        ...

    def close(self) -> None:
        """Free what the environment holds."""
        ...


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
        self._simulator = simulator
        values = {name: self._column(column) for name, column in tasks.values.items()}
        self._params = simulator.derive(values)
        self._observed = None if observed is None else torch.tensor(observed, device=self.device)
        shape = (len(tasks), lanes)
        self._never = torch.zeros(shape, dtype=torch.bool, device=self.device)
        self._always = ~self._never

    def _column(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.device, self.dtype)[:, None]  # [K, 1]

    def reset(self, seed: SeedSequence) -> Tensor:
        """Start every lane anew from the streams of `seed`; return observations `[K, E, O]`."""
        simulator, block = self._simulator, 64 if self.autoreset else 1
        self._reset_noise = self._noise(seed, RESET_STREAM, simulator.reset_noise, "uniform", block)
        self._step_noise = (
            self._noise(seed, STEP_STREAM, simulator.step_noise, "normal", 64)
            if simulator.step_noise
            else None
        )
        self._drawn = torch.empty(0)  # noise of the first states
        self._time = 0
        self._born = torch.zeros_like(self._never, dtype=torch.int64)  # when each episode began
        self._done = self._never  # lanes that start a new episode on the next step
        self._any_done = False
        self.state = self._first_state().contiguous()
        return self._observe()

    def step(self, action: Tensor) -> Step:
        """Advance every lane by actions `[K, E]` (int64) or `[K, E, A]` (float)."""
        noise = self._step_noise.at(self._time) if self._step_noise else None
        self._time += 1
        state, reward, terminated = self._simulator.step(self._params, self.state, action, noise)
        self.state = state
        if not self.autoreset:
            late = self._time >= self.max_episode_steps
            return Step(self._observe(), reward, terminated, self._always if late else self._never)
        if self._any_done:
            self.state = torch.where(self._done, self._first_state(), state)
            self._born = self._born.masked_fill(self._done, self._time)
            reward = reward.masked_fill(self._done, 0.0)
            terminated = terminated & ~self._done
        truncated = self._born <= self._time - self.max_episode_steps
        self._done = terminated | truncated
        self._any_done = bool(self._done.any())
        return Step(self._observe(), reward, terminated, truncated)

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

    def _first_state(self) -> Tensor:
        # Every lane has its own numbers for every time step, used only if its episode begins there.
        noise, row = self._reset_noise.block_at(self._time)
        if noise is not self._drawn:
            self._drawn = noise
            drawn = self._simulator.reset(self._params, noise.flatten(1, 2))
            self._first = drawn.unflatten(-1, noise.shape[1:3])  # [S, K, block, E]
        return self._first[:, :, row]

    def _observe(self) -> Tensor:
        seen = self._simulator.observe(self._params, self.state)
        return seen if self._observed is None else seen.index_select(-1, self._observed)
