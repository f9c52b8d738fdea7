"""A rollout in progress, step by step; :mod:`ssm_metarl.env_runner.rollout` is the way in."""

import torch
from jaxtyping import Bool, Float, Shaped
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.core.distributions import Categorical, DiagonalGaussian
from ssm_metarl.core.policy import BoundPolicy, State
from ssm_metarl.env_runner.environment import Environment, Step
from ssm_metarl.env_runner.streams import NoiseStream, substream
from ssm_metarl.env_runner.trajectory import Trajectory, nothing_yet
from ssm_metarl.errors import DivergenceError

ENVIRONMENT_STREAM, ACTION_STREAM = 0, 1


def act(
    bound: BoundPolicy,
    observation: Float[Tensor, "K E O"],
    action: Shaped[Tensor, "..."],
    reward: Float[Tensor, "K E"],
    start: Bool[Tensor, "K E"],
    state: State,
    noise: Float[Tensor, "K E A"] | None,
    forgets: bool,
) -> tuple[Shaped[Tensor, "..."], Float[Tensor, "K E A"], State]:
    """Choose an action in every lane, the most likely one where there is no noise.

    Args:
        bound: The policy.
        observation: What the lanes show.
        action: The last one.
        reward: For it.
        start: Whether an episode begins.
        state: The memory carried in.
        noise: To sample from.
        forgets: Whether the memory is wiped where an episode begins.

    Returns:
        The actions, the outputs of the action head, and the memory after the step.
    """
    inputs = bound.policy.inputs(observation, action, reward, start)
    features, state = bound.step(inputs, state, ~start if forgets else None)
    chosen = bound.distribution(features)
    head = chosen.logits if isinstance(chosen, Categorical) else chosen.mean
    return chosen.mode() if noise is None else chosen.sample(noise), head, state


class Walk:
    """A rollout in progress: what has been recorded, as lists over time of steps or blocks of them.

    A block has an axis of time in front. It is kept whole: taking it apart, to stack all steps in
    the end, took some 8% of the time of a compiled rollout.
    """

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
        self.observation = like = environment.reset(substream(seed, ENVIRONMENT_STREAM))
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
        self.length = 0  # in steps
        self.heads: list[Tensor] = []
        self.actions: list[Tensor] = []
        self.steps: list[Step] = []
        self.start = torch.ones(tasks, lanes, dtype=torch.bool, device=like.device)
        self.first, self.starts = self.observation, [self.start]
        self.never = torch.zeros_like(self.start)
        self.done, self.ended = self.never, self.never.long()
        self.state = policy.initial_state(tasks, lanes, like)
        self.action, self.reward = nothing_yet(policy, like)
        self.forgets = resets and policy.config.memory == "episode"

    @torch.inference_mode()
    def step(self) -> Step:
        """Act once in every lane."""
        noise = None if self.deterministic else self.noise.next()
        before = self.observation, self.action, self.reward, self.start
        self.action, head, self.state = act(self.bound, *before, self.state, noise, self.forgets)
        step = self.environment.step(self.bound.policy.spaces.to_environment(self.action))
        self.start = self.done if self.resets else self.never
        self.done = step.terminated | step.truncated
        self.ended = self.ended + self.done
        self.observation, self.reward = step.observation, step.reward
        self.record(1, step, self.action, head, self.start)
        return step

    def record(self, steps: int, step: Step, action: Tensor, head: Tensor, start: Tensor) -> None:
        """Keep a step, or a block of several."""
        self.length += steps
        self.steps.append(step)
        self.actions.append(action)
        self.heads.append(head)
        self.starts.append(start)

    def check_last(self, counts: Bool[Tensor, "1 K E"]) -> None:
        """Refuse a last step that is not finite, in the lanes in which it counts."""
        before = self.steps[-2].observation if self.length > 1 else self.first
        observation = torch.stack([before, self.observation])
        observation = torch.where(counts.unsqueeze(-1), observation, 0.0)
        reward = torch.where(counts, self.reward, 0.0)
        _check_finite(observation, reward, first=self.length - 1)

    def trajectory(self) -> Trajectory:
        """Stack what was recorded, and mask the steps at which nothing was being done."""
        terminated = self._joined([step.terminated for step in self.steps])
        truncated = self._joined([step.truncated for step in self.steps])
        done, start = terminated | truncated, self._joined(self.starts)
        alive = done.cumsum(0) - done.long() < self.episodes
        start[1:] &= alive
        played = alive & ~start[1:]
        valid = played & ~self._void(done)
        length = int(played.flatten(1).any(1).nonzero()[-1]) + 1
        seen = torch.cat([torch.ones_like(played[:1]), played | start[1:]])
        observation = [self.first, *(step.observation for step in self.steps)]
        observation = self._joined(observation, self.first.ndim)
        observation = torch.where(seen.unsqueeze(-1), observation, 0.0)[: length + 1]
        reward = torch.where(valid, self._joined([step.reward for step in self.steps]), 0.0)
        _check_finite(observation, reward)
        action = self._joined(self.actions, self.action.ndim)[:length]
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
            return self.bound.distribution_of(self._joined(self.heads, 3)[:length])

    @staticmethod
    def _joined(parts: list[Tensor], rank: int = 2) -> Tensor:
        """Join steps, which have a rank, and blocks, which have one more, along time."""
        if all(part.ndim == rank for part in parts):
            return torch.stack(parts)
        return torch.cat([part if part.ndim > rank else part.unsqueeze(0) for part in parts])


def _check_finite(observation: Tensor, reward: Tensor, first: int = 0) -> None:
    """Refuse what is not finite in ``[T, K, E, ...]``, whose first step has the number given."""
    for name, values in (("observation", observation), ("reward", reward)):
        if bool(values.sum().isfinite()):
            continue  # which it is only if all are; of large numbers it may not be, even then
        bad = (~torch.isfinite(values)).nonzero()
        if len(bad):
            step, task, lane = bad[0, :3].tolist()
            raise DivergenceError(
                f"{name} is not finite at step {first + step} of task {task}, lane {lane}"
            )
