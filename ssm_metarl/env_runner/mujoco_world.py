"""Worlds of Gymnasium's MuJoCo robots, whose tasks differ in physics, reward or both."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, SupportsFloat

import gymnasium
import numpy as np

from ssm_metarl.env_runner import mujoco_robots, mujoco_runners
from ssm_metarl.env_runner.environment import Environment
from ssm_metarl.env_runner.failures import SIMULATION_FAILED
from ssm_metarl.env_runner.formula import LaneFormula
from ssm_metarl.env_runner.mujoco import UNSTABLE, MuJoCoEnvironment, Reward
from ssm_metarl.env_runner.mujoco_model import MjModel, ModelField, change, load_mujoco, refresh
from ssm_metarl.env_runner.mujoco_robots import Robot
from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.env_runner.world import VecOptions, World
from ssm_metarl.errors import UserError, nearest

ROBOTS: dict[str, type[Robot]] = {
    f"{robot.__name__}-v5": robot
    for robot in (
        mujoco_runners.HalfCheetah,
        mujoco_runners.Hopper,
        mujoco_runners.Walker2d,
        mujoco_runners.Ant,
        mujoco_runners.Humanoid,
        mujoco_runners.Swimmer,
        mujoco_robots.Reacher,
        mujoco_robots.Pusher,
        mujoco_robots.InvertedPendulum,
        mujoco_robots.InvertedDoublePendulum,
    )
}

LEAVE_PICTURE = ("HalfCheetah-v5", "Ant-v5", "Swimmer-v5")
"""Gymnasium 1.4 shows them through a camera that stays where it is."""

Edit = Callable[[MjModel, Mapping[str, float]], None]
"""Changes a model, in place, as a task's values say; constants are refreshed afterwards."""


@dataclass(frozen=True)
class Scale:
    """Multiplies a field of the model by the value of a parameter."""

    parameter: str
    field: str
    """As in :meth:`ModelField.parse`."""
    with_inertia: bool = True
    """Whether a body's inertia is scaled with its mass."""

    def __call__(self, model: MjModel, values: Mapping[str, float]) -> None:
        """Change the model in place."""
        parsed = ModelField.parse(self.field)
        change(model, parsed, values[self.parameter], True, with_inertia=self.with_inertia)


@dataclass(frozen=True)
class Set:
    """Sets a field of the model to the value of a parameter."""

    parameter: str
    field: str
    """As in :meth:`ModelField.parse`."""

    def __call__(self, model: MjModel, values: Mapping[str, float]) -> None:
        """Change the model in place."""
        change(model, ModelField.parse(self.field), values[self.parameter], False)


@dataclass(frozen=True)
class Break:
    """Takes the force from the actuator whose index is the value of a parameter; below 0, none.

    What it is told still costs as much.
    """

    parameter: str

    def __call__(self, model: MjModel, values: Mapping[str, float]) -> None:
        """Change the model in place."""
        if values[self.parameter] >= 0:
            broken = ModelField("actuator_gear", str(int(values[self.parameter])))
            change(model, broken, 0.0, True)


def edit_model(
    model: MjModel,
    edits: Sequence[Edit],
    values: Mapping[str, float],
    scratch: Any = None,  # noqa: ANN401
) -> None:
    """Change a model in place, and refresh it once; see :func:`refresh` for ``scratch``."""
    for edit in edits:
        edit(model, values)
    if edits:
        refresh(model, scratch)


