"""RL^2: PPO over whole trials, so that adapting is something the memory learns to do.

A trial is several episodes of one task. The memory is empty at its start and goes on across its
episodes, and the policy sees what it did and what that brought, so that it can find out while it
plays what task it is on (Duan et al. 2016, arXiv:1611.02779; Wang et al. 2016, arXiv:1611.05763).
On a new task no gradient is taken.

Two choices decide whether that is learned:

- Advantages end with the episode, though the memory does not: every episode of a trial counts by
  itself, and dying early costs the rest of it.
- Episodes are short at first and grow. In a long one, whoever controls half of the tasks well
  earns half of everything, and gradients from the other half, which dies at once, are a few steps
  among hundreds; PPO then stays there. In short ones both halves weigh the same.
"""

from dataclasses import dataclass

import torch
from numpy.random import Generator, SeedSequence, default_rng
from torch import Tensor

from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import BoundPolicy, Policy
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import Trajectory, collect_trials, per_trial_episode
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.errors import DivergenceError
from ssm_metarl.meta_rl.batch import NOISE_FLOOR
from ssm_metarl.meta_rl.losses import clipped_loss, step_mean
from ssm_metarl.meta_rl.returns import generalized_advantages, standardize

TASK_STREAM, ROLLOUT_STREAM, SHUFFLE_STREAM = 0, 1, 2
GROWTH = 0.75  # of the training, during which episodes grow to their full length


@dataclass(frozen=True)
class RL2Config:
    """How to train over trials.

    Attributes:
        lr: Rate of Adam at the start; it falls linearly to zero.
        iterations: Length of the training, over which it does.
        tasks: Tasks per iteration, ``K``.
        trials: Trials per task, ``E``.
        episodes: Episodes per trial.
        first_horizon: Step limit of episodes in the first iteration.
        horizon: Step limit they grow to, by the same factor in every iteration.
        discount: Gamma.
        trace: Lambda of the advantages.
        epochs: Passes over one iteration's data.
        minibatches: Gradient steps per pass, each on all trials of some of the tasks.
        clip: Clipping range of the likelihood ratio.
        value_weight: Weight of the value loss.
        entropy: Weight of the entropy bonus.
        max_grad_norm: Bound on the gradient's norm.
    """

    lr: float = 0.003
    iterations: int = 80
    tasks: int = 32
    trials: int = 2
    episodes: int = 4
    first_horizon: int = 50
    horizon: int = 500
    discount: float = 0.99
    trace: float = 0.95
    epochs: int = 4
    minibatches: int = 4
    clip: float = 0.2
    value_weight: float = 0.5
    entropy: float = 0.0
    max_grad_norm: float = 1.0


@dataclass(frozen=True)
class RL2Progress:
    """One iteration.

    Attributes:
        iteration: Counted from 1.
        environment_steps: Of this iteration.
        horizon: Step limit of its episodes.
        first_reward: Mean reward collected in the first episode of a trial, within the horizon.
        last_reward: The same in the last episode.
        loss: Of the last minibatch.
        gradient_norm: Likewise, before clipping.
    """

    iteration: int
    environment_steps: int
    horizon: int
    first_reward: float
    last_reward: float
    loss: float
    gradient_norm: float


