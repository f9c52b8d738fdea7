"""What is shown of a retrieval is what the step used."""

import dataclasses

import numpy as np
import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.adaptation.standard import adapt_tasks
from ssm_metarl.analysis.names import (
    action_names,
    choice_effect,
    is_switch,
    observation_names,
    with_unit,
)
from ssm_metarl.analysis.retrieval import (
    Retrieval,
    action_response,
    as_numbers,
    first_episode,
    retrieve,
    stored_tasks,
)
from ssm_metarl.env_runner.family import Parameter, TaskFamily
from ssm_metarl.env_runner.registry import get_family, list_families
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.env_runner.trajectory import Trajectory
from ssm_metarl.evaluation.evaluate import ADAPTATION_STREAM

SWAPPED = {"swap": 1.0, "gravity": 12.0}


@pytest.fixture(scope="module")
def found(agent: Agent, cartpole: TaskFamily) -> Retrieval:
    retrieved = retrieve(agent, cartpole, cartpole.task(**SWAPPED), episodes=1, seed=0)
    assert retrieved is not None
    return retrieved


def test_the_weights_are_those_of_the_step(agent: Agent, cartpole: TaskFamily) -> None:
    task = cartpole.task(**SWAPPED)
    found = retrieve(agent, cartpole, task, episodes=5, seed=4)
    assert found is not None
    memory = Memory.of(agent)
    assert memory is not None
    *_, adapted = adapt_tasks(
        agent,
        cartpole,
        task,
        episodes=5,
        steps=1,
        seed=substream(SeedSequence(4), ADAPTATION_STREAM),
        memory=memory,
    )
    recalled = adapted.recalled
    assert recalled is not None
    assert found.episodes == 5
    assert found.own == recalled.own[0]
    assert found.limit == memory.limit
    assert [match.task.id for match in found.matches] == recalled.tasks[0].tolist()
    assert [match.weight for match in found.matches] == recalled.weight[0].tolist()
    assert found.used == int((recalled.weight > 0).sum())
    errors = [match.prediction_error for match in found.matches]
    np.testing.assert_allclose(errors, recalled.prediction_error[0].numpy(), rtol=1e-5)
    assert found.unlike.prediction_error > max(errors)
    assert found.unlike.weight == 0.0
    for match in (*found.matches, found.unlike):
        assert match.played is memory.tasks[match.task.id] or torch.equal(
            match.played.observation, memory.tasks[match.task.id].observation
        )


def test_what_tells_apart_is_where_the_errors_differ_most(agent: Agent, found: Retrieval) -> None:
    memory = Memory.of(agent)
    assert memory is not None
    errors = memory.errors(found.played)[0]
    ids = memory.ids.tolist()
    best, unlike = (errors[ids.index(m.task.id)] for m in (found.matches[0], found.unlike))
    assert found.telling == int((unlike - best).argmax())
    assert float(unlike.mean()) == float(errors.mean(-1).max())


def test_a_task_like_none_retrieves_nothing(agent: Agent, cartpole: TaskFamily) -> None:
    strange = cartpole.task(gravity=50.0, length=0.05, force=100.0, cart_mass=0.01)
    found = retrieve(agent, cartpole, strange, episodes=1, seed=0)
    assert found is not None
    assert found.used == 0
    assert found.own == 1.0
    assert found.matches[0].prediction_error > found.limit


def test_the_response_tells_a_swapped_task_from_a_usual_one(found: Retrieval) -> None:
    assert found.unlike.task.parameters["swap"] == 0.0
    new, match, unlike = (
        action_response(played, found.telling)[-1]
        for played in (found.played, found.matches[0].played, found.unlike.played)
    )
    assert np.sign(new) == np.sign(match) == -np.sign(unlike)


def episode(observations: list[float], rewards: list[float], actions: torch.Tensor) -> Trajectory:
    """One episode of one observation, and two steps of the next one."""
    steps = len(rewards)
    ends = torch.zeros(steps, 1, 1, dtype=torch.bool)
    ends[-3] = True
    return Trajectory(
        action=actions.view(steps, 1, 1, *actions.shape[1:]),
        observation=torch.tensor(observations).view(-1, 1, 1, 1),
        reward=torch.tensor(rewards).view(-1, 1, 1),
        log_prob=torch.zeros(steps, 1, 1),
        terminated=ends,
        truncated=torch.zeros_like(ends),
        valid=torch.ones_like(ends),
        episode_start=torch.zeros(steps + 1, 1, 1, dtype=torch.bool),
    )


