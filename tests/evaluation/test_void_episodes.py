"""What is measured where episodes fail is measured of those that did not, and says how many did."""

import io
import re

import numpy as np
import pytest
import torch
from failing import HOPELESS, SOME, SOUND
from numpy.random import SeedSequence
from rich.console import Console

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.adaptation.standard import adapt_tasks
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.errors import EnvironmentFailure
from ssm_metarl.evaluation.evaluate import (
    MODE_STREAM,
    RETURN_STREAM,
    EvaluationPlan,
    evaluate,
    summarise,
)
from ssm_metarl.evaluation.play import play_episodes, play_trials
from ssm_metarl.evaluation.report import ModeResult
from ssm_metarl.evaluation.table import make_table

TASKS, EPISODES = SOUND.held_out(3), 4


def agent_of(memory: str = "trial") -> Agent:
    config = PolicyConfig(width=8, state_size=4, memory=memory)  # pyright: ignore[reportArgumentType]
    policy = Policy(config, policy_spaces(SOUND))
    params = policy.init(torch.Generator().manual_seed(0))
    return Agent(policy, params, 0.1, AdaptationConfig(horizon=12), SOUND.name)


def measured(family: TaskFamily, *modes: str) -> list[ModeResult]:
    plan = EvaluationPlan(modes, (2,), 1, EPISODES, trial_episodes=2)
    return [one.result for one in evaluate(agent_of(), family, TASKS, plan)]


def test_returns_are_those_of_the_episodes_that_went_well() -> None:
    zero_shot, *trial = measured(SOME, "zero_shot", "in_context")
    agent, seed = agent_of(), SeedSequence(0)
    played = agent.policy, agent.params, SOUND, TASKS, EPISODES
    failed = (np.arange(3)[:, None] + np.arange(EPISODES)) % 3 == 0
    sound = play_episodes(*played, substream(seed, RETURN_STREAM)).returns.numpy()
    greedy = substream(seed, RETURN_STREAM, MODE_STREAM)
    sure = play_episodes(*played, greedy, deterministic=True).returns.numpy()
    expected = np.nanmean(np.where(failed, np.nan, sound), 1)
    assert zero_shot.per_task == pytest.approx(expected)
    assert zero_shot.deterministic_mean == pytest.approx(
        np.nanmean(np.where(failed, np.nan, sure), 1).mean()
    )
    assert zero_shot.failed_episodes == 2 * failed.sum()
    trials = play_trials(*played, 2, substream(seed, RETURN_STREAM)).episodes[0].returns.numpy()
    assert trial[0].per_task == pytest.approx(np.nanmean(np.where(failed, np.nan, trials), 1))
    assert [row.failed_episodes for row in trial] == [2 * failed.sum(), None]
    assert trial[1].adaptation_env_steps == 12.0  # of the first episodes that went well


def test_one_task_has_an_interval_over_the_episodes_that_went_well() -> None:
    plan = EvaluationPlan(["zero_shot"], return_episodes=EPISODES)
    (row,) = (one.result for one in evaluate(agent_of(), SOME, TASKS[:1], plan))
    assert row.ci95[0] < row.mean < row.ci95[1] < 0.0


def test_the_table_says_how_many_were_left_out() -> None:
    for family, said in ((SOME, "Left out: 8 episodes that failed."), (SOUND, "")):
        plan = EvaluationPlan(["zero_shot"], return_episodes=EPISODES)
        rows = measured(family, "zero_shot")
        console = Console(file=io.StringIO(), width=100)
        console.print(make_table(summarise(family, TASKS, "held_out", plan, rows)))
        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
        assert said in text
        assert said or "Left out" not in text


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("zero_shot", "zero-shot"),
        ("in_context", "in-context"),
        ("standard", "standard, 1 step"),
    ],
)
def test_a_task_without_a_return_is_named(mode: str, name: str) -> None:
    expected = (
        f"{name}: the environment broke down in all 4 episodes of the task {TASKS.describe(1)}, "
        "which has no return then; a narrower range would help"
    )
    with pytest.raises(EnvironmentFailure, match=f"^{re.escape(expected)}$"):
        measured(HOPELESS, mode)


def test_adapting_to_it_changes_nothing_and_to_the_others_as_ever() -> None:
    agent, options = agent_of("episode"), {"episodes": 3, "steps": 2, "seed": SeedSequence(1)}
    *_, hopeless = adapt_tasks(agent, HOPELESS, TASKS, **options)
    *_, sound = adapt_tasks(agent, SOUND, TASKS, **options)
    assert hopeless.environment_steps.tolist() == [72, 0, 72]
    for name, value in hopeless.params.items():
        other = sound.params[name]
        if value.ndim == agent.params[name].ndim:
            continue
        assert torch.equal(value[1], agent.params[name])
        torch.testing.assert_close(value[[0, 2]], other[[0, 2]])