class RL2Learner:
    """The parameters, their optimiser, and one iteration of PPO over trials at a time."""

    def __init__(
        self, policy: Policy, config: RL2Config, family: TaskFamily, params: Params
    ) -> None:
        self.policy, self.config, self.family = policy, config, family
        self.params = {name: v.detach().clone().requires_grad_() for name, v in params.items()}
        self.tensors = {f"params/{name}": v for name, v in self.params.items()}
        self.learned = {n: v for n, v in self.tensors.items() if "prediction." not in n}
        self.optimizer = torch.optim.Adam(self.learned.values(), lr=config.lr, eps=1e-5)
        self.value_scale = 1.0 / (1.0 - config.discount)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.params["encoder.bias"].device

    def iterate(self, seed: SeedSequence, iteration: int) -> RL2Progress:
        """Play trials of new tasks and improve the policy on them.

        Args:
            seed: Of the run; this iteration's randomness depends on it and the number alone.
            iteration: Number of this iteration, from 1.

        Raises:
            DivergenceError: The loss or its gradient is not finite.
        """
        own, config = substream(seed, iteration), self.config
        done = (iteration - 1) / config.iterations
        horizon = self._horizon(done)
        self.optimizer.param_groups[0]["lr"] = config.lr * (1.0 - done)
        tasks = self.family.sample(config.tasks, substream(own, TASK_STREAM))
        rollout = self._collect(tasks, horizon, substream(own, ROLLOUT_STREAM))
        rewards = per_trial_episode(rollout.reward, rollout, config.episodes).mean((1, 2))
        loss, norm = self._improve(rollout, default_rng(substream(own, SHUFFLE_STREAM)))
        return RL2Progress(
            iteration=iteration,
            environment_steps=rollout.environment_steps,
            horizon=horizon,
            first_reward=rewards[0].item(),
            last_reward=rewards[-1].item(),
            loss=loss,
            gradient_norm=norm,
        )

    def _horizon(self, done: float) -> int:
        """Return the step limit of episodes when some fraction of the training is done."""
        factor = self.config.horizon / self.config.first_horizon
        return round(self.config.first_horizon * factor ** min(done / GROWTH, 1.0))

    def _collect(self, tasks: Tasks, horizon: int, seed: SeedSequence) -> Trajectory:
        detached = {name: v.detach() for name, v in self.params.items()}
        environment = self.family.make(
            tasks, self.config.trials, autoreset=True, horizon=horizon, device=self.device
        )
        bound = self.policy.bind(detached)
        rollout = collect_trials(bound, environment, seed, self.config.episodes)
        environment.close()
        return rollout

    def _value(self, bound: BoundPolicy, features: Tensor) -> Tensor:
        """Return values in reward units; the head works in units of ``1 / (1 - gamma)``."""
        return self.value_scale * bound.value(features)

    def _improve(self, rollout: Trajectory, rng: Generator) -> tuple[float, float]:
        """Take the epochs of gradient steps, each on some of the tasks; report the last one."""
        advantage, target = self._advantages(rollout)
        report = (0.0, 0.0)
        for _ in range(self.config.epochs):
            for part in self._parts(torch.from_numpy(rng.permutation(self.config.tasks))):
                report = self._step(rollout, advantage, target, part)
        return report

    def _parts(self, tasks: Tensor) -> tuple[Tensor, ...]:
        return tasks.tensor_split(min(self.config.minibatches, len(tasks)))

    @torch.no_grad()
    def _advantages(self, rollout: Trajectory) -> tuple[Tensor, Tensor]:
        """Return advantages, standardised by task, and the value targets they imply.

        Once every episode of a task survives, what is left of its advantages is the error of the
        values; standardising must not blow that up to steps of full size.
        """
        bound, config = self.policy.bind(self.params), self.config
        ends = rollout.terminated, rollout.done, rollout.valid
        value = torch.cat(
            [
                self._value(bound, rollout.tasks(part).features(bound))
                for part in self._parts(torch.arange(config.tasks))
            ],
            dim=1,
        )
        advantage = generalized_advantages(
            rollout.reward, value, *ends, config.discount, config.trace
        )
        target = value[:-1] + advantage
        size = step_mean(target.square(), rollout.valid).sqrt()
        return standardize(advantage, rollout.valid, NOISE_FLOOR * size), target

    def _step(
        self, rollout: Trajectory, advantage: Tensor, target: Tensor, tasks: Tensor
    ) -> tuple[float, float]:
        """Take one step of Adam on some of the tasks; return the loss and the gradient's norm."""
        part, bound, config = rollout.tasks(tasks), self.policy.bind(self.params), self.config
        features = part.features(bound)[:-1]
        distribution = bound.distribution(features)
        log_prob = distribution.log_prob(part.action)
        loss = clipped_loss(log_prob, part.log_prob, advantage[:, tasks], part.valid, config.clip)
        error = (self._value(bound, features) - target[:, tasks]) / self.value_scale
        loss = loss + config.value_weight * step_mean(error.square(), part.valid)
        loss = (loss - config.entropy * step_mean(distribution.entropy(), part.valid)).mean()
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.learned.values(), config.max_grad_norm).item()
        if not (torch.isfinite(loss) and norm < float("inf")):
            raise DivergenceError(f"loss {loss.item()}, gradient norm {norm}")
        self.optimizer.step()
        return loss.item(), norm
