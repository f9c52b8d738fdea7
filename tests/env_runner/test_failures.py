"""Failed episodes are counted per task, and a task that keeps failing is given up."""

import numpy as np
import pytest

from ssm_metarl.env_runner.failures import MOST_FAILURES, FailedEpisodes
from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.errors import EnvironmentFailure

TASKS = Tasks({"mass": np.array([1.0, 1.3])}, np.array([4, 9]))
WHY = "the simulation became unstable"


def lanes(*ids: int) -> np.ndarray:
    """Return which of two lanes of either task are meant."""
    return np.isin(np.arange(4), ids)


def test_episodes_are_counted_by_task() -> None:
    failures = FailedEpisodes(TASKS)
    failures.count(lanes(), None, WHY)
    failures.count(lanes(0, 1, 2), lanes(2), WHY)
    failures.count(lanes(3), None, WHY)
    assert failures.ended.tolist() == [2, 2]
    assert failures.failed.tolist() == [0, 1]


def test_a_task_that_keeps_failing_is_given_up_with_its_values() -> None:
    failures = FailedEpisodes(TASKS)
    for _ in range(MOST_FAILURES - 1):
        failures.count(lanes(2, 3), lanes(3), WHY)
    with pytest.raises(EnvironmentFailure, match=r"unstable in 20 of 40 .* of the task mass=1\.3;"):
        failures.count(lanes(2, 3), lanes(3), WHY)


def test_as_many_failures_among_more_good_episodes_are_let_pass() -> None:
    failures = FailedEpisodes(TASKS)
    failures.count(lanes(0, 1), None, WHY)
    for _ in range(2 * MOST_FAILURES):
        failures.count(lanes(0, 1), None, WHY)
        failures.count(lanes(0, 1), lanes(0), WHY)
