"""Who is at work: every visitor can stop their own work, and it stops when they leave."""

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import gradio as gr

from ssm_metarl.errors import UserError


@dataclass
class Work:
    """One piece of work, which looks here whether to go on.

    Attributes:
        ends: When it has to end at the latest, in seconds of the monotonic clock.
        asked: Set when its visitor has had enough.
        waiting: Whether it has not begun, because others are at work.
    """

    ends: float
    asked: threading.Event = field(default_factory=threading.Event)
    waiting: bool = False

    @property
    def stopped(self) -> bool:
        """Whether to stop now."""
        return self.asked.is_set() or self.late

    @property
    def late(self) -> bool:
        """Whether the time allowed is over."""
        return time.monotonic() > self.ends


class Desk:
    """The work of each visitor, known by the session that Gradio gave them."""

    def __init__(self) -> None:
        self._works: dict[str, Work] = {}
        self._held: set[str] = set()
        self._lock = threading.Lock()

    def wait(self, request: gr.Request) -> None:
        """Say that this visitor waits for their turn, so that they can also stop waiting."""
        self._works[str(request.session_hash)] = Work(math.inf, waiting=True)

    def begin(self, request: gr.Request, seconds: float) -> Work:
        """Begin work that may take so long; it is stopped already if that was asked meanwhile."""
        work, queued = Work(time.monotonic() + seconds), self._works.get(str(request.session_hash))
        if queued is not None and queued.waiting:
            work.asked = queued.asked
        self._works[str(request.session_hash)] = work
        return work

    def stop(self, request: gr.Request) -> None:
        """Stop what this visitor is doing, or waits to do, if anything."""
        work = self._works.get(str(request.session_hash))
        if work is not None:
            work.asked.set()
            if not work.waiting:
                del self._works[str(request.session_hash)]

    def close(self, patience: float) -> None:
        """Stop everybody's work, and wait so many seconds at most until their runs are saved."""
        for work in list(self._works.values()):
            work.asked.set()
        until = time.monotonic() + patience
        while self._held and time.monotonic() < until:
            time.sleep(0.05)

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
