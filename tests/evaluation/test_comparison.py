"""Agents side by side: which result speaks for one, differences, and the files of all of it."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.evaluation import comparison
from ssm_metarl.evaluation.comparison import (
    Measured,
    as_csv,
    as_json,
    as_png,
    by_family,
    change,
    gains,
    leading,
    records,
    summary,
)
from ssm_metarl.evaluation.evaluate import EvaluationPlan
from ssm_metarl.evaluation.report import ModeResult, Success
from ssm_metarl.evaluation.statistics import paired_difference

CARTPOLE, PENDULUM = get_family("CartPole-v1"), get_family("Pendulum-v1")
SOLVED = Success(0.5, (0.25, 0.75), 0.6, (0.0, 1.0))


def row(
    mode: str, shots: int, steps: int, mean: float, success: Success | None = None
) -> ModeResult:
    """A result on two tasks."""
    each = mean - 1.0, mean + 1.0
    return ModeResult(
        mode, shots, steps, mean, mean + 0.5, (mean - 2, mean + 3), 7.0 * shots, mean + 4,
        each, success,
    )  # fmt: skip


def measured(run: str, *rows: ModeResult, family: object = CARTPOLE, seed: int = 3) -> Measured:
    modes = list(dict.fromkeys(each.mode for each in rows))
    plan = EvaluationPlan(modes, (1, 5), 1, seed=seed)
    return Measured(run, family, family.held_out(2), "held_out", plan, list(rows))  # pyright: ignore


ALL = (
    row("zero_shot", 0, 0, 20.0),
    row("in_context", 0, 0, 19.0),
    row("in_context", 2, 0, 40.0),
    row("in_context", 3, 1, 60.0),
    row("standard", 5, 1, 90.0),
    row("standard", 1, 1, 50.0),
    row("from_scratch", 0, 0, 10.0),
    row("from_scratch", 1, 1, 15.0),
)


def test_a_mode_is_represented_by_its_least_data() -> None:
    one = measured("a", *ALL)
    shots = {"zero_shot": 0, "in_context": 2, "standard": 1, "from_scratch": 1}
    for mode, least in shots.items():
        found = one.row(mode)
        assert found is not None
        assert (found.mode, found.shots) == (mode, least)
    assert one.row("hybrid") is None
    assert one.total == one.plan.results(one.plan.modes or ())
    assert one.representative == ALL[2]  # in context comes before standard
    assert measured("a", *ALL[4:]).representative == ALL[5]
    assert measured("a", ALL[0]).representative == ALL[0]


def test_curves_need_two_budgets() -> None:
    assert measured("a", *ALL).drawable
    assert not measured("a", ALL[0], ALL[5], row("standard", 2, 2, 0.0)).drawable
    assert not measured("a", *ALL).rated
    assert measured("a", *ALL, row("hybrid", 1, 1, 0.0, SOLVED)).rated


def test_the_least_data_that_reach_nearly_all_of_the_gain_lead() -> None:
    means = {1: 95.9, 2: 96.1, 5: 100.0}
    rows = [ALL[0], *(row("standard", shots, 1, mean) for shots, mean in means.items())]
    assert leading(rows).shots == 2  # 95% of 80 above 20 is 96
    assert leading([ALL[0], ALL[7], ALL[5]]) == ALL[5]
    assert leading([ALL[0], row("from_scratch", 1, 1, 99.0), ALL[5]]) == ALL[5]
    assert leading([ALL[0], ALL[7]]) == ALL[7]
    assert leading([ALL[0]]) == ALL[0]
    worse = row("standard", 1, 1, 5.0)
    assert leading([ALL[0], worse]) == worse


def test_results_are_said_in_a_line() -> None:
    before = row("zero_shot", 0, 0, 20.71)
    assert change(before, row("standard", 1, 1, 500.0)) == "20.71 → 500"
    assert change(before, before) == "20.71"
    assert summary(before, before) == "Mean return 20.71 without adapting."
    after = row("standard", 1, 1, 500.0, SOLVED)
    assert summary(before, after) == (
        "Mean return 20.71 before and 500 after 1 episode (standard)."
        " Solved in 0% and 50% of episodes."
    )
    assert summary(before, row("in_context", 12, 0, 1.0)) == (
        "Mean return 20.71 before and 1 after 12 episodes (in-context)."
    )


def test_modes_are_compared_from_the_least_data_and_agents_by_their_representatives() -> None:
    first = measured("a", ALL[0], ALL[5], ALL[4], row("standard", 10, 2, 95.0))
    other = measured("b", ALL[0], row("hybrid", 1, 1, 70.0))
    found = gains([first, other, measured("c", ALL[0], family=PENDULUM)])
    assert [(gain.names, gain.episodes, gain.of_return.mean) for gain in found] == [
        ("a: standard - zero-shot", 1, 30.0),
        ("b (hybrid) - a (standard)", 1, 20.0),
    ]
    assert [gain.of_success for gain in found] == [None, None]
    expected = paired_difference(np.array([[69.0, 71.0]]), np.array([[49.0, 51.0]]), seed=3)
    assert found[1].of_return == expected


def test_success_is_compared_where_both_speak_of_it() -> None:
    rated = row("zero_shot", 0, 0, 20.0, SOLVED), row("standard", 1, 1, 50.0, SOLVED)
    better = dataclasses.replace(SOLVED, mean=0.75, per_task=(0.5, 1.0))
    one, other = measured("a", *rated), measured("b", row("standard", 5, 1, 60.0, better))
    own, between = gains([one, other])
    assert own.of_success is not None
    assert (own.of_success.mean, between.episodes) == (0.0, 5)
    expected = paired_difference(np.array([[0.5, 1.0]]), np.array([[0.0, 1.0]]), seed=3)
    assert between.of_success == expected
    assert gains([one, measured("b", ALL[5])])[1].of_success is None


def test_agents_of_one_family_stand_together() -> None:
    runs = [measured("a"), measured("b", family=PENDULUM), measured("c")]
    assert [[one.run for one in group] for group in by_family(runs)] == [["a", "c"], ["b"]]


def test_a_line_of_the_csv_has_all_of_a_result(tmp_path: Path) -> None:
    plain = {
        **{"run": "a", "family": "CartPole-v1", "task_set": "held_out", "tasks": 2, "seed": 3},
        **{"mode": "standard", "episodes": 5, "gradient_steps": 1, "mean_return": 90.0},
        **{"ci95_low": 88.0, "ci95_high": 93.0, "iqm": 90.5, "greedy_mean_return": 94.0},
        "adaptation_env_steps": 35.0,
    }
    silent = measured("a", ALL[4])
    assert records([silent]) == [plain]
    spoken = measured("b", row("standard", 5, 1, 90.0, SOLVED))
    names = ("success_rate", "success_ci95_low", "success_ci95_high", "greedy_success_rate")
    none, rates = (
        dict(zip(names, all_, strict=True)) for all_ in ((None,) * 4, (0.5, 0.25, 0.75, 0.6))
    )
    assert records([silent, spoken]) == [{**plain, **none}, {**plain, "run": "b", **rates}]
    path = as_csv([silent, spoken], tmp_path)
    assert path == tmp_path / "comparison.csv"
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") == 3
    assert "\r" not in text
    lines = list(csv.DictReader(text.splitlines()))
    assert lines[0] == {
        name: "" if value is None else str(value) for name, value in {**plain, **none}.items()
    }


def test_the_json_is_that_of_the_command_line_or_several_by_name(tmp_path: Path) -> None:
    one, other = measured("a", *ALL), measured("ü", ALL[0])
    path = as_json([one], tmp_path)
    assert path == tmp_path / "evaluation.json"
    assert path.read_text(encoding="utf-8") == one.evaluation().to_json()
    both = as_json([one, other], tmp_path)
    assert both == tmp_path / "evaluations.json"
    found = json.loads(both.read_text(encoding="utf-8"))
    assert found == {each.run: json.loads(each.evaluation().to_json()) for each in (one, other)}


def test_a_picture_has_the_curves_of_each_family_below_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pytest.importorskip("PIL.Image")
    asked = []

    def draw(evaluations: list, **options: object) -> tuple[int, int]:
        asked.append(([one.family for one in evaluations], options))
        return 40 + len(asked), 10 * len(asked)

    def write(size: tuple[int, int], path: Path) -> Path:
        image.new("RGB", size, (size[1], 0, 0)).save(path)
        return path

    monkeypatch.setattr(comparison, "budget_curve", draw)
    monkeypatch.setattr(comparison, "write_png", write)
    rated = [row("standard", n, 1, 50.0, SOLVED) for n in (1, 5)]
    runs = [measured("a", *ALL), measured("b", *rated, family=PENDULUM), measured("c", *ALL)]
    assert as_png([measured("a", ALL[0])], tmp_path) is None
    path = as_png([*runs, measured("d", ALL[0])], tmp_path)
    assert path == tmp_path / "budgets.png"
    assert asked == [
        (["CartPole-v1"] * 2, {"best": CARTPOLE.best_return, "titles": ["a", "c"]}),
        (["Pendulum-v1"], {"best": PENDULUM.best_return, "titles": ["b"]}),
        (["Pendulum-v1"], {"titles": ["b"], "success": True}),
    ]
    whole = image.open(path)
    assert whole.size == (43, 60)
    assert [whole.getpixel((0, y))[0] for y in (0, 9, 10, 29, 30, 59)] == [10, 10, 20, 20, 30, 30]
    assert whole.getpixel((42, 0)) == (255, 255, 255)
