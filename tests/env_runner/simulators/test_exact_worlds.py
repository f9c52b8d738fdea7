"""Bandits, tabular MDPs and the grid against Gymnasium's way of writing them, and by counting."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from numpy.random import SeedSequence

import ssm_metarl as sm
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.simulated import STEP_STREAM, SimulatedEnvironment
from ssm_metarl.env_runner.simulators.bandit import BernoulliBandit
from ssm_metarl.env_runner.simulators.grid_world import GOALS
from ssm_metarl.env_runner.simulators.tabular_mdp import HORIZON, TabularMDP
from ssm_metarl.env_runner.streams import NoiseStream, substream

NAMES = ["BernoulliBandit-k3-n8", "TabularMDP-n2", "GridWorld-v0"]
WORLDS = pytest.mark.parametrize("name", NAMES)
SEED = SeedSequence(5)


class Dictated(np.random.Generator):
    """Gives the normal numbers that it was told, one step's at a time."""

    def __init__(self, numbers: np.ndarray) -> None:
        super().__init__(np.random.PCG64(0))
        self.numbers = numbers

    def standard_normal(self, size: int | None = None) -> Any:  # noqa: ANN401  # pyright: ignore
        return self.numbers if size else self.numbers.item()


def environment(family: TaskFamily, tasks: Tasks, lanes: int) -> SimulatedEnvironment:
    made = family.make_vec(tasks, lanes, autoreset=True, dtype=torch.float64)
    assert isinstance(made, SimulatedEnvironment)
    return made


@WORLDS
def test_every_lane_is_gymnasiums_own_environment(name: str) -> None:
    family, lanes, rng = get_family(name), 2, np.random.default_rng(0)
    picked = family.held_out(4)
    shifted = {n: np.append(v, family.shifted(4).values[n]) for n, v in picked.values.items()}
    tasks = Tasks(shifted, np.arange(8))
    native, simulator = environment(family, tasks, lanes), family.simulator
    assert simulator is not None
    noise = NoiseStream(
        substream(SEED, STEP_STREAM), tasks.index, lanes, simulator.step_noise, "normal"
    )
    places = [(k, lane) for k in range(8) for lane in range(lanes)]
    twins = {place: family.gymnasium(tasks[place[0]]) for place in places}
    seen = native.reset(SEED).numpy()
    for place, twin in twins.items():
        np.testing.assert_array_equal(twin.reset(seed=0)[0], seen[place])
    done, actions, ended = dict.fromkeys(places, False), family.action_space, 0
    for _ in range(2 * family.max_episode_steps + 3):
        numbers = noise.next().numpy()
        action = rng.integers(actions.n, size=(8, lanes))  # pyright: ignore
        step = native.step(torch.from_numpy(action))
        for place, twin in twins.items():
            mine = step.reward[place].item(), *(bool(flag[place]) for flag in step[2:4])
            if done[place]:
                expected, rest = twin.reset()[0], (0.0, False, False)
            else:
                twin.unwrapped.np_random = Dictated(numbers[place])
                expected, *rest = twin.step(action[place])[:4]
            np.testing.assert_array_equal(step.observation[place].numpy(), expected)
            assert mine == pytest.approx(tuple(rest), abs=1e-6)
            done[place], ended = any(mine[1:]), ended + mine[1]
    assert ended == 2 * len(places)  # by itself: nothing is to be earned after


@WORLDS
@pytest.mark.filterwarnings("ignore:.*render_mode")
def test_gymnasiums_checks_pass(name: str) -> None:
    check_env(sm.make(name, get_family(name).held_out()[1]).unwrapped)


def values_of(tasks: Tasks) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(v)[:, None] for name, v in tasks.values.items()}


def test_arms_pay_as_often_as_they_should() -> None:
    simulator, family = BernoulliBandit(3, 1000), get_family("BernoulliBandit-k3-n1000")
    tasks = family.held_out(5)
    chances = simulator.probabilities(values_of(tasks))
    native = environment(family, tasks, 8)
    native.reset(SEED)
    for arm in range(3):
        pull = torch.full((5, 8), arm)
        paid = torch.stack([native.step(pull).reward for _ in range(300)]).mean((0, 2))
        np.testing.assert_allclose(paid, chances[:, arm], atol=0.04)  # 2,400 pulls each


