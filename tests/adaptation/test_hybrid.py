"""Recalling earlier tasks: whom, with what weight, and what comes out."""

import dataclasses

import numpy as np
import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.adaptation.hybrid import MATCHES, Memory
from ssm_metarl.adaptation.standard import Adaptation, adapt_tasks, play_tasks
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.errors import UserError
from ssm_metarl.meta_rl.batch import collect_data, make_batch
from ssm_metarl.meta_rl.inner_losses import lvc
from ssm_metarl.meta_rl.inner_rule import InnerRule

CARTPOLE = get_family("CartPole-v1")
STORED = 30


def agent_for(family: TaskFamily) -> Agent:
    policy = Policy(PolicyConfig(width=8, state_size=4), policy_spaces(family))
    params = policy.init(torch.Generator().manual_seed(0))
    return Agent(policy, params, 0.1, AdaptationConfig(), family.name)


def play(agent: Agent, family: TaskFamily, tasks: Tasks, episodes: int, seed: int) -> Trajectory:
    return play_tasks(agent, agent.params, family, tasks, episodes, SeedSequence(seed))


def memory_of(agent: Agent, family: TaskFamily, tasks: Tasks, episodes: int = 10) -> Memory:
    played = [play(agent, family, task, episodes, 1) for task in tasks]
    return Memory(agent, dict(enumerate(played, start=100)))


@pytest.fixture(scope="module")
def agent() -> Agent:
    return agent_for(CARTPOLE)


@pytest.fixture(scope="module")
def stored() -> Tasks:
    return CARTPOLE.sample(STORED, SeedSequence(7))


@pytest.fixture(scope="module")
def memory(agent: Agent, stored: Tasks) -> Memory:
    return memory_of(agent, CARTPOLE, stored)


@pytest.mark.parametrize("name", ["CartPole-v1", "CartPoleNoVelocity-v1", "Pendulum-v1"])
def test_one_episode_tells_which_way_the_controls_go(name: str) -> None:
    family = get_family(name)
    agent, parameter = agent_for(family), family.parameters[-1].name  # swap, torque_sign
    stored, tasks = family.sample(STORED, SeedSequence(7)), family.held_out(20)
    recalled = memory_of(agent, family, stored, 4).recall(play(agent, family, tasks, 1, 2))
    best = stored.values[parameter][recalled.tasks[:, 0] - 100]
    assert (best == tasks.values[parameter]).mean() > 0.9


def test_every_episode_counts_once_and_recalled_ones_by_their_likeness(
    agent: Agent, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "limit", torch.inf)
    tasks = CARTPOLE.validation(5)
    for episodes in (1, 10):
        recalled = memory.recall(play(agent, CARTPOLE, tasks, episodes, 2))
        assert recalled.tasks.shape == (5, MATCHES)
        assert (recalled.prediction_error.diff(dim=1) >= 0).all()
        likeness = recalled.weight / recalled.weight[:, :1]
        torch.testing.assert_close(
            likeness, torch.exp(1 - recalled.prediction_error / recalled.prediction_error[:, :1])
        )
        assert (likeness[:, 0] == 1).all()
        counted = likeness.sum(1) * 10 + episodes
        torch.testing.assert_close(recalled.own, episodes / counted)
        torch.testing.assert_close(recalled.weight.sum(1) + recalled.own, torch.ones(5))


def test_the_joint_gradient_is_the_weighted_sum(agent: Agent, memory: Memory) -> None:
    played = play(agent, CARTPOLE, CARTPOLE.held_out(3), 4, 2)
    config = agent.config

    def gradients(trajectory: Trajectory) -> dict[str, torch.Tensor]:
        batch = make_batch(trajectory, agent.policy, config.discount, config.gae_lambda)
        return InnerRule(agent.policy, lvc, agent.rates).gradients(agent.params, batch)

    own, recalled = gradients(played), memory.recall(played)
    joined = memory.join(own, recalled)
    for k in range(3):
        expected = {name: recalled.own[k] * value[k] for name, value in own.items()}
        for task, weight in zip(recalled.tasks[k].tolist(), recalled.weight[k], strict=True):
            for name, value in gradients(memory.tasks[task]).items():
                expected[name] = expected[name] + weight * value[0]
        for name, value in expected.items():
            torch.testing.assert_close(joined[name][k], value, atol=1e-5, rtol=1e-4)


def test_a_task_like_none_that_is_remembered_is_adapted_to_as_if_there_were_no_memory(
    agent: Agent, memory: Memory
) -> None:
    # A world that no remembered task resembles: forces sixty times as strong on a tiny cart.
    strange = CARTPOLE.task(force=100.0, cart_mass=0.05, gravity=40.0)
    plan = {"episodes": 4, "steps": 2, "seed": SeedSequence(3)}
    *_, hybrid = adapt_tasks(agent, CARTPOLE, strange, memory=memory, **plan)  # pyright: ignore[reportArgumentType]
    first, *_, standard = list(adapt_tasks(agent, CARTPOLE, strange, **plan))[1:]  # pyright: ignore[reportArgumentType]
    assert first.recalled is None
    recalled = memory.recall(play(agent, CARTPOLE, strange, 4, 2))
    assert recalled.prediction_error[0, 0] > memory.limit
    assert (recalled.weight == 0).all()
    assert (recalled.own == 1).all()
    for name, value in standard.params.items():
        assert torch.equal(value, hybrid.params[name])


