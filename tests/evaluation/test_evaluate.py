"""The ways of meeting a task: what each one uses, and which an agent can do."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.adaptation.standard import play_tasks
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.errors import UserError
from ssm_metarl.evaluation import evaluate as evaluate_module
from ssm_metarl.evaluation.evaluate import (
    MODE_STREAM,
    RETURN_STREAM,
    EvaluationPlan,
    evaluate,
    modes_of,
    summarise,
    untrained,
)
from ssm_metarl.evaluation.play import mean_returns, play_episodes, play_trials
from ssm_metarl.evaluation.report import COMPARED
from ssm_metarl.evaluation.statistics import stratified_bootstrap
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loading import load
from ssm_metarl.training.loop import train

FAMILY = dataclasses.replace(get_family("CartPole-v1"), max_episode_steps=60)
TASKS = FAMILY.held_out(3)
TINY = TrainConfig(
    num_epochs=1,
    tasks_per_epoch=2,
    episodes_per_task=2,
    support_steps=20,
    query_steps=20,
    validation_tasks=2,
    width=8,
    state_size=4,
)


def trained(folder: Path, **changes: object) -> Agent:
    list(train(TrainConfig(**{**vars(TINY), **changes}), folder / "run"))  # pyright: ignore[reportArgumentType]
    return load(folder / "run")


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Agent:
    return trained(tmp_path_factory.mktemp("meta_rl"))


@pytest.fixture(scope="module")
def remembering(tmp_path_factory: pytest.TempPathFactory) -> Agent:
    """An agent whose memory lasts a trial."""
    return trained(tmp_path_factory.mktemp("rl2"), mode="rl2")


def test_each_episode_of_a_trial_is_measured_with_what_was_seen_before_it(
    remembering: Agent,
) -> None:
    agent = remembering
    plan = EvaluationPlan(["in_context"], return_episodes=2, trial_episodes=3, seed=5)
    rows = [one.result for one in evaluate(agent, FAMILY, TASKS, plan)]
    assert [(row.mode, row.steps, row.shots) for row in rows] == [
        ("in_context", 0, 0),
        ("in_context", 0, 1),
        ("in_context", 0, 2),
    ]
    seed = substream(SeedSequence(5), RETURN_STREAM)
    trials = play_trials(agent.policy, agent.params, FAMILY, TASKS, 2, 3, seed)
    # A step of CartPole brings 1, so that returns are lengths.
    np.testing.assert_array_equal(trials.returns, trials.environment_steps)
    for number, row in enumerate(rows):
        assert row.per_task == tuple(trials.returns[number])
        assert row.adaptation_env_steps == pytest.approx(trials.returns[:number].sum(0).mean())


@pytest.fixture(scope="module")
def in_trials(tmp_path_factory: pytest.TempPathFactory) -> Agent:
    """An agent that takes gradient steps and remembers."""
    return trained(tmp_path_factory.mktemp("trials"), memory="trial", episodes_per_task=4)


def test_memory_and_weights_are_measured_apart_and_together(in_trials: Agent) -> None:
    agent = in_trials
    modes = ["zero_shot", "in_context", "standard"]
    plan = EvaluationPlan(modes, (3,), steps=2, return_episodes=2, trial_episodes=2)
    rows = [one.result for one in evaluate(agent, FAMILY, TASKS, plan)]
    assert [(row.mode, row.steps, row.shots) for row in rows] == [
        ("zero_shot", 0, 0),
        ("in_context", 0, 0),
        ("in_context", 0, 1),
        ("standard", 1, 3),
        ("in_context", 1, 4),
        ("standard", 2, 6),
        ("in_context", 2, 7),
    ]
    ordered = summarise(FAMILY, TASKS, "held_out", plan, rows).results
    assert [(row.mode, row.steps) for row in ordered] == [
        ("zero_shot", 0),
        *(("in_context", 0) for _ in range(2)),
        *(("standard", step) for step in (1, 2)),
        *(("in_context", step) for step in (1, 2)),
    ]
    by_key = {(row.mode, row.steps): row for row in rows}
    for step in (1, 2):
        both, weights = by_key["in_context", step], by_key["standard", step]
        assert both.adaptation_env_steps > weights.adaptation_env_steps


def test_episodes_to_adapt_from_are_met_with_an_empty_memory(in_trials: Agent) -> None:
    """As `sm.adapt` and sessions meet them: evaluation measures what they give."""
    agent = in_trials
    played = play_tasks(agent, agent.params, FAMILY, TASKS, 3, SeedSequence(0))
    assert played.reward.shape[1:] == (3, 3)
    assert (played.done.sum(0) == 1).all()
    assert not played.episode_start[1:].any()


def test_every_budget_is_a_first_step_and_hybrid_is_paired_with_standard(agent: Agent) -> None:
    modes = ["zero_shot", "standard", "hybrid", "from_scratch"]
    plan = EvaluationPlan(modes, (3, 1, 3), steps=2, return_episodes=2, seed=3)
    rows = [one.result for one in evaluate(agent, FAMILY, TASKS, plan, Memory.of(agent))]
    assert len(rows) == plan.results(modes)
    steps = [(1, 1), (1, 3), (2, 6)]
    assert [(row.mode, row.steps, row.shots) for row in rows] == [
        ("zero_shot", 0, 0),
        *(("standard", *one) for one in steps),
        *(("hybrid", *one) for one in steps),
        ("from_scratch", 0, 0),
        *(("from_scratch", *one) for one in steps),
    ]
    by_key = {(row.mode, row.steps, row.shots): row for row in rows}
    for steps_taken, shots in steps[:2]:  # the first step's episodes are the same ones
        mine, theirs = (by_key[mode, steps_taken, shots] for mode in ("hybrid", "standard"))
        assert mine.adaptation_env_steps == theirs.adaptation_env_steps > 0
    alone = dataclasses.replace(plan, modes=["standard"])
    assert [one.result for one in evaluate(agent, FAMILY, TASKS, alone)] == rows[1:4] != rows[4:7]
    found = summarise(FAMILY, TASKS, "held_out", plan, rows).differences
    pairs = [(row.mode, row.than, row.steps, row.shots) for row in found]
    assert pairs == [(*pair, *one) for pair in list(COMPARED)[:3] for one in steps]
    for row in found:
        mine = by_key[row.mode, row.steps, row.shots]
        theirs = by_key.get((row.than, row.steps, row.shots), rows[0])
        gain = np.subtract(mine.per_task, theirs.per_task)
        assert row.mean == pytest.approx(gain.mean())
        assert row.ci95[0] <= row.mean <= row.ci95[1]


def test_hybrid_without_a_memory_is_standard_to_the_bit(tmp_path: Path) -> None:
    agent = trained(tmp_path, experience=0)
    plan = EvaluationPlan(["standard", "hybrid"], (2,), steps=2, return_episodes=2)
    with pytest.warns(UserWarning, match="as standard"):
        memory = Memory.of(agent)
    rows = [one.result for one in evaluate(agent, FAMILY, TASKS, plan, memory)]
    for standard, hybrid in zip(rows[:2], rows[2:], strict=True):
        assert dataclasses.replace(hybrid, mode="standard") == standard


def test_the_modes_of_an_agent_are_those_its_memory_allows(
    agent: Agent, remembering: Agent, tmp_path: Path
) -> None:
    able = ("zero_shot", "standard", "hybrid", "from_scratch")
    assert modes_of(agent, EvaluationPlan()) == able
    for experience in (None, tmp_path / "deleted"):
        without = dataclasses.replace(agent, experience=experience)
        assert modes_of(without, EvaluationPlan()) == ("zero_shot", "standard", "from_scratch")
    with pytest.raises(UserError, match=r"in_context.*--mode rl2"):
        list(evaluate(agent, FAMILY, TASKS, EvaluationPlan(["zero_shot", "in_context"])))
    assert "in_context" in modes_of(remembering, EvaluationPlan())
    assert modes_of(remembering, EvaluationPlan(["zero_shot"])) == ("zero_shot",)


def test_rl2_with_a_memory_of_an_episode_is_a_control_that_cannot_adapt(tmp_path: Path) -> None:
    agent = trained(tmp_path, mode="rl2", memory="episode")
    assert agent.policy.config.memory == "episode"
    assert "in_context" not in modes_of(agent, EvaluationPlan())


def test_a_measurement_holds_the_parameters_that_were_measured(agent: Agent) -> None:
    plan = EvaluationPlan(None, (3,), steps=2, return_episodes=2, seed=5)
    seed = substream(SeedSequence(5), RETURN_STREAM)
    found = list(evaluate(agent, FAMILY, TASKS, plan, Memory.of(agent)))
    assert {one.result.mode for one in found} == {
        "zero_shot",
        "standard",
        "hybrid",
        "from_scratch",
    }
    for one in found:
        returns = mean_returns(agent.policy, one.params, FAMILY, TASKS, 2, seed)
        assert tuple(returns) == one.result.per_task
    assert found[0].params is agent.params
    fresh = next(one.params for one in found if one.result.mode == "from_scratch")
    for name, value in untrained(agent, SeedSequence(5)).items():
        assert torch.equal(fresh[name], value)


def test_results_are_statistics_of_the_returns_per_task(agent: Agent) -> None:
    plan = EvaluationPlan(["standard"], (2,), steps=2, return_episodes=2, seed=3)
    first, second = (one.result for one in evaluate(agent, FAMILY, FAMILY.held_out(8), plan))
    for row in (first, second):
        returns = np.array(row.per_task)
        assert row.mean == pytest.approx(returns.mean())
        assert row.iqm == pytest.approx(np.sort(returns)[2:6].mean())
        assert row.ci95 == stratified_bootstrap(returns[None], seed=3)
    assert 0 < first.adaptation_env_steps < second.adaptation_env_steps <= 2 * 2 * 20


def test_from_scratch_starts_from_a_network_that_depends_on_the_seed_alone(agent: Agent) -> None:
    one, again, other = (untrained(agent, SeedSequence(seed)) for seed in (0, 0, 1))
    assert one.keys() == agent.params.keys()
    for name, value in one.items():
        assert torch.equal(value, again[name])
        assert value.shape == agent.params[name].shape
    name = "encoder.weight"
    assert not torch.equal(one[name], other[name])
    assert not torch.equal(one[name], agent.params[name])


def test_the_greedy_column_takes_the_most_likely_actions(remembering: Agent) -> None:
    agent = remembering
    plan = EvaluationPlan(["zero_shot", "in_context"], return_episodes=5, trial_episodes=2, seed=5)
    zero_shot, *trial = (one.result for one in evaluate(agent, FAMILY, TASKS, plan))
    seed = substream(SeedSequence(5), RETURN_STREAM)
    greedy = substream(seed, MODE_STREAM)
    played = (agent.policy, agent.params, FAMILY, TASKS, 5)
    expected = mean_returns(*played, greedy, deterministic=True).mean()
    assert zero_shot.deterministic_mean == pytest.approx(expected)
    assert zero_shot.deterministic_mean != pytest.approx(mean_returns(*played, greedy).mean())
    assert zero_shot.mean == pytest.approx(mean_returns(*played, seed).mean())
    trials = play_trials(*played, 2, greedy, deterministic=True)
    for number, row in enumerate(trial):
        assert row.deterministic_mean == pytest.approx(trials.returns[number].mean())
    assert not np.array_equal(trials.returns, play_trials(*played, 2, greedy).returns)


def test_deterministic_episodes_do_not_depend_on_the_noise_of_actions(tmp_path: Path) -> None:
    """With an action that is always the more likely one, a greedy CartPole falls at once."""
    agent = trained(tmp_path)
    params = {**agent.params, "action.weight": torch.zeros_like(agent.params["action.weight"])}
    params["action.bias"] = torch.tensor([0.0, 0.01])
    greedy = mean_returns(
        agent.policy, params, FAMILY, TASKS, 20, SeedSequence(0), deterministic=True
    )
    sampled = mean_returns(agent.policy, params, FAMILY, TASKS, 20, SeedSequence(0))
    assert (greedy < 17).all()
    assert (sampled > 17).all()


def test_the_interval_of_a_single_task_is_over_its_episodes(remembering: Agent) -> None:
    agent = remembering
    plan = EvaluationPlan(["zero_shot", "in_context"], return_episodes=20, trial_episodes=2, seed=5)
    rows = [one.result for one in evaluate(agent, FAMILY, TASKS[:1], plan)]
    own = substream(SeedSequence(5), RETURN_STREAM)
    each = play_episodes(agent.policy, agent.params, FAMILY, TASKS[:1], 20, own).returns.numpy()
    assert rows[0].per_task == pytest.approx(each.mean(-1))
    assert rows[0].ci95 == stratified_bootstrap(each.astype(np.float64), seed=5)
    for row in rows:
        assert row.ci95[0] < row.mean < row.ci95[1]
    assert summarise(FAMILY, TASKS[:1], "held_out", plan, rows).differences == ()


def test_adaptations_side_by_side_bring_what_each_brings_alone(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, plan = Memory.of(agent), EvaluationPlan(budgets=(1, 2), steps=2, return_episodes=3)
    together = [one.result for one in evaluate(agent, FAMILY, TASKS, plan, memory)]
    monkeypatch.setattr(evaluate_module, "LANES", 2 * 3 * len(TASKS))
    in_pairs = [one.result for one in evaluate(agent, FAMILY, TASKS, plan, memory)]
    monkeypatch.setattr(evaluate_module, "LANES", 1)
    alone = [one.result for one in evaluate(agent, FAMILY, TASKS, plan, memory)]
    assert together == in_pairs == alone
    assert len({row.per_task for row in alone}) > 4
