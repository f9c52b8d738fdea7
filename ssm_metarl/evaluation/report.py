"""The results of an evaluation: `evaluation.json`.

The dataclasses have the names of the JSON in the same order, so that they are its documentation.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence

import numpy as np

from ssm_metarl.evaluation.statistics import iqm, paired_difference

MODES = {
    "zero_shot": "zero-shot",
    "in_context": "in-context",
    "standard": "standard",
    "hybrid": "hybrid",
    "from_scratch": "from scratch",
}
"""The adaptation modes that are compared, and their names for people."""

COMPARED = {
    ("hybrid", "standard"): "what recalling earlier tasks adds to the same episodes",
    ("standard", "from_scratch"): "what meta-training adds to the same steps",
    ("standard", "zero_shot"): "what the steps add",
    ("in_context", "zero_shot"): "what the memory adds",
}
"""Which modes are compared task by task, the one minus the other, and what that says."""

PARTS = ("zero_shot", "in_context", "standard", "steps and in_context", "hybrid", "from_scratch")


@dataclasses.dataclass(frozen=True)
class Success:
    """Success rates of one mode: the share of complete episodes in which the task was solved.

    An episode succeeds if the environment says so on any of its steps.

    Attributes:
        mean: Over tasks, stochastic policy.
        ci95: 95% bootstrap interval of the mean.
        deterministic_mean: The same of the agent when it takes the most likely action.
        per_task: On each task, in the order of the family's task set, stochastic policy.
    """

    mean: float
    ci95: tuple[float, float]
    deterministic_mean: float
    per_task: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class ModeResult:
    """Returns of one mode on all tasks of an evaluation.

    A return is the undiscounted sum of the rewards of a complete episode.

    Attributes:
        mode: A key of `MODES`.
        shots: Episodes of the new task that adaptation used, all steps together.
        steps: Gradient steps taken.
        mean: Mean return over tasks, stochastic policy.
        iqm: Interquartile mean over tasks.
        ci95: 95% bootstrap interval of the mean.
        adaptation_env_steps: Environment steps of the new task that adaptation used, mean per task.
        deterministic_mean: Mean return of the same agent when it takes the most likely action.
        per_task: Return on each task, in the order of the family's task set, stochastic policy.
        success: Of the same episodes; absent where the environment says nothing of it.
        failed_episodes: How many of the episodes measured are left out, since the environment broke
            down in them; absent where it did in none.
    """

    mode: str
    shots: int
    steps: int
    mean: float
    iqm: float
    ci95: tuple[float, float]
    adaptation_env_steps: float
    deterministic_mean: float
    per_task: tuple[float, ...]
    success: Success | None = None
    failed_episodes: int | None = None

    def to_record(self) -> dict[str, object]:
        """Return the entry of `evaluation.json`, without what is not there."""
        fields = dataclasses.asdict(self)
        return {name: value for name, value in fields.items() if value is not None}


@dataclasses.dataclass(frozen=True)
class ModeDifference:
    """Difference between the returns of two modes on the same tasks.

    Attributes:
        mode: A key of `MODES`.
        than: The other one: with the same data after the same steps, or zero-shot, which has none.
        shots: Episodes of the new task that the mode used.
        steps: Gradient steps that it took.
        mean: Mean over tasks of the difference of returns.
        ci95: 95% bootstrap interval of it, paired by task.
    """

    mode: str
    than: str
    shots: int
    steps: int
    mean: float
    ci95: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Every mode on one fixed set of tasks.

    Attributes:
        family: Name of the task family.
        tasks: How many tasks.
        seed: Seed of the episodes and of the bootstrap.
        split: Which task set: ``held_out``, ``shifted`` (outside the training ranges),
            ``chosen`` (one task), ...
        results: One entry per mode and data budget.
        differences: Of the pairs in `COMPARED`.
        success_differences: The same of success rates; absent where there are none.
        software: Versions of the packages that it was computed with, if they are known.
    """

    family: str
    tasks: int
    seed: int
    split: str
    results: tuple[ModeResult, ...]
    differences: tuple[ModeDifference, ...] = ()
    success_differences: tuple[ModeDifference, ...] = ()
    software: Mapping[str, str | int] = dataclasses.field(default_factory=dict)

    @property
    def of_success(self) -> "Evaluation":
        """The same with success rates in place of returns, of the results that have any."""
        return dataclasses.replace(
            self, results=success_rates(self.results), differences=self.success_differences
        )

    def to_json(self) -> str:
        """Return the text of `evaluation.json`.

        Raises:
            ValueError: A number is NaN or infinite, which JSON cannot say.
        """
        fields = dataclasses.asdict(self)
        fields["results"] = tuple(row.to_record() for row in self.results)
        for name in ("success_differences", "software"):
            if not fields[name]:
                del fields[name]
        written = (f'"{name}": {_json(value)}' for name, value in fields.items())
        return "{" + ", ".join(written) + "}\n"


