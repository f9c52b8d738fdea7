"""Model-agnostic meta-learning for policies, with a clipped outer objective over several epochs.

One iteration: sample tasks, collect support data with the shared parameters, adapt, collect
fresh query data with the adapted ones, and improve the shared parameters so that *adapting from
the support data* does better on the query data. The adaptation is recomputed inside the outer
loss and differentiated through, in every epoch (Finn et al. 2017, arXiv:1703.03400).

It is made of an inner rule, an outer objective and an outer optimiser; each can be another.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.core.parameters import Params, in_groups
from ssm_metarl.core.policy import Policy
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.meta_rl.batch import Batch, collect_data, make_batch
from ssm_metarl.meta_rl.diagnostics import Diagnostics, averaged, explained_variance
from ssm_metarl.meta_rl.inner_loop import InnerLoop
from ssm_metarl.meta_rl.inner_losses import inner_loss
from ssm_metarl.meta_rl.inner_rule import ACTING, InnerRule
from ssm_metarl.meta_rl.learner import (
    ROLLOUT_STREAM,
    TASK_STREAM,
    Learner,
    Report,
    Settings,
)
from ssm_metarl.meta_rl.losses import per_episode, sampling_credit
from ssm_metarl.meta_rl.objective import ClippedObjective, OuterObjective
from ssm_metarl.meta_rl.optimizer import AdamOptimizer, OptimizerStep
from ssm_metarl.meta_rl.registry import INNER_LOSSES


@dataclass(frozen=True)
class MAMLConfig:
    """How to meta-train.

    Attributes:
        inner_lr: Rate of the inner step on the summed-over-steps policy gradient.
        outer_lr: Rate of Adam on the shared parameters at the start; it falls linearly to zero.
        iterations: Length of the training, over which it does.
        inner_steps: Gradient steps per task.
        tasks: Tasks per iteration, ``K``.
        episodes: Episodes per task, both of the support and of the query data, ``E``.
        episodes_per_trial: Of these, in a row in one lane, if the memory lasts a trial.
        support_horizon: Step limit of support episodes.
        query_horizon: Step limit of query episodes.
        discount: Gamma.
        gae_lambda: Lambda of the advantages.
        epochs: Outer gradient steps on one iteration's data.
        clip: Clipping range of the outer likelihood ratio.
        entropy: Weight of the adapted policies' entropy in the outer objective.
        support_weight: Weight in it of the return before adapting.
        max_grad_norm: Bound on the norm of the meta-gradient.
        surrogate: Inner loss, of :data:`ssm_metarl.meta_rl.registry.INNER_LOSSES`; "emaml" needs
            two tasks or more, "prediction" second order.
        first_order: Treat inner gradients as constants (FOMAML).
        learn_rates: Also learn an inner rate for every parameter, starting at ``inner_lr``.
        chunk: Tasks per backward pass; smaller fits the cache better, the result is the same.
    """

    inner_lr: float = 0.1
    outer_lr: float = 0.003
    iterations: int = 60
    inner_steps: int = 1
    tasks: int = 16
    episodes: int = 20
    episodes_per_trial: int = 4
    support_horizon: int = 100
    query_horizon: int = 500
    discount: float = 0.99
    gae_lambda: float = 1.0
    epochs: int = 3
    clip: float = 0.2
    entropy: float = 0.0
    support_weight: float = 0.0
    max_grad_norm: float = 1.0
    surrogate: str = "lvc"
    first_order: bool = False
    learn_rates: bool = False
    chunk: int = 8


class MAML(Learner):
    """The shared parameters and, if they are learned, their inner learning rates."""

    def __init__(
        self, policy: Policy, config: MAMLConfig, family: TaskFamily, params: Params
    ) -> None:
        super().__init__(policy, family, params, config.iterations)
        self.config = config
        self.log_gains = {
            name: torch.zeros_like(value, requires_grad=True)
            for name, value in self.params.items()
            if config.learn_rates and ACTING(policy.leaves[name])
        }
        self.tensors |= {f"log_gains/{name}": value for name, value in self.log_gains.items()}
        heads = in_groups(*INNER_LOSSES[config.surrogate].heads)
        learned = {
            f"params/{name}": value
            for name, value in self.params.items()
            if ACTING(policy.leaves[name]) or heads(policy.leaves[name])
        }
        learned |= {f"log_gains/{name}": value for name, value in self.log_gains.items()}
        self.optimizer = AdamOptimizer(learned, config.outer_lr, config.max_grad_norm)
        trial = policy.config.memory == "trial"
        in_a_row = min(config.episodes_per_trial, config.episodes) if trial else 1
        self.longest_rollout = in_a_row * config.support_horizon

    def rule(self) -> InnerRule:
        """Return the inner rule, differentiable in the rates if they are learned."""
        config = self.config
        rates = {name: config.inner_lr * gain.exp() for name, gain in self.log_gains.items()}
        return InnerRule(
            self.policy,
            inner_loss(config.surrogate),
            rates or config.inner_lr,
            first_order=config.first_order,
        )

    def objective(self) -> OuterObjective:
        """Return the outer objective, with the inner rule as it is now."""
        config = self.config
        return ClippedObjective(self.rule(), config.clip, config.entropy, config.support_weight)

    def iterate(self, seed: SeedSequence, iteration: int) -> Report:
        """Collect data on new tasks and improve the shared parameters; see the base class."""
        own, config = substream(seed, iteration), self.config
        self.optimizer.anneal(self.progress(iteration))
        tasks = self.family.sample(config.tasks, substream(own, TASK_STREAM))
        rollouts = self._collect(tasks, substream(own, ROLLOUT_STREAM))
        *supports, query = [self._batch(rollout) for rollout in rollouts]
        if INNER_LOSSES[config.surrogate].credits_sampling:
            credit = sampling_credit(per_episode(rollouts[-1].reward) / query.episodes, query.unit)
            supports = [replace(support, credit=credit) for support in supports]
        self.on_phase("update")
        metrics = {
            "support_reward": _reward_per_episode(rollouts[0]),
            "query_reward": _reward_per_episode(rollouts[-1]),
            **self._update(supports, query),
        }
        steps = sum(rollout.environment_steps for rollout in rollouts)
        return Report(steps, metrics, experience=(tasks, rollouts[0]))

    def _collect(self, tasks: Tasks, seed: SeedSequence) -> list[Trajectory]:
        """Return the support data of each inner step and, last, the query data."""
        rule, config, rollouts = self.rule(), self.config, []
        loop = InnerLoop(
            self.detached(), lambda theta, played, _: rule.step(theta, self._batch(played))
        )
        for step in range(config.inner_steps + 1):
            last = step == config.inner_steps
            self.on_phase("query" if last else "support")
            rollout = collect_data(
                self.policy.bind(loop.params),
                self.family,
                tasks,
                substream(seed, step),
                episodes=config.episodes,
                per_trial=config.episodes_per_trial,
                horizon=config.query_horizon if last else config.support_horizon,
                device=self.device,
            )
            rollouts.append(rollout)
            if not last:
                loop.add(rollout)
        return rollouts

    def _batch(self, trajectory: Trajectory) -> Batch:
        return make_batch(trajectory, self.policy, self.config.discount, self.config.gae_lambda)

    def _update(self, supports: Sequence[Batch], query: Batch) -> dict[str, float]:
        """Take the epochs of outer steps; return the metrics of the update."""
        steps: list[OptimizerStep] = []
        parts: list[Diagnostics] = []
        for _ in range(self.config.epochs):
            parts.clear()  # those of the last epoch are reported
            steps.append(self.optimizer.step(lambda: self._losses(supports, query, parts)))
        return {
            "meta_loss": steps[0].loss,
            "gradient_norm": steps[0].gradient_norm,
            "learning_rate": self.optimizer.learning_rate,
            **averaged(parts),
            "explained_variance": explained_variance(query.value, query.target, query.valid),
        }

    def _losses(
        self, supports: Sequence[Batch], query: Batch, diagnostics: list[Diagnostics]
    ) -> Iterator[Tensor]:
        """Yield the share of the outer loss of each chunk of tasks."""
        tasks, size = self.config.tasks, self.config.chunk
        for part in (slice(first, first + size) for first in range(0, tasks, size)):
            outer = self.objective()(
                [support.tasks(part) for support in supports], query.tasks(part), self.params
            )
            diagnostics.append(outer.diagnostics)
            yield outer.loss.sum() / tasks


def _reward_per_episode(trajectory: Trajectory) -> float:
    return (trajectory.reward.sum() / trajectory.done.sum()).item()


def make(policy: Policy, family: TaskFamily, params: Params, settings: Settings) -> MAML:
    """Build the learner of a run's settings."""
    config = MAMLConfig(
        inner_lr=settings["inner_lr"],
        outer_lr=settings["outer_lr"],
        iterations=settings["num_epochs"],
        inner_steps=settings["inner_steps"],
        tasks=settings["tasks_per_epoch"],
        episodes=settings["episodes_per_task"],
        episodes_per_trial=settings["episodes_per_trial"],
        support_horizon=settings["support_steps"],
        query_horizon=settings["query_steps"],
        discount=settings["discount"],
        gae_lambda=settings["gae_lambda"],
        epochs=settings["outer_epochs"],
        clip=settings["clip"],
        entropy=settings["entropy"],
        support_weight=settings["support_weight"],
        max_grad_norm=settings["max_grad_norm"],
        surrogate=settings["surrogate"],
        first_order=settings["first_order"],
        learn_rates=settings["learn_inner_lr"],
    )
    return MAML(policy, config, family, params)
