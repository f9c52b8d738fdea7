"""Measure every adaptation mode on tasks that the agent has never seen."""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.adaptation.session import check_mode
from ssm_metarl.adaptation.standard import Adapted, adapt_tasks
from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import (
    collect_episodes,
    collect_trials,
    episode_returns,
    per_trial_episode,
)
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.evaluation.report import MODES, Evaluation, ModeResult, differences, part
from ssm_metarl.evaluation.statistics import iqm, mean, stratified_bootstrap

ADAPTATION_STREAM, RETURN_STREAM, MODE_STREAM, INITIAL_STREAM = 0, 1, 2, 3


@dataclass(frozen=True)
class EvaluationPlan:
    """What to measure.

    Attributes:
        modes: Keys of `MODES`; None for all that the agent can be measured in.
        budgets: Episodes of each task for the first gradient step; each number is measured.
        steps: Gradient steps, each measured and each on as many episodes as the largest budget.
        return_episodes: Episodes (or trials) per task over which a return is averaged.
        trial_episodes: Episodes per trial of ``in_context``, each measured.
        guarded: Whether adaptation goes back where its episodes show that a step did harm.
        seed: Of all episodes, of the untrained network and of the bootstrap.
    """

    modes: Sequence[str] | None = None
    budgets: Sequence[int] = (1, 2, 5, 10, 20)
    steps: int = 3
    return_episodes: int = 10
    trial_episodes: int = 4
    guarded: bool = True
    seed: int = 0

    def adaptations(self) -> list[tuple[int, int]]:
        """Return episodes per step and number of steps of each adaptation, by growing budget."""
        *smaller, largest = sorted(set(self.budgets))
        return [*((budget, 1) for budget in smaller), (largest, self.steps)]

    def results(self, modes: Sequence[str]) -> int:
        """Return how many results there will be."""
        adapted = len(set(self.budgets)) - 1 + self.steps
        each = {"zero_shot": 1, "in_context": self.trial_episodes, "from_scratch": adapted + 1}
        both = adapted if {"in_context", "standard"} <= set(modes) else 0
        return both + sum(each.get(mode, adapted) for mode in modes)


@dataclass(frozen=True)
class Measurement:
    """A result, and the parameters it was measured with: ``[K, ...]``, or shared by all tasks.

    The parameters of many tasks are large: keep the result alone where they are not needed.
    """

    result: ModeResult
    params: Params


def evaluate(
    agent: Agent,
    family: TaskFamily,
    tasks: Tasks,
    plan: EvaluationPlan,
    memory: Memory | None = None,
) -> Iterator[Measurement]:
    """Measure every mode on every task; yield a result per mode, data budget and gradient step.

    All modes are measured on the same tasks with the same streams of random numbers. ``standard``,
    ``hybrid`` and ``from_scratch`` use the same step rule and number of episodes: ``hybrid`` adds
    retrieved gradients, ``from_scratch`` starts from a fresh network. ``in_context`` takes no step:
    its n-th result is the n-th episode of a trial, after n - 1 others in memory. If both are asked
    for, every step of ``standard`` is followed by the last episode of a trial with the adapted
    weights, which separates memory, weights and both together.

    Without a memory, ``hybrid`` equals ``standard``.

    Raises:
        UserError: ``in_context`` was asked for, but the agent's memory ends with the episode.
    """
    with contextlib.closing(family.reusing()) as kept:
        measuring = _Measuring(agent, kept, tasks, plan)
        for mode in modes_of(agent, plan):
            if mode == "zero_shot":
                yield measuring.episodes(mode, measuring.start)
            elif mode == "in_context":
                yield from measuring.trials(measuring.start)
            else:
                yield from measuring.steps(mode, memory if mode == "hybrid" else None)


