"""Families of somebody's own: declared in Python, probed, registered, and as Gymnasium has them."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from numpy.random import SeedSequence

import ssm_metarl as sm
from ssm_metarl.env_runner import registry
from ssm_metarl.env_runner.registry import get_family, list_families

SIZE = sm.Parameter("size", 1.0, low=0.5, high=2.0, shifted=((2.0, 3.0),))


class Walk(gymnasium.Env):
    """Steps of a size on a line; the reward is the place."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(-100, 100, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    opened = built = 0

    def __init__(self, size: float = 1.0, render_mode: str | None = None) -> None:
        self.size, self.render_mode, self.resets = size, render_mode, 0
        Walk.opened, Walk.built = Walk.opened + 1, Walk.built + 1

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        self.place, self.resets = float(self.np_random.uniform(-1, 1)), self.resets + 1
        return self.look(), {}

    def look(self) -> np.ndarray:
        return np.array([self.place], np.float32)

    def step(self, action: np.ndarray) -> tuple:
        self.place += self.size * float(action[0])
        return self.look(), self.place, False, False, {}

    def render(self) -> np.ndarray:
        return np.full((8, 8, 3), 200, np.uint8)

    def close(self) -> None:
        Walk.opened -= 1


@pytest.fixture(autouse=True)
def nothing_registered() -> Iterator[None]:
    Walk.opened = Walk.built = 0
    yield
    registry._REGISTERED.clear()


def walk(make: Any = lambda task: Walk(task["size"]), **more: Any) -> sm.TaskFamily:  # noqa: ANN401
    settings = {"max_episode_steps": 20, "parameters": [SIZE], **more}
    return sm.TaskFamily("Walk", make=make, **settings)


def test_a_registered_family_is_known_by_its_name() -> None:
    family = sm.register(walk())
    assert Walk.opened == 0
    assert get_family("Walk") is family is list_families()[-1]
    env = sm.make("Walk", {"size": 3.0})
    place = env.reset(seed=0)[0]
    assert env.step(np.ones(1, np.float32))[0] == pytest.approx(place + 3.0)
    with pytest.raises(sm.UserError, match="did you mean 'size'"):
        sm.make(family, {"sise": 1.0})
    with pytest.raises(sm.UserError, match="one task, not 3"):
        sm.make(family, family.held_out(3))
    assert sm.make(family, family.held_out(3)[2]).unwrapped.size == family.held_out(3)[2]["size"]  # pyright: ignore


@pytest.mark.filterwarnings("ignore:.*WARN")
@pytest.mark.parametrize("name", ["Walk", *(family.name for family in list_families())])
def test_gymnasiums_own_check_passes(name: str) -> None:
    sm.register(walk())
    check_env(sm.make(name, get_family(name).held_out(1)[0]))


def test_every_lane_has_the_values_of_its_task() -> None:
    family = walk()
    tasks = family.sample(3, SeedSequence(0))
    env = family.make_vec(tasks, 2, autoreset=True)
    before = env.reset(SeedSequence(1))
    moved = env.step(torch.ones(3, 2, 1)).observation - before
    np.testing.assert_allclose(moved[..., 0], tasks.values["size"][:, None] + np.zeros(2), 1e-5)


def test_environments_are_kept_for_the_same_tasks_only() -> None:
    family, tasks = walk().reusing(), walk().sample(4, SeedSequence(0))
    _ = family.action_space
    Walk.built = 0
    for rows, built in ((slice(0, 2), 4), (slice(0, 2), 4), (slice(1, 3), 6), (slice(0, 1), 8)):
        env = family.make_vec(tasks[rows], 2, autoreset=True)
        env.reset(SeedSequence(0))
        env.close()
        assert Walk.built == built
    family.close()
    assert Walk.opened == 0


