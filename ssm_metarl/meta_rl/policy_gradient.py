"""Plain policy gradient on one task: PPO with GAE, without meta-learning."""

from dataclasses import dataclass

import torch
from numpy.random import SeedSequence, default_rng

from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.rollout import Trajectory, collect_episodes, episode_returns
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.meta_rl.baseline import baseline_features, baseline_values, fit_baseline
from ssm_metarl.meta_rl.batch import episode_age
from ssm_metarl.meta_rl.learner import Report, Settings
from ssm_metarl.meta_rl.ppo import PPOConfig, PPOLearner, Targets
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


class PolicyGradient(PPOLearner):
    """PPO on whole episodes of the nominal task, one per lane."""

    def __init__(
        self, policy: Policy, config: PolicyGradientConfig, family: TaskFamily, params: Params
    ) -> None:
        iterations = -(-config.total_episodes // config.episodes)
        super().__init__(policy, config, family, params, iterations)
        self.config: PolicyGradientConfig = config

    def iterate(self, seed: SeedSequence, iteration: int) -> Report:
        """Collect a few episodes and improve the policy on them; see the base class."""
        own, config = substream(seed, iteration), self.config
        before = (iteration - 1) * config.episodes
        lanes = min(config.episodes, config.total_episodes - before)
        self.on_phase("play")
        rollout = self._collect(lanes, substream(own, ROLLOUT_STREAM))
        self.on_phase("update")
        if _nothing_to_learn(rollout):
            metrics = NOTHING_LEARNED | {"learning_rate": self.optimizer.learning_rate}
        else:
            rng = default_rng(substream(own, SHUFFLE_STREAM))
            metrics = self.improve(rollout, self._targets(rollout), rng, axis=2)
        return Report(
            rollout.environment_steps,
            {"episodes": before + lanes, **metrics},
            mean_return=episode_returns(rollout).mean().item(),
        )

    def _collect(self, lanes: int, seed: SeedSequence) -> Trajectory:
        environment = self.family.make_vec(
            self.family.nominal(), lanes, autoreset=False, device=self.device
        )
        rollout = collect_episodes(self.acting(), environment, seed)
        environment.close()
        return rollout

    @torch.no_grad()
    def _targets(self, rollout: Trajectory) -> Targets:
        """Return standardised advantages and the value targets they imply.

        Two baselines are averaged: the value head knows all episodes so far but lags behind a
        policy that improves fast, the linear one fits this iteration's but knows no others.
        """
        bound, config = self.policy.bind(self.params), self.config
        ends = rollout.terminated, rollout.done, rollout.valid
        seen = self.policy.spaces.normalized(rollout.observation)
        features = baseline_features(seen, episode_age(rollout))
        weights = fit_baseline(rollout.reward, features, *ends, config.discount)
        head = self.value(bound, rollout.features(bound))
        value = 0.5 * (head + baseline_values(features, weights))
        advantage = generalized_advantages(
            rollout.reward, value, *ends, config.discount, config.gae_lambda
        )
        return Targets(standardize(advantage, rollout.valid), value[:-1], value[:-1] + advantage)


NOTHING_LEARNED: dict[str, float | None] = {
    "loss": 0.0,
    **dict.fromkeys(
        ("gradient_norm", "approx_kl", "clip_fraction", "entropy", "explained_variance")
    ),
}


def _nothing_to_learn(rollout: Trajectory) -> bool:
    """Whether every episode lasted to the time limit with the same return.

    Advantages would be noise, and standardising would scale it up to steps of full size. Once
    CartPole is solved these are the longest rollouts and so the costliest updates, too.
    """
    returns = episode_returns(rollout)
    return bool(rollout.truncated.any(0).all() and (returns == returns[0, 0]).all())


def make(policy: Policy, family: TaskFamily, params: Params, settings: Settings) -> PolicyGradient:
    """Build the learner of a run's settings."""
    config = PolicyGradientConfig(
        lr=settings["outer_lr"],
        total_episodes=settings["num_episodes"],
        discount=settings["discount"],
        gae_lambda=settings["gae_lambda"],
        clip=settings["clip"],
        entropy=settings["entropy"],
        max_grad_norm=settings["max_grad_norm"],
    )
    return PolicyGradient(policy, config, family, params)
