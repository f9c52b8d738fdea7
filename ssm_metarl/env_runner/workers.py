"""Ordinary environments in a few worker processes, each stepping many lanes.

What goes in and comes out lies in memory that all of them share; messages say only what to do.
"""

import itertools
import os
import sys
import time
import weakref
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from ssm_metarl.env_runner.failures import MOST_FAILURES
from ssm_metarl.env_runner.lane_records import TERMINATED, TRUNCATED, Records, block_type
from ssm_metarl.env_runner.lanes import another_seed
from ssm_metarl.env_runner.pool import Builder, Values
from ssm_metarl.env_runner.worker_process import (
    PATIENCE,
    CannotBeShared,
    Died,
    Worker,
    mapped,
    packed,
    shared_memory,
)
from ssm_metarl.errors import EnvironmentFailure

MOST_STARTS = 3  # of a worker that dies while it builds environments


class Crew:
    """Workers that keep the environments of a family, for one `WorkerLanes` after another.

    Attributes:
        workers: Those that run.
        rollouts: How often lanes were built.
        crashes: How often a worker died.
        busy: Whether there are lanes that nobody closed.
    """

    def __init__(self, builder: Builder) -> None:
        """Start none yet.

        Args:
            builder: What builds the environments.

        Raises:
            CannotBeShared: Not in other processes.
        """
        if os.name != "posix" or not sys.executable:
            raise CannotBeShared("worker processes are not supported on this system")
        self.builder, self._setup = builder, packed(builder)
        self.workers: list[Worker] = []
        self.rollouts = self.crashes = 0
        self._lanes: Any = lambda: None
        self._memory, self._size = shared_memory(), 0
        weakref.finalize(self, _leave, os.getpid(), self.workers, self._memory)

    @property
    def busy(self) -> bool:
        """Whether there are lanes that nobody has closed or forgotten."""
        return self._lanes() is not None

    def serve(self, lanes: "WorkerLanes | None") -> None:
        """Belong to these lanes from now on."""
        self._lanes = weakref.ref(lanes) if lanes else lambda: None

    def start(self, number: int) -> None:
        """Have as many workers, at least.

        Raises:
            CannotBeShared: They cannot build the environments.
        """
        known = len(self.workers)
        try:
            self.workers += [Worker(self._setup, self._memory) for _ in range(known, number)]
            for k in range(known, number):  # after all have been started
                _check_started(self.workers[k])
        except BaseException:
            self.stop()
            raise

    def replace(self, k: int) -> Worker:
        """Start a worker in the place of one that died."""
        self.workers[k] = Worker(self._setup, self._memory)
        _check_started(self.workers[k])
        return self.workers[k]

    def records(self, lanes: int) -> Records:
        """Return the records of lanes, in memory that the workers share."""
        kind = block_type(self.builder.observation_space, self.builder.action_space, lanes)
        if kind.itemsize > self._size:
            self._size = kind.itemsize
            os.ftruncate(self._memory, self._size)
        return mapped(self._memory, kind)

    def stop(self) -> None:
        """Kill the workers."""
        while self.workers:
            self.workers.pop().kill()

    def close(self) -> None:
        """Let the workers close their environments and end."""
        _end(self.workers)


