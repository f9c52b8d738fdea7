"""What a visitor asks on the Adapt tab, and the answer.

A query is a few plain numbers, and its answer follows from them alone: that is all a visitor's
session keeps, and the other tabs work it out again where they look closer.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.comparison import Measured
from ssm_metarl.evaluation.evaluate import EvaluationPlan, Measurement, evaluate, modes_of
from ssm_metarl.evaluation.report import MODES
from ssm_metarl.ui.limits import EPISODES, SEED, STEPS
from ssm_metarl.ui.store import RunStore

BUDGETS = (1, 2, 5, 10, 20, 50)
ADAPTING = tuple(mode for mode in MODES if mode != "zero_shot")


@dataclass(frozen=True)
class Query:
    """How an agent meets one task.

    Attributes:
        task: Parameters of the task; those left out are nominal.
        episodes: Of the task, per gradient step.
        steps: Gradient steps.
    """

    run: str
    task: Mapping[str, float]
    modes: Sequence[str]
    episodes: int
    steps: int
    seed: int = 0

    @classmethod
    def asked(
        cls, run: Any, task: Any, modes: Any, episodes: Any, steps: Any, seed: Any
    ) -> "Query":
        """Read what came from the page or its API, whatever it is.

        Raises:
            UserError: Something is of the wrong kind, or a number out of its limits.
        """
        if not isinstance(task, Mapping) or len(task) > 100:
            raise UserError("a task is written as {parameter: value, ...}")
        return cls(
            run,
            dict(task),
            checked_modes(modes),
            EPISODES.check(episodes),
            STEPS.check(steps),
            SEED.check(seed),
        )

    def plan(self) -> EvaluationPlan:
        """Return what is measured."""
        return EvaluationPlan(
            modes=("zero_shot", *self.modes),
            budgets=budgets_up_to(self.episodes),
            steps=self.steps,
            seed=self.seed,
        )

    def plan_of(self, mode: str) -> EvaluationPlan:
        """Return the least that has to be measured to have the agent adapted in one mode."""
        budgets = (self.episodes,)
        return dataclasses.replace(self.plan(), modes=(mode,), budgets=budgets, return_episodes=1)


@dataclass(frozen=True)
class Subject:
    """The agent, the family and the task of a query, read from disk."""

    agent: Agent
    family: TaskFamily
    task: Tasks

    @classmethod
    def of(cls, store: RunStore, query: Query) -> "Subject":
        """Read it; a UserError says that a run, a parameter or its value is not valid."""
        agent, family = store.agent(query.run)
        return cls(agent, family, family.task(**query.task))

    def measured(self, run: str, plan: EvaluationPlan) -> Measured:
        """Return what is measured by a plan, of which there is nothing yet."""
        return Measured(run, self.family, self.task, "chosen", plan)


def checked_modes(modes: Any) -> tuple[str, ...]:
    """Return modes in their usual order; a UserError says that it is not a list of modes."""
    if not isinstance(modes, list | tuple) or any(mode not in ADAPTING for mode in modes):
        raise UserError(f"modes is a list of some of: {', '.join(ADAPTING)}")
    return tuple(mode for mode in ADAPTING if mode in modes)


def budgets_up_to(episodes: int) -> tuple[int, ...]:
    """Return the numbers of episodes that are measured on the way to the largest."""
    return (*(budget for budget in BUDGETS if budget < episodes), episodes)


def answers(subject: Subject, query: Query) -> Iterator[Measurement]:
    """Meet the task in each mode by itself, as ``ssm-metarl evaluate --modes MODE`` does.

    Raises:
        UserError: A mode that this agent does not know.
    """
    plan = query.plan()
    for mode in modes_of(subject.agent, plan):
        memory = Memory.of(subject.agent) if mode == "hybrid" else None
        alone = dataclasses.replace(plan, modes=(mode,))
        yield from evaluate(subject.agent, subject.family, subject.task, alone, memory)


def able_modes(agent: Agent) -> list[str]:
    """Return the modes in which an agent can adapt."""
    return list(modes_of(agent, EvaluationPlan())[1:])
