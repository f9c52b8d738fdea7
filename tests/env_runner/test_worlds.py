"""Worlds of other packages as they really are; skipped where these are missing."""

import importlib.metadata
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import ssm_metarl as sm
from ssm_metarl.env_runner import packages
from ssm_metarl.env_runner.family_file import parse_family
from ssm_metarl.env_runner.probe import probe
from ssm_metarl.env_runner.registry import get_family

EXAMPLES = Path(__file__).parents[2] / "examples" / "families"


def family_of(env_id: str, parameter: str, before: str = "") -> sm.TaskFamily:
    head = f'name = "Mine"\nenv_id = "{env_id}"\n'
    return parse_family(f"{head}{before}\n[parameters.mine]\n{parameter}", "my.toml")


def test_lunar_lander_keeps_its_gravity_through_resets() -> None:
    pytest.importorskip("Box2D")
    plain: Any = gymnasium.make("LunarLander-v3").unwrapped
    plain.reset(seed=0)
    plain.world.gravity = (0, -3)
    plain.reset(seed=0)
    assert plain.world.gravity[1] == -10  # what was set there is lost
    family = family_of("LunarLander-v3", 'attribute = "world.gravity.1"\nlow = -9.0\nhigh = -2.0')
    probe(family)
    env: Any = sm.make(family, {"mine": -3.0})
    for _ in range(2):
        env.reset(seed=0)
        assert env.unwrapped.world.gravity[1] == -3
    by_argument = sm.read_family(EXAMPLES / "lunar-lander.toml")
    env = sm.make(by_argument, {"gravity": -3.0})
    env.reset(seed=0)
    assert env.unwrapped.world.gravity[1] == -3


def test_a_gravity_that_the_lander_refuses_is_named_before_any_work() -> None:
    pytest.importorskip("Box2D")
    family = family_of("LunarLander-v3", 'argument = "gravity"\nlow = -20.0\nhigh = -2.0')
    with pytest.raises(sm.UserError, match=r"with mine=-20: .*must be between -12 and 0"):
        probe(family)


@pytest.mark.parametrize(("fixture", "matters"), [("fd_polygon", False), ("fd_edge", True)])
def test_the_ground_of_the_bipedal_walker_is_made_of_edges(fixture: str, matters: bool) -> None:
    pytest.importorskip("Box2D")
    parameter = f'attribute = "{fixture}.friction"\nlow = 0.1\nhigh = 3.0'
    family = family_of("BipedalWalker-v3", parameter)
    if matters:
        probe(family)
        return
    with pytest.warns(UserWarning, match="mine: .* seems to change nothing"):
        probe(family)


def test_carls_cartpole_has_the_physics_of_its_context() -> None:
    family = sm.read_family(EXAMPLES / "carl-cartpole.toml")
    context = {"masscart": 2.0, "masspole": 0.3, "length": 1.0, "gravity": 12.0, "tau": 0.03}
    env, plain = sm.make(family, context), gymnasium.make("CartPole-v1")
    world: Any = plain.unwrapped
    for name, value in {**context, "total_mass": 2.3, "polemass_length": 0.3}.items():
        setattr(world, name, value)
    np.testing.assert_array_equal(env.reset(seed=1)[0], plain.reset(seed=1)[0])
    for action in (0, 1, 1, 1):
        np.testing.assert_array_equal(env.step(action)[0], plain.step(action)[0])


@pytest.mark.filterwarnings("ignore")
def test_carls_own_masscart_changes_nothing() -> None:
    carl = pytest.importorskip("carl.envs")
    seen = []
    for mass in (1.0, 5.0):
        env = carl.CARLCartPole(contexts={0: {"masscart": mass}})
        env.reset(seed=0)
        seen.append([env.step(1)[0]["obs"] for _ in range(5)])
    np.testing.assert_array_equal(*seen)


@pytest.mark.parametrize("k", [1, 4])
def test_repeating_the_right_card_is_worth_1(k: int) -> None:
    pytest.importorskip("popgym")
    env = sm.make(sm.read_family(EXAMPLES / "popgym-repeat-previous.toml"), {"k": k})
    cards = [int(np.argmax(env.reset(seed=0)[0]))]  # one-hot, of an observation that is a number
    rewards = []
    while len(cards) < 52:
        seen, reward, *_ = env.step(cards[max(0, len(cards) - k)])
        cards.append(int(np.argmax(seen)))
        rewards.append(reward)
    assert rewards[k - 1 :] == pytest.approx([1 / (52 - k)] * (52 - k))
    assert sum(rewards) == pytest.approx(1.0)


