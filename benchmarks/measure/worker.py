"""A process of its own for each contestant: threads, compiled programs and memory stay apart."""

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
Work = Callable[[], float]
"""Does something once and returns how many units of work it was."""


class Timing(NamedTuple):
    """Seconds per unit of work."""

    wall: float
    processor: float


class Worker:
    """The parent's end: starts a process on some cores, and asks it to make and run work."""

    def __init__(self, threads: int = 1, source: Path = ROOT) -> None:
        count = str(threads)
        environment = os.environ | {
            "OMP_NUM_THREADS": count,
            "MKL_NUM_THREADS": count,
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": f"{source}{os.pathsep}{ROOT}",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.measure.worker", count],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=ROOT.anchor,  # or the checkout would come before the source that is asked for
        )

    @staticmethod
    def cores() -> list[int]:
        """Return the cores that there are to choose from."""
        return sorted(os.sched_getaffinity(0))

    def call(self, target: str, *arguments: Any, **settings: Any) -> Any:  # noqa: ANN401
        """Return what a function, ``module:name``, returns there."""
        return self._ask("call", target, arguments, settings)

    def make(self, target: str, **settings: Any) -> None:  # noqa: ANN401
        """Let a function make the work, and do it once to warm up."""
        self._ask("make", target, (), settings)

    def run(self, seconds: float) -> Timing:
        """Repeat the work for at least some seconds."""
        return self._ask("run", seconds)

    def peak(self) -> float:
        """Return the peak memory of the process in MB, libraries included."""
        return self._ask("peak")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def _ask(self, *request: object) -> Any:  # noqa: ANN401
        assert self._process.stdin
        assert self._process.stdout
        pickle.dump(request, self._process.stdin)
        self._process.stdin.flush()
        kind, answer = pickle.load(self._process.stdout)
        if kind == "error":
            raise RuntimeError(answer)
        return answer


def resolve(target: str) -> Callable[..., Any]:
    """Import a function by ``module:name``."""
    module, name = target.split(":")
    return getattr(import_module(module), name)


def timed(work: Work, seconds: float) -> Timing:
    """Repeat the work for at least some seconds; return seconds per unit."""
    units, started, spent = 0.0, time.perf_counter(), time.process_time()
    while True:
        units += work()
        wall = time.perf_counter() - started
        if wall >= seconds:
            return Timing(wall / units, (time.process_time() - spent) / units)


def own_peak() -> float:
    """Return this process's peak memory in MB (on Linux)."""
    # Not ru_maxrss, which a new process inherits from the one that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def serve(threads: int) -> None:
    """Answer requests until the parent hangs up."""
    os.sched_setaffinity(0, Worker.cores()[-threads:])
    replies, requests = os.fdopen(os.dup(1), "wb"), sys.stdin.buffer
    os.dup2(2, 1)  # what libraries print must not get among the replies
    work: Work | None = None
    while True:
        try:
            command, *rest = pickle.load(requests)
        except EOFError:
            return
        answer: object = None
        try:
            if command == "call":
                answer = resolve(rest[0])(*rest[1], **rest[2])
            elif command == "make":
                work = resolve(rest[0])(*rest[1], **rest[2])
                work()
            elif command == "run":
                assert work
                answer = timed(work, rest[0])
            else:
                answer = own_peak()
            reply = ("answer", answer)
        except Exception as error:
            reply = ("error", f"{type(error).__name__}: {error}")
        pickle.dump(reply, replies)
        replies.flush()


if __name__ == "__main__":
    from benchmarks.measure import worker  # pickles must name the module, not __main__

    worker.serve(int(sys.argv[1]))
