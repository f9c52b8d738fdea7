"""The native environment: resets, time limits, independence of tasks, and cost."""

from collections.abc import Callable, Iterator

import gymnasium
import pytest
import torch
from numpy.random import SeedSequence
from torch.utils._python_dispatch import TorchDispatchMode

from ssm_metarl.env_runner.environment import Environment, Step
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import get_family, list_families
from ssm_metarl.env_runner.simulated import SimulatedEnvironment

FAMILIES = pytest.mark.parametrize("family", list_families(), ids=lambda family: family.name)
SEED = SeedSequence(11)


def random_actions(family: TaskFamily, steps: int, tasks: int, lanes: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    space = family.action_space
    if isinstance(space, gymnasium.spaces.Discrete):
        return torch.randint(int(space.n), (steps, tasks, lanes), generator=generator)
    return torch.randn(steps, tasks, lanes, *(space.shape or ()), generator=generator)


def walk(env: Environment, actions: torch.Tensor, seed: SeedSequence = SEED) -> Iterator[Step]:
    """Yield the first observations and then every step; none of these worlds fails."""
    zero = torch.zeros(len(env.tasks), env.lanes)
    yield Step(env.reset(seed), zero, zero.bool(), zero.bool())
    for action in actions:
        step = env.step(action)
        assert step.failed is None
        yield step


@FAMILIES
@pytest.mark.parametrize("autoreset", [True, False])
def test_results_do_not_depend_on_how_the_tasks_are_split(
    family: TaskFamily, autoreset: bool
) -> None:
    tasks, lanes = family.held_out(6), 7
    actions = random_actions(family, 80, 6, lanes)

    def collect(rows: slice) -> list[Step]:
        env = family.make_vec(tasks[rows], lanes, autoreset=autoreset, horizon=25)
        with torch.inference_mode():
            return list(walk(env, actions[:, rows]))

    whole = collect(slice(0, 6))
    for rows in (slice(0, 1), slice(1, 3), slice(3, 6)):
        for all_tasks, some_tasks in zip(whole, collect(rows), strict=True):
            for mine, theirs in zip(all_tasks[:4], some_tasks[:4], strict=True):
                assert torch.equal(mine[rows], theirs)


@FAMILIES
def test_spaces_shapes_and_seeds(family: TaskFamily) -> None:
    env = family.make_vec(family.held_out(3), 4, autoreset=True)
    assert isinstance(env, Environment)
    observation = env.reset(SEED)
    assert observation.shape == (3, 4, *env.observation_space.shape)
    assert observation.dtype == torch.float32
    assert env.observation_space.contains(observation[1, 2].contiguous().numpy())
    assert torch.equal(observation, env.reset(SEED))
    assert family.simulator is not None
    if family.simulator.reset_noise:  # else it always starts at the same place
        assert not torch.equal(observation, env.reset(SeedSequence(12)))
        assert observation.flatten(0, 1).unique(dim=0).shape[0] == 12
    assert env.max_episode_steps == family.max_episode_steps
    env.close()


@FAMILIES
def test_observations_and_rewards_are_not_overwritten_by_later_steps(family: TaskFamily) -> None:
    env = family.make_vec(family.held_out(2), 3, autoreset=True, horizon=9)
    actions = random_actions(family, 40, 2, 3)
    steps, copies = [], []
    for step in walk(env, actions):
        steps.append(step)
        copies.append([tensor.clone() for tensor in step[:4]])
    for step, copy in zip(steps, copies, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(step[:4], copy, strict=True))


def test_next_step_autoreset_as_gymnasium_does_it() -> None:
    # Navigation2D always starts at the centre, so both see the same without sharing noise.
    family = get_family("Navigation2D-v0")
    goals = {"goal_x": [0.2, 0.35], "goal_y": [0.0, -0.4]}
    task = family.task(goal_x=goals["goal_x"][0], goal_y=goals["goal_y"][0])
    native = family.make_vec(task, 1, autoreset=True, horizon=6)
    theirs = gymnasium.vector.SyncVectorEnv(
        [lambda: gymnasium.wrappers.TimeLimit(family.gymnasium(task), 6)],
        autoreset_mode=gymnasium.vector.AutoresetMode.NEXT_STEP,
    )
    native.reset(SEED)
    theirs.reset(seed=0)
    seen = set()
    for t in range(40):
        action = torch.tensor([[[1.0, 0.0]]]) if t % 15 < 8 else torch.tensor([[[-0.3, 0.1]]])
        mine, expected = native.step(action), theirs.step(action[0].numpy())
        torch.testing.assert_close(mine.observation[0], torch.from_numpy(expected[0]))
        assert mine.reward.item() == pytest.approx(expected[1][0], abs=1e-6)
        assert mine.terminated.item() == expected[2][0]
        assert mine.truncated.item() == expected[3][0]
        seen.add((bool(expected[2][0]), bool(expected[3][0])))
    assert {(True, False), (False, True), (False, False)} <= seen


def test_a_dead_step_ignores_the_action_and_restarts_the_clock() -> None:
    family = get_family("Pendulum-v1")
    actions = random_actions(family, 12, 2, 3)
    other = actions.clone()
    other[4] += 1  # the dead step of a horizon of 4
    runs = [
        list(walk(family.make_vec(family.held_out(2), 3, autoreset=True, horizon=4), each))
        for each in (actions, other)
    ]
    for mine, theirs in zip(*runs, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine[:4], theirs[:4], strict=True))
    truncated = [bool(step.truncated.all()) for step in runs[0][1:]]
    assert truncated == [t % 5 == 3 for t in range(12)]
    assert not torch.equal(runs[0][5].observation, runs[0][0].observation)  # fresh noise
    assert (runs[0][5].reward == 0).all()


