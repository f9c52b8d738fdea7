"""Training on the page: what a visitor sees, and that stopping loses nothing."""

import dataclasses
import itertools
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from gradio_client.client import Job as ClientJob
from visiting import TINY, Site

from ssm_metarl.checkpoint.format import load_checkpoint
from ssm_metarl.errors import UserError
from ssm_metarl.meta_rl.registry import LEARNERS
from ssm_metarl.training.loop import resume, train
from ssm_metarl.training.metrics import read_metrics
from ssm_metarl.ui.jobs import Job, Jobs
from ssm_metarl.ui.monitor import Monitor
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.tabs.train import Trainings, continued, follow
from ssm_metarl.ui.train_settings import (
    train_settings,
)

ASKED = ("CartPole-v1", "meta_rl", 2, 10)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs", tmp_path / "pretrained")


def visitor(name: str) -> gr.Request:
    return gr.Request(session_hash=name)


def seen(folder: Path, job: Job, *, again: bool = False) -> list[Any]:
    stream = resume(folder) if again else train(TINY, folder)
    past = read_metrics(folder / "metrics.jsonl") if again else ()
    return list(follow(stream, Monitor(TINY, past), job, "mine"))


def drawn(curve: Any) -> dict[str, int]:
    """Return how many points each line has."""
    return dict(curve.dropna().groupby("line").size())


def test_a_training_ends_with_words_curves_and_the_name_of_its_run(tmp_path: Path) -> None:
    *_, last = seen(tmp_path / "mine", Job("a", "training"))
    status, curve, name = last
    assert name == "mine"
    assert "mine: " in status
    assert "before adapting, after adapting" in status
    assert "Finished all 2 iterations" in status
    assert drawn(curve) == {"max": 2, "before adapting": 2, "after adapting": 2}


def test_stopping_keeps_the_iteration_and_resuming_ends_where_it_would_have(
    tmp_path: Path, tiny_run: Path
) -> None:
    stopped = tmp_path / "stopped"
    job = Job("a", "training")
    job.stopped = True
    *_, (status, _, name) = seen(stopped, job)
    assert name == "mine"  # its agent is there, and can be adapted
    assert "Stopped after 1 of 2 iterations" in status
    assert load_checkpoint(stopped / "checkpoint").meta["iteration"] == 1
    *_, (status, curve, name) = seen(stopped, Job("a", "training"), again=True)
    assert name == "mine"
    assert drawn(curve)["before adapting"] == 2  # with that of before the stop
    there, straight = (load_checkpoint(run / "checkpoint").tensors for run in (stopped, tiny_run))
    assert all((there[key] == value).all() for key, value in straight.items())


def test_a_visitor_who_leaves_closes_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ssm_metarl.ui.tabs.train.BETWEEN", 0.0)
    page = follow(train(TINY, tmp_path / "mine"), Monitor(TINY), Job("a", "training"), "mine")
    next(page)
    next(page)
    page.close()
    assert load_checkpoint(tmp_path / "mine" / "checkpoint").meta["iteration"] == 1