def test_a_response_is_the_running_sum_of_change_times_push() -> None:
    actions = torch.tensor([0, 1, 1, 0, 1, 1])
    played = episode([0.0, 1.0, 3.0, 4.0, 4.0, 9.0, 9.0], [1.0, 2.0, 4.0, 8.0, 0.0, 0.0], actions)
    observed, acted = first_episode(played)
    assert observed.tolist() == [[0, 0], [1, 1], [3, 2], [4, 4], [4, 8]]
    assert acted.tolist() == [[0], [1], [1], [0]]
    # changes 1, 2, 1, 0 less their mean 1; actions are -1, 1, 1, -1 in units of their magnitude
    assert action_response(played, 0) == pytest.approx([0.0, 0.0, 1.0, 1.0, 2.0])
    # rewards 0, 1, 2, 4, 8: changes 1, 1, 2, 4 less 2
    assert action_response(played, 1) == pytest.approx([0.0, 1.0, 0.0, 0.0, -2.0])


def test_only_the_first_action_dimension_and_complete_steps_count() -> None:
    actions = torch.tensor([[0.0, 9.0], [4.0, 9.0], [4.0, 9.0], [0.0, 9.0], [1.0, 9.0], [1.0, 9.0]])
    played = episode([0.0, 1.0, 3.0, 4.0, 4.0, 9.0, 9.0], [0.0] * 6, actions)
    assert action_response(played, 0) == pytest.approx([0.0, 0.0, 1.0, 1.0, 2.0])
    endless = dataclasses.replace(played, terminated=torch.zeros_like(played.valid))
    assert len(action_response(endless, 0)) == 7
    still = dataclasses.replace(played, action=torch.ones_like(played.action))
    assert action_response(still, 0) == pytest.approx([0.0] * 5)


def test_the_first_episode_ends_where_it_ended(found: Retrieval) -> None:
    observed, acted = first_episode(found.played)
    steps = int(found.played.valid[:, 0, 0].sum())
    assert len(observed) == steps + 1
    assert len(acted) == steps
    assert torch.equal(observed[:, :-1], found.played.observation[: steps + 1, 0, 0])


def test_numbers_hold_everything(agent: Agent, found: Retrieval) -> None:
    stored = stored_tasks(agent)
    assert [task.id for task in stored] == sorted(task.id for task in stored)
    numbers = as_numbers(found, stored)
    transitions = sum(task.transitions for task in stored)
    assert numbers["holds"] == {"tasks": len(stored), "transitions": transitions}
    assert numbers["episodes"] == 1
    assert numbers["own"] == found.own
    assert numbers["prediction_error_limit"] == found.limit
    best = found.matches[0]
    assert numbers["recalled"][0] == {
        "task": best.task.id,
        "weight": best.weight,
        "prediction_error": best.prediction_error,
        "parameters": best.task.parameters,
        "mean_return": best.task.mean_return,
    }
    assert len(numbers["recalled"]) == len(found.matches)


def test_an_agent_without_experience_retrieves_nothing(
    in_context_agent: Agent, cartpole: TaskFamily
) -> None:
    assert stored_tasks(in_context_agent) == []
    nothing = retrieve(in_context_agent, cartpole, cartpole.nominal(), episodes=1, seed=0)
    assert nothing is None
    assert as_numbers(None, []) == {
        "holds": {"tasks": 0, "transitions": 0},
        "own": 1.0,
        "recalled": [],
    }


def test_names_follow_what_the_agent_observes(cartpole: TaskFamily) -> None:
    positions = observation_names(get_family("CartPoleNoVelocity-v1"))
    assert positions == [("position of the cart", "m"), ("angle of the pole", "rad")]
    for family in list_families():
        assert len(observation_names(family)) == family.observation_space.shape[0]
        n = int(getattr(family.action_space, "n", 0)) or family.action_space.shape[0]
        assert len(action_names(family, n)) == n
    unknown = dataclasses.replace(cartpole, env_id="Other-v0")
    assert observation_names(unknown)[1] == ("observation 1", "")
    assert action_names(unknown, 2) == ["action 0", "action 1"]
    assert with_unit("speed", "m/s") == "speed (m/s)"
    assert with_unit("speed", "") == "speed"
    swap = next(parameter for parameter in cartpole.parameters if parameter.choices)
    assert choice_effect(swap) == "swaps left and right"
    broken = Parameter("broken", -1.0, "", "index, or -1 for none", choices=(-1.0, 0.0, 1.0))
    turned = Parameter("turned", 1.0, "", "1 is forward, -1 backward", choices=(-1.0, 1.0))
    assert [is_switch(each) for each in (swap, broken, turned)] == [True, False, False]
    assert choice_effect(broken) == "has another broken than -1"
