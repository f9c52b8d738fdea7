"""Standard adaptation: gradient steps on the current task's data, and nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import SeedSequence

from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import collect_episodes
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.meta_rl.batch import make_batch
from ssm_metarl.meta_rl.inner_loop import Rates, inner_step, within_trust
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

    Every step collects fresh episodes with the parameters it improves. The first steps are as
    long as meta-training made them; those beyond ``config.inner_steps`` were never trained and
    are kept within a trust region, or they would undo the first ones.

    Args:
        policy: The network.
        params: The meta-trained parameters (detached).
        rates: Inner learning rates (detached).
        config: How the inner step was meta-trained: horizon, discount, surrogate.
        family: Of the tasks.
        tasks: K tasks.
        episodes: Episodes per task and step.
        steps: Gradient steps.
        seed: Of the episodes.
    """
    theta, used = params, np.zeros(len(tasks), dtype=np.int64)
    yield Adapted(theta, 0, 0, used)
    device = params["encoder.bias"].device
    for step in range(steps):
        environment = family.make(
            tasks, episodes, autoreset=False, horizon=config.support_horizon, device=device
        )
        support = collect_episodes(policy.bind(theta), environment, substream(seed, step))
        environment.close()
        batch = make_batch(support, policy, config.adaptation_discount, config.trace)
        stepped = inner_step(policy, theta, batch, rates, surrogate=config.surrogate)
        if step >= config.inner_steps:
            stepped = within_trust(policy, theta, stepped, batch, config.trust)
        theta = stepped
        used = used + support.valid.sum((0, 2)).cpu().numpy()
        yield Adapted(theta, step + 1, episodes * (step + 1), used)
