"""What a visitor asks to compare, and the measurements, which are those of the command line."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.evaluate import EvaluationPlan, evaluate, modes_of, summarise
from ssm_metarl.evaluation.report import Evaluation, ModeResult
from ssm_metarl.ui.limits import EPISODES, EVALUATION_TASKS, SEED, STEPS, integer
from ssm_metarl.ui.query import ASKABLE, BUDGETS, mode_choices
from ssm_metarl.ui.store import RunStore, checked_id

MOST_RUNS = 4
TRIAL_EPISODES = 10  # at most, whatever a run was trained with
SPLITS = ("held_out", "shifted")


@dataclass
class Measured:
    """What has been measured of one run so far.

    Attributes:
        run: Its id.
        family: What it was evaluated on.
        tasks: Which tasks.
        split: Which task set they are.
        plan: What is measured.
        total: How many results there will be.
        rows: Those there are.
    """

    run: str
    family: TaskFamily
    tasks: Tasks
    split: str
    plan: EvaluationPlan
    total: int
    rows: list[ModeResult] = field(default_factory=list)

    def evaluation(self) -> Evaluation:
        """Return what was measured as ``ssm-metarl evaluate`` writes it."""
        return summarise(self.family, self.tasks, self.split, self.plan, self.rows)

    def of(self, mode: str) -> list[ModeResult]:
        """Return a mode's results; memory on top of gradient steps is no mode by itself."""
        own = [row for row in self.rows if row.mode == mode]
        return [row for row in own if not (mode == "in_context" and row.steps)]

    def row(self, mode: str, *, most: bool = False) -> ModeResult | None:
        """Return a mode's result from the least data that it adapted from, or from the most."""
        own = [row for row in self.of(mode) if row.shots or mode == "zero_shot"]
        return (max if most else min)(own, key=lambda row: row.shots, default=None)


@dataclass(frozen=True)
class Comparison:
    """What to compare.

    Attributes:
        runs: Whose agents.
        modes: Ways of adapting; each agent is measured in those that it knows.
        split: Which task set.
        tasks: How many tasks.
        episodes: Of each task, per gradient step.
        steps: Gradient steps.
        seed: Of everything random.
    """

    runs: Sequence[str]
    modes: Sequence[str]
    split: str
    tasks: int
    episodes: int
    steps: int
    seed: int

    @classmethod
    def asked(
        cls, runs: Any, modes: Any, split: Any, tasks: Any, episodes: Any, steps: Any, seed: Any
    ) -> "Comparison":
        """Read what came from the page or its API, whatever it is.

        Raises:
            UserError: Something is of the wrong kind; numbers that are too large are cut.
        """
        if not isinstance(runs, list) or not 1 <= len(runs) <= MOST_RUNS:
            raise UserError(f"choose 1 to {MOST_RUNS} agents to compare")
        runs = [checked_id(run) for run in runs]
        if not isinstance(modes, list) or any(mode not in ASKABLE for mode in modes):
            raise UserError(f"modes is a list of some of: {', '.join(ASKABLE)}")
        if split not in SPLITS:
            raise UserError(f"the tasks are one of: {', '.join(SPLITS)}")
        return cls(
            list(dict.fromkeys(runs)),
            tuple(mode for mode in ASKABLE if mode in modes),
            split,
            integer(EVALUATION_TASKS, "tasks", tasks),
            integer(EPISODES, "episodes", episodes),
            integer(STEPS, "steps", steps),
            integer(SEED, "seed", seed),
        )

    def measure(self, store: RunStore) -> Iterator[list[Measured]]:
        """Evaluate the agents one after another; yield all there is after each measurement.

        Raises:
            UserError: There is no such run, or its family has no such tasks.
        """
        found: list[Measured] = []
        for run in self.runs:
            agent, family = store.agent(run)
            able = [mode for _, mode in mode_choices(agent)]
            smaller = tuple(budget for budget in BUDGETS if budget < self.episodes)
            plan = EvaluationPlan(
                modes=("zero_shot", *(mode for mode in self.modes if mode in able)),
                budgets=(*smaller, self.episodes),
                steps=self.steps,
                trial_episodes=min(store.config(run).episodes_per_trial, TRIAL_EPISODES),
                seed=self.seed,
            )
            modes = modes_of(agent, plan)
            draw: Callable[[int], Tasks] = getattr(family, self.split)
            tasks = draw(self.tasks)
            memory = Memory.of(agent) if "hybrid" in modes else None
            found.append(Measured(run, family, tasks, self.split, plan, plan.results(modes)))
            for measurement in evaluate(agent, family, tasks, plan, memory):
                found[-1].rows.append(measurement.result)
                yield found
