"""Any Gymnasium environment as `[K, E]` lanes, against a loop written by hand."""

import gymnasium
import numpy as np
import pytest
import torch
from numpy.random import SeedSequence
from sync_lanes import sync_lanes

from ssm_metarl.env_runner.environment import Environment
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.gymnasium import GymnasiumEnvironment
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.streams import substream

SEED = SeedSequence(4)
MOUNTAIN_CAR = TaskFamily("MountainCar-v0", "", "MountainCar-v0", 200)


def lane_seed(index: int, lane: int) -> int:
    return int(substream(SEED, index, lane).generate_state(1)[0]) % 2**31


def test_agrees_with_a_loop_written_by_hand() -> None:
    tasks, lanes, horizon, steps = MOUNTAIN_CAR.sample(2, SeedSequence(0)), 3, 7, 30
    mine = MOUNTAIN_CAR.make_vec(tasks, lanes, autoreset=True, horizon=horizon)
    assert isinstance(mine, Environment)
    actions = np.random.default_rng(0).integers(3, size=(steps, 2, lanes))
    observations = [mine.reset(SEED)]
    results = []
    for action in actions:
        results.append(mine.step(torch.from_numpy(action)))
        observations.append(results[-1].observation)
    mine.close()

    for k in range(2):
        for lane in range(lanes):
            env = gymnasium.make("MountainCar-v0").unwrapped
            observation, _ = env.reset(seed=lane_seed(k, lane))
            np.testing.assert_array_equal(observations[0][k, lane], observation)
            age = 0
            for t in range(steps):
                if age == horizon:  # the dead step
                    observation, _ = env.reset()
                    reward, age = 0.0, 0
                else:
                    observation, reward, *_ = env.step(actions[t, k, lane])
                    age += 1
                np.testing.assert_array_equal(observations[t + 1][k, lane], observation)
                assert results[t].reward[k, lane] == reward
                assert not results[t].terminated[k, lane]
                assert results[t].truncated[k, lane] == (age == horizon)


def test_results_do_not_depend_on_how_the_tasks_are_split() -> None:
    tasks, lanes = MOUNTAIN_CAR.sample(3, SeedSequence(0)), 2
    actions = torch.randint(3, (12, 3, lanes), generator=torch.Generator().manual_seed(0))

    def collect(rows: slice) -> list[torch.Tensor]:
        env = MOUNTAIN_CAR.make_vec(tasks[rows], lanes, autoreset=True, horizon=5)
        first = env.reset(SEED)
        return [first, *(env.step(action[rows]).observation for action in actions)]

    whole, part = collect(slice(0, 3)), collect(slice(1, 2))
    assert all(torch.equal(a[1:2], b) for a, b in zip(whole, part, strict=True))
    assert not torch.equal(whole[0][0], whole[0][1])


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "Navigation2D-v0"])
def test_parameters_of_a_native_family_reach_gymnasium(name: str) -> None:
    # The same tasks and actions, natively and through Gymnasium, from Gymnasium's first states.
    family = get_family(name)
    tasks = family.held_out(4)
    makers = [lambda task=task: family.gymnasium(task) for task in tasks]
    theirs = GymnasiumEnvironment(sync_lanes(makers, 1, 8), tasks, max_episode_steps=8)
    native = family.make_vec(tasks, 1, autoreset=True, horizon=8, dtype=torch.float64)
    theirs.reset(SEED)
    native.reset(SEED)
    worlds = [env.unwrapped for env in theirs._lanes._envs.envs]
    attribute = "position" if name == "Navigation2D-v0" else "state"
    state = np.array([getattr(world, attribute) for world in worlds])
    given = torch.from_numpy(state.T[..., None].copy())
    native.lane_state = native.lane_state._replace(state=given)  # pyright: ignore
    generator = torch.Generator().manual_seed(0)
    for _ in range(8):
        action = (
            torch.randint(2, (4, 1), generator=generator)
            if name == "CartPole-v1"
            else 4 * torch.rand(4, 1, *family.action_space.shape, generator=generator) - 2  # pyright: ignore
        )
        mine, expected = native.step(action), theirs.step(action)
        assert not mine.terminated.any()
        for a, b in zip(mine[:4], expected[:4], strict=True):
            torch.testing.assert_close(a.to(b.dtype), b, rtol=1e-5, atol=1e-5)


def test_box_actions_are_clipped_to_their_bounds() -> None:
    family = get_family("MountainCarContinuous-v0")
    task = family.nominal()
    wrapped = GymnasiumEnvironment(
        sync_lanes([lambda: family.gymnasium(task)], 3, 999), task, max_episode_steps=999
    )
    native = family.make_vec(task, 3, autoreset=True)
    for env in (wrapped, native):
        env.reset(SEED)
        step = env.step(torch.tensor([[[5.0], [-5.0], [0.5]]]))
        torch.testing.assert_close(step.reward, torch.tensor([[-0.1, -0.1, -0.025]]))
    wrapped.close()


def test_an_environment_of_ones_own() -> None:
    class Corridor(gymnasium.Env):
        """Pictures of two rows, actions that count from 5, no time limit."""

        observation_space = gymnasium.spaces.Box(0, 255, (2, 3), np.uint8)
        action_space = gymnasium.spaces.Discrete(2, start=5)

        def reset(self, *, seed: int | None = None, options: dict | None = None):  # noqa: ANN202
            super().reset(seed=seed)
            return np.zeros((2, 3), np.uint8), {}

        def step(self, action: int):  # noqa: ANN202
            picture = np.full((2, 3), action, np.uint8)
            return picture, float(action), action == 6, False, {}

    tasks = Tasks({}, np.zeros(1, dtype=np.int64))
    env = GymnasiumEnvironment(sync_lanes([Corridor], 2, 10), tasks, max_episode_steps=10)
    assert env.observation_space.shape == (6,)
    assert env.reset(SEED).shape == (1, 2, 6)
    step = env.step(torch.tensor([[0, 1]]))
    assert step.reward.tolist() == [[5.0, 6.0]]
    assert step.observation[0, :, 0].tolist() == [5.0, 6.0]
    assert step.terminated.tolist() == [[False, True]]
    env.close()
