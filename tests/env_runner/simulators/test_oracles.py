"""Every tensor-native world against Gymnasium's own, step by step in float64."""

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium
import numpy as np
import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.simulated import STEP_STREAM
from ssm_metarl.env_runner.streams import NoiseStream, substream

STEPS = 500
TOLERANCE = 1e-6
Values = dict[str, float]


@dataclass(frozen=True)
class Case:
    """How to fly one world so that its episodes end in every way they can."""

    family: str
    horizon: int
    state: str  # the attribute of Gymnasium's environment that holds the state
    pilot: Callable[[Values, np.ndarray], float | list[float]]  # ends episodes before the horizon
    ends: bool = True  # whether the world terminates


def fall(values: Values, state: np.ndarray) -> float:
    return 1


def pump_acrobot(values: Values, state: np.ndarray) -> float:
    push = 0 if state[2] > 0 else 2
    return push if values["torque_sign"] > 0 else 2 - push


def pump_car(values: Values, state: np.ndarray) -> list[float]:
    return [values["action_sign"] * (1.7 if state[1] >= 0 else -1.7)]


def drive_pendulum(values: Values, state: np.ndarray) -> list[float]:
    return [3.5 * np.sign(state[1])]


def walk(values: Values, state: np.ndarray) -> list[float]:
    return [(values["goal_x"] - state[0]) / 0.1, (values["goal_y"] - state[1]) / 0.1]


CASES = [
    Case("CartPole-v1", 23, "state", fall),
    Case("CartPoleNoVelocity-v1", 23, "state", fall),
    Case("CartPoleHard-v1", 23, "state", fall),
    Case("Pendulum-v1", 200, "state", drive_pendulum, ends=False),
    Case("Acrobot-v1", 140, "state", pump_acrobot),
    Case("MountainCarContinuous-v0", 180, "state", pump_car),
    Case("Navigation2D-v0", 30, "position", walk),
]


def changed_tasks(family: TaskFamily) -> Tasks:
    """Return tasks of the training ranges and shifted ones; every sign or swap occurs in both."""
    choices = [parameter.name for parameter in family.parameters if parameter.choices]
    rows = []
    for tasks in (family.held_out(20), family.shifted(20)):
        shown = set()
        for task in tasks:
            new = {(name, task.values[name][0]) for name in choices} - shown
            if new or task.index[0] == 0:
                rows.append(task)
                shown |= new
    names = [parameter.name for parameter in family.parameters]
    values = {name: np.concatenate([row.values[name] for row in rows]) for name in names}
    return Tasks(values, np.arange(len(rows)))


def random_action(space: gymnasium.Space, rng: np.random.Generator) -> float | list[float]:
    if isinstance(space, gymnasium.spaces.Discrete):
        return int(rng.integers(space.n))
    assert isinstance(space, gymnasium.spaces.Box)
    return list(1.2 * rng.uniform(space.low, space.high))  # sometimes out of bounds


class Dictated(np.random.Generator):
    """Gives the one normal number that it was told."""

    def __init__(self, number: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.number = number

    def standard_normal(self) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.number


class Twin:
    """Gymnasium's own environment of one lane, started where the native lane started."""

    def __init__(self, case: Case, family: TaskFamily, task: Tasks) -> None:
        self.env = gymnasium.wrappers.TimeLimit(family.gymnasium(task), case.horizon)
        self.attribute = case.state

    @property
    def state(self) -> np.ndarray:
        return np.asarray(getattr(self.env.unwrapped, self.attribute), dtype=np.float64)

    def start(self, state: np.ndarray) -> None:
        self.env.reset(seed=0)
        setattr(self.env.unwrapped, self.attribute, state.copy())

    def step(
        self, action: float | list[float], noise: np.ndarray
    ) -> tuple[np.ndarray, float, bool, bool]:
        if noise.size:
            self.env.unwrapped.np_random = Dictated(noise.item())
        if isinstance(action, list):  # within bounds here: that a policy clips is tested elsewhere
            space = self.env.action_space
            assert isinstance(space, gymnasium.spaces.Box)
            observation, reward, terminated, truncated, _ = self.env.step(
                np.clip(np.array(action), space.low, space.high)
            )
        else:
            observation, reward, terminated, truncated, _ = self.env.step(action)
        return observation, float(reward), terminated, truncated


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.family)
def test_native_world_equals_gymnasium(case: Case) -> None:
    family, rng = get_family(case.family), np.random.default_rng(0)
    tasks, lanes = changed_tasks(family), 2  # lane 0 acts at random, lane 1 is piloted
    native = family.make_vec(
        tasks, lanes, autoreset=True, horizon=case.horizon, dtype=torch.float64
    )
    seed, width = SeedSequence(5), family.simulator.step_noise if family.simulator else 0
    observation = native.reset(seed).numpy()
    gusts = NoiseStream(substream(seed, STEP_STREAM), tasks.index, lanes, width, "normal")
    state = native.lane_state.state.permute(1, 2, 0).numpy()  # pyright: ignore[reportAttributeAccessIssue]
    places = [(k, lane) for k in range(len(tasks)) for lane in range(lanes)]
    twins = {place: Twin(case, family, tasks[place[0]]) for place in places}
    for place, twin in twins.items():
        twin.start(state[place])
    done = dict.fromkeys(places, False)
    ends = {"terminated": 0, "truncated": 0}
    for _ in range(STEPS):
        noise = gusts.next().numpy()
        actions = {
            (k, lane): case.pilot(tasks.parameters(k), state[k, lane])
            if lane
            else random_action(family.action_space, rng)
            for k, lane in places
        }
        batch = np.array([actions[place] for place in places])
        step = native.step(torch.from_numpy(batch.reshape(len(tasks), lanes, *batch.shape[1:])))
        observation, reward = step.observation.numpy(), step.reward.numpy()
        state = native.lane_state.state.permute(1, 2, 0).numpy()  # pyright: ignore[reportAttributeAccessIssue]
        for place, twin in twins.items():
            flags = bool(step.terminated[place]), bool(step.truncated[place])
            if done[place]:  # the dead step: a new episode, whatever the action was
                twin.start(state[place])
                assert (reward[place], *flags) == (0.0, False, False)
                done[place] = False
                continue
            expected = twin.step(actions[place], noise[place])
            np.testing.assert_allclose(state[place], twin.state, rtol=0, atol=TOLERANCE)
            np.testing.assert_allclose(observation[place], expected[0], rtol=1e-6, atol=TOLERANCE)
            assert reward[place] == pytest.approx(expected[1], abs=TOLERANCE)
            assert flags == expected[2:]
            ends["terminated"] += flags[0]
            ends["truncated"] += flags[1]
            done[place] = any(flags)
    assert ends["truncated"] > 0
    assert (ends["terminated"] > 0) == case.ends
    for twin in twins.values():
        twin.env.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.family)
def test_episodes_start_where_gymnasium_starts_them(case: Case) -> None:
    family = get_family(case.family)
    task = family.nominal()
    native = family.make_vec(task, 2000, autoreset=False, dtype=torch.float64)
    native.reset(SeedSequence(1))
    mine = native.lane_state.state[:, 0].numpy()  # pyright: ignore[reportAttributeAccessIssue]
    twin = Twin(case, family, task)
    theirs = np.empty((2000, len(mine)))
    for i in range(2000):
        twin.env.reset(seed=i)
        theirs[i] = twin.state
    width = theirs.max(0) - theirs.min(0) + 1e-12
    for moment in (np.mean, np.min, np.max, np.std):
        assert np.abs(moment(mine, -1) - moment(theirs, 0)) / width == pytest.approx(0, abs=0.04)
