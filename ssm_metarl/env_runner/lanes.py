"""Ordinary environments in lanes, stepped one after another by a plain loop.

Nothing here needs torch, which worker processes do without.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np

from ssm_metarl.env_runner.failures import SIMULATION_FAILED, failure_text
from ssm_metarl.env_runner.lane_records import Records, block_type, records_of, unusable
from ssm_metarl.env_runner.pool import EnvironmentPool, Values
from ssm_metarl.env_runner.success import succeeded
from ssm_metarl.errors import EnvironmentFailure, SsmMetaRLError

SEEDS = 2**31
"""Reset seeds are below this: some environments keep them in 32 bits with a sign."""


@runtime_checkable
class Lanes(Protocol):
    """N environments: an action goes in for each, and what they return comes out.

    A lane whose episode has ended is reset by the next step, which ignores its action, or rests
    until `reset` if it was built without autoreset.

    Attributes:
        records: Of the N lanes.
        observation_space: One lane's, flat.
        action_space: One lane's.
    """

    records: Records
    observation_space: gymnasium.Space
    action_space: gymnasium.Space

    def reset(self, seeds: Sequence[int]) -> None:
        """Start every lane anew; first observations are in the records."""
        ...

    def step(self) -> dict[int, str]:
        """Take the actions of the records; return the lanes whose episodes failed, and why.

        These have terminated, with zeros to see and no reward. The lane that took others with it
        comes first.
        """
        ...

    def close(self) -> None:
        """Give the environments back."""
        ...


def another_seed(seed: int, number: int) -> int:
    """Return the seed of the environment that takes the place of one that broke down."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0]) % SEEDS


