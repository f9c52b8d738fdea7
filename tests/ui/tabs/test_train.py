"""Training on the page: what a visitor may ask, what they see, and that stopping loses nothing."""

import dataclasses
import itertools
import re
import threading
import time
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
from ssm_metarl.training.tracking import read_metrics
from ssm_metarl.ui.jobs import Job, Jobs
from ssm_metarl.ui.limits import TRAINING
from ssm_metarl.ui.monitor import Monitor
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.tabs.train import Trainings, continued, follow
from ssm_metarl.ui.train_settings import (
    PACE,
    clamped,
    defaults,
    duration,
    expected_seconds,
    is_large,
    iterations_of,
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
    assert drawn(curve) == {"best possible": 2, "before adapting": 2, "after adapting": 2}


def test_stopping_keeps_the_iteration_and_resuming_ends_where_it_would_have(tmp_path: Path) -> None:
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    job = Job("a", "training")
    job.stopped = True
    *_, (status, _, name) = seen(stopped, job)
    assert name == "mine"  # its agent is there, and can be adapted
    assert "Stopped after 1 of 2 iterations" in status
    assert load_checkpoint(stopped / "checkpoint").meta["iteration"] == 1
    *_, (status, curve, name) = seen(stopped, Job("a", "training"), again=True)
    assert name == "mine"
    assert drawn(curve)["before adapting"] == 2  # with that of before the stop
    list(train(TINY, whole))
    there, straight = (load_checkpoint(run / "checkpoint").tensors for run in (stopped, whole))
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


def test_numbers_are_brought_within_their_limits() -> None:
    config = train_settings(
        "CartPole-v1", "rl2", 1e9, 200, None, None, 1e300, -5, None, "gru", float("inf")
    )
    assert config.num_epochs == TRAINING["num_epochs"]
    assert config.tasks_per_epoch == TRAINING["tasks_per_epoch"]
    assert config.width == 1
    assert config.inner_lr is None
    assert config.device == "cpu"
    assert not config.trust_env_code


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("os.path:Env-v0", "meta_rl", 2, 10), "families"),
        (("Blackjack-v1", "meta_rl", 2, 10), "families"),
        ((["CartPole-v1"], "meta_rl", 2, 10), "families"),
        (("CartPole-v1", "evil", 2, 10), "meta_rl, policy_gradient, rl2"),
        (("CartPole-v1", ["meta_rl"], 2, 10), "meta_rl, rl2, policy_gradient"),
        (("CartPole-v1", "meta_rl", float("nan"), 10), "iterations must be a number"),
        (("CartPole-v1", "meta_rl", "2", 10), "iterations must be a number"),
        ((*ASKED, True), "inner_lr must be a number"),
        ((*ASKED, None, float("nan")), "outer_lr must be a number"),
        ((*ASKED, None, None, None, None, None, "lstm"), "lstm.*gru"),
        ((*ASKED, None, None, None, None, None, "ssm", None), "seed must be a number"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(asked: tuple[Any, ...], words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        train_settings(*asked)
    assert "\n" not in str(error.value)


def test_what_is_brought_within_its_limits_is_said() -> None:
    assert list(clamped([0.01, 0.001, 16, None, 8])) == []
    rate, tasks, width = clamped([5.0, 0.001, 3.5, 10_000, None])
    assert rate == "inner_lr: 1 is taken; valid here: 1e-06 to 1."
    assert tasks == "tasks_per_epoch: 4 is taken; valid here: 1 to 64."
    assert width == "width: 128 is taken; valid here: 1 to 128."


def test_every_learner_of_every_family_has_a_time_and_defaults() -> None:
    for family, paces in PACE.items():
        assert paces.keys() == LEARNERS.keys()
        for learner in LEARNERS:
            config = train_settings(family, learner, 40, 200)
            assert expected_seconds(config) == pytest.approx(paces[learner] * iterations_of(config))
            assert all(value is None or value > 0 for value in defaults(family, learner).values())
    once, twice = (
        train_settings("CartPole-v1", "meta_rl", 40, 9, None, None, n) for n in (None, 32)
    )
    assert expected_seconds(twice) == 2 * expected_seconds(once)
    assert is_large(train_settings("CartPole-v1", "meta_rl", 40, 9, None, None, None, 128, 16))
    assert not is_large(train_settings("CartPole-v1", "meta_rl", 40, 9, None, None, None, 16, 8))
    assert not is_large(twice)


def test_times_are_said_no_more_exactly_than_they_are_known() -> None:
    said = [duration(seconds) for seconds in (1.0, 44.0, 100.0, 7200.0)]
    assert said == ["a few seconds", "about 45 s", "about 2 min", "about 2.0 h"]


def test_what_suits_the_family_is_left_to_it() -> None:
    usual = defaults("Pendulum-v1", "rl2")
    config = train_settings("Pendulum-v1", "rl2", 2, 10, *usual.values())
    assert {getattr(config, name) for name in usual} == {None}
    assert train_settings("Pendulum-v1", "rl2", 2, 10, None, 0.5).outer_lr == 0.1  # the most


def test_a_run_is_held_by_one_visitor() -> None:
    jobs = Jobs()
    with jobs.hold("mine"):
        with pytest.raises(UserError, match="mine is in use right now"), jobs.hold("mine"):
            pass
        with jobs.hold("yours"):
            pass
    jobs.check_free("mine")


def test_who_waits_can_stop_waiting() -> None:
    jobs = Jobs()
    jobs.enqueue(visitor("a"), "x")
    jobs.stop(visitor("a"))
    with (
        jobs.run(visitor("a"), "x", 60.0) as first,
        jobs.run(visitor("b"), "x", 60.0) as others,
    ):
        assert first.should_stop
        assert not others.should_stop
    with jobs.run(visitor("a"), "x", 60.0) as second:
        assert not second.should_stop


def test_all_that_a_visitor_does_is_stopped_or_that_of_a_kind() -> None:
    jobs = Jobs()
    with jobs.run(visitor("a"), "x", 60.0) as one, jobs.run(visitor("a"), "y", 60.0) as two:
        jobs.stop(visitor("a"), "x")
        assert one.should_stop
        assert not two.should_stop
        jobs.stop(visitor("a"))
        assert two.should_stop
        assert not two.discarded


def test_who_waits_is_not_at_work_yet() -> None:
    jobs = Jobs()
    jobs.enqueue(visitor("a"), "x")
    assert not jobs.busy
    with jobs.run(visitor("a"), "x", 60.0):
        assert jobs.busy
    with jobs.hold("mine"):
        assert jobs.busy
    assert not jobs.busy


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
    *_, name = trainings.ready(visitor("a"), "cartpole-v1-meta-rl-1", *ASKED)
    assert name == "cartpole-v1-meta-rl-2"
    with pytest.raises(UserError, match="already"):
        trainings.ready(visitor("a"), "mine", *ASKED)


def wait_for_stop(job: Job) -> None:
    while not job.should_stop:
        time.sleep(0.01)


def test_who_drops_work_waits_for_its_end() -> None:
    jobs, ended = Jobs(), []

    def work() -> None:
        with jobs.run(visitor("a"), "x", 60.0) as mine:
            wait_for_stop(mine)
            ended.append(mine.discarded)

    at_work = threading.Thread(target=work)
    at_work.start()
    while not jobs.busy:
        time.sleep(0.01)
    jobs.enqueue(visitor("a"), "x")  # its turn may be long in coming
    jobs.discard(visitor("a"), "x", 10.0)
    assert ended == [True]
    at_work.join()
    with jobs.run(visitor("a"), "x", 60.0) as second:
        assert second.discarded


def test_closing_waits_for_work_that_has_begun() -> None:
    jobs, ended = Jobs(), []

    def work() -> None:
        with jobs.run(visitor("a"), "x", 60.0) as mine:
            wait_for_stop(mine)
            time.sleep(0.2)
            ended.append(True)

    at_work = threading.Thread(target=work)
    jobs.enqueue(visitor("b"), "x")  # and never comes
    at_work.start()
    while not jobs.busy:
        time.sleep(0.01)
    jobs.close(10.0)
    assert ended
    at_work.join()


def test_only_runs_of_the_page_are_continued(tmp_path: Path) -> None:
    list(train(TINY, tmp_path / "pretrained" / "given"))
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
def place(site: Site) -> Path:
    return site.runs


@pytest.fixture(scope="module")
def client(site: Site) -> Client:
    return Client(site.url, verbose=False)


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
    parcel = client.predict("away", True, api_name="/download")
    client.predict("away", api_name="/delete_run")
    assert not (place / "away").exists()
    assert client.predict(handle_file(parcel), "back", api_name="/import_run") == "back"
    assert (place / "back" / "experience" / "store.sqlite").exists()
    for hostile in ("../back", "cartpole", "nowhere"):
        with pytest.raises(Exception, match=r"no run|cannot be deleted|a run's name"):
            client.predict(hostile, api_name="/delete_run")
