"""The video shows the task, the adaptation and the returns that it says it does."""

import dataclasses
import functools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from ssm_metarl.adaptation import standard
from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.evaluate import EvaluationPlan, Measurement, evaluate
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.recipes import adaptation_config, initial_params, make_policy
from ssm_metarl.video import before_after
from ssm_metarl.video.before_after import (
    Shown,
    choose_result,
    choose_task,
    task_groups,
    write_before_after,
)

CARTPOLE = get_family("CartPole-v1")
PLAN = EvaluationPlan(["zero_shot", "standard"], budgets=(2, 3), steps=2, return_episodes=2)
TASKS = CARTPOLE.held_out(4)


@pytest.fixture(scope="module")
def agent() -> Agent:
    config = TrainConfig(width=8, state_size=4).resolve(CARTPOLE)
    policy, settings = make_policy(config, policy_spaces(CARTPOLE)), adaptation_config(config)
    params = initial_params(policy, 0)
    return Agent(policy, params, settings.inner_lr, settings, CARTPOLE.name)


def test_the_first_swapped_task_is_shown() -> None:
    tasks = CARTPOLE.held_out()
    shown = choose_task(CARTPOLE, tasks)
    assert tasks.values["swap"][: shown + 1].tolist() == [0.0] * shown + [1.0]
    groups = task_groups(CARTPOLE, tasks)
    assert groups is not None
    assert groups[shown] == "swap = 1"
    hard = get_family("CartPoleHard-v1")  # several choices: the first one names the groups
    tasks = hard.held_out()
    groups = task_groups(hard, tasks)
    assert groups == [f"swap = {swap:g}" for swap in tasks.values["swap"]]
    assert groups.index("swap = 1") == choose_task(hard, tasks)
    navigation = get_family("Navigation2D-v0")
    assert choose_task(navigation, navigation.held_out()) == 0
    assert task_groups(navigation, navigation.held_out()) is None


@pytest.fixture(scope="module")
def measured(agent: Agent) -> list[Measurement]:
    return list(evaluate(agent, CARTPOLE, TASKS, PLAN))


@pytest.fixture(scope="module")
def shown(agent: Agent, measured: list[Measurement]) -> Shown | None:
    return functools.reduce(lambda best, one: choose_result(best, one, agent, 2), measured, None)


def test_the_first_step_from_the_most_episodes_is_shown(
    agent: Agent, measured: list[Measurement], shown: Shown, tmp_path: Path
) -> None:
    assert (shown.result.mode, shown.result.steps, shown.result.shots) == ("standard", 1, 3)
    assert choose_result(None, measured[0], agent, 2) is None
    with pytest.raises(UserError, match="neither standard nor hybrid was measured"):
        write_before_after(agent, None, CARTPOLE, TASKS, tmp_path / "v.mp4", 5)


def test_standard_is_shown_rather_than_hybrid(
    agent: Agent, measured: list[Measurement], shown: Shown
) -> None:
    result = dataclasses.replace(shown.result, mode="hybrid", shots=10)
    hybrid = dataclasses.replace(measured[2], result=result)
    assert choose_result(shown, hybrid, agent, 2) is shown
    alone = choose_result(None, hybrid, agent, 2)
    assert alone is not None
    assert choose_result(alone, measured[1], agent, 2).result == measured[1].result


def test_only_the_parameters_of_the_task_are_kept(
    agent: Agent, measured: list[Measurement], shown: Shown
) -> None:
    for name, value in agent.params.items():
        kept = shown.agent.params[name]
        assert kept.shape == value.shape
        assert kept.untyped_storage().nbytes() == value.nbytes


def test_the_evaluated_parameters_play_and_nothing_is_adapted_again(
    agent: Agent,
    measured: list[Measurement],
    shown: Shown,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    played: list[Agent] = []

    def keep(agents: tuple[Agent, Agent], *rest: object, **more: object) -> tuple[float, float]:
        played.extend(agents)
        return 1.0, 2.0

    monkeypatch.setattr(before_after, "record_side_by_side", keep)
    monkeypatch.setattr(standard, "take_step", lambda *_: pytest.fail("it adapted again"))
    returns = write_before_after(agent, shown, CARTPOLE, TASKS, tmp_path / "v.mp4", 5)
    assert returns == (1.0, 2.0)
    assert played[0] is agent
    (row,) = (one for one in measured if one.result == shown.result)
    expected = row.params["action.weight"][2]
    assert torch.equal(played[1].params["action.weight"], expected)
    assert not torch.equal(expected, agent.params["action.weight"])


def test_both_clips_start_alike_and_their_returns_are_what_was_recorded(
    agent: Agent, shown: Shown, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recorded: list[list[np.ndarray]] = []

    def keep(left: Iterable[np.ndarray], right: Iterable[np.ndarray], *rest: object) -> None:
        recorded.extend((list(left), list(right)))

    monkeypatch.setattr(before_after, "write_side_by_side", keep)
    returns = write_before_after(agent, shown, CARTPOLE, TASKS, tmp_path / "v.mp4", 5)
    before, after = recorded
    np.testing.assert_array_equal(before[0], after[0])
    assert returns == (len(before) - 1, len(after) - 1)  # CartPole: 1 per step
