"""Collecting trajectories ``[T, K, E, ...]`` with a policy, all tasks and lanes at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.core.distributions import Categorical, DiagonalGaussian
from ssm_metarl.core.policy import BoundPolicy, Policy
from ssm_metarl.env_runner.environment import Environment, Step
from ssm_metarl.env_runner.streams import NoiseStream, substream
from ssm_metarl.errors import DivergenceError

ENVIRONMENT_STREAM, ACTION_STREAM = 0, 1
CHECK_EVERY = 8  # steps: a look at whether every lane is done waits for the device


@dataclass(frozen=True)
class Trajectory:
    """What was seen and done on K tasks and E lanes during T steps.

    With autoreset, the step after an episode's end is dead: its action was ignored, it brought
    the first observation of the next episode, and ``valid`` is False there. Without, a lane is
    dead from its end on. Either way ``observation[t + 1]`` is what step t really led to.

    Attributes:
        action: As the policy sampled it (continuous ones before scaling to the bounds).
        observation: In the environment's units; one more than there are steps.
        reward: Zero where dead.
        log_prob: Of the action under the policy that took it.
        terminated: The episode ended here for good.
        truncated: The episode was cut here by its time limit.
        valid: Whether the step was a step of an episode.
        episode_start: Whether the observation is the first of an episode.
    """

    action: Shaped[Tensor, "T K E ..."]
    observation: Float[Tensor, "T+1 K E O"]
    reward: Float[Tensor, "T K E"]
    log_prob: Float[Tensor, "T K E"]
    terminated: Bool[Tensor, "T K E"]
    truncated: Bool[Tensor, "T K E"]
    valid: Bool[Tensor, "T K E"]
    episode_start: Bool[Tensor, "T+1 K E"]

    @property
    def done(self) -> Bool[Tensor, "T K E"]:
        """Whether the step was the last of an episode."""
        return self.terminated | self.truncated

    @property
    def environment_steps(self) -> int:
        """Number of valid steps, the data this trajectory cost."""
        return int(self.valid.sum())

    def lanes(self, lanes: Int[Tensor, "chosen"]) -> "Trajectory":
        """Return some of the lanes."""
        return Trajectory(**{name: value[:, :, lanes] for name, value in vars(self).items()})

    def tasks(self, tasks: Int[Tensor, "chosen"]) -> "Trajectory":
        """Return some of the tasks."""
        return Trajectory(**{name: value[:, tasks] for name, value in vars(self).items()})

    def inputs(self, policy: Policy) -> Float[Tensor, "T1 K E I"]:
        """Return the policy's inputs at every step and at the last observation."""
        action, reward = _nothing_yet(policy, self.observation[0])
        action = torch.cat([action.unsqueeze(0), self.action])
        reward = torch.cat([reward.unsqueeze(0), self.reward])
        return policy.inputs(self.observation, action, reward, self.episode_start)

    def keep(self, policy: Policy) -> Bool[Tensor, "T1 K E"] | None:
        """Return where the memory is carried on; None if it is so everywhere but at the start."""
        if policy.config.memory == "trial" or not self.episode_start[1:].any():
            return None
        return ~self.episode_start

    def features(self, bound: BoundPolicy) -> Float[Tensor, "T1 K E D"]:
        """Run a policy over the whole trajectory, from an empty memory."""
        _, tasks, lanes = self.reward.shape
        state = bound.policy.initial_state(tasks, lanes, self.observation)
        return bound.features(self.inputs(bound.policy), state, self.keep(bound.policy))[0]


def side_by_side(trajectories: Sequence[Trajectory]) -> Trajectory:
    """Put trajectories of the same K tasks next to each other as lanes, padded with dead steps."""
    steps = max(len(trajectory.reward) for trajectory in trajectories)

    def padded(value: Tensor, length: int) -> Tensor:
        return torch.cat([value, value.new_zeros(length - len(value), *value.shape[1:])])

    fields = {
        name: [
            padded(value, steps + len(value) - len(trajectory.reward))
            for trajectory in trajectories
            for value in [vars(trajectory)[name]]
        ]
        for name in vars(trajectories[0])
    }
    return Trajectory(**{name: torch.cat(values, 2) for name, values in fields.items()})


def episode_returns(trajectory: Trajectory) -> Float[Tensor, "K E"]:
    """Return the sum of rewards of each lane's one complete episode.

    Raises:
        ValueError: A lane's episode did not end: its sum would not be a return.
    """
    if not trajectory.done.any(0).all():
        raise ValueError("an episode was cut by the rollout, so its return is not known")
    return (trajectory.reward * trajectory.valid).sum(0)


