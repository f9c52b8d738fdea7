"""How the values of a parameter are drawn, against SciPy, and what it may not be."""

import numpy as np
import pytest
from scipy import stats

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.tasks import Parameter, Tasks
from ssm_metarl.errors import UserError

UNIFORM = np.random.default_rng(0).random(5000)
NAME_AND_RANGE = {"name": "p", "low": 0.0, "high": 1.0}


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (-9.0, -2.0), (3.0, 4.5)])
def test_a_normal_distribution_is_cut(low: float, high: float) -> None:
    parameter = Parameter("p", low=low, high=high, distribution="normal", mean=0.5, std=2.0)
    expected = stats.truncnorm((low - 0.5) / 2, (high - 0.5) / 2, loc=0.5, scale=2)
    values = parameter.transform(UNIFORM)
    np.testing.assert_allclose(values, expected.ppf(UNIFORM), rtol=1e-12)
    assert parameter.transform(np.zeros(1)) == pytest.approx(low)
    assert ((values >= low) & (values < high)).all()


def test_a_log_uniform_distribution() -> None:
    parameter = Parameter("p", low=0.1, high=10.0, shifted=((20, 40),), distribution="log-uniform")
    expected = stats.loguniform(0.1, 10.0)
    np.testing.assert_allclose(parameter.transform(UNIFORM), expected.ppf(UNIFORM), rtol=1e-12)
    outside = stats.loguniform(20, 40).ppf(UNIFORM)
    np.testing.assert_allclose(parameter.transform(UNIFORM, shifted=True), outside, rtol=1e-12)
    last = parameter.transform(np.array([1.0 - 2.0**-53]))
    assert (last < 10.0).all()
    assert parameter.default == pytest.approx(1.0)


def test_a_fixed_one_moves_only_where_it_is_shifted() -> None:
    still = Parameter("p", 3.0)
    assert set(still.transform(UNIFORM, shifted=True)) == {3.0}
    moved = Parameter("p", 3.0, shifted=((4.0, 5.0),))
    assert set(moved.transform(UNIFORM)) == {3.0}
    assert moved.transform(UNIFORM, shifted=True).min() >= 4.0


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"low": 2}, "low 2, which must be below high, 1"),
        ({"high": np.nan}, "no finite high, which a uniform distribution needs"),
        ({"choices": (1, 2), "distribution": "uniform"}, "neither a range nor shifted"),
        ({"distribution": "choice"}, r"no choices; valid: choices = \[1.0, 2.0\]"),
        ({"distribution": "unifrm"}, "'unifrm'; did you mean 'uniform'"),
        ({"distribution": "log-uniform"}, "low 0; a log-uniform range is above 0"),
        ({"distribution": "normal", "mean": 0.0}, "no finite std, which a normal"),
        ({"distribution": "normal", "mean": 0.0, "std": -1}, "std -1, which must be positive"),
        ({"distribution": "normal", "mean": 9, "std": 1}, "next to no chance to lie in its"),
        ({"shifted": ((2, 1),)}, "the shifted interval 2 to 1, which is empty"),
        ({"shifted": (1, 2)}, "shifted must be pairs of numbers"),
        ({"bounds": (0.0, 0.5)}, "p must be from 0 to 0.5, got 1"),
        ({"default": 3.0, "bounds": (0.0, 2.0)}, "p must be from 0 to 2, got 3"),
        ({"low": "a"}, "low must be a number, got 'a'"),
        ({"name": "pole mass"}, "'pole mass' has no valid name"),
        ({"low": np.nan, "high": np.nan}, "p has no finite default"),
    ],
    ids=repr,
)
def test_what_does_not_fit_together_is_refused(more: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Parameter(**(NAME_AND_RANGE | more))


def family(*parameters: Parameter) -> TaskFamily:
    return TaskFamily("F", make=lambda task: 0, max_episode_steps=5, parameters=parameters)  # pyright: ignore


def test_few_tasks_are_each_in_the_fixed_sets_once() -> None:
    way, size = Parameter("way", choices=(-1, 1)), Parameter("size", choices=(1, 2, 3))
    tasks = family(way, Parameter("g", 9.8), size).held_out(100)
    assert [tasks.describe(k) for k in (0, 5)] == ["way=-1, g=9.8, size=1", "way=1, g=9.8, size=3"]
    assert tasks.index.tolist() == list(range(6))
    assert len(family(way, size).held_out(5)) == 5  # drawn: they would not all fit
    assert len(family(way, Parameter("g", 9.8, shifted=((1, 2),))).shifted(7)) == 7
    assert len(family(Parameter("g", 9.8)).validation(7)) == 1


def test_one_task_has_values_by_name() -> None:
    tasks = Tasks({"gravity": np.array([3.0, 4.0])}, np.arange(2))
    assert tasks[1]["gravity"] == 4.0
    with pytest.raises(UserError, match="did you mean 'gravity'"):
        tasks[1]["gravty"]
    with pytest.raises(UserError, match="'gravity' has 2 values here"):
        tasks["gravity"]


def test_a_name_stands_for_one_parameter() -> None:
    with pytest.raises(UserError, match="has the parameter 'g' twice"):
        family(Parameter("g", 1.0), Parameter("g", 2.0))


def test_whole_numbers_are_drawn_shown_and_checked() -> None:
    parameter = Parameter("n", low=2, high=5, shifted=((7, 9),), distribution="integer")
    uniform = np.array([0.0, 0.3, 0.4, 0.7, 0.999])
    assert parameter.transform(uniform).tolist() == [2, 2, 3, 4, 4]
    assert parameter.transform(uniform, shifted=True).tolist() == [7, 7, 7, 8, 8]
    assert (parameter.default, parameter.range_text) == (3.0, "2 to 4, whole")
    assert parameter.check(4) == 4.0
    with pytest.raises(UserError, match=r"n must be a whole number from .*, got 2\.5"):
        parameter.check(2.5)
    with pytest.raises(UserError, match="whole number"):
        Parameter("n", low=0.5, high=3, distribution="integer")
