"""Adapting: episodes wait until there are enough, and a step that fails leaves no trace."""

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.adaptation import standard
from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.standard import Adaptation, play_tasks, take_step
from ssm_metarl.core.parameters import Params
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.errors import DivergenceError

FAMILY = get_family("CartPole-v1")
TASKS = FAMILY.validation(2)


def rollout(agent: Agent, lanes: int, seed: int) -> Trajectory:
    return play_tasks(agent, agent.params, FAMILY, TASKS, lanes, SeedSequence(seed))


def adaptation_of(agent: Agent, episodes: int) -> Adaptation:
    return Adaptation(agent, 2, seed=SeedSequence(0), episodes=episodes, guarded=False)


def test_a_step_waits_for_its_episodes_and_takes_all_that_came(agent: Agent) -> None:
    adaptation = adaptation_of(agent, 4)
    parts = [rollout(agent, lanes, seed) for seed, lanes in enumerate((2, 1, 2, 4))]
    assert [adaptation.add(part) for part in parts[:2]] == [False, False]
    assert adaptation.now.params is agent.params
    assert adaptation.add(parts[2])
    played = adaptation.now.played
    assert played is not None
    assert played.reward.shape[1:] == (2, 5)
    assert played.environment_steps == sum(part.environment_steps for part in parts[:3])
    assert adaptation.now.environment_steps.sum() == played.environment_steps
    assert adaptation.add(parts[3])
    assert (adaptation.now.steps, adaptation.now.episodes) == (2, 9)


def test_a_step_that_fails_drops_its_episodes_and_nothing_else(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes: list[int] = []

    def fail(agent: Agent, theta: Params, played: Trajectory, *rest: object) -> None:
        lanes.append(played.valid.shape[2])
        raise DivergenceError("no")

    monkeypatch.setattr(standard, "take_step", fail)
    adaptation = adaptation_of(agent, 2)
    for seed in range(2):
        with pytest.raises(DivergenceError):
            adaptation.add(rollout(agent, 2, seed))
    assert lanes == [2, 2]
    assert (adaptation.now.params, adaptation.now.steps) == (agent.params, 0)


def test_a_step_changes_what_learns_and_limits_the_spread(
    make_agent: Callable[..., Agent],
) -> None:
    agent, family = make_agent("Pendulum-v1"), get_family("Pendulum-v1")
    theta = agent.params
    played = play_tasks(agent, theta, family, family.validation(2), 3, SeedSequence(0))
    gradients = agent.rule().gradients(theta, agent.batch(played))
    free, _ = take_step(agent, theta, played, 0)
    assert free.keys() == theta.keys() > gradients.keys()
    for name, value in free.items():
        expected = theta[name] - 0.1 * gradients[name] if name in gradients else theta[name]
        torch.testing.assert_close(value, expected)
    config = dataclasses.replace(agent.config, adapted_std=0.3)
    narrow, _ = take_step(dataclasses.replace(agent, config=config), theta, played, 0)
    assert (free["action.log_std"] > math.log(0.3)).all()
    limited = free | {"action.log_std": free["action.log_std"].clamp_max(math.log(0.3))}
    for name, value in narrow.items():
        torch.testing.assert_close(value, limited[name])
