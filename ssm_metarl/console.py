"""What the commands show while they work: a live bar in a terminal, elsewhere plain lines."""

import contextlib
import logging
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from types import FrameType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

INTERRUPTED = 130  # exit code: 128 + SIGINT, as shells have it
LINE_SECONDS = 5.0  # between plain lines
PAPER_COLUMNS = 100  # least width of what is in a file or a pipe

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def show(what: RenderableType, *, whole: bool = False) -> None:
    """Print a rich table or text, for the width of the terminal; in a pipe, as wide as it is.

    A `whole` one goes beyond the terminal's width, too, rather than that anything is cut.
    """
    piped = not sys.stdout.isatty()
    console = Console(highlight=False, width=PAPER_COLUMNS if piped else None)
    if whole or piped:
        room = console.options.update(max_width=10 * PAPER_COLUMNS)
        console.width = max(console.width, Measurement.get(console, room, what).maximum)
    console.print(what)


def say(kind: str, message: object) -> None:
    """Print `kind: message` to standard error, on exactly one line."""
    line = " ".join(_COLOUR.sub("", str(message)).split())
    print(f"{kind}: {line}", file=sys.stderr)


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Inside this block, show each warning as one line without the code that gave it.

    So are the lines that this package writes to its log, of what it chose by itself.
    """
    log, handler = logging.getLogger("ssm_metarl"), _Lines(logging.INFO)
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: say("warning", message)
            yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


class _Lines(logging.Handler):
    """Shows what is logged, a line each."""

    def emit(self, record: logging.LogRecord) -> None:
        kind = "warning" if record.levelno >= logging.WARNING else "note"
        say(kind, record.getMessage())


class Bar:
    """Progress on standard error: a live bar, or, where there is no terminal, a line now and then.

    Use it as a context. How much there is to do is not known until the first :meth:`update`.

    Args:
        title: What is done.
        done: How much of it was done before.
        window: Seconds of the past that say how long the rest will take.
    """

    def __init__(self, title: str, done: int = 0, window: float = 30.0) -> None:
        console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            expand=True,
            speed_estimate_period=window,
        )
        self._progress.add_task(title, total=None, completed=done)
        self._live = Live(console=console, refresh_per_second=8) if console.is_terminal else None
        self._said = time.monotonic()

    def __enter__(self) -> "Bar":
        if self._live:
            self._live.update(self._progress)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def update(self, done: int, total: int, text: str) -> None:
        """Move on, and say how it is going."""
        (task,) = self._progress.tasks
        self._progress.update(task.id, completed=done, total=total)
        if self._live:
            below = Text(text, style="dim", no_wrap=True, overflow="ellipsis")
            self._live.update(Group(self._progress, below))
        elif done == total or time.monotonic() - self._said > LINE_SECONDS:
            self._said = time.monotonic()
            left = f"; {task.time_remaining:.0f} s left" if task.time_remaining else ""
            print(f"{task.description} {done}/{total}: {text}{left}", file=sys.stderr, flush=True)


class Interruption:
    """Ctrl-C as a wish: inside this context it only sets `asked`, so that work ends in order.

    A second Ctrl-C interrupts at once, as usual. Other threads than the main one get no signals,
    and cannot ask for any.
    """

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "Interruption":
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._previous = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        if self._main:
            signal.signal(signal.SIGINT, self._previous)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("stopping after this iteration; again to stop at once", file=sys.stderr)


@contextlib.contextmanager
def ctrl_c_ignored() -> Iterator[None]:
    """Ignore Ctrl-C in this context; a process that is started in it does so for good.

    Does nothing in other threads than the main one, which cannot change what signals do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
