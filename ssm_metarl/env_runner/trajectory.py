"""What was seen and done: trajectories ``[T, K, E, ...]``, and sums over their episodes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from ssm_metarl.core.policy import BoundPolicy, Policy
from ssm_metarl.core.processes import gathered


@dataclass(frozen=True)
class Trajectory:
    """What was seen and done on K tasks and E lanes during T steps.

    With autoreset, the step after an episode's end is dead: its action was ignored, it brought
    the first observation of the next episode, and ``valid`` is False there. Without, a lane is
    dead from its end on. Either way ``observation[t + 1]`` is what step t really led to. An episode
    in which the environment broke down is void: it ends, but none of its steps is valid, and it has
    no return.

    Attributes:
        action: As the policy sampled it (continuous ones before scaling to the bounds).
        observation: In the environment's units; one more than there are steps.
        reward: Zero where dead.
        log_prob: Of the action under the policy that took it.
        terminated: The episode ended here for good.
        truncated: The episode was cut here by its time limit.
        valid: Whether the step was a step of an episode.
        episode_start: Whether the observation is the first of an episode.
        success: Whether the environment said on this step that the task is solved; None if it
            never says so. An episode succeeds if any of its steps did.
    """

    action: Shaped[Tensor, "T K E ..."]
    observation: Float[Tensor, "T+1 K E O"]
    reward: Float[Tensor, "T K E"]
    log_prob: Float[Tensor, "T K E"]
    terminated: Bool[Tensor, "T K E"]
    truncated: Bool[Tensor, "T K E"]
    valid: Bool[Tensor, "T K E"]
    episode_start: Bool[Tensor, "T+1 K E"]
    success: Bool[Tensor, "T K E"] | None = None

    @property
    def done(self) -> Bool[Tensor, "T K E"]:
        """Whether the step was the last of an episode."""
        return self.terminated | self.truncated

    @property
    def failed(self) -> Bool[Tensor, "T K E"]:
        """Whether the step was the last of an episode in which the environment broke down."""
        return self.done & ~self.valid

    @property
    def environment_steps(self) -> int:
        """Number of valid steps, the data this trajectory cost."""
        return int(self.valid.sum())

    @property
    def succeeded(self) -> Bool[Tensor, "T K E"]:
        """``success``, and nowhere if nothing is said of it."""
        return torch.zeros_like(self.valid) if self.success is None else self.success

    def lanes(self, lanes: Int[Tensor, "chosen"]) -> "Trajectory":
        """Return some of the lanes."""
        return Trajectory(**{name: value[:, :, lanes] for name, value in self.tensors().items()})

    def tasks(self, tasks: Int[Tensor, "chosen"]) -> "Trajectory":
        """Return some of the tasks."""
        return Trajectory(**{name: value[:, tasks] for name, value in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """Return what there is, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def inputs(self, policy: Policy) -> Float[Tensor, "T1 K E I"]:
        """Return the policy's inputs at every step and at the last observation."""
        action, reward = nothing_yet(policy, self.observation[0])
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
        return bound.scan(self.inputs(bound.policy), state, self.keep(bound.policy))[0]


def side_by_side(trajectories: Sequence[Trajectory]) -> Trajectory:
    """Put trajectories of the same K tasks next to each other as lanes, padded with dead steps."""
    return _joined(trajectories, axis=2)


def of_all_processes(trajectory: Trajectory) -> Trajectory:
    """Put together what each of several processes has played of its tasks, in their order."""
    device = trajectory.reward.device
    parts = gathered({name: value.cpu() for name, value in trajectory.tensors().items()})
    if len(parts) == 1:
        return trajectory
    every = [{name: value.to(device) for name, value in part.items()} for part in parts]
    return _joined([Trajectory(**part) for part in every], axis=1)


def _joined(trajectories: Sequence[Trajectory], axis: int) -> Trajectory:
    steps = max(len(trajectory.reward) for trajectory in trajectories)
    if any(trajectory.success is not None for trajectory in trajectories):
        trajectories = [replace(each, success=each.succeeded) for each in trajectories]

    def padded(value: Tensor, length: int) -> Tensor:
        return torch.cat([value, value.new_zeros(length - len(value), *value.shape[1:])])

    fields = {
        name: [
            padded(value, steps + len(value) - len(trajectory.reward))
            for trajectory in trajectories
            for value in [vars(trajectory)[name]]
        ]
        for name in trajectories[0].tensors()
    }
    return Trajectory(**{name: torch.cat(values, axis) for name, values in fields.items()})


def episode_returns(trajectory: Trajectory) -> Float[Tensor, "K E"]:
    """Return the sum of rewards of each lane's one complete episode; NaN where it is void.

    Raises:
        ValueError: A lane's episode did not end: its sum would not be a return.
    """
    if not trajectory.done.any(0).all():
        raise ValueError("an episode was cut by the rollout, so its return is not known")
    returns = (trajectory.reward * trajectory.valid).sum(0)
    return returns.masked_fill(trajectory.failed.any(0), torch.nan)


def per_trial_episode(
    x: Float[Tensor, "T K E"], trajectory: Trajectory, episodes: int
) -> Float[Tensor, "episodes K E"]:
    """Sum something over the valid steps of each episode of a trial; NaN for one that is void.

    Of rewards it makes the returns of the episodes, of ones their lengths.

    Raises:
        ValueError: A trial has fewer complete episodes, or more.
    """
    done = trajectory.done
    if not (done.sum(0) == episodes).all():
        raise ValueError(f"not every trial has {episodes} complete episodes")
    number = (done.cumsum(0) - done.long()).clamp_max(episodes - 1)
    counted = (x * trajectory.valid).masked_fill(trajectory.failed, torch.nan)
    return x.new_zeros(episodes, *x.shape[1:]).scatter_add(0, number, counted)


def mean_return(returns: Float[Tensor, "*batch E"]) -> Float[Tensor, "*batch"]:
    """Average returns over the last axis, without those of void episodes; NaN if all are."""
    return returns.nanmean(-1) if returns.isnan().any() else returns.mean(-1)


def episode_successes(
    trajectory: Trajectory, episodes: int
) -> Float[Tensor, "episodes K E"] | None:
    """Return 1 for each episode of a trial on any step of which the task was solved, else 0.

    None if the environment says nothing of it.

    Raises:
        ValueError: As :func:`per_trial_episode`.
    """
    if trajectory.success is None:
        return None
    solved = trajectory.success.to(trajectory.reward.dtype)
    return per_trial_episode(solved, trajectory, episodes).clamp_max(1.0)


def nothing_yet(policy: Policy, observation: Tensor) -> tuple[Tensor, Tensor]:
    """Return the previous action and reward ``[K, E, ...]`` of a first step."""
    reward = torch.zeros_like(observation[..., 0])
    spaces = policy.spaces
    action = torch.full_like(reward, -1, dtype=torch.int64) if spaces.discrete else reward
    if spaces.usual_shape:
        action = action.unsqueeze(-1).expand(*reward.shape, *spaces.usual_shape)
    return action, reward
