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
from ssm_metarl.core.policy import Policy
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import Trajectory, collect_trials, per_trial_episode
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.meta_rl.batch import NOISE_FLOOR
from ssm_metarl.meta_rl.losses import step_mean
from ssm_metarl.meta_rl.ppo import PPOConfig, PPOLearner
from ssm_metarl.meta_rl.returns import generalized_advantages, standardize

TASK_STREAM, ROLLOUT_STREAM, SHUFFLE_STREAM = 0, 1, 2
GROWTH = 0.75  # of the training, during which episodes grow to their full length


@dataclass(frozen=True)
class RL2Config(PPOConfig):
    """How to train over trials; each gradient step is on all trials of some of the tasks.

    Attributes:
        lr: Rate of Adam at the start; it falls linearly to zero.
        iterations: Length of the training, over which it does.
        tasks: Tasks per iteration, ``K``.
        trials: Trials per task, ``E``.
        episodes: Episodes per trial.
        first_horizon: Step limit of episodes in the first iteration.
        horizon: Step limit they grow to, by the same factor in every iteration.
    """

    lr: float = 0.003
    gae_lambda: float = 0.95
    epochs: int = 4
    minibatches: int = 4
    iterations: int = 80
    tasks: int = 32
    trials: int = 2
    episodes: int = 4
    first_horizon: int = 50
    horizon: int = 500


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


class RL2Learner(PPOLearner):
    """The parameters, their optimiser, and one iteration of PPO over trials at a time."""

    def __init__(
        self, policy: Policy, config: RL2Config, family: TaskFamily, params: Params
    ) -> None:
        super().__init__(policy, config, family, params)
        self.config: RL2Config = config

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
        self.on_phase("play")
        rollout = self._collect(tasks, horizon, substream(own, ROLLOUT_STREAM))
        rewards = per_trial_episode(rollout.reward, rollout, config.episodes).mean((1, 2))
        self.on_phase("update")
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
        environment = self.family.make(
            tasks, self.config.trials, autoreset=True, horizon=horizon, device=self.device
        )
        rollout = collect_trials(self.acting(), environment, seed, self.config.episodes)
        environment.close()
        return rollout

    def _improve(self, rollout: Trajectory, rng: Generator) -> tuple[float, float]:
        """Take the epochs of gradient steps, each on some of the tasks; report the last one."""
        advantage, target = self._advantages(rollout)
        report = (0.0, 0.0)
        for _ in range(self.config.epochs):
            for part in self._parts(torch.from_numpy(rng.permutation(self.config.tasks))):
                report = self.step(rollout.tasks(part), advantage[:, part], target[:, part])
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
                self.value(bound, rollout.tasks(part).features(bound))
                for part in self._parts(torch.arange(config.tasks))
            ],
            dim=1,
        )
        advantage = generalized_advantages(
            rollout.reward, value, *ends, config.discount, config.gae_lambda
        )
        target = value[:-1] + advantage
        size = step_mean(target.square(), rollout.valid).sqrt()
        return standardize(advantage, rollout.valid, NOISE_FLOOR * size), target
