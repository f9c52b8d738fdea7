"""What an evaluation found: `evaluation.json`.

The dataclasses have the names of the JSON in the same order, so that they are its documentation.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence

import numpy as np

from ssm_metarl.errors import UserError, nearest
from ssm_metarl.evaluation.statistics import paired_difference

MODES = {
    "zero_shot": "zero-shot",
    "in_context": "in-context",
    "standard": "standard",
    "hybrid": "hybrid",
    "from_scratch": "from scratch",
}
"""The five ways of meeting a task that are always compared, and what people call them."""


@dataclasses.dataclass(frozen=True)
class ModeResult:
    """How well one way of meeting a task did on all tasks of an evaluation.

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


@dataclasses.dataclass(frozen=True)
class ModeDifference:
    """How much better one mode did than another on the same tasks, with the same data.

    Attributes:
        mode: A key of `MODES`.
        than: The other one.
        shots: Episodes of the new task that both used.
        steps: Gradient steps that both took.
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
        split: Which task set: ``held_out``, ``shifted`` (outside the training ranges), ...
        results: One entry per mode and data budget.
        differences: Of hybrid and standard adaptation from the same data.
    """

    family: str
    tasks: int
    seed: int
    split: str
    results: tuple[ModeResult, ...]
    differences: tuple[ModeDifference, ...] = ()

    def to_json(self) -> str:
        """Return the text of `evaluation.json`, which `from_json` reads back exactly.

        Raises:
            ValueError: A number is NaN or infinite, which JSON cannot say.
        """
        fields = dataclasses.asdict(self).items()
        return "{" + ", ".join(f'"{name}": {_json(value)}' for name, value in fields) + "}\n"

    @staticmethod
    def from_json(text: str, source: str = "evaluation.json") -> "Evaluation":
        """Read an evaluation; anything missing, extra, mistyped or inconsistent is refused.

        Args:
            text: What `to_json` wrote.
            source: Where it came from, for the error message.

        Raises:
            UserError: The text is not an evaluation; the message says where and why.
        """
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{source}: not JSON: {error}") from None
        record = _Record(raw, Evaluation, source)
        tasks = record.integer("tasks")
        return Evaluation(
            family=record.text("family"),
            tasks=tasks,
            seed=record.integer("seed"),
            split=record.text("split"),
            results=tuple(
                _mode_result(row, tasks, f"{source}: results[{index}]")
                for index, row in enumerate(record.items("results"))
            ),
            differences=tuple(
                _difference(row, f"{source}: differences[{index}]")
                for index, row in enumerate(record.items("differences"))
            ),
        )


def _json(value: object) -> str:
    """Write a value on one line, or a list of results with one per line."""
    if not isinstance(value, tuple) or not value:
        return json.dumps(value, allow_nan=False)
    return "[\n  " + ",\n  ".join(json.dumps(row, allow_nan=False) for row in value) + "\n]"


def differences(results: Sequence[ModeResult], seed: int) -> tuple[ModeDifference, ...]:
    """Compare hybrid with standard adaptation wherever both had the same data."""
    standard = {(row.shots, row.steps): row for row in results if row.mode == "standard"}
    found = []
    for row in results:
        other = standard.get((row.shots, row.steps))
        if row.mode == "hybrid" and other is not None:
            mine, theirs = (np.array(one.per_task)[None] for one in (row, other))
            gain = paired_difference(mine, theirs, seed=seed)
            same = row.shots, row.steps
            found.append(ModeDifference(row.mode, other.mode, *same, gain.mean, gain.ci95))
    return tuple(found)


