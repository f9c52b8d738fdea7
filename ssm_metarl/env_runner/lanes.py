"""Ordinary environments in lanes, stepped one after another by a plain loop.

Nothing here needs torch, which worker processes do without.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np

from ssm_metarl.env_runner.failures import SIMULATION_FAILED, failure_text
from ssm_metarl.env_runner.pool import EnvironmentPool, Values
from ssm_metarl.env_runner.success import succeeded
from ssm_metarl.errors import EnvironmentFailure, SsmMetaRLError

SEEDS = 2**31
"""Reset seeds are below this: some environments keep them in 32 bits with a sign."""
FLAGS = ("terminated", "truncated", "told", "success")
MAX_REWARD = 1e15  # the square of a long episode's return still fits float32


def lane_type(observation_space: gymnasium.Space, action_space: gymnasium.Space) -> np.dtype:
    """Return the type of the record of a lane: what it is told to do, and what comes of it."""
    spaces = {"observation": observation_space, "action": action_space}
    flags = [(name, np.bool_) for name in FLAGS]
    fields: list[Any] = [(name, space.dtype, space.shape) for name, space in spaces.items()]
    return np.dtype([*fields, ("reward", np.float64), *flags], align=True)


@runtime_checkable
class Lanes(Protocol):
    """N environments: an action goes in for each, and what they return comes out.

    A lane whose episode has ended is reset by the next step, which ignores its action, or rests
    until `reset` if it was built without autoreset.

    Attributes:
        records: Of `lane_type`, ``[N]``.
        observation_space: One lane's, flat.
        action_space: One lane's.
    """

    records: np.ndarray
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
        records: np.ndarray | None = None,
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
            records = np.zeros(len(tasks), lane_type(self.observation_space, self.action_space))
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
        self._shape = records["observation"].shape[1:]
        self._seeds = [0] * len(tasks)  # of the last reset that was asked for
        self._rebuilt = [0] * len(tasks)  # environments, since then
        self._next_seeds: list[int | None] = [None] * len(tasks)  # of each lane's next episode
        self._age = [0] * len(tasks)  # steps of its episode
        self._done = [True] * len(tasks)
        self._unfit: dict[int, str] = {}  # lanes whose episode could not begin: it fails next

    def reset(self, seeds: Sequence[int]) -> None:
        """Start every lane anew."""
        self.resume(seeds, {})
        self.records["reward"].fill(np.nan)  # as in `step`
        for lane in range(len(self._tasks)):
            self._begin(lane)
            self.records["reward"][lane] = 0.0
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
        records, done, age = self.records, self._done, self._age
        actions = records["action"].copy()  # environments may keep them
        rewards, *flags = (records[name] for name in ("reward", *FLAGS))
        terminated, truncated, told, successes = flags
        rewards.fill(np.nan)  # so that one sees which lane a process died in
        for flag in flags:
            flag.fill(False)
        observations, shape = records["observation"], self._shape
        kind = observations.dtype
        failed = {lane: why for lane, why in self._unfit.items() if not done[lane]}
        self._unfit = {}
        for lane, env in enumerate(self._envs):
            if done[lane]:
                if self._autoreset:
                    self._begin(lane)
                rewards[lane] = 0.0
            elif lane not in failed:
                try:
                    assert env is not None
                    seen, reward, ends, cut, info = env.step(actions[lane])
                    if type(seen) is np.ndarray and seen.dtype is kind and seen.shape == shape:
                        observations[lane] = seen
                    else:
                        self._show(lane, seen)
                    rewards[lane] = reward if type(reward) is float else as_number(reward)
                except Exception as error:
                    failed[lane] = self._broke(lane, "step", error)
                    continue
                age[lane] += 1
                if ends:
                    terminated[lane] = done[lane] = True
                if cut or age[lane] >= self._limit:
                    truncated[lane] = done[lane] = True
                if info and (success := succeeded(info)) is not None:
                    told[lane], successes[lane] = True, success
                if info and SIMULATION_FAILED in info:
                    failed[lane] = info[SIMULATION_FAILED]
        self._check(failed)
        for lane in failed:
            self._nothing(lane)
            terminated[lane], truncated[lane], done[lane] = True, False, True
        return failed

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
        seen = np.asarray(observation)
        if seen.shape != self._shape:
            raise ValueError(f"an observation has the shape {seen.shape}, not {self._shape}")
        np.copyto(self.records["observation"][lane], seen, casting="same_kind")

    def _nothing(self, lane: int) -> None:
        self.records["observation"][lane] = 0
        self.records["reward"][lane] = 0.0

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


def unusable(records: np.ndarray) -> dict[int, str]:
    """Return the lanes whose numbers are not finite, or too large, and what is wrong with them."""
    observations, rewards = records["observation"], records["reward"]
    if not len(records):
        return {}
    with np.errstate(over="ignore", invalid="ignore"):  # such sums are looked at below
        if np.abs(rewards).max() <= MAX_REWARD and np.isfinite(observations.sum()):
            return {}  # nearly always
    unpaid = ~(np.abs(rewards) <= MAX_REWARD)  # not so where one is NaN, either
    whole = observations.dtype.kind != "f"
    unseen = np.zeros_like(unpaid) if whole else ~np.isfinite(observations).all(1)
    found = {}
    for lane in np.flatnonzero(unpaid | unseen).tolist():
        size = abs(rewards[lane])
        what = (
            "a reward that is not finite" if unpaid[lane] else "an observation that is not finite"
        )
        if unpaid[lane] and np.isfinite(size):
            what = f"a reward of {size:.3g} in size (valid: at most {MAX_REWARD:g})"
        found[lane] = f"the environment gave {what}"
    return found


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
