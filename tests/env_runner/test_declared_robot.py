"""Robots of families' files: the same numbers in MuJoCo's threads, and mistakes said by line."""

import re
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from numpy.random import SeedSequence

import ssm_metarl as sm
from ssm_metarl.checkpoint.format import load_checkpoint
from ssm_metarl.env_runner.declared_robot import robot_world
from ssm_metarl.env_runner.environment import Environment
from ssm_metarl.env_runner.family_file import parse_family
from ssm_metarl.env_runner.formula import SEEN, Formula
from ssm_metarl.env_runner.gymnasium import GymnasiumEnvironment
from ssm_metarl.env_runner.gymnasium_world import GymnasiumWorld
from ssm_metarl.env_runner.mujoco import MuJoCoEnvironment
from ssm_metarl.env_runner.mujoco_model import ModelField
from ssm_metarl.env_runner.mujoco_world import ROBOTS, MuJoCoWorld, robot_of
from ssm_metarl.env_runner.probe import probe
from ssm_metarl.env_runner.recipe import Recipe, Target
from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.env_runner.world import VecOptions
from ssm_metarl.errors import UserError

mujoco = pytest.importorskip("mujoco")
pytest.importorskip("imageio")  # without it Gymnasium's robots cannot be made

SEED, LANES = SeedSequence(3), 2
OPTIONS = VecOptions(autoreset=True, max_episode_steps=25, device="cpu", dtype=torch.float64)
TASKS = Tasks(
    {
        "gear": np.array([0.0, 1.0]),
        "mass": np.array([1.5, 0.7]),
        "friction": np.array([0.4, 1.2]),
        "gravity": np.array([-9.0, -12.0]),
        "aim": np.array([1.0, -2.0]),
    },
    np.array([4, 9]),
)
NAMES = (*TASKS.values, *SEEN)


def recipe_of(env_id: str, actuator: str, reward: str | None, success: str | None) -> Recipe:
    """Return a recipe with every kind of field, set and scaled."""
    fields = {
        "gear": (f"actuator_gear[{actuator}]", True),
        "mass": ("body_mass[torso]", True),
        "friction": ("geom_friction[*].0", True),
        "gravity": ("opt.gravity.2", False),
    }
    targets = {n: Target("model", ModelField.parse(f), scaled) for n, (f, scaled) in fields.items()}
    return Recipe(
        env_id,
        {"reset_noise_scale": 0.02},
        targets=targets | {"aim": Target("", None)},
        reward=Formula(reward, NAMES) if reward else None,
        success=Formula(success, NAMES) if success else None,
    )


def both(recipe: Recipe) -> tuple[Environment, Environment]:
    """Return lanes in MuJoCo's threads, and ordinary environments."""
    world = robot_world(recipe)
    assert world is not None
    ordinary = GymnasiumWorld(recipe, TASKS.parameters(0))
    mine, theirs = (one.make_vec(TASKS, LANES, OPTIONS) for one in (world, ordinary))
    assert isinstance(mine, MuJoCoEnvironment)
    assert isinstance(theirs, GymnasiumEnvironment)
    return mine, theirs


@pytest.mark.parametrize(
    ("env_id", "actuator", "reward", "success"),
    [
        ("HalfCheetah-v5", "bfoot", None, None),
        (
            "HalfCheetah-v5",
            "fthigh",
            "-abs(info['x_velocity'] - aim) + 2 * info['reward_ctrl'] + tanh(observation[8])",
            "abs(info['x_velocity']) > 0.4 and action[0] > 0",
        ),
        ("Hopper-v5", "0", "reward + aim * info['z_distance_from_origin'] - 2 * terminated", None),
        ("Ant-v5", "hip_1", None, "info['distance_from_origin'] > 0.05"),
    ],
)
def test_numbers_are_those_of_ordinary_environments_to_the_bit(
    env_id: str, actuator: str, reward: str | None, success: str | None
) -> None:
    mine, theirs = both(recipe_of(env_id, actuator, reward, success))
    assert torch.equal(mine.reset(SEED), theirs.reset(SEED))
    space = mine.action_space
    assert isinstance(space, gymnasium.spaces.Box)
    drawn = torch.rand(40, 2, LANES, *space.shape, generator=torch.Generator().manual_seed(0))
    solved = torch.zeros(2, LANES)
    for action in 2.4 * drawn - 1.2:  # beyond the bounds, too
        one, other = mine.step(action), theirs.step(action)
        for mine_part, their_part in zip(one[:4], other[:4], strict=True):
            assert torch.equal(mine_part, their_part)
        assert (one.success is None) == (success is None)
        if one.success is not None:
            expected = torch.zeros_like(one.success) if other.success is None else other.success
            assert torch.equal(one.success, expected)
            solved += one.success
    assert success is None or 0 < solved.sum() < solved.numel() * 40


