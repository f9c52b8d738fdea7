"""A family of somebody's own on the page: what it needs no more than a name for."""

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from lamp import Lamp
from pandas.api.types import is_numeric_dtype
from visiting import TINY

pytest.importorskip("gradio")

import gradio as gr

import ssm_metarl as sm
from ssm_metarl.env_runner import registry
from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.comparison import as_csv
from ssm_metarl.training.archive import pack
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loop import train
from ssm_metarl.ui.comparison import differences_table, measure, results_table
from ssm_metarl.ui.form import expect
from ssm_metarl.ui.jobs import Job
from ssm_metarl.ui.monitor import Monitor
from ssm_metarl.ui.query import Query, Subject, answers
from ssm_metarl.ui.sliders import _input, _number, _setting, outside, range_marks
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.tabs import inside
from ssm_metarl.ui.tabs.adapt import curve_of, follow, headline
from ssm_metarl.ui.tabs.compare import curves
from ssm_metarl.ui.tabs.compare import headline as compared
from ssm_metarl.ui.tabs.memory import ONE, shown
from ssm_metarl.ui.train_settings import train_settings

PARAMETERS = [
    sm.Parameter("right", choices=(0, 1, 2)),
    sm.Parameter("up", 1.0, "", "-1 turns it over", choices=(1, -1)),
    sm.Parameter("colour", 3.0),
    sm.Parameter("size", low=0.1, high=10.0, distribution="log-uniform"),
]
OWN = sm.TaskFamily(
    "My.Lamps",
    make=lambda task: Lamp(task["right"]),
    parameters=PARAMETERS,
    max_episode_steps=10,
    source="# what a file would say",
)
CONFIG = TrainConfig(**{**vars(TINY), "env_name": OWN.name, "num_epochs": 1})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunStore]:
    registry._REGISTERED[OWN.name] = OWN
    store = RunStore(tmp_path_factory.mktemp("runs"))
    list(train(CONFIG, store.runs / "mine"))
    yield store
    registry._REGISTERED.clear()


@pytest.fixture(scope="module")
def subject(store: RunStore) -> Subject:
    return Subject.of(store, query())


def query() -> Query:
    return Query.asked("mine", {"right": 1.0}, ["standard", "hybrid"], 2, 1, 0)


def test_each_parameter_has_the_input_that_suits_it(store: RunStore) -> None:
    inputs = [_input(OWN, parameter) for parameter in OWN.parameters]
    assert [type(one) for one in inputs] == [gr.Radio, gr.Checkbox, gr.Number, gr.Slider]
    assert [one.value for one in inputs[:3]] == [0, False, 3.0]
    values = [2.0, True, 3.0, 0.5]
    task = {"right": 2.0, "up": -1.0, "colour": 3.0, "size": 0.5}
    pairs = zip(OWN.parameters, values, strict=True)
    assert [_number(parameter, value) for parameter, value in pairs] == list(task.values())
    assert [_setting(p, task[p.name]) for p in OWN.parameters] == values
    assert "colour" in outside(OWN, 2, True, 4.0, 0.5)
    assert "Within" in outside(OWN, 2, True, 3.0, 0.5)
    assert "#task-my-lamps-size {" in range_marks()


def test_adapting_shows_how_often_the_task_is_solved(store: RunStore, subject: Subject) -> None:
    rows = [one.result for one in answers(subject, query())]
    assert "Solved in" in headline(rows, subject.family)
    found = next(measure(store, ["mine"], ["standard"], "held_out", 2, 2, 1, 0))[0]
    found.rows = rows
    drawn = curve_of(found)
    assert (drawn.count("<figure"), drawn.count("<table")) == (2, 1)
    assert "success rate" in drawn


def test_what_cannot_be_filmed_is_measured_all_the_same(store: RunStore) -> None:
    *_, (outcome, shown_clips, _, _, _) = follow(store, query(), Job("a", "adapting"))
    assert "Mean return" in outcome
    assert shown_clips == (
        "There are no clips: My.Lamps cannot draw itself: it has no render mode rgb_array."
    )