def test_the_page_hears_what_an_iteration_is_doing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long an iteration takes, the page goes on: here every part of it waits for that."""
    monkeypatch.setattr("ssm_metarl.ui.tabs.train.BETWEEN", 0.01)
    monitor, seen_by_page = Monitor(TINY), threading.Event()

    def slowly(phase: str) -> None:
        monitor.enter(phase)
        seen_by_page.clear()
        assert seen_by_page.wait(30)

    marked = []
    stream = train(TINY, tmp_path / "mine", on_phase=slowly)
    for status, _, _ in follow(stream, monitor, Job("a", "training"), "mine"):
        marked += re.findall("<li class=now>([^<]*)", status)
        seen_by_page.set()
    parts = list(LEARNERS["meta_rl"].phases.values())
    assert [part for part, _ in itertools.groupby(marked)] == 2 * parts


def test_the_bar_moves_within_an_iteration() -> None:
    monitor = Monitor(train_settings("CartPole-v1", "meta_rl", 10, 10))
    assert 'value="0.00"' in monitor.status()  # nothing has begun
    monitor.enter("support")
    time.sleep(0.1)
    now, later = (float(re.findall('value="([^"]*)"', monitor.status())[0]) for _ in range(2))
    assert 0.0 < now <= later < 1.0


def test_the_time_allowed_ends_a_training(tmp_path: Path) -> None:
    *_, (status, _, _) = seen(tmp_path / "mine", Job("a", "training", deadline=0.0))
    assert "The time allowed is over after 1 of 2 iterations" in status


def test_an_answer_that_is_waited_for_is_not_given_up_for_a_new_agent(store: RunStore) -> None:
    trainings = Trainings(store, Jobs())
    chosen = [trainings.settle(visitor("a"), "new", "old", *ASKED[:2])[0]["value"]]
    trainings.jobs.enqueue(visitor("a"), "adapting")
    trainings.jobs.enqueue(visitor("a"), "adapting")  # a second click
    chosen.append(trainings.settle(visitor("a"), "new", "old", *ASKED[:2])[0]["value"])
    assert trainings.jobs.cancel_waiting(visitor("a"), "adapting")
    chosen.append(trainings.settle(visitor("a"), "new", "old", *ASKED[:2])[0]["value"])
    assert chosen == ["new", "old", "new"]


def test_a_name_that_somebody_chose_is_never_replaced(store: RunStore) -> None:
    trainings = Trainings(store, Jobs())
    for name in ("mine", "cartpole-v1-meta-rl-1"):
        (store.runs / name).mkdir(parents=True)
        (store.runs / name / "config.json").write_text(TINY.to_json())
    *_, name = next(trainings.ready(visitor("a"), "cartpole-v1-meta-rl-1", *ASKED))
    assert name == "cartpole-v1-meta-rl-2"
    for who, wanted, says in (("a", "other", "your training has begun"), ("b", "mine", "already")):
        refused = trainings.ready(visitor(who), wanted, *ASKED)
        assert says in next(refused)[0]  # where it stays when the toast is gone
        with pytest.raises(gr.Error, match=says):
            next(refused)


def test_a_name_is_promised_to_one_visitor_while_they_wait(store: RunStore) -> None:
    trainings = Trainings(store, Jobs())
    offered = "cartpole-v1-meta-rl-1"
    given = [next(trainings.ready(visitor(one), offered, *ASKED))[-1] for one in "abc"]
    assert given == [offered, "cartpole-v1-meta-rl-2", "cartpole-v1-meta-rl-3"]
    next(trainings.ready(visitor("d"), "mine", *ASKED))
    assert "somebody is about to train" in next(trainings.ready(visitor("e"), "mine", *ASKED))[0]


def test_only_runs_of_the_page_are_continued(tmp_path: Path, tiny_run: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "pretrained" / "given")
    store = RunStore(tmp_path / "runs", tmp_path / "pretrained")
    with pytest.raises(UserError, match="comes with the page"):
        continued(store, "given")
    for hostile in ("../pretrained/given", "/etc", "a/b", "", "A", "x" * 65, None, ["given"]):
        with pytest.raises(UserError):
            continued(store, hostile)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"tasks_per_epoch": 10_000}, "tasks_per_epoch of that run is 10000"),
        ({"num_epochs": 401}, "num_epochs"),
        ({"blocks": 64}, "blocks"),
        ({"query_steps": 10**9}, "query_steps"),
        ({"env_name": "Blackjack-v1"}, "families"),
        ({"device": "cuda"}, "cpu"),
    ],
)
def test_runs_from_elsewhere_are_not_continued_beyond_the_limits(
    tmp_path: Path, setting: dict[str, Any], words: str
) -> None:
    (tmp_path / "runs" / "big").mkdir(parents=True)
    config = dataclasses.replace(TINY, **setting)
    (tmp_path / "runs" / "big" / "config.json").write_text(config.to_json())
    with pytest.raises(UserError, match=words):
        continued(RunStore(tmp_path / "runs"), "big")


@pytest.fixture(scope="module")
def place(site: Site) -> Iterator[Path]:
    """The folder of the page's runs, which is left as it was."""
    yield site.runs
    for name in ("mine", "back"):
        shutil.rmtree(site.runs / name, ignore_errors=True)


def ask(client: Client, name: str, iterations: int) -> ClientJob:
    settings = ("CartPole-v1", "meta_rl", iterations, 10, None, None, 2, 8, 4, "ssm", 0)
    return client.submit(name, *settings, api_name="/train")


def test_train_stop_and_resume_over_the_network(client: Client, place: Path) -> None:
    job = ask(client, "mine", 400)
    for _ in job:  # until it has begun
        if (place / "mine" / "metrics.jsonl").exists():
            break
    client.predict(api_name="/stop")
    status, _ = job.result(timeout=60)
    assert "Stopped after" in status
    done = load_checkpoint(place / "mine" / "checkpoint").meta["iteration"]
    assert done < 400
    again = client.submit("mine", api_name="/resume")
    next(iter(again))
    while len(read_metrics(place / "mine" / "metrics.jsonl")) <= done:
        time.sleep(0.05)
    client.predict(api_name="/stop")
    assert "Stopped after" in again.result(timeout=60)[0]
    assert load_checkpoint(place / "mine" / "checkpoint").meta["iteration"] > done


@pytest.mark.parametrize("name", ["mine", "../x", "/tmp/x", "A", "", "x" * 65])
def test_names_that_are_taken_or_paths_are_refused_over_the_network(
    client: Client, place: Path, name: str
) -> None:
    (place / "mine").mkdir(parents=True, exist_ok=True)
    before = sorted(place.parent.rglob("*"))
    with pytest.raises(Exception, match=r"choose another name|a run's name is made of") as error:
        ask(client, name, 2).result(timeout=60)
    assert str(place) not in str(error.value)
    assert sorted(place.parent.rglob("*")) == before


def test_a_choice_that_there_is_not_is_told_with_those_there_are(client: Client) -> None:
    with pytest.raises(Exception, match="Family of tasks is one of: CartPole-v1, "):
        client.predict("new", "Chess-v1", api_name="/train")


def test_a_run_is_taken_away_brought_back_and_deleted_over_the_network(
    client: Client, place: Path
) -> None:
    ask(client, "away", 1).result(timeout=60)
    assert "away" in [run["name"] for run in client.predict(api_name="/runs")]
    told = client.predict("away", api_name="/describe")
    assert (told["done"], told["config"]["width"]) == (1, 8)
    downloaded = client.predict("away", True, api_name="/download")
    client.predict("away", api_name="/delete_run")
    assert not (place / "away").exists()
    assert client.predict(handle_file(downloaded), "back", api_name="/import_run") == "back"
    assert (place / "back" / "experience" / "store.sqlite").exists()
    for hostile in ("../back", "cartpole", "nowhere"):
        with pytest.raises(Exception, match=r"no run|cannot be deleted|a run's name"):
            client.predict(hostile, api_name="/delete_run")