@pytest.mark.parametrize("env_id", ROBOTS)
def test_formulas_know_all_that_info_says(env_id: str) -> None:
    env = gymnasium.make(env_id).unwrapped
    robot = robot_of(env_id)(env, [env.model])  # pyright: ignore[reportAttributeAccessIssue]
    env.reset(seed=0)
    data = env.data  # pyright: ignore[reportAttributeAccessIssue]

    def fields() -> dict[str, np.ndarray]:
        return {
            name: np.array(getattr(data, name))[None] for name in ("qpos", "qvel", *robot.reads)
        }

    action = np.asarray(env.action_space.sample())
    before = np.array(robot.place(fields()))
    *_, info = env.step(action)
    terms, _ = robot.outcome(fields(), before, action[None])
    known = terms | robot.details(fields())
    assert known.keys() - {"reward", "y_velocity"} >= info.keys() - {"y_velocity"}
    for name in ("x_position", "distance_from_origin", "z_distance_from_origin", "tendon_length"):
        if name in info:
            np.testing.assert_array_equal(known[name][0], info[name])


def test_what_needs_more_than_another_model_runs_as_ordinary_environments() -> None:
    text = ROBOT + '[[wrappers]]\nname = "ActionDelay"\nsteps = 1\n'
    assert parse_family(text, "my.toml").world is None
    assert isinstance(parse_family(ROBOT, "my.toml").world, MuJoCoWorld)
    longer = parse_family("max_episode_steps = 1500\n" + ROBOT, "my.toml")
    env = longer.gymnasium(longer.nominal())  # not cut by Gymnasium's own limit of 1,000
    env.reset(seed=0)
    still = np.zeros(6, np.float32)
    assert not any(env.step(still)[3] for _ in range(1001))


ROBOT = """
name = "R"
env_id = "HalfCheetah-v5"
[parameters.mass]
model = "body_mass[torso]"
scaled = true
low = 0.5
high = 2.0
"""


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (ROBOT.replace("torso", "torse"), 5, "no body 'torse'; did you mean 'torso'"),
        (ROBOT.replace("body_mass[torso]", "actuator_gear[bfoo]"), 5, "did you mean 'bfoot'"),
        (ROBOT.replace("body_mass", "body_mas"), 5, "did you mean 'body_mass'"),
        (ROBOT.replace("0.5", "-0.5"), 7, "low: 'body_mass.*' must be finite and positive, got -"),
        (ROBOT + "shifted = [[-2.0, 0.0]]", 9, "shifted: .* must be finite and positive, got -"),
        (ROBOT.replace("body_mass[torso]", "opt.gravity.3"), 5, "gravity has components 0 to 2"),
        (ROBOT.replace("HalfCheetah-v5", "CartPole-v1"), 3, "CartPoleEnv has no MuJoCo model"),
        ("arguments = { forward_reward_weigth = 1.0 }" + ROBOT, 1, "did you mean 'forward_rew"),
    ],
)
def test_mistakes_about_models_are_said_by_line_before_any_work(
    text: str, line: int, words: str
) -> None:
    with pytest.raises(UserError) as caught:
        parse_family(text, "my.toml")
    message = str(caught.value)
    assert re.search(words, message), message
    assert message.startswith(f"my.toml:{line}: "), message


def test_the_example_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssm_metarl.env_runner.registry._REGISTERED", {})
    path = Path(__file__).parents[2] / "examples" / "families" / "half-cheetah-broken-leg.toml"
    family = sm.register(replace(sm.read_family(path), max_episode_steps=20))
    assert isinstance(family.world, MuJoCoWorld)
    config = sm.TrainConfig(
        env_name=family.name,
        num_epochs=1,
        tasks_per_epoch=2,
        episodes_per_task=2,
        support_steps=10,
        query_steps=10,
        validation_tasks=1,
        width=8,
        state_size=4,
    )
    (progress,) = sm.train(config, tmp_path / "run")
    assert progress.return_after is not None
    saved = load_checkpoint(tmp_path / "run" / "checkpoint").meta["software"]
    assert saved["mujoco"] == mujoco.__version__
    sm.load(tmp_path / "run")


def test_friction_below_the_floors_is_seen_to_change_nothing() -> None:
    legs = ROBOT.replace("body_mass[torso]", "geom_friction[bfoot].0").replace("2.0", "0.9")
    with pytest.warns(UserWarning, match="mass: .* seems to change nothing"):
        probe(parse_family(legs, "my.toml"))


def test_what_random_actions_do_not_touch_is_no_false_alarm() -> None:
    above = ROBOT.replace("body_mass[torso]", "geom_friction[torso].0").replace("0.5", "1.5")
    probe(parse_family(above, "my.toml"))  # a warning would fail the test
