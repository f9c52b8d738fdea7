"""Trajectories made of random numbers, with episodes of given lengths."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.experience.buffer import ExperienceStore

CARTPOLE, PENDULUM = get_family("CartPole-v1"), get_family("Pendulum-v1")
Lengths = Sequence[Sequence[Sequence[int]]]


def make_trajectory(lengths: Lengths, family: TaskFamily = CARTPOLE, seed: int = 0) -> Trajectory:
    """Return a trajectory whose lane e of task k has episodes of lengths[k][e] steps.

    As with autoreset, a dead step leads from one episode to the next.
    """
    rng = torch.Generator().manual_seed(seed)
    size, discrete = family.observation_space.shape[0], family is CARTPOLE
    K, E = len(lengths), len(lengths[0])
    T = max(sum(lane) + len(lane) - 1 for task in lengths for lane in task)
    valid, start = torch.zeros(T, K, E, dtype=torch.bool), torch.zeros(T + 1, K, E).bool()
    terminated, truncated = torch.zeros_like(valid), torch.zeros_like(valid)
    for k, task in enumerate(lengths):
        for e, lane in enumerate(task):
            begin = 0
            for i, steps in enumerate(lane):
                valid[begin : begin + steps, k, e] = True
                start[begin, k, e] = True
                (truncated if i % 2 else terminated)[begin + steps - 1, k, e] = True
                begin += steps + 1
    seen = torch.cat([torch.ones_like(valid[:1]), valid | start[1:]]).unsqueeze(-1)
    action = torch.randint(2, (T, K, E), generator=rng)
    return Trajectory(
        action=action if discrete else torch.randn(T, K, E, 1, generator=rng),
        observation=torch.randn(T + 1, K, E, size, generator=rng) * seen,
        reward=torch.randn(T, K, E, generator=rng) * valid,
        log_prob=-torch.rand(T, K, E, generator=rng),
        terminated=terminated,
        truncated=truncated,
        valid=valid,
        episode_start=start,
    )


def solved(trajectory: Trajectory) -> torch.Tensor:
    """Return successes on some of the valid steps."""
    chosen = torch.rand(trajectory.valid.shape, generator=torch.Generator().manual_seed(3)) < 0.3
    return chosen & trajectory.valid


def tasks_of(count: int, family: TaskFamily = CARTPOLE) -> Tasks:
    return family.sample(count, np.random.SeedSequence(7))


def add(
    store: ExperienceStore, lengths: Lengths, label: int | None = None, seed: int = 0
) -> tuple[list[int], Trajectory]:
    """Add a random trajectory to a store of CartPoles; return the tasks' ids and it."""
    trajectory = make_trajectory(lengths, seed=seed)
    return store.add(trajectory, tasks_of(len(lengths)), label), trajectory


@pytest.fixture
def kit() -> SimpleNamespace:
    """What the tests build their stores from."""
    return SimpleNamespace(
        cartpole=CARTPOLE,
        pendulum=PENDULUM,
        trajectory=make_trajectory,
        solved=solved,
        tasks=tasks_of,
        add=add,
        assert_same=assert_same,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "experience" / "store.sqlite"


@pytest.fixture
def make_store(path: Path) -> Iterator[Callable[..., ExperienceStore]]:
    """Create stores of CartPoles, and close them at the end."""
    stores = []

    def make(**options: object) -> ExperienceStore:
        stores.append(ExperienceStore.create(path, CARTPOLE, **options))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


def assert_same(found: Trajectory, expected: Trajectory) -> None:
    """Compare bit by bit; after the last valid step, actions and log-probabilities are 0."""
    last = expected.valid.flip(0).cumsum(0).flip(0) > 0  # up to the last valid step
    length = int(last.flatten(1).any(1).sum())
    for name, value in expected.tensors().items():
        got = getattr(found, name)
        value = value[: length + 1] if name in ("observation", "episode_start") else value[:length]
        if name in ("action", "log_prob"):
            alive = last[:length].view(*last[:length].shape, *[1] * (value.ndim - 3))
            value = torch.where(alive, value, 0)
        assert got.dtype == value.dtype
        assert torch.equal(got, value), name
    assert (found.success is None) == (expected.success is None)
