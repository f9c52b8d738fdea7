"""The models that tell tasks apart, against least squares done step by step."""

import dataclasses

import numpy as np
import torch
from numpy.random import SeedSequence

from ssm_metarl.adaptation import dynamics
from ssm_metarl.adaptation.dynamics import (
    Transitions,
    fit,
    moments,
    noise,
    pooled_units,
    squared_errors,
    transitions,
)
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import collect_episodes
from ssm_metarl.env_runner.spaces import policy_spaces


def linear_task(slope: float, seed: int, count: int = 400) -> Transitions:
    """Return transitions whose change is `slope` times the action, with noise of 0.1."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, generator=rng, dtype=torch.float64)
    y = slope * x[:, 1:2] + 0.1 * torch.randn(count, 1, generator=rng, dtype=torch.float64)
    return Transitions(x, torch.zeros(count, 1, dtype=torch.float64), y)


def test_transitions_hold_what_happened_before_within_the_episode() -> None:
    family = get_family("CartPole-v1")
    policy = Policy(PolicyConfig(width=8, state_size=4), policy_spaces(family))
    params = policy.init(torch.Generator().manual_seed(0))
    environment = family.make_vec(family.validation(2), 3, autoreset=False)
    rollout = collect_episodes(policy.bind(params), environment, SeedSequence(0))
    both = transitions(rollout, policy)
    assert [len(task.x) for task in both] == rollout.valid.sum((0, 2)).tolist()
    task, lane = both[1], rollout.valid[:, 1, 0]
    length = int(lane.sum())
    every = rollout.valid[:, 1].nonzero()
    mine = every[:, 1] == 0
    observation = rollout.observation[: length + 1, 1, 0].double()
    acted = torch.nn.functional.one_hot(rollout.action[:length, 1, 0], 2).double()
    x, y = task.x[mine], task.y[mine]
    assert torch.equal(x[:, :6], torch.cat([observation[:-1], acted], 1))
    assert torch.equal(x[1:, 6:], x[:-1, :6])
    assert (x[0, 6:] == 0).all()
    assert task.start[mine].flatten().tolist() == [1.0] + [0.0] * (length - 1)
    assert torch.equal(y, torch.cat([observation.diff(dim=0), torch.ones(length, 1)], 1))


def test_errors_from_moments_equal_errors_step_by_step() -> None:
    tasks = [linear_task(slope, seed) for seed, slope in enumerate((1.0, -1.0, 2.0))]
    units = pooled_units(tasks)
    data = moments(tasks, units)
    models = fit(data)
    errors = squared_errors(data, models)
    own = []
    for k, task in enumerate(tasks):
        phi = dynamics._features((task.x - units.mean) / units.std, task.start)
        for s, model in enumerate(models):
            direct = (task.y / units.target_std - phi @ model).square().mean(0)
            torch.testing.assert_close(errors[k, s], direct, rtol=1e-9, atol=1e-9)
        own.append(errors[k, k])
    torch.testing.assert_close(noise(data, models), torch.stack(own).mean(0))
    assert errors[..., 0].argmin(1).tolist() == [0, 1, 2]


def test_a_model_is_ridge_regression_towards_that_of_all_tasks() -> None:
    tasks = [linear_task(slope, seed, 40) for seed, slope in enumerate((1.0, 1.4))]
    units = pooled_units(tasks)
    data = moments(tasks, units)
    models = fit(data)
    phis = [dynamics._features((t.x - units.mean) / units.std, t.start).numpy() for t in tasks]
    ys = [(t.y / units.target_std).numpy() for t in tasks]
    every = np.concatenate(phis)
    penalty = np.diag(dynamics.PSEUDO_STEPS * (every**2).mean(0) + dynamics.TINY) ** 0.5

    def ridge(phi: np.ndarray, y: np.ndarray) -> np.ndarray:
        rows = np.concatenate([phi, penalty])
        return np.linalg.lstsq(rows, np.concatenate([y, np.zeros((len(penalty), 1))]), rcond=None)[
            0
        ]

    common = ridge(every, np.concatenate(ys))
    for model, phi, y in zip(models.numpy(), phis, ys, strict=True):
        np.testing.assert_allclose(model, common + ridge(phi, y - phi @ common), atol=1e-6)


def test_what_never_varies_does_no_harm() -> None:
    tasks = [linear_task(slope, seed) for seed, slope in enumerate((1.0, -1.0))]
    still = [
        dataclasses.replace(
            t, x=torch.cat([t.x[:, :2], t.x[:, :1] * 0, t.x[:, 2:]], 1)[:, [0, 2, 3, 4]]
        )
        for t in tasks
    ]
    models = fit(moments(still, pooled_units(still)))
    assert models.isfinite().all()