def per_trial_episode(
    x: Float[Tensor, "T K E"], trajectory: Trajectory, episodes: int
) -> Float[Tensor, "episodes K E"]:
    """Sum something over the valid steps of each episode of a trial.

    Of rewards it makes the returns of the episodes, of ones their lengths.

    Raises:
        ValueError: A trial has fewer complete episodes, or more.
    """
    done = trajectory.done
    if not (done.sum(0) == episodes).all():
        raise ValueError(f"not every trial has {episodes} complete episodes")
    number = (done.cumsum(0) - done.long()).clamp_max(episodes - 1)
    return x.new_zeros(episodes, *x.shape[1:]).scatter_add(0, number, x * trajectory.valid)


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


def collect_steps(
    bound: BoundPolicy, environment: Environment, seed: SeedSequence, steps: int
) -> Trajectory:
    """Run every lane of an environment with autoreset for some steps, episode after episode.

    The memory lasts an episode or goes on across them, as the policy's ``memory`` says.
    """
    walk = _Walk(bound, environment, seed, deterministic=False, resets=True, episodes=None)
    walk.run(steps, CHECK_EVERY)
    return walk.trajectory()


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
        episodes: int | None,
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

    @torch.inference_mode()
    def run(self, limit: int, check_every: int) -> None:
        """Act until the limit, or until every lane has had the episodes it was to have."""
        bound, policy = self.bound, self.bound.policy
        never = torch.zeros_like(self.starts[0])
        tasks, lanes = never.shape
        state = policy.initial_state(tasks, lanes, self.observations[0])
        action, reward = _nothing_yet(policy, self.observations[0])
        done, ended = never, never.long()
        forgets = self.resets and policy.config.memory == "episode"
        for t in range(limit):
            start = self.starts[-1]
            inputs = policy.inputs(self.observations[-1], action, reward, start)
            features, state = bound.features(inputs, state, ~start if forgets else None)
            distribution = bound.distribution(features)
            action = (
                distribution.mode()
                if self.deterministic
                else distribution.sample(self.noise.next())
            )
            step = self.environment.step(policy.to_environment(action))
            self.starts.append(done if self.resets else never)
            done = step.terminated | step.truncated
            ended = ended + done
            reward = step.reward
            self.heads.append(_head(distribution))
            self.actions.append(action)
            self.steps.append(step)
            self.observations.append(step.observation)
            if (
                self.episodes
                and t % check_every == check_every - 1
                and bool((ended >= self.episodes).all())
            ):
                return

    def trajectory(self) -> Trajectory:
        """Stack what was recorded, and mask the steps at which nothing was being done."""
        terminated = torch.stack([step.terminated for step in self.steps])
        truncated = torch.stack([step.truncated for step in self.steps])
        done, start = terminated | truncated, torch.stack(self.starts)
        if self.episodes:
            alive = done.cumsum(0) - done.long() < self.episodes
            start[1:] &= alive
            valid = alive & ~start[1:]
        else:
            valid = ~start[1:]
        length = int(valid.flatten(1).any(1).nonzero()[-1]) + 1
        seen = torch.cat([torch.ones_like(valid[:1]), valid | start[1:]])
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
            terminated=(terminated & valid)[:length],
            truncated=(truncated & valid & ~terminated)[:length],
            valid=valid[:length],
            episode_start=start[: length + 1],
        )

    def _distribution(self, length: int) -> Categorical | DiagonalGaussian:
        heads = torch.stack(self.heads)[:length]
        if self.bound.policy.spaces.discrete:
            return Categorical(heads)
        return DiagonalGaussian(heads, self.bound.log_std().detach())


def _head(distribution: Categorical | DiagonalGaussian) -> Tensor:
    return distribution.logits if isinstance(distribution, Categorical) else distribution.mean


def _nothing_yet(policy: Policy, observation: Tensor) -> tuple[Tensor, Tensor]:
    """Return the previous action and reward of a first step."""
    reward = torch.zeros_like(observation[..., 0])
    if policy.spaces.discrete:
        return torch.full_like(reward, -1, dtype=torch.int64), reward
    return reward.unsqueeze(-1).expand(*reward.shape, policy.spaces.actions), reward


def _check_finite(observation: Tensor, reward: Tensor) -> None:
    for name, values in (("observation", observation), ("reward", reward)):
        bad = (~torch.isfinite(values)).nonzero()
        if len(bad):
            step, task, lane = bad[0, :3].tolist()
            raise DivergenceError(
                f"{name} is not finite at step {step} of task {task}, lane {lane}"
            )