def test_the_arms_of_an_instance_do_not_depend_on_the_precision() -> None:
    simulator, tasks = BernoulliBandit(4, 5), get_family("BernoulliBandit-k4-n5").held_out(50)
    double, single = values_of(tasks), {n: v.float() for n, v in values_of(tasks).items()}
    chances = simulator.probabilities(double)
    np.testing.assert_array_equal(chances, simulator.probabilities(single))
    assert chances.shape == (50, 4)
    assert len(np.unique(chances)) == 200
    assert 0.45 < chances.mean() < 0.55
    worse = {**double, "best": 0.5 * double["best"]}
    np.testing.assert_allclose(simulator.probabilities(worse), 0.5 * chances)


def test_next_states_and_rewards_have_their_distribution() -> None:
    simulator, family = TabularMDP(2), get_family("TabularMDP-n2")
    tasks, lanes = family.held_out(1), 100_000
    reward, transition = (table[0] for table in simulator.tables(values_of(tasks)))
    native = environment(family, tasks, lanes)
    native.reset(SEED)
    step = native.step(torch.full((1, lanes), 3))
    shares = step.observation[0, :, :10].mean(0)
    np.testing.assert_allclose(shares, transition[0, 3], atol=0.006)
    assert step.reward.mean().item() == pytest.approx(reward[0, 3], abs=0.015)
    assert step.reward.std().item() == pytest.approx(1.0, abs=0.015)
    firsts = [native.step(torch.zeros(1, lanes, dtype=torch.int64)) for _ in range(HORIZON - 1)]
    assert (firsts[-1].observation[0, :, [0, 10]] == 1.0).all()  # back at state 0
    assert not firsts[-2].observation[0, :, 10].any()


def test_mdps_are_those_of_the_paper() -> None:
    tables = TabularMDP(1).tables(values_of(get_family("TabularMDP-n1").held_out(100)))
    assert tables.reward.mean() == pytest.approx(1.0, abs=0.05)
    assert tables.reward.std() == pytest.approx(1.0, abs=0.05)
    np.testing.assert_allclose(tables.transition.sum(-1), 1.0)
    assert tables.transition.var() == pytest.approx(0.9 / 100 / 1.1, rel=0.05)  # Dirichlet(1)


def test_who_knows_the_goal_gets_what_the_paper_says() -> None:
    family = get_family("GridWorld-v0")
    native = environment(family, family.held_out(), 1)
    native.reset(SEED)
    goal, total = torch.tensor(GOALS), torch.zeros(21)
    for t in range(15):
        right, up = (goal[:, 0] > t), (goal[:, 1] > (t - goal[:, 0]))
        action = torch.where(right, 1, torch.where(up, 0, 4))
        total += native.step(action[:, None]).reward[:, 0]
    assert total.mean().item() == pytest.approx(16.1 - 1.1 * 96 / 21)  # 11.07
    assert len(family.held_out()) == len(set(GOALS)) == 21
    assert family.task(goal="4-4").values["goal"] == [20.0]


def test_names_say_how_large_a_world_is() -> None:
    family = get_family("BernoulliBandit-k10-n500")
    assert (family.action_space.n, family.max_episode_steps) == (10, 500)  # pyright: ignore
    assert get_family("TabularMDP-n75").max_episode_steps == 750
    assert sm.make("BernoulliBandit-k50-n7").spec.max_episode_steps == 7  # pyright: ignore
    for wrong in ("BernoulliBandit-k1-n5", "TabularMDP-n0", "TabularMDP-n1001"):
        with pytest.raises(sm.UserError, match="unknown environment"):
            get_family(wrong)
    with pytest.raises(sm.UserError, match="a family of this package"):
        sm.register(sm.TaskFamily("TabularMDP-n3", env_id="CartPole-v1"))
    with pytest.raises(sm.UserError, match="instance must be a whole number from 0 to 16777216"):
        family.task(instance=1.5)
    assert family.task(instance=1234567).describe(0) == "instance=1234567, best=1"
