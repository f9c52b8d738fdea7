"""Who is at work: every visitor can stop their own work, and it stops when they leave."""

import threading
import time
from dataclasses import dataclass, field

import gradio as gr


@dataclass
class Work:
    """One piece of work, which looks here whether to go on.

    Attributes:
        ends: When it has to end at the latest, in seconds of the monotonic clock.
        asked: Set when its visitor has had enough.
    """

    ends: float
    asked: threading.Event = field(default_factory=threading.Event)

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

    def begin(self, request: gr.Request, seconds: float) -> Work:
        """Begin work that may take so long."""
        work = Work(time.monotonic() + seconds)
        self._works[str(request.session_hash)] = work
        return work

    def stop(self, request: gr.Request) -> None:
        """Stop what this visitor is doing, if anything."""
        work = self._works.pop(str(request.session_hash), None)
        if work is not None:
            work.asked.set()
