"""Task families: how tasks are drawn, which sets are fixed, and what a user may set."""

import gymnasium
import numpy as np
import pytest
from numpy.random import SeedSequence

from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.registry import get_family, list_families
from ssm_metarl.errors import UserError

FAMILIES = pytest.mark.parametrize("family", list_families(), ids=lambda family: family.name)


def rows(tasks: Tasks) -> set[tuple[float, ...]]:
    return set(zip(*(column.tolist() for column in tasks.values.values()), strict=True))


@FAMILIES
def test_training_tasks_lie_in_their_ranges_and_fill_them(family: TaskFamily) -> None:
    tasks = family.sample(2000, SeedSequence(0))
    assert len(tasks) == 2000
    for parameter in (p for p in family.parameters if p.varies):
        values = tasks.values[parameter.name]
        if parameter.choices:
            shares = [(values == choice).mean() for choice in parameter.choices]
            assert shares == pytest.approx([1 / len(shares)] * len(shares), abs=0.04)
        else:
            width = parameter.high - parameter.low
            assert parameter.low <= values.min() < parameter.low + 0.01 * width
            assert parameter.high - 0.01 * width < values.max() < parameter.high
            assert values.mean() == pytest.approx(parameter.low + width / 2, abs=0.03 * width)


@FAMILIES
def test_sampling_is_seeded_and_smaller_counts_are_prefixes(family: TaskFamily) -> None:
    many, few = family.sample(9, SeedSequence(3)), family.sample(4, SeedSequence(3))
    assert rows(many[:4]) == rows(few)
    assert rows(many) != rows(family.sample(9, SeedSequence(4)))
    assert many.index.tolist() == list(range(9))


@FAMILIES
def test_fixed_sets_are_fixed_and_share_no_task(family: TaskFamily) -> None:
    sets = [family.held_out(), family.validation(), family.shifted()]
    sets += [family.sample(200, SeedSequence(seed)) for seed in range(5)]
    drawn = [rows(tasks) for tasks in sets]
    if all(parameter.choices for parameter in family.parameters):  # these are all there are
        assert all(len(tasks) == len(family.parameters[0].choices) for tasks in drawn[:3])
        return
    assert len(set.union(*drawn)) == sum(map(len, drawn)) == 100 + 40 + 100 + 5 * 200
    assert rows(family.held_out()) == drawn[0]


@FAMILIES
def test_shifted_tasks_lie_outside_the_training_ranges_and_within_bounds(
    family: TaskFamily,
) -> None:
    tasks = family.shifted(500)
    for parameter in family.parameters:
        values = tasks.values[parameter.name]
        if parameter.choices:
            assert set(values) == set(parameter.choices)
        elif parameter.shifted:
            usual = (parameter.low <= values) & (values < parameter.high)
            assert not (usual if parameter.varies else values == parameter.default).any()
            assert all(parameter.check(float(value)) == value for value in values)
            for low, high in parameter.shifted or ():  # every interval is used
                assert ((values >= low) & (values < high)).any()


@FAMILIES
def test_fixed_sets_are_balanced_enough(family: TaskFamily) -> None:
    for parameter in family.parameters:
        usual = 1.0 / max(1, len(parameter.choices))
        for choice in parameter.choices:
            for tasks in (family.held_out(), family.shifted()):
                assert 0.7 < (tasks.values[parameter.name] == choice).mean() / usual < 1.3


@FAMILIES
def test_nominal_task_is_gymnasiums_own_environment(family: TaskFamily) -> None:
    mine = family.gymnasium(family.nominal())
    original = gymnasium.make(family.env_id)
    mine.reset(seed=3)
    original.reset(seed=3)
    mine.action_space.seed(0)
    for _ in range(40):
        action = mine.action_space.sample()
        expected = original.step(action)
        seen = expected[0] if family.observed is None else expected[0][list(family.observed)]
        observation, reward, terminated, truncated, _ = mine.step(action)
        np.testing.assert_array_equal(observation, seen)
        assert (reward, terminated, truncated) == expected[1:4]
        if terminated:
            break


@FAMILIES
def test_gymnasium_environment_has_the_familys_spaces(family: TaskFamily) -> None:
    env = family.gymnasium(family.held_out(1))
    assert env.observation_space == family.observation_space
    assert env.action_space == family.action_space
    assert env.spec is not None
    assert env.spec.max_episode_steps == family.max_episode_steps
    assert family.observation_scale.shape == family.observation_space.shape
    assert (family.observation_scale > 0).all()


@pytest.mark.parametrize("name", ["CartPoleNoVelocity-v1", "CartPoleHard-v1", "Navigation2D-v0"])
def test_gymnasium_environment_can_be_recorded(name: str) -> None:
    family = get_family(name)
    env = family.gymnasium(family.held_out(1), render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    for _ in range(5):
        env.step(env.action_space.sample())
    last = env.render()
    assert isinstance(first, np.ndarray)
    assert isinstance(last, np.ndarray)
    assert first.shape == last.shape
    assert first.shape[2] == 3
    assert first.dtype == np.uint8
    assert (first != last).any()
    env.close()


def test_a_task_by_value() -> None:
    family = get_family("CartPole-v1")
    task = family.task(gravity=12, length=1.0, swap=1)
    assert len(task) == 1
    assert task.parameters(0) == {
        "gravity": 12.0,
        "cart_mass": 1.0,
        "pole_mass": 0.1,
        "length": 1.0,
        "force": 10.0,
        "swap": 1.0,
    }
    assert task.describe(0) == "gravity=12, cart_mass=1, pole_mass=0.1, length=1, force=10, swap=1"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gravty": 9.0}, "CartPole-v1 has no parameter 'gravty'; did you mean 'gravity'?"),
        ({"cart_mass": -1.0}, "cart_mass must be from 0.01 to 20 kg, got -1"),
        ({"length": 0.0}, "length must be from 0.05 to 10 m, got 0"),
        ({"gravity": float("nan")}, "gravity must be from 0 to 50 m/s\\^2, got nan"),
        ({"force": float("inf")}, "force must be from 0.1 to 100 N, got inf"),
        ({"swap": 0.5}, "swap must be one of 0, 1, got 0.5"),
        ({"gravity": "heavy"}, "gravity must be a number, got 'heavy'"),
        ({"swap": True}, "swap must be a number, got True"),
    ],
)
def test_bad_task_values_are_refused_in_one_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        get_family("CartPole-v1").task(**values)
    assert "\n" not in str(caught.value)


def test_selected_tasks_keep_their_identity() -> None:
    tasks = get_family("Pendulum-v1").held_out(5)
    chosen = tasks[np.array([3, 1])]
    assert chosen.index.tolist() == [3, 1]
    assert chosen.parameters(0) == tasks.parameters(3)
    assert tasks[2:].index.tolist() == [2, 3, 4]
    assert tasks[4].parameters(0) == tasks.parameters(4)
    assert [len(task) for task in tasks] == [1] * 5
