"""A plan: what it measures, what it asks adaptation for, and what a summary says of it."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from chance import CHANCE, Chance
from numpy.random import SeedSequence

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.adaptation.standard import Adapted, play_tasks
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.software import current_software
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.evaluation.evaluate import ADAPTATION_STREAM, EvaluationPlan, evaluate, summarise
from ssm_metarl.evaluation.play import play_episodes
from ssm_metarl.evaluation.report import Evaluation, differences

FAMILY = dataclasses.replace(get_family("CartPole-v1"), max_episode_steps=20)
TASKS = FAMILY.held_out(3)


@pytest.fixture
def agent() -> Agent:
    policy = Policy(PolicyConfig(width=8, state_size=4), policy_spaces(FAMILY))
    params = policy.init(torch.Generator().manual_seed(0))
    return Agent(policy, params, 0.1, AdaptationConfig(horizon=20), FAMILY.name)


def test_a_plan_measures_each_budget_once_and_the_largest_at_every_step() -> None:
    plan = EvaluationPlan(budgets=(5, 1, 5, 2), steps=3, trial_episodes=4)
    assert plan.adaptations() == [(1, 1), (2, 1), (5, 3)]
    assert plan.results(["zero_shot"]) == 1
    assert plan.results(["in_context"]) == 4
    assert plan.results(["standard"]) == plan.results(["hybrid"]) == 5
    assert plan.results(["from_scratch"]) == 6
    assert plan.results(["standard", "in_context"]) == 5 + 5 + 4
    assert plan.results(["hybrid", "in_context"]) == 5 + 4
    assert EvaluationPlan() == EvaluationPlan(None, (1, 2, 5, 10, 20), 3, 10, 4, True, 0)


def test_every_mode_adapts_to_the_same_episodes_as_the_plan_says(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def spy(own: Agent, family: TaskFamily, tasks: Tasks, **options: Any) -> Iterator[Adapted]:  # noqa: ANN401
        seed, memory = options.pop("seed"), options.pop("memory")
        asked.append((own.params is agent.params, memory, seed.spawn_key, seed.entropy, options))
        return iter(())

    monkeypatch.setattr("ssm_metarl.evaluation.evaluate.adapt_tasks", spy)
    memory: Any = object.__new__(Memory)
    for guarded in (True, False):
        modes = ["standard", "hybrid", "from_scratch"]
        plan = EvaluationPlan(modes, (3, 1), 2, 1, guarded=guarded, seed=5)
        assert len(list(evaluate(agent, FAMILY, TASKS, plan, memory))) == 1  # the fresh network
        expected = [
            (own, recalled, (ADAPTATION_STREAM,), 5, {**step, "guarded": guarded})
            for own, recalled in ((True, None), (True, memory), (False, None))
            for step in ({"episodes": 1, "steps": 1}, {"episodes": 3, "steps": 2})
        ]
        assert asked == expected
        asked.clear()


def test_a_summary_says_what_was_measured_with_what_and_seed(agent: Agent) -> None:
    plan = EvaluationPlan(["zero_shot", "standard"], (2,), 1, return_episodes=2, seed=3)
    rows = [one.result for one in evaluate(agent, FAMILY, TASKS, plan)]
    found = summarise(FAMILY, TASKS, "shifted", plan, rows[::-1])
    software = current_software(FAMILY.simulators)
    gains = differences(rows, 3)
    expected = Evaluation(FAMILY.name, 3, 3, "shifted", tuple(rows), gains, software=software)
    assert found == expected


def test_lanes_whose_episode_has_ended_do_not_begin_another() -> None:
    policy = Policy(PolicyConfig(width=8, state_size=4), policy_spaces(CHANCE))
    params = policy.init(torch.Generator().manual_seed(0))
    agent = Agent(policy, params, 0.1, AdaptationConfig(horizon=20), CHANCE.name)
    tasks, seed, before = CHANCE.held_out(1), SeedSequence(0), Chance.begun
    play_episodes(policy, params, CHANCE, tasks, 3, seed)
    play_tasks(agent, params, CHANCE, tasks, 3, seed)
    assert Chance.begun - before == 2 * 3
