"""Plain policy gradient on one task: PPO with GAE, without meta-learning."""

import torch
from numpy.random import SeedSequence, default_rng

from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.rollout import (
    Trajectory,
    collect_episodes,
    episode_returns,
    mean_return,
)
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.meta_rl.baseline import linear_values
from ssm_metarl.meta_rl.diagnostics import success_rates
from ssm_metarl.meta_rl.learner import Report, Settings
from ssm_metarl.meta_rl.ppo import PPOLearner
from ssm_metarl.meta_rl.returns import Targets, make_targets

ROLLOUT_STREAM, SHUFFLE_STREAM = 0, 1


class PolicyGradient(PPOLearner):
    """PPO on whole episodes of the nominal task, one per lane.

    Attributes:
        episodes: Per iteration.
    """

    epochs, minibatches, episodes = 10, 1, 10

    def __init__(
        self, policy: Policy, family: TaskFamily, params: Params, settings: Settings
    ) -> None:
        super().__init__(policy, family, params, settings)
        self.iterations = -(-self.settings.num_episodes // self.episodes)

    def iterate(self, seed: SeedSequence, iteration: int) -> Report:
        """Collect a few episodes and improve the policy on them; see the base class."""
        seed = substream(seed, iteration)
        before = (iteration - 1) * self.episodes
        lanes = min(self.episodes, self.settings.num_episodes - before)
        self.on_phase("play")
        rollout = self._collect(lanes, substream(seed, ROLLOUT_STREAM))
        self.on_phase("update")
        if _nothing_to_learn(rollout):
            metrics = NOTHING_LEARNED | {"learning_rate": self.optimizer.learning_rate}
        else:
            rng = default_rng(substream(seed, SHUFFLE_STREAM))
            metrics = self.improve(rollout, self._targets(rollout), rng, axis=2)
        success = success_rates(rollout)
        if success:
            metrics["success"] = success[0]
        return Report(
            rollout.environment_steps,
            {"episodes": before + lanes, **metrics},
            mean_return=mean_return(episode_returns(rollout)[0]).item(),
            played=[(self.family.nominal(), rollout)],
        )

    def _collect(self, lanes: int, seed: SeedSequence) -> Trajectory:
        environment = self.family.make_vec(
            self.family.nominal(), lanes, autoreset=False, device=self.device
        )
        rollout = collect_episodes(self.acting(), environment, seed, compiled=self.compiled)
        environment.close()
        return rollout

    @torch.no_grad()
    def _targets(self, rollout: Trajectory) -> Targets:
        """Average two baselines.

        The value head knows all episodes so far but lags behind a policy that improves fast, the
        linear one fits this iteration's but knows no others.
        """
        bound, own = self.policy.bind(self.params), self.settings
        head = self.value(bound, rollout.features(bound))
        value = 0.5 * (head + linear_values(rollout, self.policy, own.discount))
        return make_targets(rollout, value, own.discount, own.gae_lambda, floor=0.0)


NOTHING_LEARNED: dict[str, float | None] = {
    "loss": 0.0,
    **dict.fromkeys(
        ("gradient_norm", "approx_kl", "clip_fraction", "entropy", "explained_variance")
    ),
}


def _nothing_to_learn(rollout: Trajectory) -> bool:
    """Whether every episode lasted to the time limit with the same return, or failed.

    Advantages would be noise, and standardising would scale it up to steps of full size. Once
    CartPole is solved these are the longest rollouts and so the costliest updates, too.
    """
    returns, failed = episode_returns(rollout), rollout.failed.any(0)
    whole = (rollout.truncated.any(0) | failed).all()
    return bool(whole and len(returns[~failed].unique()) <= 1)


make = PolicyGradient
