"""A learner of one file, as somebody may add it: REINFORCE on the nominal task."""

from numpy.random import SeedSequence

from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.rollout import collect_episodes, episode_returns
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.meta_rl.learner import Learner, Report, Settings
from ssm_metarl.meta_rl.losses import score_loss
from ssm_metarl.meta_rl.optimizer import AdamOptimizer


class Reinforce(Learner):
    def __init__(
        self, policy: Policy, family: TaskFamily, params: Params, settings: Settings
    ) -> None:
        super().__init__(policy, family, params, settings)
        self.optimizer = AdamOptimizer(self.tensors, self.settings.outer_lr, 1.0)

    def iterate(self, seed: SeedSequence, iteration: int) -> Report:
        environment = self.family.make_vec(self.family.nominal(), 8, autoreset=False)
        played = collect_episodes(self.acting(), environment, substream(seed, iteration))
        to_go = played.reward.flip(0).cumsum(0).flip(0) * played.valid
        bound = self.policy.bind(self.params)
        distribution = bound.distribution(played.features(bound)[:-1])
        loss = score_loss(distribution.log_prob(played.action), to_go - to_go.mean()).mean()
        step = self.optimizer.step(lambda: [loss])
        return Report(
            played.environment_steps,
            {"loss": step.loss, "gradient_norm": step.gradient_norm},
            mean_return=episode_returns(played).mean().item(),
        )


make = Reinforce
