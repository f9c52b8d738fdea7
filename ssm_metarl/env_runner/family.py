"""Task families: one environment, and the distribution of what varies in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.random import SeedSequence

from ssm_metarl.core.spaces import check_action_space
from ssm_metarl.env_runner.environment import Environment, SimulatedEnvironment
from ssm_metarl.env_runner.gymnasium import (
    GymnasiumEnvironment,
    flat_observation_space,
    vector_of,
    with_flat_observations,
)
from ssm_metarl.env_runner.pool import EnvironmentPool
from ssm_metarl.env_runner.simulators.base import Simulator
from ssm_metarl.env_runner.tasks import Parameter as Parameter
from ssm_metarl.env_runner.tasks import Tasks as Tasks
from ssm_metarl.errors import UserError, nearest

# The fixed task sets of every family: numbers that no user would type as a training seed.
HELD_OUT_SEED = SeedSequence(0x68656C645F6F7574)
VALIDATION_SEED = SeedSequence(0x76616C6964617465)
SHIFTED_SEED = SeedSequence(0x73686966746564)


@dataclass(frozen=True)
class TaskFamily:
    """A distribution of tasks: one environment and how its parameters are drawn."""

    name: str
    description: str
    env_id: str
    """Gymnasium's id of the environment."""
    max_episode_steps: int
    """Steps after which an episode is truncated."""
    simulator: Simulator[Any] | None = None
    """The tensor-native world; None to run Gymnasium's own environment."""
    parameters: tuple[Parameter, ...] = ()
    observed: tuple[int, ...] | None = None
    """Which observations the agent sees; None for all."""
    support_steps: int = 1000
    """Suggested cap on the length of an episode of adaptation data, in steps."""
    discount: float = 0.99
    """Suggested discount per step."""
    adaptation_discount: float | None = None
    """Suggested discount of the data that a trained agent adapts from; None for the same."""
    inner_lr: float | None = None
    """Suggested rate of the inner step; None where that of the kind of action will do."""
    outer_lr: float | None = None
    """Suggested rate of meta-training, likewise."""
    initial_log_std: float = -0.5
    """Suggested spread of continuous actions at first, whose bounds are -1 and 1."""
    support_weight: float = 0.0
    """Suggested weight of the return before adapting in what is meta-learned."""
    adapted_std: float | None = None
    """Suggested largest spread of an adapted agent's continuous actions; None for no limit."""
    trust: float | None = None
    """Suggested largest divergence of a step that training never took, in nats; None for 0.03."""
    picture: str = ""
    """What its pictures show, where one does not see that."""
    _pool: EnvironmentPool | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.simulator is None and self.parameters:
            names = ", ".join(parameter.name for parameter in self.parameters)
            raise UserError(
                f"the family {self.name!r} has parameters ({names}) but no simulator that they "
                "would change; valid: a simulator, or no parameters"
            )

    def reusing(self) -> "TaskFamily":
        """Return this family, with Gymnasium's environments kept for one rollout after another.

        Whoever asks for it closes it. Tensor-native worlds hold nothing that is worth keeping.
        """
        if self.simulator is not None:
            return self
        return replace(self, _pool=EnvironmentPool(lambda: self.gymnasium(self.nominal())))

    def close(self) -> None:
        """Close the environments that :meth:`reusing` keeps."""
        if self._pool is not None:
            self._pool.close()

    @cached_property
    def observation_space(self) -> gymnasium.spaces.Box:
        """One lane's observation space `[O]`, as the agent sees it."""
        if self.simulator is None:
            return self._gymnasium_spaces[0]
        space = self.simulator.observation_space
        if self.observed is None:
            return space
        seen = list(self.observed)
        return gymnasium.spaces.Box(space.low[seen], space.high[seen], dtype=np.float32)

    @cached_property
    def action_space(self) -> gymnasium.Space:
        """One lane's action space."""
        return self.simulator.action_space if self.simulator else self._gymnasium_spaces[1]

    @cached_property
    def observation_scale(self) -> np.ndarray:
        """Typical magnitude of each observation, float64 `[O]`; 1 where nothing is known."""
        if self.simulator is None:
            return np.ones(self.observation_space.shape)
        scale = self.simulator.observation_scale
        return scale if self.observed is None else scale[list(self.observed)]

    @cached_property
    def _gymnasium_spaces(self) -> tuple[gymnasium.spaces.Box, gymnasium.Space]:
        env = self._pool.lend() if self._pool else self.gymnasium(self.nominal())
        spaces = flat_observation_space(env), env.action_space
        env.close()
        check_action_space(env.action_space)
        return spaces

    def sample(self, count: int, seed: SeedSequence) -> Tasks:
        """Draw `count` training tasks; a smaller count gives the first of the same ones."""
        return self._draw(count, seed)

    def held_out(self, count: int = 100) -> Tasks:
        """Return the fixed test tasks, from the training ranges but never trained on."""
        return self._fixed(count, HELD_OUT_SEED)

    def validation(self, count: int = 40) -> Tasks:
        """Return the fixed tasks for choosing checkpoints and settings."""
        return self._fixed(count, VALIDATION_SEED)

    def shifted(self, count: int = 100) -> Tasks:
        """Return the fixed test tasks from outside the training ranges."""
        return self._fixed(count, SHIFTED_SEED, shifted=True)

    def nominal(self) -> Tasks:
        """Return the one task with every parameter at its nominal value."""
        return self.task()

    def task(self, /, **values: object) -> Tasks:
        """Return one task with these parameter values, the others at their nominal ones.

        Raises:
            UserError: A name that this family does not have, or a value outside its sane limits.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in values:
            if not known:
                raise UserError(f"{self.name} has no parameters, so {name!r} cannot be set")
            if name not in known:
                raise UserError(f"{self.name} has no parameter {name!r}; {nearest(name, known)}")
        chosen = {
            name: np.array([parameter.check(values.get(name, parameter.default))])
            for name, parameter in known.items()
        }
        return Tasks(chosen, np.zeros(1, dtype=np.int64))

    def make_vec(
        self,
        tasks: Tasks,
        lanes: int,
        *,
        autoreset: bool,
        horizon: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Environment:
        """Build the environment of these tasks, with `lanes` episodes at once for each.

        Args:
            tasks: K tasks of this family.
            lanes: E, lanes per task.
            autoreset: Whether a lane whose episode ended starts the next one by itself.
            horizon: Truncate episodes after this many steps, if sooner than the family does.
            device: Where observations are.
            dtype: Of observations and rewards.
        """
        limit = min(horizon or self.max_episode_steps, self.max_episode_steps)
        if self.simulator is None:
            make = self._pool.lend if self._pool else lambda: self.gymnasium(tasks)
            makers = [make] * len(tasks)
            envs = vector_of(makers, lanes, limit)
            return GymnasiumEnvironment(
                envs, tasks, max_episode_steps=limit, device=device, dtype=dtype
            )
        return SimulatedEnvironment(
            self.simulator,
            tasks,
            lanes,
            autoreset=autoreset,
            max_episode_steps=limit,
            observed=self.observed,
            observation_space=self.observation_space,
            device=device,
            dtype=dtype,
        )

    def gymnasium(self, task: Tasks, render_mode: str | None = None) -> gymnasium.Env:
        """Build Gymnasium's own environment with one task's parameters, as the agent sees it."""
        if self.simulator is None:
            # Environments that cannot be drawn need not know of render modes.
            drawn: dict[str, Any] = {"render_mode": render_mode} if render_mode else {}
            env = gymnasium.make(self.env_id, max_episode_steps=self.max_episode_steps, **drawn)
            return with_flat_observations(env)
        env = self.simulator.gymnasium(task.parameters(0), render_mode)
        if self.observed is None:
            return env
        seen = list(self.observed)
        return gymnasium.wrappers.TransformObservation(
            env, lambda observation: observation[seen], self.observation_space
        )

    def _fixed(self, count: int, seed: SeedSequence, *, shifted: bool = False) -> Tasks:
        """Draw a fixed set: one task where there is no other, rather than copies of it."""
        return self._draw(count if self.parameters else min(count, 1), seed, shifted=shifted)

    def _draw(self, count: int, seed: SeedSequence, *, shifted: bool = False) -> Tasks:
        # Row k is task k: its numbers do not depend on how many tasks follow.
        uniform = np.random.default_rng(seed).random((count, len(self.parameters)))
        values: Mapping[str, np.ndarray] = {
            parameter.name: parameter.transform(column, shifted)
            for parameter, column in zip(self.parameters, uniform.T, strict=True)
        }
        return Tasks(values, np.arange(count))