def test_only_the_first_step_recalls_and_the_agent_stays_as_it_is(
    agent: Agent, memory: Memory
) -> None:
    before = {name: value.clone() for name, value in agent.params.items()}
    stages = list(
        adapt_tasks(
            agent,
            CARTPOLE,
            CARTPOLE.held_out(2),
            episodes=3,
            steps=2,
            seed=SeedSequence(0),
            memory=memory,
        )
    )
    assert [stage.recalled is not None for stage in stages] == [False, True, False]
    assert all(torch.equal(before[name], value) for name, value in agent.params.items())


def test_a_memory_of_an_agent_with_other_parameters_is_refused(
    agent: Agent, memory: Memory
) -> None:
    copy = agent.with_params({name: value.clone() for name, value in agent.params.items()})
    memory.check(copy)
    adapted = agent.with_params({name: value + 0.1 for name, value in agent.params.items()})
    for other in (adapted, agent_for(get_family("Pendulum-v1"))):
        with pytest.raises(UserError, match="another agent"):
            Adaptation(other, 1, seed=SeedSequence(0), memory=memory)


def trials_of(agent: Agent, tasks: Tasks, lanes: int, seed: int) -> Trajectory:
    """Play trials of two short episodes each."""
    return collect_data(
        agent.policy.bind(agent.params),
        CARTPOLE,
        tasks,
        SeedSequence(seed),
        episodes=2 * lanes,
        per_trial=2,
        horizon=30,
        device=torch.device("cpu"),
    )


def test_the_episodes_of_a_trial_count_one_by_one(stored: Tasks) -> None:
    policy = Policy(
        PolicyConfig(width=8, state_size=4, memory="trial", trial_inputs=True),
        policy_spaces(CARTPOLE),
    )
    params = policy.init(torch.Generator().manual_seed(0))
    agent = Agent(policy, params, 0.1, AdaptationConfig(episodes_per_trial=2), CARTPOLE.name)
    played = [trials_of(agent, task, 3, 1) for task in stored]
    memory = Memory(agent, dict(enumerate(played)))
    assert (memory.episodes == 6).all()
    memory.limit = torch.inf
    single = play(agent, CARTPOLE, CARTPOLE.held_out(1), 1, 2)
    trial = trials_of(agent, CARTPOLE.held_out(1), 2, 2)
    for support, count in ((single, 1), (trial, 4)):
        recalled = memory.recall(support)
        likeness = recalled.weight / recalled.weight[:, :1]
        torch.testing.assert_close(recalled.own, count / (likeness.sum(1) * 6 + count))
    # What is strange is judged by one episode, whose second half of the trial plays no part.
    first = [
        dataclasses.replace(one.lanes(torch.tensor([0])), valid=one.valid[:, :, :1].clone())
        for one in played
    ]
    for one in first:
        end = int(one.done[:, 0, 0].long().argmax())
        one.valid[end + 1 :] = False
    again = Memory(agent, dict(enumerate(played)))
    again.tasks = dict(enumerate(first))
    assert again._usual_prediction_error() == memory._usual_prediction_error()


def first_lane(trajectory: Trajectory) -> Trajectory:
    return trajectory.lanes(torch.tensor([0]))


def test_the_limit_is_twice_what_nearly_all_tasks_miss_their_nearest_neighbour_by(
    agent: Agent, memory: Memory
) -> None:
    memory = Memory(agent, memory.tasks)  # its limit is what is tested
    rows = [memory.errors(first_lane(one)).mean(-1)[0] for one in memory.tasks.values()]
    nearest = [
        min(error for other, error in enumerate(row.tolist()) if other != task)
        for task, row in enumerate(rows)
    ]
    assert memory.limit == pytest.approx(2.0 * np.quantile(nearest, 0.99), rel=1e-6)


def test_ten_tasks_are_recalled_or_all_if_there_are_fewer(agent: Agent, memory: Memory) -> None:
    played = play(agent, CARTPOLE, CARTPOLE.held_out(2), 1, 2)
    assert memory.recall(played).tasks.shape == (2, 10)
    small = Memory(agent, dict(list(memory.tasks.items())[:3]))
    assert small.recall(played).tasks.shape == (2, 3)
    two = Memory(agent, dict(list(memory.tasks.items())[:2]))
    assert two.recall(played).tasks.shape == (2, 2)
    with pytest.raises(UserError, match="at least 2 tasks, got 1"):
        Memory(agent, dict(list(memory.tasks.items())[:1]))


def test_a_task_whose_episodes_all_failed_recalls_nothing(agent: Agent, memory: Memory) -> None:
    played = play(agent, CARTPOLE, CARTPOLE.held_out(1), 1, 2)
    failed = dataclasses.replace(played, valid=torch.zeros_like(played.valid))
    recalled = memory.recall(failed)
    assert not recalled.weight.any()
    assert not recalled.own.any()


def test_a_task_at_the_limit_is_still_recalled(agent: Agent, memory: Memory) -> None:
    played = play(agent, CARTPOLE, CARTPOLE.held_out(1), 4, 2)
    alike = Memory(agent, memory.tasks)
    alike.limit = float(alike.recall(played).prediction_error[0, 0])
    assert alike.recall(played).weight.sum() > 0
    alike.limit *= 0.999
    assert alike.recall(played).weight.sum() == 0
