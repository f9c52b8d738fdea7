"""Families by name, and what is said when there is none."""

import warnings
from collections.abc import Iterator
from importlib.util import find_spec

import gymnasium
import numpy as np
import pytest
from numpy.random import SeedSequence

from ssm_metarl.env_runner import registry
from ssm_metarl.env_runner.registry import get_family, list_families
from ssm_metarl.errors import UserError


class Refuses(gymnasium.Env):
    """Cannot be built."""

    def __init__(self) -> None:
        raise OSError("the simulator's\n  licence is missing")


class Speaks(gymnasium.Env):
    """Wants words for actions."""

    observation_space = gymnasium.spaces.Box(0.0, 1.0, (2,))
    action_space = gymnasium.spaces.Text(5)


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    registry._one_task_family.cache_clear()
    known = dict(gymnasium.registry)
    yield
    gymnasium.registry.clear()
    gymnasium.registry.update(known)


def message(name: str, **options: bool) -> str:
    with pytest.raises(UserError) as caught:
        get_family(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_listed_family_is_found_by_its_name() -> None:
    names = [family.name for family in list_families()]
    assert names[:2] == ["CartPole-v1", "CartPoleNoVelocity-v1"]
    assert len(set(names)) == len(names) == 10
    assert all(get_family(family.name) is family for family in list_families())


def test_unknown_names_get_the_nearest_and_the_valid_ones() -> None:
    assert "did you mean 'CartPole-v1'" in message("CartPol-v1")
    assert "'CartPoleNoVelocity-v1'" in message("CartPoleNoVelocities-v1")
    assert "'MountainCar-v0'" in message("MountainCra-v0")  # Gymnasium's own ids count
    assert "valid: CartPole-v1, CartPoleNoVelocity-v1, CartPoleHard-v1" in message("zzz")


@pytest.mark.parametrize("name", ["os:CartPole-v1", "evil.module:Env-v0", ":"])
def test_ids_that_import_code_are_refused(name: str) -> None:
    assert "--trust-env-code" in message(name)


def test_trusted_code_is_imported_and_its_absence_named() -> None:
    assert "no_such_module:Env-v0" in message("no_such_module:Env-v0", trust_env_code=True)
    with pytest.warns(UserWarning, match="one task"):
        family = get_family("math:MountainCar-v0", trust_env_code=True)
    assert family.max_episode_steps == 200


def test_any_gymnasium_id_is_a_family_of_one_task_and_says_so_once() -> None:
    with pytest.warns(UserWarning, match="MountainCar-v0 .* one task"):
        family = get_family("MountainCar-v0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert get_family("MountainCar-v0") is family
    assert family.max_episode_steps == 200
    assert family.parameters == ()
    assert family.observation_space.shape == (2,)
    assert family.observation_scale is None
    tasks = family.sample(3, SeedSequence(0))
    assert len(tasks) == 3
    assert tasks.values == {}
    assert tasks.describe(1) == "nominal"
    with pytest.raises(UserError, match="MountainCar-v0 has no parameters"):
        family.task(gravity=3.0)


def test_no_time_limit_of_its_own_gets_one() -> None:
    entry = "gymnasium.envs.classic_control:PendulumEnv"
    gymnasium.register(id="Endless-v0", entry_point=entry)
    with pytest.warns(UserWarning, match="one task"):
        assert get_family("Endless-v0").max_episode_steps == 1000


@pytest.mark.parametrize(
    ("module", "name", "extra"),
    [
        ("mujoco", "HalfCheetah-v5", "ssm-metarl[mujoco]"),
        ("Box2D", "LunarLander-v3", "ssm-metarl[worlds]"),
        ("jax", "phys2d/CartPole-v1", "gymnasium[jax]"),
    ],
)
def test_a_missing_extra_is_named(module: str, name: str, extra: str) -> None:
    if find_spec(module) is not None:
        pytest.skip(f"{module} is installed")
    told = message(name)
    assert told.startswith((f"cannot build {name}: ", f"{name}: MuJoCo is not installed"))
    assert f"pip install '{extra}'" in told


def test_an_environment_that_refuses_keeps_its_reason() -> None:
    gymnasium.register(id="Refuses-v0", entry_point=lambda **_: Refuses())
    told = message("Refuses-v0")
    assert told == "cannot build Refuses-v0: the simulator's licence is missing"


def test_an_action_space_nobody_can_act_in_is_printed() -> None:
    gymnasium.register(id="Speaks-v0", entry_point=lambda **_: Speaks())
    assert "action space Text(1, 5" in message("Speaks-v0")


def test_discrete_observations_become_one_hot() -> None:
    with pytest.warns(UserWarning, match="one task"):
        family = get_family("CliffWalking-v1")
    assert family.observation_space.shape == (48,)
    env = family.make_vec(family.nominal(), 2, autoreset=True)
    observation = env.reset(SeedSequence(0)).numpy()
    np.testing.assert_array_equal(observation.sum(-1), np.ones((1, 2)))
    env.close()
