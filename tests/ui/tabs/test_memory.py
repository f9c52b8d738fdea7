"""The Memory tab shows what hybrid adaptation really retrieves."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("gradio")

from ssm_metarl.analysis.names import observation_names
from ssm_metarl.analysis.retrieval import Retrieval, stored_tasks
from ssm_metarl.ui.lazy_tab import query_of
from ssm_metarl.ui.query import Query, Subject
from ssm_metarl.ui.store import PRETRAINED, RunStore
from ssm_metarl.ui.tabs.memory import (
    ALL,
    COLOURS,
    NOTHING,
    ONE,
    comparison,
    in_words,
    matches_table,
    retrieved,
    shown,
    store_shown,
)

SWAPPED = Query.asked("cartpole", {"swap": 1.0, "gravity": 12.0}, ["hybrid"], 5, 1, 0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return RunStore(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def subject(store: RunStore) -> Subject:
    return Subject.of(store, SWAPPED)


@pytest.fixture(scope="module")
def found(subject: Subject) -> Retrieval:
    one = retrieved(subject, 1, 0)
    assert one is not None
    return one


def test_the_table_holds_the_weights_and_tasks_of_the_step(
    subject: Subject, found: Retrieval
) -> None:
    table = matches_table(found, subject).data
    tasks = [*found.matches, found.unlike]
    assert list(table["Share of the step"]) == [found.own, *(one.weight for one in tasks)]
    assert list(table["Prediction error"])[1:] == [one.prediction_error for one in tasks]
    assert list(table["gravity (m/s^2)"]) == [12.0, *(t.task.parameters["gravity"] for t in tasks)]
    assert list(table["Task"])[:2] == ["new task", f"task {found.matches[0].task.id}"]


def test_the_words_hold_the_weights(found: Retrieval) -> None:
    words, best = in_words(found), found.matches[0]
    assert f"1 episode of the new task {found.own:.0%}" in words
    assert f"task {best.task.id} {best.weight:.0%}" in words
    assert f"recalls {found.used} earlier tasks" in words


def test_a_task_like_none_recalls_nothing_and_says_so(store: RunStore) -> None:
    strange = {"gravity": 50.0, "length": 0.05, "force": 100.0, "cart_mass": 0.01}
    subject = Subject.of(store, Query.asked("cartpole", strange, ["hybrid"], 5, 1, 0))
    found = retrieved(subject, 1, 0)
    assert found is not None
    assert "No earlier task resembles this one" in in_words(found)


def test_both_plots_show_the_three_tasks_and_what_separates_them(
    subject: Subject, found: Retrieval
) -> None:
    note, response, observed = comparison(found, subject.family)
    name, unit = observation_names(subject.family)[found.telling]
    assert name in note
    assert observed["y_title"] == f"{name.capitalize()} ({unit})"
    for plot in (response, observed):
        assert set(plot["value"]["line"]) == set(COLOURS)
    last = response["value"].groupby("line")["y"].last()
    assert last["new task"] * last["best match"] > 0 > last["new task"] * last["least alike"]


def test_the_store_is_shown_as_it_is(subject: Subject) -> None:
    tasks = stored_tasks(subject.agent)
    totals, histogram, listed = store_shown(tasks, subject.family)
    for number in (len(tasks), sum(t.episodes for t in tasks), sum(t.transitions for t in tasks)):
        assert f"<dd>{number:,}</dd>" in totals
    assert len(histogram["value"]) == len(tasks)
    assert histogram["y_lim"] == [0, None], "bars of one task have a height"
    assert list(listed.data["Task"]) == [task.id for task in reversed(tasks)]


def test_all_episodes_tell_another_story_than_the_first(subject: Subject) -> None:
    one, every = (shown(subject, SWAPPED, own, mine=True)[0] for own in (ONE, ALL))
    assert one != every
    assert "Your last task under Adapt" in one


@pytest.mark.filterwarnings("ignore:this agent came with no experience")
def test_an_agent_without_experience_says_how_to_get_one(store: RunStore, tmp_path: Path) -> None:
    bare = shutil.ignore_patterns("experience")
    shutil.copytree(PRETRAINED / "cartpole", tmp_path / "bare", ignore=bare)
    for runs, run in ((RunStore(tmp_path), "bare"), (store, "cartpole-in-context")):
        query, mine = query_of(runs, run, {})
        told, _, results, *_ = shown(Subject.of(runs, query), query, ONE, mine=mine)
        assert NOTHING in told
        assert "--experience" in told
        assert results["visible"] is False


def test_the_last_query_counts_if_it_was_of_this_agent(store: RunStore) -> None:
    assert query_of(store, "cartpole", vars(SWAPPED)) == (SWAPPED, True)
    other, mine = query_of(store, "cartpole-in-context", vars(SWAPPED))
    assert not mine
    assert other.task["swap"] == 1.0
    assert other.modes == ("in_context", "standard", "from_scratch")
