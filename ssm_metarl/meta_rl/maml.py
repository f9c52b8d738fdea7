"""Model-agnostic meta-learning for policies, with a clipped outer objective over several epochs.

One iteration: sample tasks, collect support data with the shared parameters, adapt, collect
fresh query data with the adapted ones, and improve the shared parameters so that *adapting from
the support data* does better on the query data. The adaptation is recomputed inside the outer
loss and differentiated through, in every epoch (Finn et al. 2017, arXiv:1703.03400; the outer
objective is that of Rothfuss et al. 2019, arXiv:1810.06784).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.errors import DivergenceError
from ssm_metarl.meta_rl.batch import Batch, collect_data, make_batch
from ssm_metarl.meta_rl.inner_loop import Rates, adaptable, inner_step
from ssm_metarl.meta_rl.losses import (
    Surrogate,
    clipped_loss,
    per_episode,
    sampling_credit,
    sampling_loss,
    step_mean,
)

TASK_STREAM, ROLLOUT_STREAM = 0, 1


@dataclass(frozen=True)
class MetaConfig:
    """How to meta-train.

    Attributes:
        inner_lr: Rate of the inner step on the summed-over-steps policy gradient.
        outer_lr: Rate of Adam on the shared parameters at the start; it falls linearly to zero.
        iterations: Length of the training, over which it does.
        inner_steps: Gradient steps per task; 0 for an agent of another training, to adapt it.
        tasks: Tasks per iteration, ``K``.
        episodes: Episodes per task, both of the support and of the query data, ``E``.
        episodes_per_trial: Of these, in a row in one lane, if the memory lasts a trial.
        support_horizon: Step limit of support episodes.
        query_horizon: Step limit of query episodes.
        discount: Gamma of the query data.
        adaptation_discount: Gamma of the support data once trained. A shorter sight makes the
            little data there is to adapt from less noisy; in training the noise is of use.
        gae_lambda: Lambda of the advantages.
        epochs: Outer gradient steps on one iteration's data.
        clip: Clipping range of the outer likelihood ratio.
        entropy: Weight of the adapted policies' entropy in the outer objective.
        support_weight: Weight in it of the return before adapting, which nothing else looks after.
        max_grad_norm: Bound on the norm of the meta-gradient.
        trust: Largest mean divergence, in nats, of a step at test time that training never took.
        adapted_std: Largest spread of continuous actions after a step at test time, or no limit.
        surrogate: Inner loss; "emaml" adds the sampling term, and needs two tasks or more;
            "prediction" needs no rewards of the new task, and second order.
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
    adaptation_discount: float = 0.9
    gae_lambda: float = 1.0
    epochs: int = 3
    clip: float = 0.2
    entropy: float = 0.0
    support_weight: float = 0.0
    max_grad_norm: float = 1.0
    trust: float = 0.03
    adapted_std: float | None = None
    surrogate: Surrogate = "lvc"
    first_order: bool = False
    learn_rates: bool = False
    chunk: int = 8


@dataclass(frozen=True)
class MetaProgress:
    """One iteration of meta-training.

    Attributes:
        iteration: Counted from 1.
        environment_steps: Of this iteration, support and query.
        support_reward: Mean reward collected per support episode, within the support horizon.
        query_reward: Mean reward collected per query episode, within the query horizon.
        meta_loss: Outer loss at the first epoch.
        gradient_norm: Of the meta-gradient at the first epoch, before clipping.
    """

    iteration: int
    environment_steps: int
    support_reward: float
    query_reward: float
    meta_loss: float
    gradient_norm: float


