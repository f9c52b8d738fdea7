"""Collecting trajectories ``[T, K, E, ...]`` with a policy, all tasks and lanes at once."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.core.distributions import Categorical, DiagonalGaussian
from ssm_metarl.core.policy import BoundPolicy
from ssm_metarl.env_runner.environment import Environment, Step
from ssm_metarl.env_runner.streams import NoiseStream, substream
from ssm_metarl.env_runner.trajectory import Trajectory as Trajectory
from ssm_metarl.env_runner.trajectory import episode_returns as episode_returns
from ssm_metarl.env_runner.trajectory import episode_successes as episode_successes
from ssm_metarl.env_runner.trajectory import mean_return as mean_return
from ssm_metarl.env_runner.trajectory import nothing_yet
from ssm_metarl.env_runner.trajectory import per_trial_episode as per_trial_episode
from ssm_metarl.env_runner.trajectory import side_by_side as side_by_side
from ssm_metarl.errors import DivergenceError

ENVIRONMENT_STREAM, ACTION_STREAM = 0, 1
CHECK_EVERY = 8  # steps: a look at whether every lane is done waits for the device


def collect_episodes(
    bound: BoundPolicy,
    environment: Environment,
    seed: SeedSequence,
    *,
    deterministic: bool = False,
    check_every: int = CHECK_EVERY,
) -> Trajectory:
    """Run one episode in every lane, until the last of them ends.

    The environment's horizon bounds the episode and marks it as truncated. The same seed gives
    the same trajectories whatever other tasks are in the batch.

    Args:
        bound: The policy; no gradient reaches it.
        environment: One without autoreset, or whose later episodes may be thrown away.
        seed: Of this rollout; each task draws from a stream of its own.
        deterministic: Take the most likely actions instead of sampling.
        check_every: Steps between looks at whether every lane is done: 1 takes no step too many.

    Raises:
        DivergenceError: An observation or reward is not finite.
    """
    walk = _Walk(bound, environment, seed, deterministic=deterministic, resets=False, episodes=1)
    walk.run(environment.max_episode_steps, check_every)
    return walk.trajectory()


def collect_trials(
    bound: BoundPolicy,
    environment: Environment,
    seed: SeedSequence,
    episodes: int,
    *,
    deterministic: bool = False,
    check_every: int = CHECK_EVERY,
) -> Trajectory:
    """Run one trial in every lane: as many episodes of its task, until the last lane is through.

    Between two episodes lies the dead step of the autoreset, in which a memory that lasts the
    trial sees how the episode ended. The same seed gives the same trajectories whatever other
    tasks are in the batch.

    Args:
        bound: The policy; no gradient reaches it.
        environment: One with autoreset.
        seed: Of this rollout; each task draws from a stream of its own.
        episodes: Complete episodes per trial.
        deterministic: Take the most likely actions instead of sampling.
        check_every: As for :func:`collect_episodes`.

    Raises:
        DivergenceError: An observation or reward is not finite.
    """
    walk = _Walk(
        bound, environment, seed, deterministic=deterministic, resets=True, episodes=episodes
    )
    walk.run(episodes * (environment.max_episode_steps + 1), check_every)
    return walk.trajectory()


class EndedEpisodes(NamedTuple):
    """The n-th episode of every lane."""

    returns: Float[Tensor, "K E"]
    """NaN for a void episode."""
    lengths: Int[Tensor, "K E"]
    success: Bool[Tensor, "K E"] | None
    """Whether the task was solved on any step; None if the environment has said nothing of it."""


def follow_trials(
    bound: BoundPolicy, environment: Environment, seed: SeedSequence, episodes: int
) -> Iterator[EndedEpisodes]:
    """Run the trials of :func:`collect_trials`, and tell of their episodes as they end.

    The n-th item is of the lanes' n-th episodes, there as soon as the last of these has ended.
    There are fewer items where an episode does not end within the environment's
    ``max_episode_steps``, which somebody's own may ignore.

    Args:
        bound: The policy; no gradient reaches it.
        environment: One with autoreset.
        seed: Of this rollout.
        episodes: Complete episodes per trial.

    Raises:
        DivergenceError: An observation or reward is not finite; what came before has been told.
    """
    walk = _Walk(bound, environment, seed, deterministic=False, resets=True, episodes=episodes)
    # A row per episode, and one for what a lane plays while it waits for the others.
    lengths = walk.ended.new_zeros(episodes + 1, *walk.ended.shape)
    returns, told = torch.zeros_like(lengths, dtype=walk.reward.dtype), 0
    success, said = torch.zeros_like(lengths, dtype=torch.bool), False
    while told < episodes and bool((lengths[:-1] <= environment.max_episode_steps).all()):
        number, played = walk.ended.clamp_max(episodes).unsqueeze(0), ~walk.done.unsqueeze(0)
        step = walk.step()
        walk.check_last(number < episodes)
        reward = torch.where(played, step.reward, 0.0)
        if step.failed is not None:
            reward = reward.masked_fill(step.failed, torch.nan)
        returns.scatter_add_(0, number, reward)
        if step.success is not None:
            said = True
            success |= torch.zeros_like(success).scatter(0, number, played & step.success)
        lengths.scatter_add_(0, number, played.long())
        while told < episodes and bool((walk.ended > told).all()):
            solved = success[told] if said else None
            yield EndedEpisodes(returns[told], lengths[told], solved)
            told += 1


class _Walk:
    """One rollout in progress: what has been recorded so far, as lists over time."""

    def __init__(
        self,
        bound: BoundPolicy,
        environment: Environment,
        seed: SeedSequence,
        *,
        deterministic: bool,
        resets: bool,
        episodes: int,
    ) -> None:
        self.bound, self.environment = bound, environment
        self.deterministic, self.resets, self.episodes = deterministic, resets, episodes
        self.observations = [environment.reset(substream(seed, ENVIRONMENT_STREAM))]
        like = self.observations[0]
        policy, tasks, lanes = bound.policy, len(environment.tasks), environment.lanes
        self.noise = NoiseStream(
            substream(seed, ACTION_STREAM),
            environment.tasks.index,
            lanes,
            policy.spaces.actions,
            policy.noise_kind,
            dtype=like.dtype,
            device=like.device,
        )
        self.heads: list[Tensor] = []
        self.actions: list[Tensor] = []
        self.steps: list[Step] = []
        self.starts = [torch.ones(tasks, lanes, dtype=torch.bool, device=like.device)]
        self.never = torch.zeros_like(self.starts[0])
        self.done, self.ended = self.never, self.never.long()
        self.state = policy.initial_state(tasks, lanes, like)
        self.action, self.reward = nothing_yet(policy, like)
        self.forgets = resets and policy.config.memory == "episode"

    def run(self, limit: int, check_every: int) -> None:
        """Act until the limit, or until every lane has had the episodes it was to have."""
        for t in range(limit):
            self.step()
            if t % check_every == check_every - 1 and bool((self.ended >= self.episodes).all()):
                return

    @torch.inference_mode()
    def step(self) -> Step:
        """Act once in every lane."""
        bound, policy, start = self.bound, self.bound.policy, self.starts[-1]
        inputs = policy.inputs(self.observations[-1], self.action, self.reward, start)
        features, self.state = bound.step(inputs, self.state, ~start if self.forgets else None)
        distribution = bound.distribution(features)
        self.action = (
            distribution.mode() if self.deterministic else distribution.sample(self.noise.next())
        )
        step = self.environment.step(policy.spaces.to_environment(self.action))
        self.starts.append(self.done if self.resets else self.never)
        self.done = step.terminated | step.truncated
        self.ended = self.ended + self.done
        self.reward = step.reward
        self.heads.append(_head(distribution))
        self.actions.append(self.action)
        self.steps.append(step)
        self.observations.append(step.observation)
        return step

    def check_last(self, counts: Bool[Tensor, "1 K E"]) -> None:
        """Refuse a last step that is not finite, in the lanes in which it counts."""
        observation = torch.where(counts.unsqueeze(-1), torch.stack(self.observations[-2:]), 0.0)
        reward = torch.where(counts, self.steps[-1].reward, 0.0)
        _check_finite(observation, reward, first=len(self.steps) - 1)

    def trajectory(self) -> Trajectory:
        """Stack what was recorded, and mask the steps at which nothing was being done."""
        terminated = torch.stack([step.terminated for step in self.steps])
        truncated = torch.stack([step.truncated for step in self.steps])
        done, start = terminated | truncated, torch.stack(self.starts)
        alive = done.cumsum(0) - done.long() < self.episodes
        start[1:] &= alive
        played = alive & ~start[1:]
        valid = played & ~self._void(done)
        length = int(played.flatten(1).any(1).nonzero()[-1]) + 1
        seen = torch.cat([torch.ones_like(played[:1]), played | start[1:]])
        observation = torch.stack(self.observations)
        observation = torch.where(seen.unsqueeze(-1), observation, 0.0)[: length + 1]
        reward = torch.where(valid, torch.stack([step.reward for step in self.steps]), 0.0)
        _check_finite(observation, reward)
        action = torch.stack(self.actions)[:length]
        return Trajectory(
            observation=observation,
            action=action,
            reward=reward[:length],
            log_prob=self._distribution(length).log_prob(action),
            terminated=(terminated & played)[:length],
            truncated=(truncated & played & ~terminated)[:length],
            valid=valid[:length],
            episode_start=start[: length + 1],
            success=self._success(valid, length),
        )

    def _success(
        self, valid: Bool[Tensor, "T K E"], length: int
    ) -> Bool[Tensor, "length K E"] | None:
        """Return on which steps the task was said to be solved; None if that was never told."""
        told = [step.success for step in self.steps]
        if all(each is None for each in told):
            return None
        return (torch.stack([self.never if e is None else e for e in told]) & valid)[:length]

    def _void(self, done: Bool[Tensor, "T K E"]) -> Bool[Tensor, "T K E"]:
        """Return which steps are of episodes that failed."""
        if all(step.failed is None for step in self.steps):
            return torch.zeros_like(done)
        failed = torch.stack(
            [self.never if step.failed is None else step.failed for step in self.steps]
        )
        number = done.cumsum(0) - done.long()
        failures = torch.zeros_like(number).scatter_add(0, number, failed.long())
        return failures.gather(0, number) > 0

    def _distribution(self, length: int) -> Categorical | DiagonalGaussian:
        with torch.no_grad():
            return self.bound.distribution_of(torch.stack(self.heads)[:length])


def _head(distribution: Categorical | DiagonalGaussian) -> Tensor:
    return distribution.logits if isinstance(distribution, Categorical) else distribution.mean


def _check_finite(observation: Tensor, reward: Tensor, first: int = 0) -> None:
    """Refuse what is not finite in ``[T, K, E, ...]``, whose first step has the number given."""
    for name, values in (("observation", observation), ("reward", reward)):
        bad = (~torch.isfinite(values)).nonzero()
        if len(bad):
            step, task, lane = bad[0, :3].tolist()
            raise DivergenceError(
                f"{name} is not finite at step {first + step} of task {task}, lane {lane}"
            )
