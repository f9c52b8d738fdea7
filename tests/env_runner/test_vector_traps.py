"""What Gymnasium's vector environments do that one would not guess, and what ours do instead."""

import sys
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import SyncVectorEnv
from numpy.random import SeedSequence

import ssm_metarl as sm
from ssm_metarl.env_runner.kept import WORKERS
from ssm_metarl.env_runner.registry import get_family, list_families
from ssm_metarl.env_runner.workers import WorkerLanes

cloudpickle.register_pickle_by_value(sys.modules[__name__])
SEED = SeedSequence(2)
GRAVITY = sm.Parameter("gravity", 9.8, low=5.0, high=15.0)


def pole(task: dict[str, float]) -> gymnasium.Env:
    env: Any = gymnasium.make("CartPole-v1")
    env.unwrapped.gravity = task["gravity"]
    return env


def test_parameters_reach_workers_that_attributes_set_from_outside_may_miss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    envs = SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 2)
    envs.set_attr("unwrapped.gravity", 1.0)  # it reads back as set
    assert envs.get_attr("unwrapped.gravity") == (1.0, 1.0)
    assert [env.unwrapped.gravity for env in envs.envs] == [9.8, 9.8]  # pyright: ignore
    envs.close()

    monkeypatch.setenv(WORKERS, "2")
    family = sm.TaskFamily("Pole", make=pole, parameters=[GRAVITY]).reusing()
    tasks = family.held_out(4)
    env: Any = family.make_vec(tasks, 1, autoreset=True)
    assert isinstance(env._lanes, WorkerLanes)
    env.reset(SEED)
    for _ in range(3):
        moved = env.step(torch.ones(4, 1, dtype=torch.int64)).observation
    env.close()
    monkeypatch.setenv(WORKERS, "0")
    for k in range(4):
        alone = family.make_vec(tasks[k], 1, autoreset=True)
        alone.reset(SEED)
        for _ in range(3):
            expected = alone.step(torch.ones(1, 1, dtype=torch.int64)).observation
        assert torch.equal(moved[k], expected[0])  # pyright: ignore[reportPossiblyUnbound]
    family.close()


class Gravity(gymnasium.Wrapper):
    """Keeps what every reset was told."""

    told: list[dict[str, Any]] = []  # noqa: RUF012

    def reset(self, **told: Any) -> Any:  # noqa: ANN401
        Gravity.told.append(told)
        return self.env.reset(**told)


def test_lanes_are_reset_one_by_one_and_without_options() -> None:
    # `reset_mask` takes itself out of the caller's options, and other lanes' counts with it.
    options = {"reset_mask": np.array([True, False])}
    envs = SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 2)
    envs.reset(seed=0)
    envs.reset(options=options)
    assert options == {}
    envs.close()

    Gravity.told = []
    family = sm.TaskFamily("Pole", make=lambda task: Gravity(pole(task)), parameters=[GRAVITY])
    env = family.make_vec(family.held_out(1), 2, autoreset=True, horizon=3)
    env.reset(SEED)
    ends = [env.step(torch.tensor([[0, 1]])).truncated[0].tolist() for _ in range(8)]
    assert [t for t, end in enumerate(ends) if all(end)] == [
        2,
        6,
    ]  # own counts: 3 steps and a reset
    assert all(not told.get("options") for told in Gravity.told)


def test_a_lane_starts_from_the_states_of_a_single_environment() -> None:
    """`CartPoleVectorEnv` does not, and its rewards are float32."""
    theirs = gymnasium.make_vec("CartPole-v1", 2, vectorization_mode="vector_entry_point")
    single = gymnasium.make("CartPole-v1").reset(seed=5)[0]
    assert not np.allclose(theirs.reset(seed=5)[0][0], single)
    family = sm.TaskFamily("Pole", make=pole, parameters=[GRAVITY])
    env = family.make_vec(family.nominal(), 1, autoreset=True, dtype=torch.float64)
    first = env.reset(SEED)
    child = SeedSequence(SEED.entropy, spawn_key=(0, 0))
    seed = int(child.generate_state(1)[0]) % 2**31
    expected = gymnasium.make("CartPole-v1").reset(seed=seed)[0]
    np.testing.assert_array_equal(first[0, 0].float().numpy(), expected)
    assert env.step(torch.zeros(1, 1, dtype=torch.int64)).reward.dtype == torch.float64


def names() -> list[str]:
    extra = list_families(extras=True)
    return [family.name for family in extra if not family.name.startswith(("ML", "MT"))]


@pytest.mark.filterwarnings("ignore:.*WARN")
@pytest.mark.parametrize("name", names())
def test_gymnasiums_own_check_passes_on_every_family(name: str) -> None:
    if needs_mujoco(name):
        pytest.importorskip("mujoco")
        pytest.importorskip("imageio")
    env = sm.make(name, get_family(name).held_out(1)[0])
    check_env(env, skip_render_check=True)
    env.close()


def needs_mujoco(name: str) -> bool:
    return name not in {family.name for family in list_families()}


def test_stable_baselines_trains_on_a_task() -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    env = sm.make("CartPole-v1", {"gravity": 15.0})
    model = sb3.PPO("MlpPolicy", env, n_steps=64, batch_size=64, n_epochs=1, device="cpu")
    model.learn(128)
    assert model.num_timesteps == 128
