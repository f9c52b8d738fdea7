"""The running and queued jobs of every visitor: each can stop their own, and leaving stops them."""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gradio as gr

POLL = 0.05  # seconds


@dataclass(eq=False)
class Job:
    """One job, which checks regularly whether to go on.

    Attributes:
        visitor: Whose it is, as Gradio's session hash.
        kind: What it does, such as ``"training"``.
        run: The run that it will make, if any.
        page: The address of the page, as the visitor has it open.
        deadline: When it has to end at the latest, in seconds of the monotonic clock.
        waiting: Whether it is queued behind the jobs of others.
        stopped: Set to stop it; what it has done so far is shown.
        discarded: Set to stop it and show nothing of it.
    """

    visitor: str
    kind: str
    run: str = ""
    page: str = ""
    deadline: float = math.inf
    waiting: bool = True
    stopped: bool = False
    discarded: bool = False

    @property
    def should_stop(self) -> bool:
        """Whether to stop now."""
        return self.stopped or self.discarded or self.timed_out

    @property
    def timed_out(self) -> bool:
        """Whether the time allowed is over."""
        return time.monotonic() > self.deadline


class Jobs:
    """The jobs of all visitors."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []
        self._lock = threading.RLock()

    def _of(self, request: gr.Request, kind: str | None = None) -> list[Job]:
        with self._lock:
            own = [job for job in self._jobs if job.visitor == str(request.session_hash)]
        return [job for job in own if kind in (None, job.kind)]

    def enqueue(self, request: gr.Request, kind: str, run: str = "") -> None:
        """Note that a visitor's job is queued, so that they can also stop it before it runs.

        A second call before the job has ended, as by a double click, changes nothing.
        """
        with self._lock:
            if not self.is_active(request, kind):
                self._jobs.append(_new(request, kind, run))

    def is_queued(self, request: gr.Request, kind: str) -> bool:
        """Whether a job of a visitor waits for its turn, be it to be told that it is discarded."""
        return any(job.waiting for job in self._of(request, kind))

    @property
    def runs(self) -> set[str]:
        """The runs that jobs will make."""
        with self._lock:
            return {job.run for job in self._jobs if not job.discarded}

    @contextlib.contextmanager
    def run(self, request: gr.Request, kind: str, seconds: float) -> Iterator[Job]:
        """Run a visitor's queued job, or a new one, for so long at most."""
        with self._lock:
            job = next((job for job in self._of(request, kind) if job.waiting), None)
            if job is None:
                job = _new(request, kind)
                self._jobs.append(job)
            job.waiting, job.deadline = False, time.monotonic() + seconds
        try:
            yield job
        finally:
            with self._lock:
                self._jobs.remove(job)

    def stop(self, request: gr.Request, kind: str | None = None) -> None:
        """Stop a visitor's jobs of a kind, or all of them."""
        for job in self._of(request, kind):
            job.stopped = True

    def cancel_waiting(self, request: gr.Request, kind: str) -> bool:
        """Discard a visitor's queued job of a kind; return whether there was one."""
        waiting = [job for job in self._of(request, kind) if job.waiting and not job.discarded]
        for job in waiting:
            job.discarded = True
        return bool(waiting)

    def is_active(self, request: gr.Request, kind: str | None = None) -> bool:
        """Whether a visitor has a queued or running job whose result they will see."""
        return not all(job.discarded for job in self._of(request, kind))

    def discard(self, request: gr.Request, kind: str, patience: float) -> None:
        """Discard a visitor's jobs of a kind; wait at most so many seconds until they end."""
        for job in self._of(request, kind):
            job.discarded = True
        _wait_for(lambda: all(job.waiting for job in self._of(request, kind)), patience)

    def close(self, patience: float) -> None:
        """Stop everybody's jobs, and wait at most so many seconds until they have ended."""
        with self._lock:
            for job in self._jobs:
                job.stopped = True
        _wait_for(lambda: not self.busy, patience)

    @property
    def busy(self) -> bool:
        """Whether anything is running now."""
        with self._lock:
            return not all(job.waiting for job in self._jobs)


def _new(request: gr.Request, kind: str, run: str = "") -> Job:
    headers = getattr(request, "headers", {})  # there are none in a call without a request
    page, _, _ = headers.get("referer", "").partition("?")
    return Job(str(request.session_hash), kind, run, page)


def _wait_for(condition: Callable[[], bool], patience: float) -> None:
    until = time.monotonic() + patience
    while not condition() and time.monotonic() < until:
        time.sleep(POLL)
