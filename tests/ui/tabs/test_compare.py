"""The Compare tab measures what the command line measures, and lets it be taken away."""

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio")

from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.comparison import Measured, as_csv, as_json, as_png
from ssm_metarl.evaluation.evaluate import EvaluationPlan, evaluate
from ssm_metarl.ui.comparison import differences_table, measure, results_table
from ssm_metarl.ui.jobs import Job
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.tabs.compare import curves, follow, headline, scatters

ASKED = (["cartpole"], ["standard", "hybrid"], "held_out", 3, 2, 1, 0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return RunStore(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def found(store: RunStore) -> list[Measured]:
    *_, last = measure(store, *ASKED)
    return last


@pytest.fixture(scope="module")
def both(store: RunStore) -> list[Measured]:
    runs = ["cartpole", "cartpole-in-context"]
    *_, last = measure(store, runs, ["in_context", "standard"], "held_out", 2, 2, 1, 0)
    return last


def test_the_rows_are_those_of_the_command_line(store: RunStore, found: list[Measured]) -> None:
    agent, family = store.agent("cartpole")
    plan = EvaluationPlan(("zero_shot", "standard", "hybrid"), budgets=(1, 2), steps=1, seed=0)
    measured = evaluate(agent, family, family.held_out(3), plan, Memory.of(agent))
    rows = [one.result for one in measured]
    assert found[0].rows == rows
    assert found[0].total == len(rows)


def test_the_table_has_a_row_for_each_with_its_interval(found: list[Measured]) -> None:
    table = results_table(found)
    assert len(table) == len(found[0].rows)
    low, high = found[0].rows[0].ci95
    assert table["95% interval"][0] == f"{low:.4g} to {high:.4g}"
    assert "Agent" not in table


def test_curves_and_scatters_are_drawn_and_follow_the_theme(found: list[Measured]) -> None:
    drawn = curves(found)
    assert "<figcaption>cartpole on CartPole-v1</figcaption>" in drawn  # in an SVG it is cut
    assert "var(--mode-hybrid)" in drawn
    assert "#007f5f" not in drawn
    assert scatters(found).count("better on") == 2  # modes
    assert scatters(found).count("<figcaption>cartpole: ") == 2


def test_differences_are_paired_by_task(found: list[Measured], both: list[Measured]) -> None:
    table = differences_table(found).set_index("Paired by task")
    gain = next(
        one
        for one in found[0].evaluation().differences
        if (one.mode, one.than, one.shots) == ("hybrid", "standard", 1)
    )
    row = table.loc["cartpole: hybrid - standard"]
    assert row["Difference"] == float(f"{gain.mean:.4g}")
    assert row["95% interval"] == f"{gain.ci95[0]:.4g} to {gain.ci95[1]:.4g}"
    last = differences_table(both).iloc[-1]
    assert last["Paired by task"] == "cartpole-in-context (in-context) - cartpole (standard)"
    one, other = (np.array(m.representative.per_task) for m in both)
    assert last["Difference"] == float(f"{np.mean(other - one):.4g}")


def test_the_headline_is_of_a_fixed_mode_and_names_every_agent(both: list[Measured]) -> None:
    words = headline(both)
    for one in both:
        before, after = one.row("zero_shot"), one.representative
        assert before is not None
        assert f"{one.run}: {before.mean:.4g} → {after.mean:.4g}" in words
    assert both[0].representative.mode == "standard"
    worse = dataclasses.replace(both[0].representative, mean=0.0)
    changed = dataclasses.replace(both[0], rows=[*both[0].rows[:1], worse])
    assert "→ 0<" in headline([changed])


def test_csv_json_and_png_hold_the_results(found: list[Measured], tmp_path: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(as_csv(found, tmp_path).read_text())))
    assert {"run", "mode", "episodes", "mean_return", "ci95_low"} <= lines[0].keys()
    assert [float(line["mean_return"]) for line in lines] == [row.mean for row in found[0].rows]
    path = as_json(found, tmp_path)
    assert path.name == "evaluation.json"
    assert json.loads(path.read_text()) == json.loads(found[0].evaluation().to_json())
    png = as_png(found, tmp_path)
    assert png is not None
    assert png.read_bytes().startswith(b"\x89PNG")


def test_several_agents_come_as_one_file_of_each_kind(both: list[Measured], tmp_path: Path) -> None:
    told = json.loads(as_json(both, tmp_path).read_text())
    assert list(told) == ["cartpole", "cartpole-in-context"]
    for one in both:
        assert told[one.run] == json.loads(one.evaluation().to_json())
    other = dataclasses.replace(both[1], family=get_family("Pendulum-v1"))
    alone, together = as_png(both[:1], tmp_path / "a"), as_png([both[0], other], tmp_path / "b")
    assert alone is not None
    assert together is not None
    with Image.open(alone) as one, Image.open(together) as two:
        assert two.format == "PNG"
        assert two.height > 1.5 * one.height  # a family below the other


def test_there_is_no_picture_of_one_budget(store: RunStore, tmp_path: Path) -> None:
    *_, last = measure(store, ["cartpole"], [], "shifted", 2, 1, 1, 0)
    assert as_png(last, tmp_path) is None
    assert "without adapting" in headline(last)
    assert differences_table(last).empty
    assert scatters(last) == ""


def test_stop_ends_it_and_keeps_what_there_is(store: RunStore) -> None:
    job = Job("a", "comparing")
    stream = follow(store, measure(store, *ASKED), job)
    first = next(stream)
    assert "1 of 5 measurements" in first[0]
    job.stopped = True
    *_, last = stream
    assert "Stopped" in last[0]
    assert len(last[3]["value"]) == 1
    assert [one["interactive"] for one in last[6:]] == [True, True, False]


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (0, [], "choose 1 to 4"),
        (0, "cartpole", "choose 1 to 4"),
        (0, ["a"] * 5, "choose 1 to 4"),
        (0, [{}], "a run's name"),
        (0, ["../x"], "a run's name"),
        (1, ["os.system"], "modes is a list"),
        (1, "standard", "modes is a list"),
        (2, "training", "the tasks are one of"),
        (3, "many", "tasks must be a whole number from 2 to 100"),
        (3, 101, "tasks must be a whole number"),
        (4, float("nan"), "episodes must be a whole number"),
        (5, 0, "steps must be a whole number"),
        (6, -5, "seed must be a whole number"),
    ],
)
def test_what_makes_no_sense_is_refused(store: RunStore, place: int, value: Any, says: str) -> None:
    asked: list[Any] = list(ASKED)
    asked[place] = value
    with pytest.raises(UserError, match=says):
        next(measure(store, *asked))
