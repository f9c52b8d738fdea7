"""Gymnasium's robots that run, walk, hop and swim."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from ssm_metarl.env_runner.mujoco_lanes import Fields
from ssm_metarl.env_runner.mujoco_model import MjModel
from ssm_metarl.env_runner.mujoco_robots import Robot, Terms, norm


class _Runner(Robot):
    """Paid for its velocity and nothing else, and never at an end: HalfCheetah, Swimmer."""

    def observe(self, fields: Fields) -> np.ndarray:
        return self._positions_and(fields["qvel"], fields)

    def outcome(self, fields: Fields, before: np.ndarray, action: np.ndarray) -> tuple[Terms, Any]:
        terms, cost = self._velocity(fields, before), self._control_cost(action)
        forward = self.env._forward_reward_weight * terms["x_velocity"]
        terms |= {"reward_forward": forward, "reward_ctrl": -cost, "reward": forward - cost}
        return terms, np.zeros(len(action), dtype=bool)


class HalfCheetah(_Runner):
    """HalfCheetah-v5."""

    def details(self, fields: Fields) -> Terms:
        return {"x_position": fields["qpos"][:, 0]}


class Swimmer(_Runner):
    """Swimmer-v5."""

    def details(self, fields: Fields) -> Terms:
        return _on_the_plane(fields)

    def place(self, fields: Fields) -> np.ndarray:
        return fields["qpos"][:, :2]


class _Walker(Robot):
    """Also paid for being healthy, and at an end when it is not."""

    def observe(self, fields: Fields) -> np.ndarray:
        return self._positions_and(np.clip(fields["qvel"], -10, 10), fields)

    def outcome(self, fields: Fields, before: np.ndarray, action: np.ndarray) -> tuple[Terms, Any]:
        env, terms, healthy = self.env, self._velocity(fields, before), self._healthy(fields)
        forward = env._forward_reward_weight * terms["x_velocity"]
        survive = healthy * env._healthy_reward
        ctrl = self._control_cost(action)
        terms |= {"reward_forward": forward, "reward_survive": survive, "reward_ctrl": -ctrl}
        contact = self._contact_cost(fields)
        if contact is not None:
            terms["reward_contact"] = -contact
        terms["reward"] = forward + survive - (ctrl if contact is None else ctrl + contact)
        return terms, ~healthy & bool(env._terminate_when_unhealthy)

    @abstractmethod
    def _healthy(self, fields: Fields) -> np.ndarray: ...

    def _contact_cost(self, fields: Fields) -> np.ndarray | None:
        return None

    def _above_the_ground(self, fields: Fields) -> Terms:
        height = fields["qpos"][:, 1] - self.env.init_qpos[1]
        return {"x_position": fields["qpos"][:, 0], "z_distance_from_origin": height}


class Hopper(_Walker):
    """Hopper-v5."""

    def details(self, fields: Fields) -> Terms:
        return self._above_the_ground(fields)

    def _healthy(self, fields: Fields) -> np.ndarray:
        qpos, state_range = fields["qpos"], self.env._healthy_state_range
        state = np.concatenate([qpos[:, 2:], fields["qvel"]], -1)
        return (
            _within(state, state_range).all(-1)
            & _within(qpos[:, 1], self.env._healthy_z_range)
            & _within(qpos[:, 2], self.env._healthy_angle_range)
        )


class Walker2d(_Walker):
    """Walker2d-v5."""

    def details(self, fields: Fields) -> Terms:
        return self._above_the_ground(fields)

    def _healthy(self, fields: Fields) -> np.ndarray:
        z, angle = fields["qpos"][:, 1], fields["qpos"][:, 2]
        return _within(z, self.env._healthy_z_range) & _within(angle, self.env._healthy_angle_range)


class Ant(_Walker):
    """Ant-v5."""

    reads, forces = ("xpos", "cfrc_ext"), True

    def details(self, fields: Fields) -> Terms:
        return _on_the_plane(fields)

    def place(self, fields: Fields) -> np.ndarray:
        return fields["xpos"][:, self.env.model.body(self.env._main_body).id, :2]

    def observe(self, fields: Fields) -> np.ndarray:
        seen = self._positions_and(fields["qvel"], fields)
        if not self._shown["cfrc_ext"]:
            return seen
        return np.concatenate([seen, self._forces(fields)[:, 1:].reshape(len(seen), -1)], -1)

    def _forces(self, fields: Fields) -> np.ndarray:
        return np.clip(fields["cfrc_ext"], *self.env._contact_force_range)

    def _contact_cost(self, fields: Fields) -> np.ndarray:
        squares = np.square(self._forces(fields)).reshape(len(fields["qpos"]), -1)
        return self.env._contact_cost_weight * squares.sum(-1)

    def _healthy(self, fields: Fields) -> np.ndarray:
        qpos, (low, high) = fields["qpos"], self.env._healthy_z_range
        finite = np.isfinite(qpos).all(-1) & np.isfinite(fields["qvel"]).all(-1)
        return finite & (low <= qpos[:, 2]) & (qpos[:, 2] <= high)


class Humanoid(_Walker):
    """Humanoid-v5."""

    reads = ("xipos", "cinert", "cvel", "qfrc_actuator", "cfrc_ext", "ten_length", "ten_velocity")
    forces = True

    def __init__(self, env: Any, models: Sequence[MjModel]) -> None:  # noqa: ANN401
        super().__init__(env, models)
        self._mass = np.stack([model.body_mass for model in models])  # [N, bodies]

    def details(self, fields: Fields) -> Terms:
        tendons = {"tendon_length": "ten_length", "tendon_velocity": "ten_velocity"}
        return _on_the_plane(fields) | {name: fields[own] for name, own in tendons.items()}

    def place(self, fields: Fields) -> np.ndarray:
        # One lane after another, for the order in which it sums is not that of a batched einsum.
        moments = [np.einsum("b,bj->j", *pair) for pair in zip(self._mass, fields["xipos"])]  # noqa: B905
        return (np.stack(moments) / self._mass.sum(-1, keepdims=True))[:, :2]

    def observe(self, fields: Fields) -> np.ndarray:
        parts = [self._positions_and(fields["qvel"], fields)]
        skipped = {"cinert": 1, "cvel": 1, "qfrc_actuator": 6, "cfrc_ext": 1}
        for name, skip in skipped.items():
            if self._shown[name]:
                parts.append(fields[name][:, skip:].reshape(len(parts[0]), -1))
        return np.concatenate(parts, -1)

    def _control_cost(self, action: np.ndarray) -> np.ndarray:
        return super()._control_cost(action.astype(np.float64))  # theirs reads MjData's

    def _contact_cost(self, fields: Fields) -> np.ndarray:
        squares = np.square(fields["cfrc_ext"]).reshape(len(fields["qpos"]), -1)
        return np.clip(
            self.env._contact_cost_weight * squares.sum(-1), *self.env._contact_cost_range
        )

    def _healthy(self, fields: Fields) -> np.ndarray:
        return _within(fields["qpos"][:, 2], self.env._healthy_z_range)


def _on_the_plane(fields: Fields) -> Terms:
    place = fields["qpos"][:, :2]
    x, y = place.T
    return {"x_position": x, "y_position": y, "distance_from_origin": norm(place)}


def _within(values: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    return (bounds[0] < values) & (values < bounds[1])
