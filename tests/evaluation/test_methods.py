"""Methods: seeds pooled result by result, and what the figure shows of them."""

import dataclasses
import json

import numpy as np
import pytest
from sample_results import EVALUATION

from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.figures.methods import method_comparison, profile
from ssm_metarl.evaluation.methods import Method, method_of, to_json
from ssm_metarl.evaluation.pooling import over_seeds
from ssm_metarl.evaluation.report import Evaluation, Success
from ssm_metarl.evaluation.statistics import compare, stratified_bootstrap


def shifted(by: float, evaluation: Evaluation = EVALUATION) -> Evaluation:
    """Another seed's evaluation, with other returns."""
    rows = tuple(
        dataclasses.replace(row, mean=row.mean + by, per_task=tuple(x + by for x in row.per_task))
        for row in evaluation.results
    )
    return dataclasses.replace(evaluation, results=rows)


def method(name: str, *by: float) -> Method:
    return method_of([f"{name}-{x}" for x in by], [shifted(x) for x in by], name)


def test_the_least_data_of_a_step_stands_for_a_method() -> None:
    found = method("maml", 0.0, -30.0)
    assert (found.row.mode, found.row.shots, found.row.steps) == ("standard", 20, 1)
    assert found.row.mean == pytest.approx(481.25 - 15)
    scores = np.array([[480.25, 481.25, 482.25]]) - [[0.0], [30.0]]
    np.testing.assert_allclose(found.scores, scores)
    assert found.row.ci95 == stratified_bootstrap(scores, design="crossed")
    assert found.way == "standard, 1 step"


def test_mode_and_episodes_can_be_chosen() -> None:
    chosen = method_of(["a"], [EVALUATION], "a", "standard", 40)
    assert (chosen.row.shots, chosen.row.mean) == (40, 499.0)
    assert method_of(["a"], [EVALUATION], "a", "zero_shot").row.mean == 34.0
    with pytest.raises(UserError, match=r"a was not evaluated by hybrid; valid .*standard 20"):
        method_of(["a"], [EVALUATION], "a", "hybrid")
    with pytest.raises(UserError, match=r"a was not evaluated by zero_shot 5; .*zero_shot 0"):
        method_of(["a"], [EVALUATION], "a", "zero_shot", 5)


def test_only_what_all_seeds_were_evaluated_in_is_pooled() -> None:
    less = dataclasses.replace(EVALUATION, results=EVALUATION.results[:1])
    assert method_of(["a", "b"], [EVALUATION, less], "m").row.mode == "zero_shot"
    none = dataclasses.replace(EVALUATION, results=EVALUATION.results[1:])
    with pytest.raises(UserError, match="a and b were not evaluated in any mode alike"):
        method_of(["a", "b"], [less, none], "m")


def test_success_rates_are_pooled_as_returns_are() -> None:
    rates = [Success(0.5, (0.0, 1.0), 0.25, (0.0, 0.5, 1.0)), None]
    several = [
        dataclasses.replace(
            EVALUATION, results=(dataclasses.replace(EVALUATION.results[0], success=rate),)
        )
        for rate in rates
    ]
    success = over_seeds(several).results[0].success
    assert success is not None
    assert (success.mean, success.deterministic_mean) == (0.25, 0.125)
    assert success.per_task == (0.0, 0.25, 0.5)
    assert over_seeds(several[1:]).results[0].success is None


def test_the_json_holds_all_seeds_and_pairs() -> None:
    methods = [method("maml", 0.0, 1.0), method("rl2", 5.0), method("fo", 0.0)]
    told = json.loads(to_json(EVALUATION, methods))
    assert (told["family"], told["split"], told["tasks"]) == ("CartPole-v1", "held_out", 3)
    assert told["methods"][0]["per_seed_and_task"] == methods[0].scores.tolist()
    pairs = [(pair["method"], pair["than"]) for pair in told["comparisons"]]
    assert pairs == [("rl2", "maml"), ("fo", "maml"), ("fo", "rl2")]
    gain = told["comparisons"][0]["difference"]["mean"]
    assert gain == pytest.approx(5.0 - 0.5)


def test_a_profile_is_the_share_of_seeds_and_tasks() -> None:
    scores = np.array([[1.0, 2.0, 3.0], [2.0, 2.0, 5.0]])
    share, (low, high) = profile(scores, np.array([0.0, 2.0, 2.5, 5.0, 6.0]))
    np.testing.assert_allclose(share, [1, 5 / 6, 2 / 6, 1 / 6, 0])
    assert (low <= share).all()
    assert (share <= high).all()
    assert low[1] < high[1]


def test_the_figure_shows_means_improvement_and_profiles() -> None:
    methods = [method("maml", 0.0, 1.0), method("rl2", 0.5)]
    means, improvement, profiles = method_comparison(methods, "CartPole").axes
    shown = [np.asarray(line.get_xdata()) for line in means.lines]
    np.testing.assert_allclose(shown[0], methods[0].row.ci95)
    assert (shown[1], shown[3]) == (methods[0].row.mean, methods[0].row.iqm)
    (ends, dot, _) = [np.asarray(line.get_xdata()) for line in improvement.lines]
    found = compare(methods[1].scores, methods[0].scores).improvement
    np.testing.assert_allclose(ends, found.ci95)
    np.testing.assert_allclose(dot, [found.mean])
    assert [line.get_label() for line in profiles.lines] == ["maml", "rl2"]
    assert len(method_comparison(methods[:1], "CartPole").axes) == 2
    with pytest.raises(UserError, match="at most 8 methods"):
        method_comparison(methods * 5, "CartPole")
