"""Failed episodes are counted per task, and a task that keeps failing is given up."""

import numpy as np
import pytest

from ssm_metarl.env_runner.failures import MOST_FAILURES, FailedEpisodes, FailingIterations
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


def iteration(failed: list[int], tasks: Tasks = TASKS, ended: int = 10) -> list:
    """Return what an iteration of two rollouts played, the second of which went well."""
    sound = np.zeros(len(tasks), dtype=np.int64)
    return [(tasks, np.array(failed), sound + ended), (tasks, sound, sound + 2)]


def test_a_task_that_fails_in_every_iteration_is_given_up() -> None:
    failing = FailingIterations()
    for _ in range(MOST_FAILURES // 7):
        failing.count(iteration([0, 7]))
    with pytest.raises(EnvironmentFailure, match=r"in 21 of 36 episodes of the task mass=1\.3; a"):
        failing.count(iteration([0, 7]))


def test_an_iteration_that_goes_well_begins_anew() -> None:
    failing = FailingIterations()
    for _ in range(10):
        failing.count(iteration([0, 7]))
        failing.count(iteration([3, 5]))  # of 12


def test_tasks_that_are_new_every_time_are_given_up_together() -> None:
    failing = FailingIterations()

    def drawn(mass: float) -> Tasks:
        return Tasks({"mass": np.array([mass, mass + 0.1])}, np.array([0, 1]))

    failing.count(iteration([6, 8], drawn(1.0)))
    with pytest.raises(EnvironmentFailure, match=r"in 28 of 48 .* of all tasks, .* mass=2\.1;"):
        failing.count(iteration([6, 8], drawn(2.0)))


def test_a_task_that_is_not_drawn_for_a_while_keeps_its_count() -> None:
    failing, good = FailingIterations(), Tasks({"mass": np.full(8, 1.0)}, np.arange(8))
    for _ in range(2):
        failing.count(iteration([0] * 8, good) + iteration([0, 9]))
    failing.count(iteration([0] * 8, good))
    with pytest.raises(EnvironmentFailure, match=r"in 27 of 36 .* of the task mass=1\.3"):
        failing.count(iteration([0] * 8, good) + iteration([0, 9]))
