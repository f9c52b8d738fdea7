"""Plain policy gradient on one task: PPO with GAE through the sequence model.

Whole episodes are the unit: each minibatch is a set of lanes, run through the network from their
first step to their last, so that the memory is trained exactly as it is used (Schulman et al.
2017, arXiv:1707.06347).
"""

from dataclasses import dataclass

import torch
from numpy.random import Generator, SeedSequence, default_rng
from torch import Tensor

from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.rollout import Trajectory, collect_episodes, episode_returns
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.meta_rl.baseline import baseline_features, baseline_values, fit_baseline
from ssm_metarl.meta_rl.batch import episode_age
from ssm_metarl.meta_rl.ppo import PPOConfig, PPOLearner
from ssm_metarl.meta_rl.returns import generalized_advantages, standardize

ROLLOUT_STREAM, SHUFFLE_STREAM = 0, 1


@dataclass(frozen=True)
class PolicyGradientConfig(PPOConfig):
    """How to train on one task; each gradient step is on whole episodes.

    Attributes:
        total_episodes: Length of the training.
        episodes: Episodes per iteration, one per lane.
    """

    lr: float = 0.01
    gae_lambda: float = 0.98
    epochs: int = 10
    minibatches: int = 1
    total_episodes: int = 200
    episodes: int = 10


@dataclass(frozen=True)
class PolicyGradientProgress:
    """One iteration.

    Attributes:
        iteration: Counted from 1.
        episodes: Episodes so far.
        environment_steps: Of this iteration.
        mean_return: Undiscounted return of this iteration's complete episodes.
        loss: Of the last minibatch; zero where there was nothing to learn.
    """

    iteration: int
    episodes: int
    environment_steps: int
    mean_return: float
    loss: float


class PolicyGradientLearner(PPOLearner):
    """The parameters, their optimiser, and one iteration of PPO at a time."""

    def __init__(
        self, policy: Policy, config: PolicyGradientConfig, family: TaskFamily, params: Params
    ) -> None:
        super().__init__(policy, config, family, params)
        self.config: PolicyGradientConfig = config

    def iterate(self, seed: SeedSequence, iteration: int) -> PolicyGradientProgress:
        """Collect a few episodes of the nominal task and improve the policy on them.

        Args:
            seed: Of the run; this iteration's randomness depends on it and the number alone.
            iteration: Number of this iteration, from 1.

        Raises:
            DivergenceError: The loss or its gradient is not finite.
        """
        own = substream(seed, iteration)
        before = (iteration - 1) * self.config.episodes
        lanes = min(self.config.episodes, self.config.total_episodes - before)
        environment = self.family.make(
            self.family.nominal(), lanes, autoreset=False, device=self.device
        )
        self.on_phase("play")
        rollout = collect_episodes(self.acting(), environment, substream(own, ROLLOUT_STREAM))
        environment.close()
        self.on_phase("update")
        loss = 0.0
        if not _nothing_to_learn(rollout):
            loss = self._improve(rollout, default_rng(substream(own, SHUFFLE_STREAM)))
        return PolicyGradientProgress(
            iteration=iteration,
            episodes=before + lanes,
            environment_steps=rollout.environment_steps,
            mean_return=episode_returns(rollout).mean().item(),
            loss=loss,
        )

    def _improve(self, rollout: Trajectory, rng: Generator) -> float:
        """Take the epochs of gradient steps, each on some of the lanes; return the last loss."""
        advantage, target = self._advantages(rollout)
        lanes, loss = rollout.valid.shape[-1], 0.0
        for _ in range(self.config.epochs):
            order = torch.from_numpy(rng.permutation(lanes))
            for part in order.tensor_split(min(self.config.minibatches, lanes)):
                chosen = rollout.lanes(part), advantage[:, :, part], target[:, :, part]
                loss, _ = self.step(*chosen)
        return loss

    @torch.no_grad()
    def _advantages(self, rollout: Trajectory) -> tuple[Tensor, Tensor]:
        """Return standardised advantages and the value targets they imply.

        Two baselines are averaged: the value head knows all episodes so far but lags behind a
        policy that improves fast, the linear one fits this iteration's but knows no others.
        """
        bound, config = self.policy.bind(self.params), self.config
        ends = rollout.terminated, rollout.done, rollout.valid
        scale = rollout.observation.new_tensor(self.policy.spaces.observation_scale)
        features = baseline_features(rollout.observation / scale, episode_age(rollout))
        weights = fit_baseline(rollout.reward, features, *ends, config.discount)
        head = self.value(bound, rollout.features(bound))
        value = 0.5 * (head + baseline_values(features, weights))
        advantage = generalized_advantages(
            rollout.reward, value, *ends, config.discount, config.gae_lambda
        )
        return standardize(advantage, rollout.valid), value[:-1] + advantage


def _nothing_to_learn(rollout: Trajectory) -> bool:
    """Whether every episode lasted to the time limit with the same return.

    Advantages would be noise, and standardising would blow it up to steps of full size. Once
    CartPole is solved these are the longest rollouts and so the costliest updates, too.
    """
    returns = episode_returns(rollout)
    return bool(rollout.truncated.any(0).all() and (returns == returns[0, 0]).all())
