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
from ssm_metarl.core.parameters import Params, device_of
from ssm_metarl.core.policy import Policy
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.software import current_software
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.errors import EnvironmentFailure
from ssm_metarl.evaluation.play import Episodes, per_task, play_episodes, play_trials
from ssm_metarl.evaluation.report import (
    MODES,
    Evaluation,
    ModeResult,
    Success,
    differences,
    label,
    part,
    success_rates,
    with_success,
)
from ssm_metarl.evaluation.statistics import iqm, mean, stratified_bootstrap

LANES = 2000  # of episodes that are played side by side
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
        EnvironmentFailure: All episodes of a task failed, so that it has no return.
    """
    with contextlib.closing(family.reusing()) as kept:
        measuring = _Measuring(agent, kept, tasks, plan)
        for mode in modes_of(agent, plan):
            if mode == "zero_shot":
                yield from measuring.episodes(mode, [measuring.start])
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
            yield from self.episodes(mode, [self.start])
        both = mode == "standard" and "in_context" in modes_of(self.agent, self.plan)
        adapted = self._adapted(seed, memory)
        while stages := list(itertools.islice(adapted, self._at_once())):
            for stage, measured in zip(stages, self.episodes(mode, stages), strict=True):
                yield measured
                if both:
                    *_, last = self.trials(stage)
                    yield last

    def _adapted(self, seed: SeedSequence, memory: Memory | None) -> Iterator[Adapted]:
        """Adapt from each budget; yield what every gradient step leads to."""
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
            yield from itertools.islice(adapted, 1, None)

    def _at_once(self) -> int:
        """Return how many adaptations are played side by side.

        A step of few lanes takes as long as one of many where all of them are one batch of tensors,
        but not where each is an environment of its own.
        """
        lanes = len(self.tasks) * self.plan.return_episodes
        return max(1, LANES // lanes) if self.family.simulator else 1

    def episodes(self, mode: str, stages: Sequence[Adapted]) -> Iterator[Measurement]:
        """Measure complete episodes of several adaptations to the tasks, side by side."""
        seed = substream(SeedSequence(self.plan.seed), RETURN_STREAM)
        every = np.arange(len(self.tasks))
        tasks = self.tasks[np.tile(every, len(stages))]
        params = _side_by_side(self.agent.policy, [one.params for one in stages], len(every))
        played = self.agent.policy, params, self.family, tasks, self.plan.return_episodes
        sampled = play_episodes(*played, seed)
        greedy = play_episodes(*played, substream(seed, MODE_STREAM), deterministic=True)
        for n, adapted in enumerate(stages):
            own = every + n * len(every)
            yield self._result(mode, adapted, sampled.tasks(own), greedy.tasks(own))

    def trials(self, adapted: Adapted) -> Iterator[Measurement]:
        """Yield a result per episode of a trial, each with those before it in memory."""
        seed = substream(SeedSequence(self.plan.seed), RETURN_STREAM)
        played = self.agent.policy, adapted.params, self.family, self.tasks
        played = *played, self.plan.return_episodes, self.plan.trial_episodes
        sampled = play_trials(*played, seed)
        greedy = play_trials(*played, substream(seed, MODE_STREAM), deterministic=True)
        for seen in range(self.plan.trial_episodes):
            used = adapted.environment_steps + np.nansum(sampled.environment_steps[:seen], 0)
            before = Adapted(adapted.params, adapted.steps, adapted.episodes + seen, used)
            own, likeliest = sampled.episodes[seen], greedy.episodes[seen]
            yield self._result("in_context", before, own, likeliest)

    def _result(
        self, mode: str, adapted: Adapted, sampled: Episodes, greedy: Episodes
    ) -> Measurement:
        """Sum up episodes: over tasks, or over episodes if there is one task."""
        returns = self._of_tasks(mode, adapted, sampled)
        result = ModeResult(
            mode=mode,
            shots=adapted.episodes,
            steps=adapted.steps,
            mean=float(mean(returns)),
            iqm=float(iqm(returns)),
            ci95=self._interval(sampled.returns),
            adaptation_env_steps=float(adapted.environment_steps.mean()),
            deterministic_mean=float(mean(self._of_tasks(mode, adapted, greedy))),
            per_task=tuple(returns.tolist()),
            success=self._success(sampled.success, greedy.success),
            failed_episodes=(sampled.failed + greedy.failed) or None,
        )
        return Measurement(result, adapted.params)

    def _of_tasks(self, mode: str, adapted: Adapted, episodes: Episodes) -> Float[np.ndarray, "K"]:
        """Return the mean return of each task, all of which must have one."""
        returns = per_task(episodes.returns)
        if np.isnan(returns).any():
            task = self.tasks.describe(int(np.isnan(returns).argmax()))
            raise EnvironmentFailure(
                f"{label(mode, adapted.steps, adapted.episodes)}: the environment broke down in "
                f"all {episodes.returns.shape[1]} episodes of the task {task}, which has no return "
                "then; a narrower range would help"
            )
        return returns

    def _success(self, sampled: Tensor | None, greedy: Tensor | None) -> Success | None:
        if sampled is None:
            return None
        rates = per_task(sampled)
        return Success(
            mean=float(mean(rates)),
            ci95=self._interval(sampled),
            deterministic_mean=0.0 if greedy is None else float(mean(per_task(greedy))),
            per_task=tuple(rates.tolist()),
        )

    def _interval(self, values: Float[Tensor, "K E"]) -> tuple[float, float]:
        """Return the interval of the mean: over tasks, or over episodes if there is one task."""
        if len(values) == 1:
            sample = values[~values.isnan()].cpu().double().numpy()
        else:
            sample = per_task(values)
        return stratified_bootstrap(sample[None], seed=self.plan.seed)


def _side_by_side(policy: Policy, several: Sequence[Params], tasks: int) -> Params:
    """Join parameters of the same K tasks along the tasks."""
    if len(several) == 1:
        return several[0]

    def each(name: str, value: Tensor) -> Tensor:
        shared = value.ndim == len(policy.leaves[name].shape)
        return value.expand(tasks, *value.shape) if shared else value

    return {
        name: torch.cat([each(name, params[name]) for params in several]) for name in several[0]
    }


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
    ordered = tuple(sorted(with_success(rows), key=part))
    gains = (differences(each, plan.seed) for each in (ordered, success_rates(ordered)))
    software = current_software(family.simulators)
    return Evaluation(family.name, len(tasks), plan.seed, split, ordered, *gains, software=software)


def untrained(agent: Agent, seed: SeedSequence) -> Params:
    """Return the parameters of the fresh network that `from_scratch` starts from."""
    state = int(substream(seed, INITIAL_STREAM).generate_state(1)[0])
    device = device_of(agent.params)
    fresh = agent.policy.init(torch.Generator().manual_seed(state))
    return {name: value.to(device) for name, value in fresh.items()}