class LocalLanes:
    """Lanes in this process.

    An environment that raises an error is built anew, with a seed that follows from the first one.
    The episode in which it did that, or gave a number that is not finite, has failed.
    """

    def __init__(
        self,
        pool: EnvironmentPool,
        tasks: Sequence[Values],
        records: Records | None = None,
        *,
        max_episode_steps: int,
        autoreset: bool = True,
        forgiving: bool = True,
        keep: bool = True,
    ) -> None:
        """Borrow the environments.

        Args:
            pool: Where they come from.
            tasks: The values of each lane's task, ``[N]``.
            records: What is filled in; None for new ones.
            max_episode_steps: Steps after which an episode is truncated.
            autoreset: Whether a lane starts its next episode by itself.
            forgiving: Whether episodes may fail; else that is an error at once.
            keep: Whether the pool stays open when the lanes are closed.
        """
        self.observation_space: gymnasium.Space = pool.builder.observation_space
        self.action_space = pool.builder.action_space
        if records is None:
            kind = block_type(self.observation_space, self.action_space, len(tasks))
            records = records_of(np.zeros((), kind))
        self.records, self._pool, self._tasks = records, pool, tasks
        self._limit, self._autoreset, self._keep = max_episode_steps, autoreset, keep
        self._forgiving = forgiving
        self._envs: list[gymnasium.Env | None] = []
        try:
            for values in tasks:
                self._envs.append(pool.lend(values))
        except BaseException:
            self.close()
            raise
        self._seeds = [0] * len(tasks)  # of the last reset that was asked for
        self._rebuilt = [0] * len(tasks)  # environments, since then
        self._next_seeds: list[int | None] = [None] * len(tasks)  # of each lane's next episode
        self._age = [0] * len(tasks)  # steps of its episode
        self._done = [True] * len(tasks)
        self._unfit: dict[int, str] = {}  # lanes whose episode could not begin: it fails next

    def reset(self, seeds: Sequence[int]) -> None:
        """Start every lane anew."""
        self.resume(seeds, {})
        self.records.reward.fill(np.nan)  # as in `step`
        for lane in range(len(self._tasks)):
            self._begin(lane)
            self.records.reward[lane] = 0.0
        self._check({})

    def resume(self, seeds: Sequence[int], unfit: dict[int, str]) -> None:
        """Take over from lanes that are lost: all have ended but those whose episodes fail next."""
        self._seeds = list(seeds)
        self._next_seeds = [*seeds]
        self._rebuilt = [0] * len(seeds)
        self._done = [lane not in unfit for lane in range(len(seeds))]
        self._unfit = dict(unfit)

    def step(self) -> dict[int, str]:
        """Take a step in every lane; see :class:`Lanes`."""
        records, done = self.records, self._done
        records.reward.fill(np.nan)  # so that one sees which lane a process died in
        records.flags.fill(False)
        failed = {lane: why for lane, why in self._unfit.items() if not done[lane]}
        self._unfit = {}
        self._step_envs(failed)
        self._check(failed)
        for lane in failed:
            self._nothing(lane)
            records.flags[:2, lane] = True, False
            done[lane] = True
        return failed

    def _step_envs(self, failed: dict[int, str]) -> None:
        """Fill in the records; add the lanes whose episodes fail in doing so, and why."""
        observations, actions, rewards, flags = self.records
        done, age, limit = self._done, self._age, self._limit
        kind, shape = observations.dtype, observations.shape[1:]
        actions = actions.copy()  # environments may keep them
        for lane, env in enumerate(self._envs):  # in one piece: calls cost as much as what they do
            if done[lane]:
                if self._autoreset:
                    self._begin(lane)
                rewards[lane] = 0.0
            elif lane not in failed:
                try:
                    seen, reward, ends, cut, info = env.step(actions[lane])  # type: ignore[union-attr]
                    if type(seen) is np.ndarray and seen.dtype is kind and seen.shape == shape:
                        observations[lane] = seen
                    else:
                        self._show(lane, seen)
                    rewards[lane] = reward if type(reward) is float else as_number(reward)
                except Exception as error:
                    failed[lane] = self._broke(lane, "step", error)
                    continue
                age[lane] += 1
                if ends or cut or age[lane] >= limit:
                    flags[:2, lane] = ends, cut or age[lane] >= limit
                    done[lane] = True
                if info:
                    self._read_info(lane, info, failed)

    def _read_info(self, lane: int, info: dict[str, Any], failed: dict[int, str]) -> None:
        """Look for success and failure."""
        if (success := succeeded(info)) is not None:
            self.records.flags[2:, lane] = True, success
        if SIMULATION_FAILED in info:
            failed[lane] = info[SIMULATION_FAILED]

    def close(self) -> None:
        """Give the environments back."""
        for values, env in zip(self._tasks, self._envs, strict=False):
            if env is not None:
                self._pool.take_back(values, env)
        self._envs = []
        if not self._keep:
            self._pool.close()

    def _begin(self, lane: int) -> None:
        """Start an episode."""
        seed, self._next_seeds[lane] = self._next_seeds[lane], None
        self._age[lane], self._done[lane] = 0, False
        try:
            env = self._envs[lane] = self._envs[lane] or self._pool.lend(self._tasks[lane])
            self._show(lane, env.reset(seed=seed)[0])
        except Exception as error:
            self._unfit[lane] = self._broke(lane, "reset", error)
            self._nothing(lane)

    def _show(self, lane: int, observation: Any) -> None:  # noqa: ANN401 (the environment's)
        seen, place = np.asarray(observation), self.records.observation[lane]
        if seen.shape != place.shape:
            raise ValueError(f"an observation has the shape {seen.shape}, not {place.shape}")
        np.copyto(place, seen, casting="same_kind")

    def _nothing(self, lane: int) -> None:
        self.records.observation[lane] = 0
        self.records.reward[lane] = 0.0

    def _check(self, failed: dict[int, str]) -> None:
        """Find lanes whose numbers cannot be used: their episodes fail, new ones on the next step.

        Raises:
            EnvironmentFailure: There are some, and episodes may not fail.
        """
        for lane, why in unusable(self.records).items():
            if lane in failed:
                continue
            if not self._forgiving:
                raise EnvironmentFailure(why)
            if self._age[lane]:
                failed[lane] = why
            else:
                self._unfit[lane] = why
                self._nothing(lane)

    def _broke(self, lane: int, what: str, error: Exception) -> str:
        """Drop an environment that raised an error; return the error in words.

        Raises:
            EnvironmentFailure: Episodes may not fail.
        """
        env, self._envs[lane] = self._envs[lane], None
        if env is not None:
            self._pool.drop(env)
        if isinstance(error, SsmMetaRLError):  # what would happen again
            raise error
        why = failure_text(what, error)
        if not self._forgiving:
            raise EnvironmentFailure(why) from error
        self._rebuilt[lane] += 1
        self._next_seeds[lane] = another_seed(self._seeds[lane], self._rebuilt[lane])
        return why


def as_number(reward: Any) -> float:  # noqa: ANN401 (whatever the environment returns)
    """Return a reward as a float.

    Raises:
        EnvironmentFailure: It is not one number.
    """
    number = np.asarray(reward)
    if number.shape != () or number.dtype.kind not in "biuf":
        shown = " ".join(repr(reward).split())[:100]
        raise EnvironmentFailure(f"the environment's reward is {shown}, not a number")
    return float(number)
