"""The Memory tab shows what hybrid adaptation really recalls."""

import dataclasses
import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("gradio")

from ssm_metarl.analysis.names import observation_names
from ssm_metarl.analysis.retrieval import (
    Retrieval,
    retrieve,
    stored_tasks,
)
from ssm_metarl.ui.lazy_tab import query_of, was_asked
from ssm_metarl.ui.query import Query, Subject
from ssm_metarl.ui.recall_shown import in_words, matches_table, overlay, store_shown
from ssm_metarl.ui.store import PRETRAINED, RunStore
from ssm_metarl.ui.tables import percent
from ssm_metarl.ui.tabs.memory import ALL, NOTHING, ONE, shown

SWAPPED = Query.asked("cartpole", {"swap": 1.0, "gravity": 12.0}, ["hybrid"], 5, 1, 0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return RunStore(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def subject(store: RunStore) -> Subject:
    return Subject.of(store, SWAPPED)


def retrieved(subject: Subject, episodes: int) -> Retrieval | None:
    return retrieve(subject.agent, subject.family, subject.task, episodes=episodes, seed=0)


@pytest.mark.parametrize("episodes", [1, 5])
def test_the_weights_shown_are_those_of_the_step(subject: Subject, episodes: int) -> None:
    found = retrieved(subject, episodes)
    assert found is not None
    html = matches_table(found, subject)
    assert re.findall(r"<b>(.*?)</b>", html) == [
        percent(share) for share in (found.own, *(m.weight for m in found.matches), 0.0)
    ]


def test_the_words_name_the_best_match_and_what_it_shares(subject: Subject) -> None:
    found = retrieved(subject, 1)
    assert found is not None
    words = in_words(found, subject)
    best = found.matches[0]
    assert f"The one episode of the new task weighs {found.own:.0%}" in words
    assert f"task {best.task.id}, which swaps left and right too, weighs {best.weight:.0%}" in words


def test_a_task_like_none_recalls_nothing_and_says_so(store: RunStore) -> None:
    strange = {"gravity": 50.0, "length": 0.05, "force": 100.0, "cart_mass": 0.01}
    asked = Query.asked("cartpole", strange, ["hybrid"], 5, 1, 0)
    subject = Subject.of(store, asked)
    found = retrieved(subject, 1)
    assert found is not None
    assert "Nothing it remembers resembles this task" in in_words(found, subject)


def test_the_response_tells_a_swapped_task_from_a_usual_one(subject: Subject) -> None:
    found = retrieved(subject, 1)
    assert found is not None
    html = overlay(found, subject.family)
    name, unit = observation_names(subject.family)[found.telling]
    assert f"{name.capitalize()} ({unit})" in html
    assert "nearer to the best match" in html


def test_a_picture_that_speaks_against_the_match_is_shown_too(subject: Subject) -> None:
    found = retrieved(subject, 1)
    assert found is not None
    best, unlike = found.matches[0], found.unlike
    crossed = dataclasses.replace(found, matches=(unlike, *found.matches[1:]), unlike=best)
    html = overlay(crossed, subject.family)
    assert html.count("<figure") == 2
    assert "nearer to the one least alike" in html


def test_the_store_is_shown_as_it_is(subject: Subject) -> None:
    tasks = stored_tasks(subject.agent)
    html = store_shown(tasks, subject.family)
    assert f"<dt>tasks</dt><dd>{len(tasks):,}</dd>" in html
    assert f"<dt>episodes</dt><dd>{sum(task.episodes for task in tasks):,}</dd>" in html
    assert f"<dt>steps</dt><dd>{sum(task.transitions for task in tasks):,}</dd>" in html
    rows = re.findall(r'<th scope="row">(\d+)</th>', html)
    assert rows == [str(task.id) for task in reversed(tasks)]


def test_the_same_question_has_the_same_answer(store: RunStore) -> None:
    assert shown(store, SWAPPED, ONE, mine=True) == shown(store, SWAPPED, ONE, mine=True)
    assert shown(store, SWAPPED, ONE, mine=True) != shown(store, SWAPPED, ALL, mine=True)


@pytest.mark.filterwarnings("ignore:this agent came with no experience")
def test_an_agent_without_a_store_says_how_to_get_one(store: RunStore, tmp_path: Path) -> None:
    shutil.copytree(
        PRETRAINED / "cartpole", tmp_path / "bare", ignore=shutil.ignore_patterns("experience")
    )
    query = query_of(RunStore(tmp_path), "bare", {})
    assert shown(RunStore(tmp_path), query, ONE, mine=False) == (NOTHING, "", "", "")
    asked = query_of(store, "cartpole-in-context", {})
    assert shown(store, asked, ONE, mine=False)[0] == NOTHING


def test_the_last_question_counts_if_it_was_of_this_agent(store: RunStore) -> None:
    assert query_of(store, "cartpole", vars(SWAPPED)) == SWAPPED
    assert was_asked("cartpole", vars(SWAPPED))
    other = query_of(store, "cartpole-in-context", vars(SWAPPED))
    assert not was_asked("cartpole-in-context", vars(SWAPPED))
    assert other.task["swap"] == 1.0
    assert other.modes == ("in_context", "standard", "from_scratch")
