"""What learners that meta-train gradient steps have in common.

One iteration: sample tasks, collect support data with the shared parameters, adapt, collect
fresh query data with the adapted ones, and improve the shared parameters. A learner says what it
improves (an outer objective, which recomputes the adaptation) and how (an outer optimiser).
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.core.parameters import Params, in_groups
from ssm_metarl.core.policy import Policy
from ssm_metarl.core.processes import my_part, of_all
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.env_runner.trajectory import of_all_processes
from ssm_metarl.meta_rl.batch import Batch, collect_data, make_batch
from ssm_metarl.meta_rl.diagnostics import Diagnostics, averaged, explained_variance, success_rates
from ssm_metarl.meta_rl.inner_rule import ACTING, InnerRule, adapted_leaves
from ssm_metarl.meta_rl.learner import (
    ROLLOUT_STREAM,
    TASK_STREAM,
    Learner,
    Optimizer,
    Report,
    Settings,
)
from ssm_metarl.meta_rl.losses import sampling_credit
from ssm_metarl.meta_rl.objective import OuterLoss, OuterObjective
from ssm_metarl.meta_rl.optimizer import AdamOptimizer, OptimizerStep
from ssm_metarl.meta_rl.registry import INNER_LOSSES


class MetaLearner(Learner[Optimizer]):
    """The shared parameters and, if they are learned, their inner learning rates.

    Attributes:
        learned: What the outer optimiser changes: all that acts, the heads that the inner loss
            trains, and learned rates.
        chunk: Most tasks per backward pass.
        chunk_steps: And most steps of theirs, which bounds the memory that a pass takes: 0.8 GB for
            a single task of 20 episodes of 1,600 steps, by policies of width 64. However the tasks
            are divided, the gradient is the same, and the time is within a tenth.
        keeps_behaviour: Whether batches know the distributions that their actions are from.
    """

    chunk, chunk_steps = 8, 20_000
    keeps_behaviour = False

    def __init__(
        self, policy: Policy, family: TaskFamily, params: Params, settings: Settings
    ) -> None:
        super().__init__(policy, family, params, settings)
        own = self.settings
        adapts, heads = adapted_leaves(own.adapts), in_groups(*INNER_LOSSES[own.surrogate].heads)
        self.log_gains = {
            name: torch.zeros_like(value, requires_grad=True)
            for name, value in self.params.items()
            if own.learn_inner_lr and adapts(policy.leaves[name])
        }
        gains = {f"log_gains/{name}": value for name, value in self.log_gains.items()}
        self.tensors |= gains
        self.learned = gains | {
            f"params/{name}": value
            for name, value in self.params.items()
            if ACTING(policy.leaves[name]) or heads(policy.leaves[name])
        }
        trial = policy.config.memory == "trial"
        in_a_row = min(own.episodes_per_trial, own.episodes_per_task) if trial else 1
        self.longest_rollout = in_a_row * own.support_steps

    @abstractmethod
    def objective(self) -> OuterObjective:
        """Return the outer objective, with the inner rule as it is now."""

    @abstractmethod
    def update(self, supports: Sequence[Batch], query: Batch) -> dict[str, float]:
        """Improve the shared parameters on data of this process's tasks; return the metrics.

        Raises:
            DivergenceError: A loss or its gradient is not finite.
        """

    def rule(self) -> InnerRule:
        """Return the inner rule, differentiable in the rates if they are learned."""
        own = self.settings
        entry = INNER_LOSSES[own.surrogate]
        loss = partial(entry.load(), **{name: getattr(own, name) for name in entry.settings})
        rates = {name: own.inner_lr * gain.exp() for name, gain in self.log_gains.items()}
        leaves = adapted_leaves(own.adapts)
        return InnerRule(
            self.policy, loss, rates or own.inner_lr, leaves, first_order=own.first_order
        )

    def iterate(self, seed: SeedSequence, iteration: int) -> Report:
        """Collect data on new tasks and improve the shared parameters; see the base class."""
        seed, own = substream(seed, iteration), self.settings
        self.optimizer.anneal(self.progress(iteration))
        tasks = self.family.sample(own.tasks_per_epoch, substream(seed, TASK_STREAM))
        mine = my_part(len(tasks))
        collected = list(self._collect(tasks[mine], substream(seed, ROLLOUT_STREAM)))
        rollouts = [of_all_processes(rollout) for rollout, _ in collected]
        *supports, query = [batch for _, batch in collected]
        if INNER_LOSSES[own.surrogate].credits_sampling:
            credit = sampling_credit(_reward_per_episode(rollouts[-1]), of_all(query.unit))
            supports = [replace(support, credit=credit[mine]) for support in supports]
        self.on_phase("update")
        metrics = {
            "support_reward": _reward_per_episode(rollouts[0]).nanmean().item(),
            "query_reward": _reward_per_episode(rollouts[-1]).nanmean().item(),
            **_success_rates("support", rollouts[0]),
            **_success_rates("query", rollouts[-1]),
            **self.update(supports, query),
            "explained_variance": explained_variance(
                of_all(query.value[query.valid]), of_all(query.target[query.valid])
            ),
        }
        steps = sum(rollout.environment_steps for rollout in rollouts)
        played = [(tasks, rollout) for rollout in rollouts]
        return Report(steps, metrics, experience=played[0], played=played)

    def _collect(self, tasks: Tasks, seed: SeedSequence) -> Iterator[tuple[Trajectory, Batch]]:
        """Yield the support data of each inner step and, last, the query data."""
        rule, own = self.rule(), self.settings
        theta = self.detached()
        for step in range(own.inner_steps + 1):
            last = step == own.inner_steps
            self.on_phase("query" if last else "support")
            rollout = collect_data(
                self.policy.bind(theta),
                self.family,
                tasks,
                substream(seed, step),
                episodes=own.episodes_per_task,
                per_trial=own.episodes_per_trial,
                horizon=own.query_steps if last else own.support_steps,
                device=self.device,
                compiled=self.compiled,
            )
            batch = make_batch(rollout, self.policy, own.discount, own.gae_lambda)
            if self.keeps_behaviour:
                with torch.no_grad():
                    behaviour = batch.distribution(self.policy.bind(theta))
                batch = replace(batch, behaviour=behaviour)
            yield rollout, batch
            if not last:
                theta = rule.step(theta, batch)

    def outer_losses(self, supports: Sequence[Batch], query: Batch) -> Iterator[OuterLoss]:
        """Yield the outer objective of each chunk of tasks, of the parameters as they are now.

        Tasks whose episodes are about as long are taken together, and no step after their last:
        of CartPole's with untrained policies that leaves out 20 to 37%.
        """
        steps, _, lanes = query.valid.shape
        at_once = max(1, min(self.chunk, self.chunk_steps // (steps * lanes)))
        batches = *supports, query
        lengths = torch.stack([batch.lengths for batch in batches])
        for chosen in lengths.sum(0).argsort(stable=True).split(at_once):
            tasks = chosen.sort().values
            longest = lengths[:, tasks].amax(1).tolist()
            *parts, last = (
                batch.tasks(tasks, slice(end)) for batch, end in zip(batches, longest, strict=True)
            )
            yield self.objective()(parts, last, self.params)


def adam_epochs(
    learner: MetaLearner[AdamOptimizer], supports: Sequence[Batch], query: Batch, epochs: int
) -> dict[str, float]:
    """Take a step of Adam per epoch down the outer objective; return the metrics of the update."""
    steps: list[OptimizerStep] = []
    parts: list[Diagnostics] = []

    def shares() -> Iterator[Tensor]:
        for outer in learner.outer_losses(supports, query):
            parts.append(outer.diagnostics)
            yield outer.loss.sum() / learner.settings.tasks_per_epoch

    for _ in range(epochs):
        parts.clear()  # those of the last epoch are reported
        steps.append(learner.optimizer.step(shares))
    return {
        "meta_loss": steps[0].loss,
        "gradient_norm": steps[0].gradient_norm,
        "learning_rate": learner.optimizer.learning_rate,
        **averaged(parts),
    }


def _reward_per_episode(trajectory: Trajectory) -> Float[Tensor, "K"]:
    """Return each task's mean reward of an episode that did not fail; NaN where all did."""
    return trajectory.reward.sum((0, 2)) / (trajectory.done & trajectory.valid).sum((0, 2))


def _success_rates(name: str, trajectory: Trajectory) -> dict[str, float]:
    rates = success_rates(trajectory, int(trajectory.done[:, 0, 0].sum()))
    return {f"{name}_success": sum(rates) / len(rates)} if rates else {}
