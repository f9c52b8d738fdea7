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
from numpy.random import SeedSequence, default_rng

from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import Trajectory, collect_trials, per_trial_episode
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.meta_rl.batch import NOISE_FLOOR
from ssm_metarl.meta_rl.learner import (
    ROLLOUT_STREAM,
    SHUFFLE_STREAM,
    TASK_STREAM,
    Report,
    Settings,
)
from ssm_metarl.meta_rl.losses import step_mean
from ssm_metarl.meta_rl.ppo import PPOConfig, PPOLearner, Targets
from ssm_metarl.meta_rl.returns import generalized_advantages, standardize

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


class RL2(PPOLearner):
    """PPO over trials of newly sampled tasks."""

    def __init__(
        self, policy: Policy, config: RL2Config, family: TaskFamily, params: Params
    ) -> None:
        super().__init__(policy, config, family, params, config.iterations)
        self.config: RL2Config = config

    def iterate(self, seed: SeedSequence, iteration: int) -> Report:
        """Play trials of new tasks and improve the policy on them; see the base class."""
        own, config = substream(seed, iteration), self.config
        done = self.progress(iteration)
        horizon = self._horizon(done)
        self.optimizer.anneal(done)
        tasks = self.family.sample(config.tasks, substream(own, TASK_STREAM))
        self.on_phase("play")
        rollout = self._collect(tasks, horizon, substream(own, ROLLOUT_STREAM))
        rewards = per_trial_episode(rollout.reward, rollout, config.episodes).mean((1, 2))
        self.on_phase("update")
        rng = default_rng(substream(own, SHUFFLE_STREAM))
        metrics = {
            "horizon": horizon,
            "first_reward": rewards[0].item(),
            "last_reward": rewards[-1].item(),
            **self.improve(rollout, self._targets(rollout), rng, axis=1),
        }
        return Report(rollout.environment_steps, metrics)

    def _horizon(self, done: float) -> int:
        """Return the step limit of episodes when some fraction of the training is done."""
        factor = self.config.horizon / self.config.first_horizon
        return round(self.config.first_horizon * factor ** min(done / GROWTH, 1.0))

    def _collect(self, tasks: Tasks, horizon: int, seed: SeedSequence) -> Trajectory:
        environment = self.family.make_vec(
            tasks, self.config.trials, autoreset=True, horizon=horizon, device=self.device
        )
        rollout = collect_trials(self.acting(), environment, seed, self.config.episodes)
        environment.close()
        return rollout

    @torch.no_grad()
    def _targets(self, rollout: Trajectory) -> Targets:
        """Return advantages, standardised by task, and the value targets they imply.

        Once every episode of a task survives, what is left of its advantages is the error of the
        values; standardising must not scale that up to steps of full size.
        """
        bound, config = self.policy.bind(self.params), self.config
        ends = rollout.terminated, rollout.done, rollout.valid
        parts = torch.arange(config.tasks).tensor_split(min(config.minibatches, config.tasks))
        value = torch.cat(
            [self.value(bound, rollout.tasks(part).features(bound)) for part in parts], dim=1
        )
        advantage = generalized_advantages(
            rollout.reward, value, *ends, config.discount, config.gae_lambda
        )
        target = value[:-1] + advantage
        size = step_mean(target.square(), rollout.valid).sqrt()
        standard = standardize(advantage, rollout.valid, NOISE_FLOOR * size)
        return Targets(standard, value[:-1], target)


def make(policy: Policy, family: TaskFamily, params: Params, settings: Settings) -> RL2:
    """Build the learner of a run's settings."""
    config = RL2Config(
        lr=settings["outer_lr"],
        iterations=settings["num_epochs"],
        tasks=settings["tasks_per_epoch"],
        episodes=settings["episodes_per_trial"],
        first_horizon=min(settings["first_steps"], settings["query_steps"]),
        horizon=settings["query_steps"],
        discount=settings["discount"],
        gae_lambda=settings["gae_lambda"],
        clip=settings["clip"],
        entropy=settings["entropy"],
        max_grad_norm=settings["max_grad_norm"],
    )
    return RL2(policy, config, family, params)
