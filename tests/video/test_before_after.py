"""The video shows the task, the adaptation and the returns that it says it does."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.standard import adapt_tasks
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.evaluate import ADAPTATION_STREAM, EvaluationPlan, task_source
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.learners import initial_params
from ssm_metarl.training.recipes import adaptation_config, make_policy
from ssm_metarl.video import before_after as showcase
from ssm_metarl.video.before_after import (
    adapted_agent,
    choose_task,
    task_groups,
    write_before_after,
)

CARTPOLE = get_family("CartPole-v1")
PLAN = EvaluationPlan(budgets=(3,), seed=5)


@pytest.fixture(scope="module")
def agent() -> Agent:
    config = TrainConfig(width=8, state_size=4)
    policy, settings = make_policy(config, CARTPOLE), adaptation_config(config, CARTPOLE)
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


def test_the_adaptation_is_the_one_that_the_evaluation_takes(agent: Agent) -> None:
    tasks = CARTPOLE.held_out(4)
    source = task_source(agent, CARTPOLE, tasks)
    seed = substream(SeedSequence(PLAN.seed), ADAPTATION_STREAM)
    evaluated = adapt_tasks(agent, source, episodes=max(PLAN.budgets), steps=1, seed=seed)
    *_, expected = evaluated
    adapted = adapted_agent(agent, CARTPOLE, tasks[2], PLAN)
    for name, value in adapted.params.items():
        assert value.shape == agent.params[name].shape
        one = expected.params[name]
        torch.testing.assert_close(value, one[2] if one.ndim > value.ndim else one)
    changed = "action.weight"
    assert not torch.equal(adapted.params[changed], agent.params[changed])


def test_both_clips_start_alike_and_their_returns_are_what_was_filmed(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    filmed: list[list[np.ndarray]] = []

    def keep(left: Iterable[np.ndarray], right: Iterable[np.ndarray], *rest: object) -> None:
        filmed.extend((list(left), list(right)))

    monkeypatch.setattr(showcase, "write_side_by_side", keep)
    shown = write_before_after(agent, CARTPOLE, CARTPOLE.held_out(), PLAN, tmp_path / "v.mp4")
    before, after = filmed
    np.testing.assert_array_equal(before[0], after[0])
    assert (shown.before, shown.after) == (len(before) - 1, len(after) - 1)  # CartPole: 1 per step


def test_an_environment_that_cannot_be_drawn_is_said_to_be_so(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "v.mp4"
    env = CARTPOLE.gymnasium(CARTPOLE.nominal()).unwrapped
    monkeypatch.setattr(type(env), "render", lambda self: 1 / 0)
    with pytest.raises(UserError, match="could not be drawn: division by zero"):
        write_before_after(agent, CARTPOLE, CARTPOLE.held_out(), PLAN, path)
    monkeypatch.setitem(type(env).metadata, "render_modes", [])
    with pytest.raises(UserError, match="CartPole-v1 cannot draw itself"):
        write_before_after(agent, CARTPOLE, CARTPOLE.held_out(), PLAN, path)
    assert not path.exists()