@dataclass(frozen=True)
class _Measuring:
    """The arguments of :func:`evaluate`."""

    agent: Agent
    family: TaskFamily
    tasks: Tasks
    plan: EvaluationPlan

    @property
    def start(self) -> Adapted:
        return Adapted(self.agent.params, 0, 0, np.zeros(len(self.tasks), dtype=np.int64))

    def steps(self, mode: str, memory: Memory | None) -> Iterator[Measurement]:
        """Yield a result per data budget and gradient step, and for a fresh network also before."""
        seed = SeedSequence(self.plan.seed)
        if mode == "from_scratch":
            fresh = dataclasses.replace(self.agent, params=untrained(self.agent, seed))
            self = dataclasses.replace(self, agent=fresh)
            yield self.episodes(mode, self.start)
        both = mode == "standard" and "in_context" in modes_of(self.agent, self.plan)
        for episodes, steps in self.plan.adaptations():
            adapted = adapt_tasks(
                self.agent,
                self.family,
                self.tasks,
                episodes=episodes,
                steps=steps,
                seed=substream(seed, ADAPTATION_STREAM),
                memory=memory,
                guarded=self.plan.guarded,
            )
            for stage in itertools.islice(adapted, 1, None):
                yield self.episodes(mode, stage)
                if both:
                    *_, last = self.trials(stage)
                    yield last

    def episodes(self, mode: str, adapted: Adapted) -> Measurement:
        """Measure complete episodes."""
        seed = substream(SeedSequence(self.plan.seed), RETURN_STREAM)
        played = self.agent.policy, adapted.params, self.family, self.tasks
        played = *played, self.plan.return_episodes
        returns = play_episodes(*played, seed)
        greedy = mean_returns(*played, substream(seed, MODE_STREAM), deterministic=True)
        return self._result(mode, adapted, returns, greedy)

    def trials(self, adapted: Adapted) -> Iterator[Measurement]:
        """Yield a result per episode of a trial, each with those before it in memory."""
        seed = substream(SeedSequence(self.plan.seed), RETURN_STREAM)
        played = self.agent.policy, adapted.params, self.family, self.tasks
        played = *played, self.plan.return_episodes, self.plan.trial_episodes
        sampled = play_trials(*played, seed)
        greedy = play_trials(*played, substream(seed, MODE_STREAM), deterministic=True)
        for seen in range(self.plan.trial_episodes):
            used = adapted.environment_steps + sampled.environment_steps[:seen].sum(0)
            before = Adapted(adapted.params, adapted.steps, adapted.episodes + seen, used)
            yield self._result("in_context", before, sampled.each[seen], greedy.returns[seen])

    def _result(
        self,
        mode: str,
        adapted: Adapted,
        episodes: Float[Tensor, "K E"],
        greedy: Float[np.ndarray, "K"],
    ) -> Measurement:
        """Sum up the returns of episodes: over tasks, or over episodes if there is one task."""
        returns = _numbers(episodes.mean(-1))
        sample = returns if len(returns) > 1 else _numbers(episodes[0])
        result = ModeResult(
            mode=mode,
            shots=adapted.episodes,
            steps=adapted.steps,
            mean=float(mean(returns)),
            iqm=float(iqm(returns)),
            ci95=stratified_bootstrap(sample[None], seed=self.plan.seed),
            adaptation_env_steps=float(adapted.environment_steps.mean()),
            deterministic_mean=float(mean(greedy)),
            per_task=tuple(returns.tolist()),
        )
        return Measurement(result, adapted.params)


def modes_of(agent: Agent, plan: EvaluationPlan) -> tuple[str, ...]:
    """Return the modes of a plan that an agent will be measured in.

    Raises:
        UserError: The plan names one that the agent cannot do.
    """
    if plan.modes is None:
        able = {
            "in_context": agent.policy.config.memory == "trial",
            "hybrid": agent.experience is not None and agent.experience.exists(),
        }
        return tuple(mode for mode in MODES if able.get(mode, True))
    for mode in plan.modes:
        if mode != "from_scratch":
            check_mode(agent, mode)
    return tuple(plan.modes)


def summarise(
    family: TaskFamily, tasks: Tasks, split: str, plan: EvaluationPlan, rows: Sequence[ModeResult]
) -> Evaluation:
    """Put the results of :func:`evaluate` in order, with what they were measured on."""
    ordered = tuple(sorted(rows, key=part))
    return Evaluation(
        family.name, len(tasks), plan.seed, split, ordered, differences(ordered, plan.seed)
    )


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
    played = policy, params, family, tasks, episodes, seed
    return _numbers(play_episodes(*played, deterministic=deterministic).mean(-1))


def play_episodes(
    policy: Policy,
    params: Params,
    family: TaskFamily,
    tasks: Tasks,
    episodes: int,
    seed: SeedSequence,
    *,
    deterministic: bool = False,
) -> Float[Tensor, "K E"]:
    """Play complete episodes of the original length; return the undiscounted return of each."""
    device = params["encoder.bias"].device
    environment = family.make_vec(tasks, episodes, autoreset=False, device=device)
    rollout = collect_episodes(policy.bind(params), environment, seed, deterministic=deterministic)
    environment.close()
    return episode_returns(rollout)


@dataclass(frozen=True)
class Trials:
    """Undiscounted returns and lengths of each episode of a trial, averaged over E trials."""

    returns: Float[np.ndarray, "episodes K"]
    environment_steps: Float[np.ndarray, "episodes K"]
    each: Float[Tensor, "episodes K E"]
    """The returns before averaging."""


def play_trials(
    policy: Policy,
    params: Params,
    family: TaskFamily,
    tasks: Tasks,
    trials: int,
    episodes: int,
    seed: SeedSequence,
    *,
    deterministic: bool = False,
) -> Trials:
    """Play trials of complete episodes of the original length, from an empty memory each."""
    device = params["encoder.bias"].device
    environment = family.make_vec(tasks, trials, autoreset=True, device=device)
    bound = policy.bind(params)
    rollout = collect_trials(bound, environment, seed, episodes, deterministic=deterministic)
    environment.close()
    each = per_trial_episode(rollout.reward, rollout, episodes)
    lengths = per_trial_episode(torch.ones_like(rollout.reward), rollout, episodes)
    return Trials(_numbers(each.mean(-1)), _numbers(lengths.mean(-1)), each)


def _numbers(values: Tensor) -> np.ndarray:
    return values.cpu().double().numpy()


def untrained(agent: Agent, seed: SeedSequence) -> Params:
    """Return the parameters of the fresh network that `from_scratch` starts from."""
    state = int(substream(seed, INITIAL_STREAM).generate_state(1)[0])
    device = agent.params["encoder.bias"].device
    fresh = agent.policy.init(torch.Generator().manual_seed(state))
    return {name: value.to(device) for name, value in fresh.items()}