class TaskOfRobot(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """Makes one of Gymnasium's robots that of a task: its physics, and its reward if it has one.

    An episode in which the simulation became unstable is ended.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        *,
        edits: Sequence[Edit],
        reward: Reward | None,
        success: LaneFormula | None,
        values: Mapping[str, float],
    ) -> None:
        """Change the model of an environment that is not in use yet, in place."""
        gymnasium.utils.RecordConstructorArgs.__init__(
            self, edits=edits, reward=reward, success=success, values=values
        )
        super().__init__(env)
        self._reward, self._success, self._values = reward, success, values
        self._robot: Any = env.unwrapped
        self._edits = edits
        edit_model(self._robot.model, edits, values)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Change the model of a copy, too: Gymnasium's robots are copied as they were built."""
        self.__dict__.update(state)
        edit_model(self._robot.model, self._edits, self._values)

    def step(self, action: np.ndarray) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Take a step; the info says so if the simulation has restarted by itself."""
        robot, before = self._robot, self._robot.data.time
        observation, reward, terminated, truncated, info = self.env.step(action)
        if robot.data.time < before + 0.9 * robot.dt:
            return observation, 0.0, True, truncated, info | {SIMULATION_FAILED: UNSTABLE}
        seen = {"observation": observation, "action": action, "reward": reward}
        seen |= {"terminated": bool(terminated), "info": info}
        if self._reward:
            of_formula = isinstance(self._reward, LaneFormula)
            reward = float(self._reward(seen if of_formula else info, self._values))
        if self._success:
            info = {**info, "success": float(bool(self._success(seen, self._values)))}
        return observation, reward, terminated, truncated, info


@dataclass(frozen=True)
class MuJoCoWorld(World):
    """One of Gymnasium's -v5 robots, all lanes in MuJoCo's threads, each task on its own model."""

    env_id: str
    edits: Sequence[Edit] = ()
    """What the parameters do to the model."""
    reward: Reward | None = None
    """A task's own; None for Gymnasium's."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of Gymnasium's constructor: weights of costs, ranges of health, and so on."""
    success: LaneFormula | None = None
    """Whether a step solved the task; None if nothing says so."""

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        """One lane's observation space `[O]`."""
        space = self._nominal.observation_space
        return gymnasium.spaces.Box(-np.inf, np.inf, space.shape, dtype=np.float32)

    @property
    def action_space(self) -> gymnasium.Space:
        """One lane's action space."""
        return self._nominal.action_space

    @property
    def simulators(self) -> tuple[str, ...]:
        """MuJoCo, between whose minor versions the same robot has other contacts."""
        return ("mujoco",)

    @cached_property
    def _nominal(self) -> Any:  # noqa: ANN401
        """Gymnasium's environment, unwrapped; whatever is built copies from it."""
        return self._make(None).unwrapped

    @property
    def _view(self) -> dict[str, str]:
        """The model's own camera, where Gymnasium's lets the robot run out of the picture."""
        chosen = any("camera" in name for name in self.arguments)
        return {} if chosen or self.env_id not in LEAVE_PICTURE else {"camera_name": "track"}

    def _make(self, render_mode: str | None) -> gymnasium.Env:
        robot_of(self.env_id)
        load_mujoco()
        try:
            return gymnasium.make(
                self.env_id,
                max_episode_steps=-1,
                render_mode=render_mode,
                **{**self._view, **self.arguments},
            )
        except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
            raise UserError(
                f"MuJoCo's robots cannot be built: {' '.join(str(error).split())}; "
                "install what they need with: pip install 'ssm-metarl[mujoco]'"
            ) from error

    def make_env(self, values: Mapping[str, float], render_mode: str | None) -> gymnasium.Env:
        """Build Gymnasium's environment with these parameter values."""
        env = self._make(render_mode)
        return TaskOfRobot(
            env, edits=self.edits, reward=self.reward, success=self.success, values=dict(values)
        )

    def make_vec(self, tasks: Tasks, lanes: int, options: VecOptions) -> Environment:
        """Build K x E lanes."""
        models = self.models(tasks)
        of_lanes = [model for model in models for _ in range(lanes)]
        return MuJoCoEnvironment(
            robot_of(self.env_id)(self._nominal, of_lanes),
            models,
            tasks,
            lanes,
            reward=self.reward,
            success=self.success,
            **vars(options),
        )

    def models(self, tasks: Tasks) -> list[MjModel]:
        """Return the model of each of K tasks; the nominal one, K times, if they share it."""
        nominal = self._nominal.model
        if not self.edits:
            return [nominal] * len(tasks)
        models = [copy.copy(nominal) for _ in range(len(tasks))]
        scratch = load_mujoco().MjData(nominal)
        for k, model in enumerate(models):
            edit_model(model, self.edits, tasks.parameters(k), scratch)
        return models


def robot_of(env_id: str) -> type[Robot]:
    """Return the class for one of Gymnasium's ids.

    Raises:
        UserError: It is not among them.
    """
    if env_id not in ROBOTS:
        raise UserError(f"{env_id!r} is no robot that runs in lanes; {nearest(env_id, ROBOTS)}")
    return ROBOTS[env_id]