def test_inside_shows_the_rest_of_what_cannot_be_filmed(store: RunStore, subject: Subject) -> None:
    *_, (words, clips, traces, discs, _, _, _, parts) = inside.shown(subject, query(), mine=True)
    assert "How long the agent remembers" in words
    assert clips.startswith("There are no clips: My.Lamps cannot draw itself")
    assert traces == ""
    assert discs.count("<svg") == 2
    assert len(parts["value"].data) > 2


def test_comparing_has_success_rates(store: RunStore, tmp_path: Path) -> None:
    *_, found = measure(store, ["mine"], ["standard", "hybrid"], "held_out", 3, 2, 1, 0)
    rows = found[0].rows
    table = results_table(found)
    assert all(row.success for row in rows)
    first = rows[0].success
    assert first is not None
    assert table["Success"][0] == f"{first.mean:.0%}"
    assert "95% of success" in differences_table(found)
    assert "success_rate" in as_csv(found, tmp_path).read_text().partition("\n")[0]
    assert "success rate" in curves(found)
    assert "Solved in" in compared(found)
    silent = [replace(found[0], rows=[replace(row, success=None) for row in rows])]
    assert "Success" not in results_table(silent)
    assert "Success" not in differences_table(silent)
    assert "success_rate" not in as_csv(silent, tmp_path).read_text()
    assert "success rate" not in curves(silent)


def test_training_shows_it_and_asks_for_no_measured_pace(store: RunStore) -> None:
    config = train_settings(OWN.name, "meta_rl", 2, 10)
    assert "once it has begun" in expect(OWN.name, "meta_rl", 2, 10, *[None] * 5, "ssm", 0)
    monitor = Monitor(config)
    assert is_numeric_dtype(monitor.curves["y"])  # else Gradio draws an axis of names
    assert "…" in monitor.status()
    assert "Solved" not in monitor.status()
    monitor = Monitor(store.config("mine"), store.metrics("mine"))
    assert "Solved" in monitor.status()
    assert "Solved in" in monitor.outcome("mine", timed_out=False)


def test_a_plot_has_the_lines_of_every_learner_from_the_start() -> None:
    """Gradio keeps the names that a plot began with, and draws no others."""
    names = {}
    for learner in ("meta_rl", "rl2", "policy_gradient"):
        monitor = Monitor(TrainConfig(mode=learner, env_name="CartPole-v1", num_epochs=3))
        names[learner] = set(monitor.curves["line"])
        legend = monitor.plot().colors_in_legend
        assert set(legend) < names[learner]
        assert sum(map(len, legend)) <= 30  # letters that a row of 400 pixels has room for
    assert names["meta_rl"] == names["rl2"] == names["policy_gradient"]


def test_memory_shows_tasks_of_any_parameters(subject: Subject) -> None:
    words, _, _, table, *_ = shown(subject, query(), ONE, mine=True)
    assert "earlier task" in words
    assert "colour" in table.to_html()


def test_a_zip_brings_no_family(store: RunStore, tmp_path: Path) -> None:
    pack(store.folder("mine"), tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        assert "family.toml" not in archive.namelist()
        store.import_zip(tmp_path / "a.zip", "again")
        archive.writestr("family.toml", OWN.source)
    with pytest.raises(UserError, match=r"takes no families from visitors.*app --family FILE"):
        store.import_zip(tmp_path / "a.zip", "other")
    assert "other" not in store.ids()


def test_a_run_of_a_family_that_is_not_there_says_how_to_add_it(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {})
    with pytest.raises(UserError, match=r"`ssm-metarl app --family FILE` adds one"):
        store.agent("mine")
    assert "mine" not in store.trained()
    assert store.summary("mine").family == OWN.name
