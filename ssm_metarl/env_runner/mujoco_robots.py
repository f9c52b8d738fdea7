"""What Gymnasium's -v5 robots show, pay and end at, for all lanes at once in NumPy.

Weights, ranges and first states are read from an environment of Gymnasium's own, and sums are taken
in its order and precision, so that the numbers are the same to the last bit.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ssm_metarl.env_runner.mujoco_lanes import Fields
from ssm_metarl.env_runner.mujoco_model import MjModel

Terms = dict[str, np.ndarray]
"""What a step is paid for, ``[N]`` each, named as in Gymnasium's ``info``; ``reward`` sums them."""


class Robot(ABC):
    """One of Gymnasium's robots, over N lanes."""

    reads: ClassVar[tuple[str, ...]] = ()
    """Fields of MjData it needs besides time, qpos and qvel."""
    forces: ClassVar[bool] = False
    """Whether it shows contact forces."""

    def __init__(self, env: Any, models: Sequence[MjModel]) -> None:  # noqa: ANN401
        """Read what is fixed.

        Args:
            env: Gymnasium's environment, unwrapped; it is not changed.
            models: Of the N lanes.
        """
        # A twin of it, whose reset_model only tells of the state that it would have set.
        self.env = object.__new__(type(env))
        self.env.__dict__.update(env.__dict__, init_qpos=env.init_qpos.copy())
        self.env.set_state, self.env._get_obs = self._record, lambda: None
        self.dt = env.frame_skip * np.array([model.opt.timestep for model in models])
        self._shown: dict[str, int] = getattr(env, "observation_structure", {})
        self._first: tuple[np.ndarray, np.ndarray] | None = None

    def first_state(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw the positions and velocities an episode starts from, as Gymnasium does."""
        self.env.np_random = rng
        self.env.reset_model()
        assert self._first is not None
        return self._first

    def _record(self, qpos: np.ndarray, qvel: np.ndarray) -> None:
        self._first = qpos.copy(), qvel.copy()

    def place(self, fields: Fields) -> np.ndarray:
        """Return the position ``[N, D]`` whose change over a step is the robot's velocity."""
        return fields["qpos"][:, :1]

    @abstractmethod
    def observe(self, fields: Fields) -> np.ndarray:
        """Return what the lanes show, ``[N, O]`` float64."""

    @abstractmethod
    def outcome(self, fields: Fields, before: np.ndarray, action: np.ndarray) -> tuple[Terms, Any]:
        """Return what a step was paid for, and which lanes it ended, bool ``[N]``.

        Args:
            fields: After the step.
            before: :meth:`place` before it.
            action: Float32 ``[N, A]``.
        """

    def details(self, fields: Fields) -> Terms:
        """Return what else Gymnasium's ``info`` says after a step, beside what it was paid for."""
        return {}

    def _velocity(self, fields: Fields, before: np.ndarray) -> Terms:
        velocity = (self.place(fields) - before) / self.dt[:, None]
        return dict(zip(("x_velocity", "y_velocity"), velocity.T, strict=False))

    def _control_cost(self, action: np.ndarray) -> np.ndarray:
        return self.env._ctrl_cost_weight * np.square(action).sum(-1)

    def _positions_and(self, velocity: np.ndarray, fields: Fields) -> np.ndarray:
        return np.concatenate([fields["qpos"][:, self._shown["skipped_qpos"] :], velocity], -1)


class Reacher(Robot):
    """Reacher-v5."""

    reads = ("xpos",)

    def _difference(self, fields: Fields, one: str, other: str) -> np.ndarray:
        body, xpos = self.env.model.body, fields["xpos"]
        return xpos[:, body(one).id] - xpos[:, body(other).id]

    def observe(self, fields: Fields) -> np.ndarray:
        qpos, vector = fields["qpos"], self._difference(fields, "fingertip", "target")
        angles = qpos[:, :2]
        parts = [np.cos(angles), np.sin(angles), qpos[:, 2:], fields["qvel"][:, :2], vector[:, :2]]
        return np.concatenate(parts, -1)

    def outcome(self, fields: Fields, before: np.ndarray, action: np.ndarray) -> tuple[Terms, Any]:
        distance = norm(self._difference(fields, "fingertip", "target"))
        near = -distance * self.env._reward_dist_weight
        ctrl = -np.square(action).sum(-1) * self.env._reward_control_weight
        terms = {"reward_dist": near, "reward_ctrl": ctrl, "reward": near + ctrl}
        return terms, np.zeros(len(action), dtype=bool)


class Pusher(Reacher):
    """Pusher-v5."""

    def observe(self, fields: Fields) -> np.ndarray:
        body, xpos = self.env.model.body, fields["xpos"]
        points = [xpos[:, body(name).id] for name in ("tips_arm", "object", "goal")]
        return np.concatenate([fields["qpos"][:, :7], fields["qvel"][:, :7], *points], -1)

    def outcome(self, fields: Fields, before: np.ndarray, action: np.ndarray) -> tuple[Terms, Any]:
        env = self.env
        near = -norm(self._difference(fields, "object", "tips_arm")) * env._reward_near_weight
        dist = -norm(self._difference(fields, "object", "goal")) * env._reward_dist_weight
        ctrl = -np.square(action).sum(-1) * env._reward_control_weight
        terms = {"reward_dist": dist, "reward_ctrl": ctrl, "reward_near": near}
        return terms | {"reward": dist + ctrl + near}, np.zeros(len(action), dtype=bool)


class InvertedPendulum(Robot):
    """InvertedPendulum-v5."""

    def observe(self, fields: Fields) -> np.ndarray:
        return np.concatenate([fields["qpos"], fields["qvel"]], -1)

    def outcome(self, fields: Fields, before: np.ndarray, action: np.ndarray) -> tuple[Terms, Any]:
        observation = self.observe(fields)
        fallen = ~np.isfinite(observation).all(-1) | (np.abs(observation[:, 1]) > 0.2)
        return {"reward_survive": ~fallen * 1.0, "reward": ~fallen * 1.0}, fallen


class InvertedDoublePendulum(Robot):
    """InvertedDoublePendulum-v5."""

    reads = ("site_xpos", "qfrc_constraint")

    def observe(self, fields: Fields) -> np.ndarray:
        qpos, force = fields["qpos"], np.clip(fields["qfrc_constraint"], -10, 10)
        velocity = np.clip(fields["qvel"], -10, 10)
        parts = [qpos[:, :1], np.sin(qpos[:, 1:]), np.cos(qpos[:, 1:]), velocity, force[:, :1]]
        return np.concatenate(parts, -1)

    def outcome(self, fields: Fields, before: np.ndarray, action: np.ndarray) -> tuple[Terms, Any]:
        (x, _, y), (v1, v2) = fields["site_xpos"][:, 0].T, fields["qvel"][:, 1:3].T
        fallen = y <= 1
        x2, y2, v1, v2 = (
            np.float_power(part, 2) for part in (x, y - 2, v1, v2)
        )  # rounds as theirs
        distance, speed = 0.01 * x2 + y2, 1e-3 * v1 + 5e-3 * v2
        alive = self.env._healthy_reward * ~fallen
        terms = {
            "reward_survive": alive,
            "distance_penalty": -distance,
            "velocity_penalty": -speed,
            "reward": alive - distance - speed,
        }
        return terms, fallen


def norm(vectors: np.ndarray) -> np.ndarray:
    """Return the lengths of vectors ``[N, D]``."""
    # As a product of matrices, which rounds like the dot product in np.linalg.norm of one vector.
    return np.sqrt((vectors[:, None] @ vectors[:, :, None])[:, 0, 0])
