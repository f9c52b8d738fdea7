"""Compare the ways of meeting a task, on tasks the agent has never seen."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import SeedSequence

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.source import TaskSource
from ssm_metarl.adaptation.standard import Adapted, adapt_tasks
from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import collect_episodes, episode_returns
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.evaluation.report import Evaluation, ModeResult
from ssm_metarl.evaluation.statistics import iqm, mean, stratified_bootstrap

MODES = ("zero_shot", "standard", "from_scratch")
ADAPTATION_STREAM, RETURN_STREAM, MODE_STREAM, INITIAL_STREAM = 0, 1, 2, 3


@dataclass(frozen=True)
class EvaluationPlan:
    """What to measure.

    Attributes:
        modes: Ways of meeting a task, of :data:`MODES`.
        episodes: Episodes of each task per gradient step.
        steps: Gradient steps, each measured.
        return_episodes: Episodes per task over which a return is averaged.
        seed: Of all episodes, of the untrained network and of the bootstrap.
    """

    modes: Sequence[str] = MODES
    episodes: int = 20
    steps: int = 3
    return_episodes: int = 10
    seed: int = 0


def evaluate(
    agent: Agent, family: TaskFamily, tasks: Tasks, plan: EvaluationPlan
) -> Iterator[ModeResult]:
    """Meet every task in every way; yield a result per mode and number of gradient steps.

    All modes are measured on the same tasks with the same streams of random numbers. ``standard``
    and ``from_scratch`` take the same step rule with the same amount of data; they differ only in
    where they start: the meta-trained parameters, or a fresh network.
    """
    seed = SeedSequence(plan.seed)
    starts = {"standard": agent.params, "from_scratch": _untrained(agent, seed)}
    if "zero_shot" in plan.modes:
        start = Adapted(agent.params, 0, 0, np.zeros(len(tasks), dtype=np.int64))
        yield _measure("zero_shot", agent.policy, family, tasks, start, plan)
    for mode in ("standard", "from_scratch"):
        if mode not in plan.modes:
            continue
        adaptation = adapt_tasks(
            dataclasses.replace(agent, params=starts[mode]),
            task_source(agent, family, tasks),
            episodes=plan.episodes,
            steps=plan.steps,
            seed=substream(seed, ADAPTATION_STREAM),
        )
        for adapted in adaptation:
            if adapted.steps or mode == "from_scratch":
                yield _measure(mode, agent.policy, family, tasks, adapted, plan)


def task_source(agent: Agent, family: TaskFamily, tasks: Tasks) -> TaskSource:
    """Return where an agent plays the episodes it adapts from, as long as in meta-training."""
    device = agent.params["encoder.bias"].device
    return TaskSource(family, tasks, agent.config.support_horizon, device)


def summarise(
    family: TaskFamily, tasks: Tasks, split: str, plan: EvaluationPlan, rows: Sequence[ModeResult]
) -> Evaluation:
    """Put the results of :func:`evaluate` together with what they were measured on."""
    return Evaluation(family.name, len(tasks), plan.seed, split, tuple(rows))


def mean_returns(
    policy: Policy,
    params: Params,
    family: TaskFamily,
    tasks: Tasks,
    episodes: int,
    seed: SeedSequence,
    *,
    deterministic: bool = False,
) -> np.ndarray:
    """Return each task's mean return over complete episodes of the original length, ``[K]``."""
    device = params["encoder.bias"].device
    environment = family.make(tasks, episodes, autoreset=False, device=device)
    rollout = collect_episodes(policy.bind(params), environment, seed, deterministic=deterministic)
    environment.close()
    return episode_returns(rollout).mean(-1).cpu().double().numpy()


def _measure(
    mode: str,
    policy: Policy,
    family: TaskFamily,
    tasks: Tasks,
    adapted: Adapted,
    plan: EvaluationPlan,
) -> ModeResult:
    seed = substream(SeedSequence(plan.seed), RETURN_STREAM)
    measured = (policy, adapted.params, family, tasks, plan.return_episodes)
    returns = mean_returns(*measured, seed)
    greedy = mean_returns(*measured, substream(seed, MODE_STREAM), deterministic=True)
    scores = returns[None]
    return ModeResult(
        mode=mode,
        shots=adapted.episodes,
        steps=adapted.steps,
        mean=float(mean(returns)),
        iqm=float(iqm(returns)),
        ci95=stratified_bootstrap(scores, seed=plan.seed),
        adaptation_env_steps=float(adapted.environment_steps.mean()),
        deterministic_mean=float(mean(greedy)),
        per_task=tuple(returns.tolist()),
    )


def _untrained(agent: Agent, seed: SeedSequence) -> Params:
    state = int(substream(seed, INITIAL_STREAM).generate_state(1)[0])
    device = agent.params["encoder.bias"].device
    fresh = agent.policy.init(torch.Generator().manual_seed(state))
    return {name: value.to(device) for name, value in fresh.items()}
