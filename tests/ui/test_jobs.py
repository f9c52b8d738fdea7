"""What visitors do on the server: they wait for each other, stop, and are waited for."""

import threading
import time

import gradio as gr

from ssm_metarl.ui.jobs import Job, Jobs


def visitor(name: str) -> gr.Request:
    return gr.Request(session_hash=name)


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
    assert not jobs.busy


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
    jobs.discard(visitor("a"), "x", 10.0)
    assert ended == [True]
    at_work.join()
    jobs.enqueue(visitor("a"), "x")
    jobs.discard(visitor("a"), "x", 10.0)  # at once: its turn may be long in coming
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


def test_two_clicks_are_one_job_until_it_has_ended() -> None:
    jobs = Jobs()
    jobs.enqueue(visitor("a"), "x", "mine")
    jobs.enqueue(visitor("a"), "x", "mine-2")
    assert jobs.runs == {"mine"}
    with jobs.run(visitor("a"), "x", 60.0):
        jobs.enqueue(visitor("a"), "x")
        assert not jobs.is_queued(visitor("a"), "x")
    jobs.enqueue(visitor("a"), "x")
    assert jobs.is_queued(visitor("a"), "x")
