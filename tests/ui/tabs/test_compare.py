"""The Compare tab measures what the command line measures, and lets it be taken away."""

import csv
import dataclasses
import io
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("gradio")

from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.evaluate import EvaluationPlan, evaluate
from ssm_metarl.evaluation.report import Evaluation
from ssm_metarl.ui.charts import Axis, histogram
from ssm_metarl.ui.comparing import Comparison, Measured
from ssm_metarl.ui.comparison_files import COLUMNS, as_csv, as_json, as_png
from ssm_metarl.ui.comparison_shown import SHARED, curves, results_table, scatters
from ssm_metarl.ui.comparison_words import in_words
from ssm_metarl.ui.jobs import Job
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.tabs.compare import follow

ASKED = (["cartpole"], ["standard", "hybrid"], "held_out", 3, 2, 1, 0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return RunStore(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def found(store: RunStore) -> list[Measured]:
    *_, last = Comparison.asked(*ASKED).measure(store)
    return last


@pytest.fixture(scope="module")
def both(store: RunStore) -> list[Measured]:
    runs = ["cartpole", "cartpole-in-context"]
    asked = Comparison.asked(runs, ["in_context", "standard"], "held_out", 2, 2, 1, 0)
    *_, last = asked.measure(store)
    return last


def test_the_rows_are_those_of_the_command_line(store: RunStore, found: list[Measured]) -> None:
    agent, family = store.agent("cartpole")
    plan = EvaluationPlan(("zero_shot", "standard", "hybrid"), budgets=(1, 2), steps=1, seed=0)
    measured = evaluate(agent, family, family.held_out(3), plan, Memory.of(agent))
    rows = [one.result for one in measured]
    assert found[0].rows == rows
    assert found[0].total == len(rows)


def test_the_table_has_a_row_for_each_with_its_interval(found: list[Measured]) -> None:
    html = results_table(found)
    assert html.count('<th scope="row">') == len(found[0].rows)
    for row in found[0].rows:
        assert f"<td>{row.ci95[0]:.4g} to {row.ci95[1]:.4g}</td>" in html
        assert f"<td>{row.mean:.4g}" in html
        assert f"<td>{row.adaptation_env_steps:,.0f}</td>" in html


def test_curves_have_bands_and_scatters_a_point_per_task(found: list[Measured]) -> None:
    assert curves(found).count('class="band') == 2 * 2  # modes, in two widths
    drawn = scatters(found)
    assert drawn.count("<circle") == 2 * 2 * 3  # widths, modes, tasks
    assert "no change" in drawn


def test_the_words_say_what_recall_was_worth(found: list[Measured]) -> None:
    words = in_words(found)
    assert "on average; after 2, 500; before, " in words
    assert "1 episode" in words


def test_several_agents_share_a_chart_and_are_compared_in_pairs(both: list[Measured]) -> None:
    html = curves(both)
    assert html.count('<figure class="chart">') == 1
    assert "cartpole: standard" in html
    assert "cartpole-in-context: in-context" in html
    assert "mark-standard dash-1" in html
    assert "cartpole-in-context earns" in in_words(both)
    assert results_table(both).count('class="group"') == 2


def test_recall_is_only_spoken_of_where_it_was_measured(
    found: list[Measured], both: list[Measured]
) -> None:
    """Other pairs are compared too, and must not be taken for this one."""
    assert both[1].evaluation().differences
    assert all(row.steps == 0 for row in both[1].of("in_context"))  # without steps on top
    assert any(row.steps for row in both[1].rows if row.mode == "in_context")
    assert "hybrid" not in in_words(both)
    gain = next(
        one
        for one in found[0].evaluation().differences
        if (one.mode, one.than, one.shots) == ("hybrid", "standard", 1)
    )
    word = "more" if gain.mean > 0 else "less"
    assert f"hybrid earns {abs(gain.mean):.3g} {word} than standard" in in_words(found)


def test_the_lead_is_no_pick_of_the_best(found: list[Measured]) -> None:
    """It is of the way and the data that were named before anything was measured."""
    worse = dataclasses.replace(found[0], rows=[])
    for row in found[0].rows:
        bad = (row.mode, row.shots) == ("hybrid", 1)
        zeros = tuple(0.0 for _ in row.per_task)
        worse.rows.append(dataclasses.replace(row, mean=0.0, per_task=zeros) if bad else row)
    words = in_words([worse])
    assert "after 1 episode, hybrid adaptation earns 0 on average" in words
    assert "better on 0 of 3 tasks" in words


def test_a_difference_that_may_be_chance_is_said_to(found: list[Measured]) -> None:
    start = found[0].row("zero_shot")
    assert start is not None
    returns = tuple(
        value + shift for value, shift in zip(start.per_task, (-9.0, 0.0, 10.0), strict=True)
    )
    after = dataclasses.replace(start, mode="standard", shots=1, steps=1, per_task=returns)
    words = in_words([dataclasses.replace(found[0], rows=[start, after])])
    assert "it may be chance" in words


def changed(one: Measured, run: str, shifts: Sequence[float]) -> Measured:
    """Return what another agent would have measured: returns that differ task by task."""
    rows = []
    for row in one.rows:
        returns = tuple(a + b for a, b in zip(row.per_task, shifts, strict=True))
        rows.append(dataclasses.replace(row, per_task=returns, mean=sum(returns) / len(returns)))
    return dataclasses.replace(one, run=run, rows=rows)


def test_the_headline_names_every_agent_and_ties_as_ties(found: list[Measured]) -> None:
    [one] = found
    names = "cartpole and twin "
    first = in_words([one, changed(one, "twin", (0, 0, 0))]).split("</p>")[0]
    assert f"{names}both earn the same: cartpole" in first
    assert "earns as much as cartpole" in in_words([one, changed(one, "twin", (0, 0, 0))])
    first = in_words([one, changed(one, "twin", (9, 0, -10))]).split("</p>")[0]
    assert f"{names}are not distinguishable: cartpole" in first
    first = in_words([one, changed(one, "better", (10, 20, 30))]).split("</p>")[0]
    assert "better earns most: better" in first
    assert "; cartpole" in first


def test_only_what_is_best_beyond_doubt_is_bold(found: list[Measured]) -> None:
    start = found[0].row("zero_shot")
    assert start is not None

    def bold_and_shared(*shifts: Sequence[float]) -> tuple[int, int]:
        rows = []
        for number, shift in enumerate(shifts):
            [row] = changed(dataclasses.replace(found[0], rows=[start]), "x", shift).rows
            rows.append(dataclasses.replace(row, shots=number))
        html = results_table([dataclasses.replace(found[0], rows=rows)])
        return html.count(' best"'), html.count(f" {SHARED}</td>")

    assert bold_and_shared((0, 0, 0), (1, 2, 3)) == (1, 0)
    assert bold_and_shared((0, 0, 0), (0, 0, 0)) == (0, 2)
    assert bold_and_shared((0, 0, 0), (-9, 0, 10), (-50, -50, -50)) == (0, 2)


def test_csv_json_and_png_hold_the_results(found: list[Measured], tmp_path: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(as_csv(found, tmp_path).read_text())))
    assert tuple(lines[0]) == COLUMNS
    assert [float(line["mean_return"]) for line in lines] == [row.mean for row in found[0].rows]
    path = as_json(found, tmp_path)
    assert path.name == "evaluation.json"
    assert Evaluation.from_json(path.read_text()) == found[0].evaluation()
    png = as_png(found, tmp_path)
    assert png is not None
    assert png.read_bytes().startswith(b"\x89PNG")


def test_several_agents_come_as_one_file_of_each_kind(both: list[Measured], tmp_path: Path) -> None:
    told = json.loads(as_json(both, tmp_path).read_text())
    assert list(told) == ["cartpole", "cartpole-in-context"]
    for one in both:
        assert Evaluation.from_json(json.dumps(told[one.run])) == one.evaluation()
    other = dataclasses.replace(both[1], family=get_family("Pendulum-v1"))
    alone, together = as_png(both[:1], tmp_path / "a"), as_png([both[0], other], tmp_path / "b")
    assert alone is not None
    assert together is not None
    with Image.open(alone) as one, Image.open(together) as two:
        assert two.format == "PNG"
        assert two.height > 1.5 * one.height  # a family below the other


def test_there_is_no_picture_of_one_budget(store: RunStore, tmp_path: Path) -> None:
    *_, last = Comparison.asked(["cartpole"], [], "shifted", 2, 1, 1, 0).measure(store)
    assert as_png(last, tmp_path) is None
    assert "without adapting" in in_words(last).lower()
    assert scatters(last) == ""


def test_stop_ends_it_and_keeps_what_there_is(store: RunStore) -> None:
    job = Job("comparing", time.monotonic() + 600, threading.Event())
    stream = follow(store, Comparison.asked(*ASKED), job)
    first = next(stream)
    assert "1 of 5 measurements" in first[0]
    job.stop_event.set()
    *_, last = stream
    assert "Stopped" in last[0]
    assert last[2].count('<th scope="row">') == 1
    assert [one["interactive"] for one in last[4:]] == [True, True, False]


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
        (3, "many", "tasks must be a number"),
        (4, float("nan"), "episodes must be a number"),
    ],
)
def test_what_makes_no_sense_is_refused(place: int, value: Any, says: str) -> None:
    asked: list[Any] = list(ASKED)
    asked[place] = value
    with pytest.raises(UserError, match=says):
        Comparison.asked(*asked)


def test_numbers_are_cut_to_what_the_page_offers() -> None:
    cut = Comparison.asked(["cartpole"], [], "held_out", 10**9, 10**9, 10**9, -5)
    assert (cut.tasks, cut.episodes, cut.steps, cut.seed) == (100, 50, 3, 0)


def test_a_histogram_counts_every_value() -> None:
    html = histogram([1.0, 1.2, 3.7], Axis("x"), Axis("n"), "alt", "new")
    assert html.count('class="band mark-new"') == 2
    assert histogram([5.0, 5.0], Axis("x"), Axis("n"), "alt", "new").count("<svg") == 2