class WorkerLanes:
    """Lanes in worker processes, neighbours together.

    The numbers are those of `LocalLanes`, to the bit. A worker that dies is started anew; the
    episodes of its lanes have failed.
    """

    def __init__(
        self,
        crew: Crew,
        tasks: Sequence[Values],
        workers: int,
        *,
        max_episode_steps: int,
        autoreset: bool = True,
    ) -> None:
        """Build what environments are missing.

        Args:
            crew: The workers; not busy.
            tasks: The values of each lane's task, ``[N]``.
            workers: How many of them, at least.
            max_episode_steps: Steps after which an episode is truncated.
            autoreset: Whether a lane starts its next episode by itself.
        """
        self.crew, self._tasks, self._autoreset = crew, tasks, autoreset
        self.observation_space: gymnasium.Space = crew.builder.observation_space
        self.action_space = crew.builder.action_space
        crew.start(workers)
        crew.serve(self)
        crew.rollouts += 1
        self._workers, self.records = crew.workers, crew.records(len(tasks))
        ends = [len(tasks) * k // len(self._workers) for k in range(len(self._workers) + 1)]
        self._parts = [slice(*pair) for pair in itertools.pairwise(ends)]
        settings = {"max_episode_steps": max_episode_steps, "autoreset": autoreset}
        self._builds = [
            ("build", len(tasks), part.start, tasks[part], settings) for part in self._parts
        ]
        for k, answer in enumerate(self._ask(self._builds)):
            if isinstance(answer, Died):
                self._rebuild(k, answer)
        self._seeds = np.zeros(len(tasks), dtype=np.int64)
        self._over = np.zeros(len(tasks), dtype=bool)  # lanes whose episode has ended

    def reset(self, seeds: Sequence[int]) -> None:
        """Start every lane anew."""
        self._seeds[:] = seeds
        self._over[:] = False
        messages = [("reset", self._seeds[part].tolist()) for part in self._parts]
        for k, answer in enumerate(self._ask(messages)):
            if isinstance(answer, Died):
                none = self._over[self._parts[k]]
                self._replace(k, answer, begins=~none, fails=none)

    def step(self) -> dict[int, str]:
        """Take a step in every lane; see :class:`ssm_metarl.env_runner.lanes.Lanes`."""
        failed: dict[int, str] = {}
        for k, answer in enumerate(self._ask([("step",)] * len(self._parts))):
            if isinstance(answer, Died):
                over = self._over[self._parts[k]]
                answer = self._replace(k, answer, begins=over & self._autoreset, fails=~over)
            failed |= {self._parts[k].start + lane: why for lane, why in answer.items()}
        now = self.records.flags[TERMINATED] | self.records.flags[TRUNCATED]
        self._over = now if self._autoreset else self._over | now
        return failed

    def close(self) -> None:
        """Leave the environments with the workers."""
        if self.crew.workers:
            self._ask([("close",)] * len(self._parts))
        self.crew.serve(None)

    def _ask(self, messages: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send each worker a message; return their answers, :class:`Died` of those that did."""
        try:
            for worker, message in zip(self._workers, messages, strict=True):
                worker.tell(message)
            return [worker.answer() for worker in self._workers]
        except BaseException:  # Ctrl-C too: what comes late would answer another question
            self.crew.stop()
            raise

    def _replace(
        self, k: int, died: Died, *, begins: np.ndarray, fails: np.ndarray
    ) -> dict[int, str]:
        """Start a worker anew, whose lanes go on with other episodes.

        Args:
            k: Which one.
            died: How it ended.
            begins: Which of its lanes began an episode: that fails on the next step.
            fails: Which of them had one that fails now.

        Returns:
            The latter by their places in the part, that in which it died first, and why.
        """
        part, crew = self._parts[k], self.crew
        records, why = self.records.part(part), f"a worker process {died}"
        lane = int(np.isnan(records.reward).argmax())  # the first that had not been stepped
        task = ", ".join(f"{name}={v:.3g}" for name, v in self._tasks[part][lane].items())
        where = f"{why} in the task {task or 'nominal'}"
        crew.crashes += 1
        if crew.crashes >= max(MOST_FAILURES, crew.rollouts / 2):
            raise EnvironmentFailure(f"{where}, the {crew.crashes}th in {crew.rollouts} rollouts")
        self._rebuild(k, died)
        for field in (records.observation, records.reward, records.flags):
            field.fill(0)
        records.flags[TERMINATED] = fails
        seeds = [another_seed(seed, crew.crashes) for seed in self._seeds[part].tolist()]
        self._seeds[part] = seeds
        unfit = dict.fromkeys(np.flatnonzero(begins).tolist(), why)
        self._workers[k].tell(("resume", seeds, unfit))
        self._workers[k].answer()
        lanes = sorted(np.flatnonzero(fails).tolist(), key=lambda each: each != lane)
        return dict.fromkeys(lanes, why)

    def _rebuild(self, k: int, died: Died) -> None:
        """Start a worker anew, with its environments."""
        for _ in range(MOST_STARTS):
            worker = self.crew.replace(k)
            worker.tell(self._builds[k])
            if not isinstance(worker.answer(), Died):
                return
        raise EnvironmentFailure(f"a worker process {died} while it built environments")


def _check_started(worker: Worker) -> None:
    answer = worker.answer()
    if isinstance(answer, Died):
        raise EnvironmentFailure(f"a worker process {answer} while it started")


def _end(workers: list[Worker]) -> None:
    """End workers in order."""
    for worker in workers:
        worker.hang_up()
    until = time.monotonic() + PATIENCE
    while workers:
        workers.pop().wait(until)


def _leave(owner: int, workers: list[Worker], memory: int) -> None:
    """End the workers of a crew that is gone, unless this process is a copy of its owner."""
    if os.getpid() == owner:
        _end(workers)
    os.close(memory)