def test_the_velocity_only_cartpole_shows_positions_at_reset() -> None:
    pytest.importorskip("popgym")
    family = family_of("popgym-VelocityOnlyCartpoleEasy-v0", 'attribute = "tau"\ndefault = 0.02')
    env: Any = sm.make(family)
    seen, _ = env.reset(seed=0)
    np.testing.assert_array_equal(seen, env.unwrapped.state[[0, 2]].astype(np.float32))


@pytest.mark.filterwarnings("ignore:.*is a family of one task")
def test_the_mission_of_minigrid_is_refused_and_can_be_left_out() -> None:
    pytest.importorskip("minigrid")
    with pytest.raises(sm.UserError, match=r"\['mission'\] MissionSpace is not.*FilterObservation"):
        get_family("MiniGrid-MemoryS7-v0")
    wrapper = '[[wrappers]]\nname = "ImgObsWrapper"'
    family = family_of("MiniGrid-Empty-5x5-v0", 'argument = "size"\nchoices = [5, 6]', wrapper)
    assert family.image == (7, 7, 3)
    assert family.observation_space.shape == (147,)
    memory = sm.read_family(EXAMPLES / "minigrid-memory.toml")
    seen, _ = sm.make(memory).reset(seed=0)
    plain, _ = gymnasium.make("MiniGrid-MemoryS7-v0").reset(seed=0)
    np.testing.assert_array_equal(seen[:147], plain["image"].ravel())
    np.testing.assert_array_equal(seen[147:], np.eye(4)[plain["direction"]])


def test_what_decides_the_spaces_of_highway_is_given_to_its_constructor() -> None:
    pytest.importorskip("highway_env")
    place = 'argument = "config.observation.vehicles_count"'
    arguments = '[arguments.config]\nvehicles_count = 3\nobservation = { type = "Kinematics" }'
    family = family_of("highway-fast-v0", f"{place}\ndefault = 3\nchoices = [3]", arguments)
    assert family.observation_space.shape == (15,)

    def make(task: object) -> gymnasium.Env:
        env: Any = gymnasium.make("highway-fast-v0", config={"vehicles_count": 3})
        env.unwrapped.config["observation"] = {"type": "Kinematics", "vehicles_count": 3}
        return env

    late = sm.TaskFamily("Late", make=make, max_episode_steps=5)
    with pytest.raises(sm.UserError, match=r"changes with the first reset: .*\(25,\).*\(15,\)"):
        _ = late.observation_space
    varied = family_of("highway-fast-v0", f"{place}\ndefault = 3\nchoices = [3, 4]", arguments)
    with pytest.raises(sm.UserError, match="space changes with the task"):
        probe(varied)


@pytest.mark.parametrize("env_id", ["MiniGrid-Empty-5x5-v0", "popgym-Nothing-v0", "merge-v0"])
def test_a_package_that_is_missing_is_named(env_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    monkeypatch.delitem(gymnasium.registry, env_id, raising=False)
    with pytest.raises(sm.UserError, match=r"not installed; .* pip install 'ssm-metarl\[worlds\]'"):
        family_of(env_id, 'argument = "size"\nchoices = [5, 6]')


def test_box2d_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: str) -> None:
        raise gymnasium.error.DependencyNotInstalled("Box2D is not installed")

    monkeypatch.setattr(packages, "load_env_creator", load)
    with pytest.raises(sm.UserError, match=r"my.toml:2: env_id: .*'ssm-metarl\[worlds\]'"):
        family_of("LunarLander-v3", 'argument = "gravity"\nlow = -9.0\nhigh = -2.0')


def test_no_other_module_is_imported_in_a_packages_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Installed:
        @staticmethod
        def locate_file(name: str) -> Path:
            return tmp_path / "elsewhere" / name

    own = packages.Package("made-up", "made_up_worlds", "MadeUp-.*")
    (tmp_path / "made_up_worlds.py").write_text("raise RuntimeError('it ran')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(packages, "PACKAGES", (own,))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: Installed)
    with pytest.raises(sm.UserError, match=r"MadeUp-v0 would import .*made_up_worlds.py"):
        get_family("MadeUp-v0")
