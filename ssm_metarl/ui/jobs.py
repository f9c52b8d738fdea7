"""The running and queued jobs of every visitor: each can stop their own, and leaving stops them."""

import collections
import contextlib
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import gradio as gr

from ssm_metarl.errors import UserError

HEAVY = "heavy"  # the concurrency id of training, adapting and evaluating: one at a time
POLL = 0.05  # seconds


@dataclass(eq=False)
class Job:
    """One job, which checks regularly whether to go on.

    Attributes:
        kind: What it does, such as ``"training"``.
        deadline: When it has to end at the latest, in seconds of the monotonic clock.
        stop_event: Set to stop it; what it has done so far is shown.
        discard_event: Set as well to show nothing of it.
        waiting: Whether it is queued behind the jobs of others.
    """

    kind: str
    deadline: float
    stop_event: threading.Event = field(default_factory=threading.Event)
    discard_event: threading.Event = field(default_factory=threading.Event)
    waiting: bool = False

    @property
    def should_stop(self) -> bool:
        """Whether to stop now."""
        return self.stop_event.is_set() or self.timed_out

    @property
    def timed_out(self) -> bool:
        """Whether the time allowed is over."""
        return time.monotonic() > self.deadline

    @property
    def discarded(self) -> bool:
        """Whether to stop now and show nothing."""
        return self.discard_event.is_set()

    def discard(self) -> None:
        """Stop it and show nothing of it."""
        self.discard_event.set()
        self.stop_event.set()


class Jobs:
    """The jobs of each visitor, who is known by their Gradio session."""

    def __init__(self) -> None:
        self._jobs: dict[str, list[Job]] = collections.defaultdict(list)
        self._held: set[str] = set()
        self._lock = threading.Lock()

    def enqueue(self, request: gr.Request, kind: str) -> None:
        """Note that a visitor's job is queued, so that they can also stop it before it runs.

        A second call, as by a double click, changes nothing.
        """
        with self._lock:
            own = self._jobs[str(request.session_hash)]
            if not any(job.waiting and job.kind == kind and not job.discarded for job in own):
                own.append(Job(kind, math.inf, waiting=True))

    @contextlib.contextmanager
    def run(self, request: gr.Request, kind: str, seconds: float) -> Iterator[Job]:
        """Run a job for so long at most; it takes over a stop that was asked for in the queue."""
        visitor, job = str(request.session_hash), Job(kind, time.monotonic() + seconds)
        with self._lock:
            own = self._jobs[visitor]
            queued = next((one for one in own if one.waiting and one.kind == kind), None)
            if queued is not None:
                own.remove(queued)
                job.stop_event, job.discard_event = queued.stop_event, queued.discard_event
            own.append(job)
        try:
            yield job
        finally:
            with self._lock:
                own.remove(job)
                if not own:
                    del self._jobs[visitor]

    def stop(self, request: gr.Request, kind: str | None = None) -> None:
        """Stop a visitor's jobs of a kind, or all of them."""
        for job in self._of(request, kind):
            job.stop_event.set()

    def cancel_waiting(self, request: gr.Request, kind: str) -> bool:
        """Discard a visitor's queued job of a kind; return whether there was one."""
        waiting = [job for job in self._of(request, kind) if job.waiting and not job.discarded]
        for job in waiting:
            job.discard()
        return bool(waiting)

    def is_active(self, request: gr.Request) -> bool:
        """Whether a visitor has a queued or running job whose result they will see."""
        return not all(job.discarded for job in self._of(request, None))

    def discard(self, request: gr.Request, kind: str, patience: float) -> None:
        """Discard a visitor's jobs of a kind; wait at most so many seconds until they end."""
        for job in self._of(request, kind):
            job.discard()
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if all(job.waiting for job in self._of(request, kind)):
                return
            time.sleep(POLL)

    def _of(self, request: gr.Request, kind: str | None) -> list[Job]:
        with self._lock:
            own = self._jobs.get(str(request.session_hash), ())
            return [job for job in own if kind in (None, job.kind)]

    def close(self, patience: float) -> None:
        """Stop everybody's jobs, and wait at most so many seconds until they have ended."""
        with self._lock:
            for job in self._all():
                job.stop_event.set()
        until = time.monotonic() + patience
        while self.busy and time.monotonic() < until:
            time.sleep(POLL)

    @property
    def busy(self) -> bool:
        """Whether anything is running now."""
        with self._lock:
            return bool(self._held) or not all(job.waiting for job in self._all())

    def _all(self) -> list[Job]:
        return [job for own in self._jobs.values() for job in own]

    @contextlib.contextmanager
    def hold(self, run: str) -> Iterator[None]:
        """Keep a run from being trained, deleted or made by anyone else meanwhile.

        Raises:
            UserError: Somebody else is using it.
        """
        with self._lock:
            self.check_free(run)
            self._held.add(run)
        try:
            yield
        finally:
            self._held.discard(run)

    def check_free(self, run: str) -> None:
        """Make sure that nobody is using a run.

        Raises:
            UserError: Somebody is.
        """
        if run in self._held:
            raise UserError(f"{run} is in use right now; wait until that ends, or stop it")
