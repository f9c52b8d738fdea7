"""Episodes in which an environment broke down: they are void, counted, and not too many."""

import numpy as np
from jaxtyping import Bool

from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.errors import EnvironmentFailure

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
        self, ended: Bool[np.ndarray, "N"], failed: Bool[np.ndarray, "N"] | None, why: str
    ) -> None:
        """Count the episodes that end on a step.

        Args:
            ended: Of each of the K x E lanes, those of a task side by side; failed ones too.
            failed: Which of them failed; None for none.
            why: What happened, to begin a sentence with: "the simulation became unstable".

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
            k = int(hopeless.argmax())
            raise EnvironmentFailure(
                f"{why} in {self.failed[k]} of {self.ended[k]} episodes of the task "
                f"{self._tasks.describe(k)}; a narrower range would help"
            )