def _json(value: object) -> str:
    """Write a value on one line, or a list of results with one per line."""
    if not isinstance(value, tuple) or not value:
        return json.dumps(value, allow_nan=False)
    return "[\n  " + ",\n  ".join(json.dumps(row, allow_nan=False) for row in value) + "\n]"


def differences(results: Sequence[ModeResult], seed: int) -> tuple[ModeDifference, ...]:
    """Compare the modes of `COMPARED`, paired by task, wherever both had the same data.

    Zero-shot has no data and is compared with all of the other. One task says nothing of others.
    """
    if results and len(results[0].per_task) == 1:
        return ()
    measured = {(row.mode, row.shots, row.steps): row for row in results}
    found = []
    for mode, than in COMPARED:
        for row in results:
            if row.mode != mode or not row.shots or (mode == "in_context" and row.steps):
                continue  # memory and steps together are no single mode's
            shots, steps = (0, 0) if than == "zero_shot" else (row.shots, row.steps)
            other = measured.get((than, shots, steps))
            if other is not None:
                mine, theirs = (np.array(one.per_task)[None] for one in (row, other))
                gain = paired_difference(mine, theirs, seed=seed)
                found.append(ModeDifference(mode, than, row.shots, row.steps, gain.mean, gain.ci95))
    return tuple(found)


def with_success(results: Sequence[ModeResult]) -> Sequence[ModeResult]:
    """Return results that all have success rates, if any of them has.

    Where an environment says nothing of success but in the others, there was none.
    """
    if not any(row.success for row in results):
        return results
    never = Success(0.0, (0.0, 0.0), 0.0, (0.0,) * len(results[0].per_task))
    return [dataclasses.replace(row, success=row.success or never) for row in results]


def success_rates(results: Sequence[ModeResult]) -> tuple[ModeResult, ...]:
    """Return the results that have success rates, with these in place of returns."""
    return tuple(
        dataclasses.replace(
            row, iqm=float(iqm(np.array(row.success.per_task))), **vars(row.success), success=None
        )
        for row in results
        if row.success
    )


def part(row: ModeResult) -> int:
    """Return the part of a table that a result belongs to, from the top: see `PARTS`."""
    both = row.mode == "in_context" and row.steps
    return PARTS.index("steps and in_context" if both else row.mode)


def counted(number: int, noun: str) -> str:
    """Return ``1 step`` or ``1,000 steps``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def label(mode: str, steps: int = 0, shots: int = 0) -> str:
    """Return ``standard, 2 steps``, ``in-context, 2 episodes`` or ``2 steps + in-context``."""
    if steps and mode == "in_context":
        return f"{counted(steps, 'step')} + {MODES[mode]}"
    if steps:
        return f"{MODES[mode]}, {counted(steps, 'step')}"
    if shots and mode == "in_context":
        return f"{MODES[mode]}, {counted(shots, 'episode')}"
    return MODES[mode]


def solved(rows: Sequence[ModeResult]) -> str:
    """Return `` Solved in 4% and 85% of episodes.``; empty if nothing is said of success."""
    rates = [f"{row.success.mean:.0%}" for row in with_success(rows) if row.success]
    return f" Solved in {' and '.join(dict.fromkeys(rates))} of episodes." if rates else ""


def describe(evaluation: Evaluation) -> str:
    """Return the heading of an evaluation: ``CartPole-v1: 100 held-out tasks, seed 0``."""
    tasks = counted(evaluation.tasks, f"{evaluation.split.replace('_', '-')} task")
    return f"{evaluation.family}: {tasks}, seed {evaluation.seed}"
