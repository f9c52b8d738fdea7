"""Task families: one environment, and the distribution of what varies in it."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import gymnasium
import numpy as np
import torch
from numpy.random import SeedSequence

from ssm_metarl.env_runner.environment import Environment
from ssm_metarl.env_runner.gymnasium_world import GymnasiumWorld, MakeEnv
from ssm_metarl.env_runner.mujoco_drawing import prepare_drawing
from ssm_metarl.env_runner.observations import with_flat_observations
from ssm_metarl.env_runner.pool import RegisteredId
from ssm_metarl.env_runner.simulators.base import Simulator
from ssm_metarl.env_runner.tasks import Parameter as Parameter
from ssm_metarl.env_runner.tasks import Tasks as Tasks
from ssm_metarl.env_runner.world import SimulatedWorld, VecOptions, World
from ssm_metarl.errors import UserError, nearest

NO_LIMIT_STEPS = 1000
"""Episode length of environments that declare none."""

# The fixed task sets of every family: numbers that no user would type as a training seed.
HELD_OUT_SEED = SeedSequence(0x68656C645F6F7574)
VALIDATION_SEED = SeedSequence(0x76616C6964617465)
SHIFTED_SEED = SeedSequence(0x73686966746564)


@dataclass(frozen=True)
class TaskFamily:
    """A distribution of tasks: one environment and how its parameters are drawn."""

    name: str
    description: str = ""
    env_id: str = ""
    """Gymnasium's id of the environment, where it has one."""
    max_episode_steps: int = 0
    """Steps after which an episode is truncated; 0 for as many as the environment's spec says."""
    make: MakeEnv | None = None
    """``make(task)``: one ordinary environment for a task; ``task["gravity"]`` is a number."""
    simulator: Simulator[Any] | None = None
    """A tensor-native simulator."""
    world: World | None = None
    """Anything else that runs environments."""
    parameters: Sequence[Parameter] = ()
    task_sets: Mapping[str, Tasks] = field(default_factory=dict, repr=False)
    """All there are, where tasks are not drawn from ranges, by "training", "validation" and
    "held_out"."""
    observed: tuple[int, ...] | None = None
    """Which observations of a simulator the agent sees; None for all."""
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
    success_key: str = ""
    """In the info of `make`'s environments, what says that the task is solved; empty for "success"
    or "is_success"."""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Suggested settings by the name of a learner; they go before its own defaults."""
    picture: str = ""
    """What its pictures show, where one does not see that."""
    source: str = field(default="", repr=False)
    """The text of the file that declares it, if one does."""
    _kept: World | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", tuple(self.parameters))
        names = [parameter.name for parameter in self.parameters]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UserError(f"the family {self.name!r} has the parameter {twice!r} twice")
        given = [name for name in ("make", "simulator", "world") if getattr(self, name) is not None]
        if len(given) > 1 or not (given or self.env_id):
            raise UserError(
                f"the family {self.name!r} has {' and '.join(given) or 'no environment'}; valid: "
                "exactly one of make=, simulator=, world=, or an env_id= alone"
            )
        if names and not given:
            raise UserError(
                f"the family {self.name!r} has parameters ({', '.join(names)}) that its env_id "
                "alone does not apply; valid: make=, which builds a task's environment"
            )
        if not self.max_episode_steps:
            object.__setattr__(self, "max_episode_steps", self._steps_of_spec())

    def _steps_of_spec(self) -> int:
        """Return the episode length that the environment declares, or one that will do."""
        if self.env_id and self.make is None and self.world is None:
            spec = gymnasium.spec(self.env_id.rpartition(":")[2])
        else:
            env = self._world.make_env(self.nominal().parameters(0), None)
            spec = env.spec
            env.close()
        return (spec and spec.max_episode_steps) or NO_LIMIT_STEPS

    @cached_property
    def _world(self) -> World:
        if self._kept or self.world:
            return cast(World, self._kept or self.world)
        if self.simulator:
            return SimulatedWorld(self.simulator, self.observed)
        make = self.make or RegisteredId(self.env_id, self.max_episode_steps)
        return GymnasiumWorld(make, self.nominal().parameters(0), self.success_key)

    @property
    def best_return(self) -> float | None:
        """The best possible return, where it is known, as on CartPole, which gives 1 per step."""
        return float(self.max_episode_steps) if self.env_id == "CartPole-v1" else None

    def reusing(self) -> "TaskFamily":
        """Return this family, with what it builds kept for one rollout after another.

        Whoever asks for it closes it.
        """
        return replace(self, _kept=self._world.reusing())

    def close(self) -> None:
        """Free what :meth:`reusing` keeps."""
        if self._kept:
            self._kept.close()

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        """One lane's observation space `[O]`, as the agent sees it."""
        return self._world.observation_space

    @property
    def action_space(self) -> gymnasium.Space:
        """One lane's action space."""
        return self._world.action_space

    @property
    def observation_scale(self) -> np.ndarray | None:
        """Typical magnitude of each observation, float64 `[O]`; None where it is to be measured."""
        return self._world.observation_scale

    @property
    def simulators(self) -> tuple[str, ...]:
        """Packages beside Gymnasium whose versions decide what its environments do."""
        return self._world.simulators

    @property
    def image(self) -> tuple[int, ...]:
        """Height, width and channels of the image whose numbers observations begin with, or ()."""
        return self._world.image

    def sample(self, count: int, seed: SeedSequence) -> Tasks:
        """Draw `count` training tasks; a smaller count gives the first of the same ones.

        Of a fixed set none is drawn again before all have been.
        """
        if not self.task_sets:
            return self._draw(count, seed)
        training, rng = self.task_sets["training"], np.random.default_rng(seed)
        rounds = [rng.permutation(len(training)) for _ in range(-(-count // len(training)))]
        return replace(training[np.concatenate(rounds)[:count]], index=np.arange(count))

    def held_out(self, count: int = 100) -> Tasks:
        """Return the fixed test tasks, from the training ranges but never trained on."""
        return self._fixed("held_out", count, HELD_OUT_SEED)

    def validation(self, count: int = 40) -> Tasks:
        """Return the fixed tasks for choosing checkpoints and settings."""
        return self._fixed("validation", count, VALIDATION_SEED)

    def shifted(self, count: int = 100) -> Tasks:
        """Return the fixed test tasks from outside the training ranges.

        Raises:
            UserError: The family has sets of its own, and no such one.
        """
        return self._fixed("shifted", count, SHIFTED_SEED, shifted=True)

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
        return Tasks(chosen, np.zeros(1, dtype=np.int64), self._labels)

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
        steps = min(horizon or self.max_episode_steps, self.max_episode_steps)
        return self._world.make_vec(tasks, lanes, VecOptions(autoreset, steps, device, dtype))

    def gymnasium(self, task: Tasks, render_mode: str | None = None) -> gymnasium.Env:
        """Build one ordinary environment with one task's parameters, as the agent sees it.

        Args:
            task: A set of one.
            render_mode: Gymnasium's; None where nothing is to be drawn.
        """
        if render_mode == "rgb_array" and "mujoco" in self.simulators:
            prepare_drawing()
        env = self._world.make_env(task.parameters(0), render_mode)
        if env.spec is None or env.spec.max_episode_steps != self.max_episode_steps:
            env = gymnasium.wrappers.TimeLimit(env, self.max_episode_steps)
        return with_flat_observations(env)

    def _fixed(self, name: str, count: int, seed: SeedSequence, *, shifted: bool = False) -> Tasks:
        """Draw a fixed set: where there are fewer tasks than asked for, each of them once."""
        if self.task_sets:
            if name not in self.task_sets:
                raise UserError(f"{self.name} has no {name} tasks; {nearest(name, self.task_sets)}")
            return self.task_sets[name][:count]
        drawn = [p for p in self.parameters if p.distribution != "fixed" or (shifted and p.shifted)]
        if not all(p.choices for p in drawn):
            return self._draw(count, seed, shifted=shifted)
        if math.prod(len(p.choices) for p in drawn) > count:
            return self._draw(count, seed, shifted=shifted)
        rows = list(itertools.product(*(p.choices or (p.default,) for p in self.parameters)))
        columns = np.array(rows).reshape(len(rows), len(self.parameters)).T
        values = dict(zip((p.name for p in self.parameters), columns, strict=True))
        return Tasks(values, np.arange(len(rows)), self._labels)

    def _draw(self, count: int, seed: SeedSequence, *, shifted: bool = False) -> Tasks:
        # Row k is task k: its numbers do not depend on how many tasks follow.
        uniform = np.random.default_rng(seed).random((count, len(self.parameters)))
        values: Mapping[str, np.ndarray] = {
            parameter.name: parameter.transform(column, shifted)
            for parameter, column in zip(self.parameters, uniform.T, strict=True)
        }
        return Tasks(values, np.arange(count), self._labels)

    @property
    def _labels(self) -> dict[str, tuple[str, ...]]:
        return {parameter.name: parameter.labels for parameter in self.parameters}
