"""Standard adaptation: gradient steps on the current task's data, and nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import SeedSequence

from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.meta_rl.batch import collect_data, make_batch
from ssm_metarl.meta_rl.inner_loop import Rates, inner_step
from ssm_metarl.meta_rl.maml import MetaConfig


@dataclass(frozen=True)
class Adapted:
    """The state of an adaptation after some gradient steps.

    Attributes:
        params: Per task (``[K, ...]``); before the first step as they were given.
        steps: Gradient steps taken.
        episodes: Episodes of each task used so far.
        environment_steps: Steps of each task used so far, ``[K]``.
    """

    params: Params
    steps: int
    episodes: int
    environment_steps: np.ndarray


def adapt_standard(
    policy: Policy,
    params: Params,
    rates: Rates,
    config: MetaConfig,
    family: TaskFamily,
    tasks: Tasks,
    *,
    episodes: int,
    steps: int,
    seed: SeedSequence,
) -> Iterator[Adapted]:
    """Adapt to K tasks at once, each by itself; yield the start and then every step.

    Every step collects fresh episodes with the parameters it improves.

    Args:
        policy: The network.
        params: The meta-trained parameters (detached).
        rates: Inner learning rates (detached).
        config: How the inner step was meta-trained: horizon, discount, surrogate.
        family: Of the tasks.
        tasks: K tasks.
        episodes: Episodes per task and step (a memory of a trial rounds them to whole trials).
        steps: Gradient steps.
        seed: Of the episodes.
    """
    theta, played, used = params, 0, np.zeros(len(tasks), dtype=np.int64)
    yield Adapted(theta, 0, 0, used)
    for step in range(steps):
        support = collect_data(
            policy.bind(theta),
            family,
            tasks,
            substream(seed, step),
            episodes=episodes,
            per_trial=config.episodes_per_trial,
            horizon=config.support_horizon,
        )
        batch = make_batch(support, policy, config.adaptation_discount, config.trace)
        theta = inner_step(policy, theta, batch, rates, surrogate=config.surrogate)
        used = used + support.valid.sum((0, 2)).cpu().numpy()
        played += int(support.done[:, 0].sum())
        yield Adapted(theta, step + 1, played, used)
