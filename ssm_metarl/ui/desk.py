"""Who is at work: every visitor can stop their own work, and it stops when they leave."""

import collections
import contextlib
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import gradio as gr

from ssm_metarl.errors import UserError

HEAVY = "heavy"  # the one slot that training, adapting and evaluating wait for


@dataclass(eq=False)
class Work:
    """One piece of work, which looks here whether to go on.

    Attributes:
        kind: What is done: a word of the tab's.
        ends: When it has to end at the latest, in seconds of the monotonic clock.
        asked: Set when its visitor has had enough.
        dropped: Set when, besides, they do not want to see what has come of it.
        waiting: Whether it has not begun, because others are at work.
    """

    kind: str
    ends: float
    asked: threading.Event = field(default_factory=threading.Event)
    dropped: threading.Event = field(default_factory=threading.Event)
    waiting: bool = False

    @property
    def stopped(self) -> bool:
        """Whether to stop now."""
        return self.asked.is_set() or self.late

    @property
    def unwanted(self) -> bool:
        """Whether to stop now, without a word."""
        return self.dropped.is_set()

    def drop(self) -> None:
        """Have it stop, and nothing seen of it."""
        self.dropped.set()
        self.asked.set()

    @property
    def late(self) -> bool:
        """Whether the time allowed is over."""
        return time.monotonic() > self.ends


class Desk:
    """The work of each visitor, known by the session that Gradio gave them."""

    def __init__(self) -> None:
        self._works: dict[str, list[Work]] = collections.defaultdict(list)
        self._held: set[str] = set()
        self._lock = threading.Lock()

    def wait(self, request: gr.Request, kind: str) -> None:
        """Say that this visitor waits for their turn, so that they can also stop waiting.

        Saying so again, as a second click may, is saying it once.
        """
        with self._lock:
            own = self._works[str(request.session_hash)]
            if not any(one.waiting and one.kind == kind and not one.unwanted for one in own):
                own.append(Work(kind, math.inf, waiting=True))

    @contextlib.contextmanager
    def working(self, request: gr.Request, kind: str, seconds: float) -> Iterator[Work]:
        """Be at work for so long at most; it is stopped already if that was asked meanwhile."""
        visitor, work = str(request.session_hash), Work(kind, time.monotonic() + seconds)
        with self._lock:
            own = self._works[visitor]
            queued = next((one for one in own if one.waiting and one.kind == kind), None)
            if queued is not None:
                own.remove(queued)
                work.asked, work.dropped = queued.asked, queued.dropped
            own.append(work)
        try:
            yield work
        finally:
            with self._lock:
                own.remove(work)
                if not own:
                    del self._works[visitor]

    def stop(self, request: gr.Request, kind: str | None = None) -> None:
        """Stop what this visitor is doing, or waits to do: all of it, or that of a kind."""
        for work in self._of(request, kind):
            work.asked.set()

    def give_up(self, request: gr.Request, kind: str) -> bool:
        """Let nothing come of what this visitor only waits to do; return whether they did."""
        waiting = [work for work in self._of(request, kind) if work.waiting and not work.unwanted]
        for work in waiting:
            work.drop()
        return bool(waiting)

    def expects(self, request: gr.Request) -> bool:
        """Whether this visitor is doing something, or waits to, that they still want to see."""
        return not all(work.unwanted for work in self._of(request, None))

    def drop(self, request: gr.Request, kind: str, patience: float) -> None:
        """Stop it and let nothing be seen of it; wait for its end, so many seconds at most."""
        for work in self._of(request, kind):
            work.drop()
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if all(work.waiting for work in self._of(request, kind)):
                return
            time.sleep(0.05)

    def _of(self, request: gr.Request, kind: str | None) -> list[Work]:
        with self._lock:
            own = self._works.get(str(request.session_hash), ())
            return [work for work in own if kind in (None, work.kind)]

    def close(self, patience: float) -> None:
        """Stop everybody's work, and wait so many seconds at most until it has ended."""
        until = time.monotonic() + patience
        while self._stop_all() and time.monotonic() < until:
            time.sleep(0.05)

    def _stop_all(self) -> bool:
        """Stop everybody's work; return whether anything is still going on."""
        with self._lock:
            for own in self._works.values():
                for work in own:
                    work.asked.set()
        return self.busy

    @property
    def busy(self) -> bool:
        """Whether anybody is at work now."""
        with self._lock:
            works = [work for own in self._works.values() for work in own]
            return bool(self._held) or not all(work.waiting for work in works)

    @contextlib.contextmanager
    def holding(self, run: str) -> Iterator[None]:
        """Keep a run from being trained, deleted or made by anyone else meanwhile.

        Raises:
            UserError: Somebody else has it.
        """
        with self._lock:
            self.check_free(run)
            self._held.add(run)
        try:
            yield
        finally:
            self._held.discard(run)

    def check_free(self, run: str) -> None:
        """Make sure that nobody is at work on a run.

        Raises:
            UserError: Somebody is.
        """
        if run in self._held:
            raise UserError(f"{run} is being worked on right now; wait until that ends, or stop it")