def test_without_autoreset_the_time_limit_still_truncates() -> None:
    family = get_family("Pendulum-v1")
    env = family.make_vec(family.held_out(1), 2, autoreset=False, horizon=5)
    steps = list(walk(env, random_actions(family, 5, 1, 2)))
    assert [bool(step.truncated.any()) for step in steps[1:]] == [False] * 4 + [True]
    longer = family.make_vec(family.held_out(1), 2, autoreset=False, horizon=10_000)
    assert longer.max_episode_steps == 200


def test_hidden_velocities() -> None:
    full, partial = get_family("CartPole-v1"), get_family("CartPoleNoVelocity-v1")
    actions = random_actions(full, 30, 4, 3)
    envs = [family.make_vec(family.held_out(4), 3, autoreset=True) for family in (full, partial)]
    for seen, hidden in zip(*(walk(env, actions) for env in envs), strict=True):
        assert torch.equal(seen.observation[..., [0, 2]], hidden.observation)
        assert torch.equal(seen.terminated, hidden.terminated)
    assert envs[1].observation_space.shape == (2,)


def test_swap_exchanges_left_and_right() -> None:
    family = get_family("CartPole-v1")
    actions = random_actions(family, 60, 1, 5)
    normal, swapped = (family.make_vec(family.task(swap=s), 5, autoreset=True) for s in (0, 1))
    for mine, theirs in zip(walk(normal, actions), walk(swapped, 1 - actions), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine[:4], theirs[:4], strict=True))


@pytest.mark.parametrize(
    ("name", "autoreset", "budget"),
    [
        ("CartPole-v1", False, 21),
        ("CartPole-v1", True, 24),
        ("CartPoleNoVelocity-v1", True, 25),
        ("CartPoleHard-v1", True, 30),
    ],
)
def test_cartpole_steps_take_few_operations(name: str, autoreset: bool, budget: int) -> None:
    # At 100 lanes each costs about 2 us whatever it computes: this number is the speed.
    class Counter(TorchDispatchMode):
        operations = 0

        def __torch_dispatch__(
            self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None
        ) -> object:
            self.operations += 1
            return func(*args, **(kwargs or {}))

    family = get_family(name)
    env = family.make_vec(family.held_out(5), 20, autoreset=autoreset)
    env.reset(SEED)
    action = torch.zeros(5, 20, dtype=torch.int64)
    with torch.inference_mode(), Counter() as counter:
        step = env.step(action)
    assert not step.terminated.any()
    assert counter.operations <= budget
    assert isinstance(env, SimulatedEnvironment)
