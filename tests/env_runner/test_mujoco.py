"""Robots in lanes: Gymnasium's own numbers to the bit, and episodes that fail are seen to fail."""

import copy
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from numpy.random import SeedSequence
from sync_lanes import sync_lanes

from ssm_metarl.env_runner.environment import Environment, Step
from ssm_metarl.env_runner.failures import MOST_FAILURES
from ssm_metarl.env_runner.gymnasium import GymnasiumEnvironment
from ssm_metarl.env_runner.mujoco import MuJoCoEnvironment
from ssm_metarl.env_runner.mujoco_lanes import BatchLanes, ThreadLanes
from ssm_metarl.env_runner.mujoco_model import apply, version_of
from ssm_metarl.env_runner.mujoco_world import ROBOTS, robot_of
from ssm_metarl.env_runner.registry import make
from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.errors import DivergenceError, EnvironmentFailure, UserError

mujoco = pytest.importorskip("mujoco")
pytest.importorskip("imageio")  # without it Gymnasium's robots cannot be made

LANES, HORIZON = 3, 30
TASKS = Tasks({"mass": np.array([1.0, 1.3])}, np.array([4, 9]))
SEED = SeedSequence(8)


def heavier(env: gymnasium.Env, mass: float) -> gymnasium.Env:
    if mass != 1.0:
        apply(env.unwrapped.model, "body_mass", mass, scaled=True)
        apply(env.unwrapped.model, "geom_friction", 0.7, scaled=True)
    return env


def in_lanes(env_id: str, tasks: Tasks = TASKS, autoreset: bool = True) -> MuJoCoEnvironment:
    env = gymnasium.make(env_id).unwrapped
    models = [
        heavier(gymnasium.make(env_id), mass).unwrapped.model for mass in tasks.values["mass"]
    ]
    of_lanes = [model for model in models for _ in range(LANES)]
    return MuJoCoEnvironment(
        robot_of(env_id)(env, of_lanes),
        models,
        tasks,
        LANES,
        autoreset=autoreset,
        max_episode_steps=HORIZON,
        dtype=torch.float64,
    )


def one_by_one(env_id: str) -> GymnasiumEnvironment:
    def maker(mass: float) -> Any:  # noqa: ANN401
        return lambda: heavier(gymnasium.make(env_id), mass)

    envs = sync_lanes([maker(mass) for mass in TASKS.values["mass"]], LANES, HORIZON)
    return GymnasiumEnvironment(envs, TASKS, max_episode_steps=HORIZON, dtype=torch.float64)


def actions_of(env: Environment, steps: int, scale: float = 1.2) -> torch.Tensor:
    space = env.action_space
    assert isinstance(space, gymnasium.spaces.Box)
    draw = torch.rand(steps, len(env.tasks), LANES, *space.shape, generator=generator())
    return (2.0 * draw - 1.0) * scale * torch.from_numpy(space.high)


def play(env: Environment, actions: torch.Tensor) -> None:
    for action in actions:
        env.step(action)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def assert_same(mine: Step, theirs: Step) -> None:
    assert torch.equal(mine.observation, theirs.observation)
    assert torch.equal(mine.reward, theirs.reward)
    assert torch.equal(mine.terminated, theirs.terminated)
    assert torch.equal(mine.truncated, theirs.truncated)


@pytest.mark.parametrize("env_id", ROBOTS)
def test_numbers_are_gymnasiums_to_the_bit_over_several_episodes(env_id: str) -> None:
    mine, theirs = in_lanes(env_id), one_by_one(env_id)
    assert isinstance(mine, Environment)
    assert mine.action_space == theirs.action_space
    assert torch.equal(mine.reset(SEED), theirs.reset(SEED))
    ends = torch.zeros(2, LANES)
    for action in actions_of(mine, 80):
        step = mine.step(action)
        assert_same(step, theirs.step(action))
        assert step.failed is None
        ends += step.terminated | step.truncated
    assert (ends >= 2).all()
    mine.close()
    theirs.close()


def test_lanes_do_not_depend_on_the_other_tasks_or_on_what_was_played_before() -> None:
    whole, alone = in_lanes("Hopper-v5"), in_lanes("Hopper-v5", TASKS[1])
    actions = actions_of(whole, 60)
    alone.reset(SeedSequence(1))
    play(alone, actions[:20, 1:])
    assert torch.equal(whole.reset(SEED)[1:], alone.reset(SEED))
    for action in actions:
        assert_same(Step(*(part[1:] for part in whole.step(action)[:4])), alone.step(action[1:]))