class MetaLearner:
    """The shared parameters, their optimiser, and one iteration of MAML at a time.

    Attributes:
        experience: The last iteration's tasks, and what the shared parameters played on them.
        on_phase: Called as an iteration goes on, with "support", "query" and "update".
    """

    def __init__(
        self, policy: Policy, config: MetaConfig, family: TaskFamily, params: Params
    ) -> None:
        self.policy, self.config, self.family = policy, config, family
        self.experience: tuple[Tasks, Trajectory] | None = None
        self.on_phase: Callable[[str], object] = lambda phase: None
        self.params = {name: v.detach().clone().requires_grad_() for name, v in params.items()}
        self.log_gains = {
            name: torch.zeros_like(v, requires_grad=True)
            for name, v in self.params.items()
            if config.learn_rates and adaptable(name)
        }
        heads = ("params/prediction.",) if config.surrogate == "prediction" else ()
        self.learned = {
            name: value
            for name, value in self.tensors.items()
            if adaptable(name.removeprefix("params/")) or name.startswith(heads)
        }
        self.optimizer = torch.optim.Adam(self.learned.values(), lr=config.outer_lr)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.params["encoder.bias"].device

    def rates(self) -> Rates:
        """Return the inner learning rates."""
        if not self.log_gains:
            return self.config.inner_lr
        return {name: self.config.inner_lr * gain.exp() for name, gain in self.log_gains.items()}

    def detached_rates(self) -> Rates:
        """Return the inner learning rates as constants."""
        rates = self.rates()
        if isinstance(rates, Mapping):
            return {name: rate.detach() for name, rate in rates.items()}
        return rates

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All that defines the learned agent: parameters, and rates if they are learned."""
        named = {f"params/{name}": value for name, value in self.params.items()}
        return named | {f"log_gains/{name}": value for name, value in self.log_gains.items()}

    def iterate(self, seed: SeedSequence, iteration: int) -> MetaProgress:
        """Collect data on new tasks and improve the shared parameters.

        Args:
            seed: Of the run; this iteration's randomness depends on it and the number alone.
            iteration: Number of this iteration, from 1.

        Raises:
            DivergenceError: A loss or the meta-gradient is not finite; nothing was changed.
        """
        own = substream(seed, iteration)
        tasks = self.family.sample(self.config.tasks, substream(own, TASK_STREAM))
        trajectories = self._collect(tasks, substream(own, ROLLOUT_STREAM))
        self.experience = tasks, trajectories[0]
        *supports, query = [self._batch(trajectory) for trajectory in trajectories]
        self.optimizer.param_groups[0]["lr"] = self._outer_lr(iteration)
        credit = None
        if self.config.surrogate == "emaml":  # across tasks, so before they part into chunks
            credit = sampling_credit(
                per_episode(trajectories[-1].reward) / query.episodes, query.unit
            )
        self.on_phase("update")
        reports = [self._outer_step(supports, query, credit) for _ in range(self.config.epochs)]
        return MetaProgress(
            iteration=iteration,
            environment_steps=sum(t.environment_steps for t in trajectories),
            support_reward=_reward_per_episode(trajectories[0]),
            query_reward=_reward_per_episode(trajectories[-1]),
            meta_loss=reports[0][0],
            gradient_norm=reports[0][1],
        )

    def _collect(self, tasks: Tasks, seed: SeedSequence) -> list[Trajectory]:
        """Return the support data of each inner step and, last, the query data."""
        theta: Params = {name: v.detach() for name, v in self.params.items()}
        rates, config, trajectories = self.detached_rates(), self.config, []
        for step in range(config.inner_steps + 1):
            last = step == config.inner_steps
            self.on_phase("query" if last else "support")
            horizon = config.query_horizon if last else config.support_horizon
            rollout = collect_data(
                self.policy.bind(theta),
                self.family,
                tasks,
                substream(seed, step),
                episodes=config.episodes,
                per_trial=config.episodes_per_trial,
                horizon=horizon,
                device=self.device,
            )
            trajectories.append(rollout)
            if not last:
                batch = self._batch(rollout)
                theta = inner_step(self.policy, theta, batch, rates, surrogate=config.surrogate)
        return trajectories

    def _batch(self, trajectory: Trajectory) -> Batch:
        return make_batch(trajectory, self.policy, self.config.discount, self.config.gae_lambda)

    def _outer_lr(self, iteration: int) -> float:
        """Fall linearly to zero: late steps follow a signal that has become mostly noise."""
        return self.config.outer_lr * (1.0 - (iteration - 1) / self.config.iterations)

    def _outer_step(
        self, supports: list[Batch], query: Batch, credit: Tensor | None
    ) -> tuple[float, float]:
        """Take one step of Adam on the meta-gradient, accumulated over chunks of tasks."""
        config, total = self.config, 0.0
        self.optimizer.zero_grad()
        for first in range(0, config.tasks, config.chunk):
            part = slice(first, first + config.chunk)
            losses = meta_loss(
                self.policy,
                self.params,
                self.rates(),
                [support.tasks(part) for support in supports],
                query.tasks(part),
                config,
                None if credit is None else credit[part],
            )
            loss = losses.sum() / config.tasks
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(self.learned.values(), config.max_grad_norm).item()
        if not (abs(total) < float("inf") and norm < float("inf")):
            raise DivergenceError(f"meta-loss {total}, gradient norm {norm}")
        self.optimizer.step()
        return total, norm


def meta_loss(
    policy: Policy,
    params: Params,
    rates: Rates,
    supports: list[Batch],
    query: Batch,
    config: MetaConfig,
    credit: Float[Tensor, "K"] | None = None,
) -> Float[Tensor, "K"]:
    """Return each task's outer loss, with the adaptation recomputed from the shared parameters.

    With a credit, the support data of every inner step are credited with it, under the parameters
    that collected them.
    """
    theta, sampling = params, 0.0
    for support in supports:
        if credit is not None:
            log_prob = support.distribution(policy.bind(theta)).log_prob(support.action)
            sampling = sampling + sampling_loss(
                log_prob, support.behaviour, credit, support.valid, config.clip
            )
        theta = inner_step(
            policy,
            theta,
            support,
            rates,
            surrogate=config.surrogate,
            create_graph=True,
            first_order=config.first_order,
        )
    distribution = query.distribution(policy.bind(theta))
    log_prob = distribution.log_prob(query.action)
    loss = clipped_loss(log_prob, query.behaviour, query.advantage, query.valid, config.clip)
    if config.entropy:
        loss = loss - config.entropy * step_mean(distribution.entropy(), query.valid)
    if config.support_weight:
        first = supports[0]
        log_prob = first.distribution(policy.bind(params)).log_prob(first.action)
        loss = loss + config.support_weight * clipped_loss(
            log_prob, first.behaviour, first.advantage, first.valid, config.clip
        )
    return loss + sampling


def _reward_per_episode(trajectory: Trajectory) -> float:
    return (trajectory.reward.sum() / trajectory.done.sum()).item()
