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

import torch
from numpy.random import SeedSequence, default_rng

from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy
from ssm_metarl.core.processes import my_part, of_all
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import Trajectory, collect_trials, per_trial_episode
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.env_runner.trajectory import of_all_processes
from ssm_metarl.meta_rl.diagnostics import success_rates
from ssm_metarl.meta_rl.learner import (
    ROLLOUT_STREAM,
    SHUFFLE_STREAM,
    TASK_STREAM,
    Report,
    Settings,
)
from ssm_metarl.meta_rl.ppo import PPOLearner
from ssm_metarl.meta_rl.returns import Targets, make_targets

GROWTH = 0.75  # of the training, during which episodes grow to their full length


class RL2(PPOLearner):
    """PPO over trials of newly sampled tasks.

    Attributes:
        trials: Of each task, ``E``; a gradient step is on all trials of some of the tasks.
    """

    trials = 2

    def __init__(
        self, policy: Policy, family: TaskFamily, params: Params, settings: Settings
    ) -> None:
        super().__init__(policy, family, params, settings)
        self.epochs, self.minibatches = self.settings.outer_epochs, self.settings.minibatches

    def iterate(self, seed: SeedSequence, iteration: int) -> Report:
        """Play trials of new tasks and improve the policy on them; see the base class."""
        seed, own = substream(seed, iteration), self.settings
        done = self.progress(iteration)
        horizon = self._horizon(done)
        self.optimizer.anneal(done)
        tasks = self.family.sample(own.tasks_per_epoch, substream(seed, TASK_STREAM))
        self.on_phase("play")
        rollout = self._collect(tasks, horizon, substream(seed, ROLLOUT_STREAM))
        rewards = per_trial_episode(rollout.reward, rollout, own.episodes_per_trial).nanmean((1, 2))
        success = success_rates(rollout, own.episodes_per_trial)
        self.on_phase("update")
        rng = default_rng(substream(seed, SHUFFLE_STREAM))
        metrics = {
            "horizon": horizon,
            "first_reward": rewards[0].item(),
            "last_reward": rewards[-1].item(),
            **({"first_success": success[0], "last_success": success[-1]} if success else {}),
            **self.improve(rollout, self._targets(rollout), rng, axis=1),
        }
        return Report(rollout.environment_steps, metrics, played=[(tasks, rollout)])

    def _horizon(self, done: float) -> int:
        """Return the step limit of episodes when some fraction of the training is done."""
        last = self.settings.query_steps
        first = min(self.settings.first_steps, last)
        return round(first * (last / first) ** min(done / GROWTH, 1.0))

    def _collect(self, tasks: Tasks, horizon: int, seed: SeedSequence) -> Trajectory:
        mine = tasks[my_part(len(tasks))]
        environment = self.family.make_vec(
            mine, self.trials, autoreset=True, horizon=horizon, device=self.device
        )
        episodes = self.settings.episodes_per_trial
        rollout = collect_trials(self.acting(), environment, seed, episodes, compiled=self.compiled)
        environment.close()
        return of_all_processes(rollout)

    @torch.no_grad()
    def _targets(self, rollout: Trajectory) -> Targets:
        bound, own = self.policy.bind(self.params), self.settings
        mine = torch.arange(own.tasks_per_epoch)[my_part(own.tasks_per_epoch)]
        parts = [
            self.value(bound, rollout.tasks(part).features(bound)).movedim(1, 0)
            for part in mine.tensor_split(min(self.minibatches, len(mine)))
        ]
        value = of_all(torch.cat(parts)).movedim(0, 1)
        return make_targets(rollout, value, own.discount, own.gae_lambda)


make = RL2