def counted(number: int, noun: str) -> str:
    """Return ``1 step`` or ``1,000 steps``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def label(mode: str, steps: int = 0, shots: int = 0) -> str:
    """Return the human name of a mode, such as ``standard, 2 steps``.

    Without steps, in-context results differ in what was seen: ``in-context, 2 episodes``.
    """
    if steps:
        return f"{MODES[mode]}, {counted(steps, 'step')}"
    if shots and mode == "in_context":
        return f"{MODES[mode]}, {counted(shots, 'episode')}"
    return MODES[mode]


def describe(evaluation: Evaluation) -> str:
    """Return the heading of an evaluation: ``CartPole-v1: 100 held-out tasks, seed 0``."""
    tasks = counted(evaluation.tasks, f"{evaluation.split.replace('_', '-')} task")
    return f"{evaluation.family}: {tasks}, seed {evaluation.seed}"


def _mode_result(raw: object, tasks: int, where: str) -> ModeResult:
    """Read one entry of ``results``."""
    record = _Record(raw, ModeResult, where)
    return ModeResult(
        mode=record.mode("mode"),
        shots=record.integer("shots"),
        steps=record.integer("steps"),
        mean=record.number("mean"),
        iqm=record.number("iqm"),
        ci95=record.interval("ci95"),
        adaptation_env_steps=record.number("adaptation_env_steps"),
        deterministic_mean=record.number("deterministic_mean"),
        per_task=record.numbers("per_task", tasks),
    )


def _difference(raw: object, where: str) -> ModeDifference:
    """Read one entry of ``differences``."""
    record = _Record(raw, ModeDifference, where)
    return ModeDifference(
        mode=record.mode("mode"),
        than=record.mode("than"),
        shots=record.integer("shots"),
        steps=record.integer("steps"),
        mean=record.number("mean"),
        ci95=record.interval("ci95"),
    )


class _Record:
    """A JSON object with exactly the fields of a dataclass; reading one checks its type."""

    def __init__(self, raw: object, kind: type, where: str) -> None:
        if not isinstance(raw, dict):
            raise UserError(f"{where}: expected an object, found {type(raw).__name__}")
        names = [field.name for field in dataclasses.fields(kind)]
        for name in raw:
            if name not in names:
                raise UserError(f"{where}: unknown key {name!r}: {nearest(name, names)}")
        for name in names:
            if name not in raw:
                raise UserError(f"{where}: key {name!r} is missing")
        self._raw = raw
        self._where = where

    def text(self, name: str) -> str:
        value = self._raw[name]
        if not isinstance(value, str) or not value:
            raise self._error(name, "a name")
        return value

    def mode(self, name: str) -> str:
        mode = self.text(name)
        if mode not in MODES:
            raise UserError(f"{self._where}: unknown mode {mode!r}: {nearest(mode, MODES)}")
        return mode

    def interval(self, name: str) -> tuple[float, float]:
        low, high = self.numbers(name, 2)
        if low > high:
            raise UserError(f"{self._where}: {name} is not in order: {[low, high]}")
        return low, high

    def integer(self, name: str) -> int:
        value = self._raw[name]
        if type(value) is not int or value < 0:  # a bool is an int, but not here
            raise self._error(name, "a whole number from 0 up")
        return value

    def number(self, name: str) -> float:
        if not _is_finite_number(self._raw[name]):
            raise self._error(name, "a finite number")
        return float(self._raw[name])

    def items(self, name: str) -> list[object]:
        value = self._raw[name]
        if not isinstance(value, list):
            raise self._error(name, "a list")
        return value

    def numbers(self, name: str, count: int) -> tuple[float, ...]:
        values = self.items(name)
        if len(values) != count:
            raise UserError(f"{self._where}: {name} has {len(values)} entries, expected {count}")
        if not all(map(_is_finite_number, values)):
            raise self._error(name, "finite numbers")
        return tuple(map(float, self._raw[name]))

    def _error(self, name: str, expected: str) -> UserError:
        found = repr(self._raw[name])
        shown = found if len(found) <= 40 else found[:37] + "..."
        return UserError(f"{self._where}: {name} should be {expected}, found {shown}")


def _is_finite_number(value: object) -> bool:
    # Python's json reads NaN, Infinity, 1e999 and integers beyond any float.
    largest = sys.float_info.max
    return type(value) in (int, float) and -largest <= value <= largest  # type: ignore[operator]