def test_episodes_are_as_long_as_the_environment_says() -> None:
    own = sm.TaskFamily("Walk", make=lambda task: Walk())
    assert own.max_episode_steps == 1000
    pole = sm.TaskFamily("Pole", make=lambda task: gymnasium.make("CartPole-v1"))
    assert pole.max_episode_steps == 500
    env = walk().gymnasium(walk().nominal())
    env.reset(seed=0)
    ends = [env.step(np.zeros(1, np.float32))[3] for _ in range(20)]
    assert ends == [False] * 19 + [True]


def test_it_is_drawn_where_its_maker_takes_a_render_mode() -> None:
    family = walk(lambda task, render_mode=None: Walk(task["size"], render_mode))
    assert sm.make(family, render_mode="rgb_array").render_mode == "rgb_array"
    assert sm.make(walk(), render_mode="rgb_array").render_mode is None


def test_a_parameter_without_effect_is_warned_of() -> None:
    def same(task: dict[str, float]) -> gymnasium.Env:
        env = gymnasium.make("CartPole-v1")
        env.unwrapped.masscart = task["size"]  # total_mass was derived before  # pyright: ignore
        return env

    with pytest.warns(UserWarning, match=r"Walk: size: .* 0.5 and 2, .* seems to change nothing"):
        sm.register(walk(same))


class Forgets(Walk):
    """Its second reset and later ones put the size back."""

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        if self.resets:
            self.size = 1.0
        return super().reset(seed=seed)


class Breaks(Walk):
    """Is built with any size, and runs with small ones."""

    shown = np.float32(np.nan)

    def step(self, action: np.ndarray) -> tuple:
        if self.size < 2.5:
            return super().step(action)
        return np.array([self.shown]), 0.0, False, False, {}


def other_spaces(task: dict[str, float]) -> gymnasium.Env:
    return Walk() if task["size"] < 1.5 else gymnasium.make("CartPole-v1")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda task: Forgets(task["size"]), r"size: .* after the second reset, which puts"),
        (lambda task: Breaks(task["size"]), "Walk with size=3: .* observation that is not finite"),
        (lambda task: Walk(1 // (task["size"] < 2.5)), "Walk with size=3: .* ZeroDivisionError"),
        (lambda task: Walk(task["sise"]), "no parameter 'sise'; did you mean 'size'"),
        (lambda task: "no environment", "make returned 'no environment', not a gymnasium.Env"),
        (other_spaces, r"Walk with size=2: the observation space .* Box\(-100.* Box\(\[-4.8"),
    ],
)
def test_what_would_go_wrong_later_is_refused(make: Any, words: str) -> None:  # noqa: ANN401
    with pytest.raises(sm.UserError, match=words):
        sm.register(walk(make))
    assert not registry._REGISTERED


@pytest.mark.parametrize("name", ["CartPole-v1", "", "module:Env-v0", "../Walk"])
def test_names_that_would_confuse_are_refused(name: str) -> None:
    with pytest.raises(sm.UserError, match="cannot be called"):
        sm.register(sm.TaskFamily(name, make=lambda task: Walk(), max_episode_steps=5))


def test_a_family_has_one_kind_of_environment() -> None:
    with pytest.raises(sm.UserError, match="has no environment; valid: exactly one of make="):
        sm.TaskFamily("Walk")
    simulator = get_family("CartPole-v1").simulator
    with pytest.raises(sm.UserError, match="has make and simulator; valid"):
        sm.TaskFamily("Walk", make=lambda task: Walk(), simulator=simulator, max_episode_steps=5)


def test_failing_numbers_name_the_task_while_training() -> None:
    family = walk(lambda task: Breaks(task["size"]))
    env = family.make_vec(family.task(size=2.6), 1, autoreset=True)
    env.reset(SeedSequence(0))
    ones = torch.ones(1, 1, 1)
    for _ in range(38):  # every other step is that of the autoreset
        env.step(ones)
    with pytest.raises(sm.EnvironmentFailure, match=r"finite in 20 of 20 .* the task size=2\.6"):
        env.step(ones)
