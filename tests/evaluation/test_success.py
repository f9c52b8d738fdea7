"""Success rates in the results of an evaluation, its tables and curves."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lamp import lamps
from numpy.random import SeedSequence
from rich.console import Console

import ssm_metarl as sm
from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.env_runner import registry
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.evaluation import figures
from ssm_metarl.evaluation.evaluate import (
    MODE_STREAM,
    RETURN_STREAM,
    EvaluationPlan,
    evaluate,
    summarise,
)
from ssm_metarl.evaluation.play import Episodes, play_episodes, play_trials
from ssm_metarl.evaluation.report import (
    Evaluation,
    ModeResult,
    Success,
    differences,
    solved,
    success_rates,
    with_success,
)
from ssm_metarl.evaluation.statistics import paired_difference, stratified_bootstrap
from ssm_metarl.evaluation.table import make_difference_table, make_table
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loop import train
from ssm_metarl.training.metrics import read_metrics
from ssm_metarl.training.recipes import initial_params, make_agent, make_policy

TINY = {"tasks_per_epoch": 2, "width": 4, "state_size": 2, "validation_tasks": 2, "num_epochs": 1}
PLAN = EvaluationPlan(["zero_shot", "standard"], (3, 6), 1, return_episodes=8, seed=5)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {"Lamps": lamps()})


@pytest.fixture
def agent() -> Agent:
    """An agent that acts nearly at random."""
    family = lamps()
    config = TrainConfig(env_name="Lamps", memory="trial", episodes_per_task=8, **TINY)
    config = config.resolve(family)
    policy = make_policy(config, policy_spaces(family))
    tensors = {f"params/{n}": value for n, value in initial_params(policy, 0).items()}
    return make_agent(tensors, policy, config, family)


def trained(folder: Path, **settings: object) -> list[dict[str, float]]:
    """Train for a moment; return the numbers of it."""
    list(train(TrainConfig(env_name="Lamps", **{**TINY, **settings}), folder / "run"))  # pyright: ignore[reportArgumentType]
    return read_metrics(folder / "run" / "metrics.jsonl")


def evaluated(agent: Agent, family: sm.TaskFamily, plan: EvaluationPlan = PLAN) -> Evaluation:
    tasks = family.held_out()
    rows = [one.result for one in evaluate(agent, family, tasks, plan)]
    return summarise(family, tasks, "held_out", plan, rows)


def text_of(table: object) -> str:
    console = Console(width=80, record=True)
    console.print(table)
    return console.export_text()


def test_success_rates_are_of_the_episodes_that_returns_are_of(agent: Agent) -> None:
    family = lamps()
    row = evaluated(agent, family).results[0]
    seed = substream(SeedSequence(5), RETURN_STREAM)
    played = agent.policy, agent.params, family, family.held_out(), 8
    sampled = play_episodes(*played, seed)
    greedy = play_episodes(*played, substream(seed, MODE_STREAM), deterministic=True)
    assert sampled.success is not None
    assert greedy.success is not None
    rates = sampled.success.double().mean(1).numpy()
    assert row.success is not None
    assert row.per_task == tuple(sampled.returns.mean(1).tolist())
    assert row.success.per_task == tuple(rates)
    assert row.success.mean == rates.mean()
    assert row.success.ci95 == stratified_bootstrap(rates[None], seed=5)
    assert row.success.deterministic_mean == greedy.success.mean()
    assert len({0.0, 1.0, *rates}) > 2


def test_every_episode_of_a_trial_has_its_own(agent: Agent) -> None:
    family = lamps()
    plan = EvaluationPlan(["in_context"], (1,), 1, 8, trial_episodes=3, seed=5)
    seed = substream(SeedSequence(5), RETURN_STREAM)
    trials = play_trials(agent.policy, agent.params, family, family.held_out(), 8, 3, seed)
    for row, played in zip(evaluated(agent, family, plan).results, trials.episodes, strict=True):
        assert row.success is not None
        assert played.success is not None
        assert row.success.per_task == tuple(played.success.mean(1).tolist())


def test_the_file_says_it_where_there_is_one_and_nothing_else(agent: Agent) -> None:
    spoken, silent = (evaluated(agent, lamps(key=key)) for key in ("success", None))
    said, unsaid = (json.loads(one.to_json()) for one in (spoken, silent))
    assert said["results"][0].pop("success").keys() == {
        *("mean", "ci95", "deterministic_mean", "per_task")
    }
    assert unsaid["results"][0] == said["results"][0]
    assert said.keys() - unsaid.keys() == {"success_differences"}
    (gain, *_) = spoken.success_differences
    before, after = (spoken.results[n].success for n in (0, 1))
    assert before is not None
    assert after is not None
    expected = paired_difference(
        np.array([after.per_task]), np.array([before.per_task]), seed=PLAN.seed
    )
    assert (gain.mean, gain.ci95) == expected


def test_who_speaks_of_success_only_where_it_was_has_0_elsewhere(agent: Agent) -> None:
    always, seldom = (evaluated(agent, lamps(always=always)) for always in (True, False))
    assert seldom == always
    rows = [one.result for one in evaluate(agent, lamps(key=None), lamps().held_out(), PLAN)]
    mixed = summarise(lamps(), lamps().held_out(), "held_out", PLAN, [always.results[0], *rows[1:]])
    assert [row.success and row.success.mean for row in mixed.results][1:] == [0.0, 0.0]


def test_likeliest_actions_that_never_speak_of_success_had_none(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = torch.tensor([[1.0, 0.0, torch.nan, 0.0], [1.0, 1.0, 1.0, 0.0]])

    def play(*_: object, deterministic: bool = False) -> Episodes:
        return Episodes(10.0 * rates, None if deterministic else rates)

    monkeypatch.setattr("ssm_metarl.evaluation.evaluate.play_episodes", play)
    (row,) = evaluated(agent, lamps(), EvaluationPlan(["zero_shot"])).results
    assert row.success is not None
    assert row.success.deterministic_mean == 0.0
    assert row.success.per_task == pytest.approx((1 / 3, 0.75))
    assert row.failed_episodes == 2  # one of each


def test_rates_stand_where_returns_do_and_are_0_where_none_was_said() -> None:
    success = Success(0.5, (0.2, 0.8), 0.75, (0.0, 1.0, 0.75, 0.5))
    row = ModeResult("zero_shot", 0, 0, 3.0, 3.1, (2.0, 4.0), 0.0, 5.0, (1.0,) * 4, success)
    silent = dataclasses.replace(row, mode="standard", steps=1, success=None)
    found = ModeResult("zero_shot", 0, 0, 0.5, 0.625, (0.2, 0.8), 0.0, 0.75, (0.0, 1.0, 0.75, 0.5))
    assert success_rates([row, silent]) == (found,)
    never = dataclasses.replace(silent, success=Success(0.0, (0.0, 0.0), 0.0, (0.0,) * 4))
    assert with_success([row, silent]) == [row, never]
    assert with_success([silent]) == [silent]
    assert solved([row, silent, row]) == " Solved in 50% and 0% of episodes."
    assert solved([silent]) == ""
    gains = differences(success_rates([never, row]), 0)
    whole = Evaluation("Lamps", 4, 0, "held_out", (row, silent), (), gains)
    assert whole.of_success == dataclasses.replace(whole, results=(found,), differences=gains)


def test_tables_and_curves_show_it_only_where_there_is_one(agent: Agent) -> None:
    spoken, silent = (evaluated(agent, lamps(key=key)) for key in ("success", None))
    success = spoken.results[0].success
    assert success is not None
    shown = text_of(make_table(spoken))
    assert f"{100 * success.mean:.0f} [" in shown
    assert "…" not in shown
    assert "Success" not in text_of(make_table(silent))
    gains = text_of(make_difference_table(spoken, success=True))
    assert f"{100 * spoken.success_differences[0].mean:.0f}% [" in gains
    assert make_difference_table(silent, success=True) is None

    pytest.importorskip("matplotlib")
    (axes,) = figures.budget_curve(spoken, success=True).axes
    assert axes.get_ylabel() == "success rate"
    line = next(
        line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_marker() == "o"
    )
    rates = [row.success.mean for row in spoken.results if row.steps and row.success]
    assert line.get_ydata().tolist() == rates
    assert axes.get_ylim()[0] == 0.0
    assert axes.get_ylim()[1] >= 1.0


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"mode": "meta_rl", "episodes_per_task": 8}, ("support_success", "query_success")),
        ({"mode": "rl2"}, ("first_success", "last_success")),
        ({"mode": "policy_gradient", "num_episodes": 20}, ("success",)),
    ],
)
def test_the_numbers_of_a_training_have_it(
    settings: dict[str, object], names: tuple[str, ...], tmp_path: Path
) -> None:
    for record in trained(tmp_path, **settings):
        assert all(0.0 <= record[name] <= 1.0 for name in names)
        assert {name for name in record if "success" in name} >= set(names)


def test_trainings_on_silent_environments_are_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {"Lamps": lamps(key=None)})
    (record,) = trained(tmp_path)
    assert not [name for name in record if "success" in name]