def test_without_autoreset_the_first_episodes_are_the_same_and_dead_lanes_stay_dead() -> None:
    going, ending = in_lanes("Hopper-v5"), in_lanes("Hopper-v5", autoreset=False)
    assert torch.equal(going.reset(SEED), ending.reset(SEED))
    alive, observation = torch.ones(2, LANES, dtype=torch.bool), None
    for action in actions_of(going, HORIZON):
        mine, theirs = ending.step(action), going.step(action)
        for one, other in zip(mine[:4], theirs[:4], strict=True):
            assert torch.equal(one[alive], other[alive])
        if observation is not None:
            assert torch.equal(mine.observation[~alive], observation[~alive])
        observation, alive = mine.observation, alive & ~(mine.terminated | mine.truncated)
    assert not alive.any()


@pytest.mark.skipif(version_of(mujoco) < (3, 17), reason="has no mujoco.batch")
@pytest.mark.parametrize("env_id", ["HalfCheetah-v5", "Hopper-v5", "Pusher-v5"])
def test_python_threads_and_mujocos_own_give_the_same(env_id: str) -> None:
    env = gymnasium.make(env_id).unwrapped
    models = [heavier(gymnasium.make(env_id), mass).unwrapped.model for mass in (1.0, 1.2, 1.4)]
    reads, rng = robot_of(env_id).reads, np.random.default_rng(0)
    batch = BatchLanes(models, 5, reads, 2)
    threads = ThreadLanes(models, 5, reads, 2, forces=False)
    qpos = np.stack([env.init_qpos] * 3) + rng.uniform(-0.01, 0.01, (3, env.model.nq))
    for lanes in (batch, threads):
        lanes.start(np.arange(3), qpos, np.zeros((3, env.model.nv)))
    for ids in (None, None, np.array([0, 2]), None, np.array([1]), None):
        control = rng.uniform(-1.0, 1.0, (3, env.model.nu))
        for lanes in (batch, threads):
            assert not lanes.step(control, ids).any()
        for name in batch.fields:
            np.testing.assert_array_equal(batch.fields[name], threads.fields[name])
    threads.close()


def unstable() -> MuJoCoEnvironment:
    """Return cheetahs of which the second task's have motors that tear them apart."""
    env = gymnasium.make("HalfCheetah-v5").unwrapped
    wild = copy.copy(env.model)
    apply(wild, "actuator_gear", 30.0, scaled=True)
    models = [env.model, wild]
    robot = robot_of("HalfCheetah-v5")(env, [model for model in models for _ in range(LANES)])
    return MuJoCoEnvironment(robot, models, TASKS, LANES, autoreset=True, max_episode_steps=200)


@pytest.mark.parametrize("old_release", [False, True])
def test_an_unstable_episode_has_failed_although_everything_is_finite(
    old_release: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if old_release:
        monkeypatch.setattr("ssm_metarl.env_runner.mujoco_lanes.version_of", lambda _: (3, 3))
    env = unstable()
    env.reset(SEED)
    count, restarted = 0, torch.zeros(2, LANES, dtype=torch.bool)
    for action in actions_of(env, 120, scale=1.0):
        step = env.step(action)
        assert step.observation.isfinite().all()
        failed = torch.zeros(2, LANES) > 0 if step.failed is None else step.failed
        count += int(failed.sum())
        assert not failed[0].any()
        assert (step.reward[failed] == 0.0).all()
        assert torch.equal(step.terminated, failed)  # a cheetah's episode ends in no other way
        assert (step.reward[restarted] == 0.0).all()
        assert (step.observation[restarted].abs() < 1.0).all()
        restarted = failed
    assert count > 0
    assert env.failures.failed.tolist() == [0, count]


def test_a_task_that_keeps_failing_stops_with_its_values() -> None:
    env = unstable()
    env.reset(SEED)
    actions = actions_of(env, 2000, scale=1.0)
    with pytest.raises(EnvironmentFailure, match=r"unstable in 2\d of \d+ episodes .* mass=1\.3"):
        play(env, actions)
    assert env.failures.failed[1] >= MOST_FAILURES


def test_wrong_actions_and_robots_are_named() -> None:
    env = in_lanes("Hopper-v5")
    env.reset(SEED)
    with pytest.raises(DivergenceError, match="action of the policy is not finite"):
        env.step(torch.full((2, LANES, 3), torch.nan))
    with pytest.raises(UserError, match="did you mean 'HalfCheetah-v5'"):
        robot_of("HalfCheetah-v4")


def test_warnings_are_logged_and_leave_no_file_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo's own log would be here
    caplog.set_level("INFO", "mujoco")
    make("HalfCheetahVel").close()  # its file is warned of since mujoco 3.17
    env = unstable()
    env.reset(SEED)
    play(env, actions_of(env, 120, scale=1.0))
    assert env.failures.failed[1] > 0
    assert "simulation is unstable" in caplog.text
    assert not list(tmp_path.iterdir())
