"""Episodes in which an environment broke down: they are void, counted, and not too many."""

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Int

from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.errors import EnvironmentFailure, SsmMetaRLError

SIMULATION_FAILED = "simulation_failed"
"""In an environment's info, why the episode that it ends has failed."""

ALL_TASKS = "all tasks"
MOST_FAILURES = 20
"""A task is given up when so many of its episodes failed, and no fewer than went well."""


class FailedEpisodes:
    """Counts of episodes that ended and of those that failed, for each of K tasks.

    Attributes:
        failed: Episodes that failed, int64 ``[K]``.
        ended: All episodes, the failed ones too, int64 ``[K]``.
    """

    def __init__(self, tasks: Tasks) -> None:
        """Begin with none.

        Args:
            tasks: The K tasks.
        """
        self._tasks = tasks
        self.failed = np.zeros(len(tasks), dtype=np.int64)
        self.ended = np.zeros(len(tasks), dtype=np.int64)

    def count(
        self,
        ended: Bool[np.ndarray, "N"],
        failed: Bool[np.ndarray, "N"] | None,
        why: str,
        lane: int | None = None,
    ) -> None:
        """Count the episodes that end on a step.

        Args:
            ended: Of each of the K x E lanes, those of a task side by side; failed ones too.
            failed: Which of them failed; None for none.
            why: What happened, to begin a sentence with: "the simulation became unstable".
            lane: Where it happened, if it took other lanes with it.

        Raises:
            EnvironmentFailure: Most episodes of a task fail.
        """
        if not ended.any():
            return
        self.ended += ended.reshape(len(self._tasks), -1).sum(1)
        if failed is None:
            return
        self.failed += failed.reshape(len(self._tasks), -1).sum(1)
        hopeless = (self.failed >= MOST_FAILURES) & (2 * self.failed >= self.ended)
        if hopeless.any():
            own = 0 if lane is None else lane * len(hopeless) // len(ended)
            k = own if hopeless[own] else int(hopeless.argmax())
            counts = f"{self.failed[k]} of {self.ended[k]} episodes"
            raise EnvironmentFailure(f"{why} in {counts} of {_named(self._tasks, k)}")


class FailingIterations:
    """Counts that go on from one iteration of a training to the next.

    They begin anew with one in which fewer episodes fail than go well. That is asked of every task
    by itself, and of all together, since tasks of a range are hardly ever drawn twice.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._counts: dict[str, np.ndarray] = {}  # of a task: episodes that failed, and all

    def count(
        self, played: Sequence[tuple[Tasks, Int[np.ndarray, "_"], Int[np.ndarray, "_"]]]
    ) -> None:
        """Count the episodes of an iteration.

        Args:
            played: Of each of its rollouts K tasks, how many of their episodes failed, and how many
                ended, failed ones too.

        Raises:
            EnvironmentFailure: Most episodes of a task, or of all, fail again and again.
        """
        now: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(2, dtype=np.int64))
        for tasks, failed, ended in played:
            for k in range(len(tasks)):
                now[_named(tasks, k)] += failed[k], ended[k]
        together = sum(now.values(), np.zeros(2, dtype=np.int64))
        for name, counts in [*now.items(), (ALL_TASKS, together)]:
            if 2 * counts[0] < counts[1]:
                self._counts.pop(name, None)
                continue
            failed, ended = self._counts[name] = counts + self._counts.get(name, 0)
            if failed >= MOST_FAILURES:
                worst = max(now, key=lambda task: now[task][0])
                where = f"{name}, such as {worst}" if name == ALL_TASKS else name
                raise EnvironmentFailure(
                    f"the environment failed in {failed} of {ended} episodes of {where}"
                )


def _named(tasks: Tasks, k: int) -> str:
    hint = "; a narrower range would help" if tasks.values else ""
    return f"the task {tasks.describe(k)}{hint}"


@contextlib.contextmanager
def failures_named(what: str) -> Iterator[None]:
    """Tell what the environment raises from what we do."""
    try:
        yield
    except SsmMetaRLError:
        raise
    except Exception as error:
        raise EnvironmentFailure(failure_text(what, error)) from error


def failure_text(what: str, error: Exception) -> str:
    """Return an error of an environment in a line: what it was doing, and what it raised."""
    reason = " ".join(str(error).split())
    return f"the environment failed in {what}: {type(error).__name__}: {reason}"
