"""Ordinary environments that are kept for one rollout after another, here or in worker processes.

Where they are is chosen by the cost of a step, measured once. The numbers are the same.
"""

import copy
import logging
import os
import time
from collections.abc import Sequence
from typing import Any

import gymnasium

from ssm_metarl.env_runner.cores import usable_cores
from ssm_metarl.env_runner.lanes import Lanes, LocalLanes
from ssm_metarl.env_runner.pool import Builder, EnvironmentPool, Values
from ssm_metarl.env_runner.worker_process import CannotBeShared
from ssm_metarl.env_runner.workers import Crew, WorkerLanes
from ssm_metarl.errors import UserError

WORKERS = "SSM_METARL_WORKERS"
"""The environment variable that says how many workers there are: "auto", or a number; 0 for none"""
LEAST_WORK = 0.5e-3
"""Seconds that a worker must have to do on every step; speaking to it takes a tenth of that."""
PLAYED, SECONDS = 100, 0.2  # steps to measure their cost with, and how long that may take

log = logging.getLogger(__name__)


class KeptEnvironments:
    """The environments of a family; whoever creates it closes it.

    Attributes:
        builder: What builds them.
        pool: Those in this process.
    """

    def __init__(self, builder: Builder, nominal: Values) -> None:
        """Begin with none.

        Args:
            builder: What builds them.
            nominal: Values of the task whose steps are measured.
        """
        self.builder, self.pool, self._nominal = builder, EnvironmentPool(builder), nominal
        self._crew: Crew | None = None
        self._step_seconds: float | None = None
        self._said: set[str] = set()

    def lanes(self, tasks: Sequence[Values], **settings: Any) -> Lanes:  # noqa: ANN401
        """Return lanes of these tasks, whose environments come back when they are closed.

        Args:
            tasks: The values of each lane's task, ``[N]``.
            settings: Of :class:`LocalLanes`.

        Raises:
            UserError: As many workers were asked for as there cannot be.
        """
        self.pool.keep_only(tasks)
        asked = asked_workers()
        number = self._best_number(len(tasks)) if asked is None else min(asked, len(tasks))
        try:
            self._crew = self._crew or (Crew(self.builder) if number else None)
            if number and self._crew and not self._crew.busy:
                return WorkerLanes(self._crew, tasks, number, **settings)
        except CannotBeShared as error:
            if asked is not None:
                raise UserError(f"{WORKERS} is {asked}: {error}") from error
            self._step_seconds = 0.0  # from now on they are cheap enough
            self._say(f"environments stay in this process: {error}")
        return LocalLanes(self.pool, tasks, **settings)

    def close(self) -> None:
        """Close them all."""
        self.pool.close()
        if self._crew:
            self._crew.close()

    def _best_number(self, lanes: int) -> int:
        """Return how many workers step some lanes fastest; 0 for none."""
        cores = usable_cores()
        if cores < 2 or lanes < 2:
            return 0
        if self._step_seconds is None:
            env = self.pool.lend(self._nominal)
            self._step_seconds = step_seconds(env)
            self.pool.take_back(self._nominal, env)
        number = min(cores, lanes, int(lanes * self._step_seconds / LEAST_WORK))
        number = number if number > 1 else 0
        where = f"{number} worker processes" if number else "this process"
        cost = f"a step of the environment takes {1e3 * self._step_seconds:.3g} ms"
        if self._step_seconds:
            self._say(f"{cost}: {lanes} lanes are stepped in {where}; {WORKERS}=N would change it")
        return number

    def _say(self, line: str) -> None:
        """Write a line to the log, the first time that it has something to say."""
        key = line.rpartition(" lanes ")[2]
        if key not in self._said:
            self._said.add(key)
            log.info(line)


def asked_workers() -> int | None:
    """Return how many worker processes somebody asked for; None to choose.

    Raises:
        UserError: It is no number of them.
    """
    text = os.environ.get(WORKERS, "auto").strip()
    if text == "auto":
        return None
    if not text.isdecimal():
        raise UserError(f"{WORKERS} is {text!r}; valid: auto, or a whole number, 0 for none")
    return int(text)


def step_seconds(env: gymnasium.Env) -> float:
    """Return the mean time of a step of random play, resets included; 0 if it fails."""
    space = copy.deepcopy(env.action_space)
    space.seed(0)
    actions = [space.sample() for _ in range(PLAYED)]
    steps, spent = 0, 0.0
    try:
        env.reset(seed=0)
        env.step(actions[0])  # what is done only once has been done
        env.reset()
        started = time.perf_counter()
        while steps < PLAYED and spent < SECONDS:
            *_, terminated, truncated, _ = env.step(actions[steps])
            if terminated or truncated:
                env.reset()
            steps, spent = steps + 1, time.perf_counter() - started
    except Exception:  # in a rollout it will be said
        return 0.0
    return spent / steps
