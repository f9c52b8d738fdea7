"""What an evaluation found: `evaluation.json`, and the table people read.

The dataclasses have the names of the JSON in the same order, so that they are its documentation.
"""

import dataclasses
import json
import sys

from rich import box
from rich.markup import escape
from rich.table import Table

from ssm_metarl.errors import UserError, nearest

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
class Evaluation:
    """Every mode on one fixed set of tasks.

    Attributes:
        family: Name of the task family.
        tasks: How many tasks.
        seed: Seed of the episodes and of the bootstrap.
        split: Which task set: ``held_out``, ``shifted`` (outside the training ranges), ...
        results: One entry per mode and data budget.
    """

    family: str
    tasks: int
    seed: int
    split: str
    results: tuple[ModeResult, ...]

    def to_json(self) -> str:
        """Return the text of `evaluation.json`, which `from_json` reads back exactly.

        Raises:
            ValueError: A number is NaN or infinite, which JSON cannot say.
        """
        rows = [json.dumps(dataclasses.asdict(row), allow_nan=False) for row in self.results]
        head = json.dumps(dataclasses.asdict(dataclasses.replace(self, results=())))
        return head.removesuffix("[]}") + "[\n  " + ",\n  ".join(rows) + "\n]}\n"

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
        )


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


def make_table(evaluation: Evaluation) -> Table:
    """Lay an evaluation out for a terminal of 80 columns, with the best mean in bold.

    Returns of five digits and more make it wider.

    Rows that print the same best mean are all bold.
    """
    rows = evaluation.results
    digits = 1 if any(abs(row.mean) >= 100 for row in rows) else 2
    means = _aligned([row.mean for row in rows], digits)
    lows = _aligned([row.ci95[0] for row in rows], digits)
    highs = _aligned([row.ci95[1] for row in rows], digits)
    best = f"{max((row.mean for row in rows), default=0.0):.{digits}f}"
    table = Table(
        title=escape(describe(evaluation)),
        caption="Return of complete episodes, stochastic policy. [95% CI]: bootstrap over tasks.\n"
        "IQM: mean of the middle half of tasks. Greedy: taking the most likely action.\n"
        "Episodes and env steps: what adaptation used of each new task.",
        box=box.SIMPLE_HEAD,
        title_style="bold",
        title_justify="left",
        caption_justify="left",
        collapse_padding=True,
    )
    table.add_column("How it met the task", no_wrap=True)
    for name in ("Episodes", "Env\nsteps", "Mean return [95% CI]", "IQM", "Greedy"):
        table.add_column(name, justify="right", no_wrap=True)
    for row, following, mean, low, high in zip(
        rows, (*rows[1:], None), means, lows, highs, strict=True
    ):
        table.add_row(
            label(row.mode, row.steps, row.shots),
            f"{row.shots:,}",
            f"{row.adaptation_env_steps:,.0f}",
            f"{mean} [{low}, {high}]",
            f"{row.iqm:.{digits}f}",
            f"{row.deterministic_mean:.{digits}f}",
            style="bold" if mean.strip() == best else "",
            end_section=following is not None and following.mode != row.mode,
        )
    return table


def _aligned(values: list[float], digits: int) -> list[str]:
    """Format numbers to one width, so that those of a column stand under each other."""
    texts = [f"{value:.{digits}f}" for value in values]
    width = max(map(len, texts), default=0)
    return [text.rjust(width) for text in texts]


def _mode_result(raw: object, tasks: int, where: str) -> ModeResult:
    """Read one entry of ``results``."""
    record = _Record(raw, ModeResult, where)
    mode = record.text("mode")
    if mode not in MODES:
        raise UserError(f"{where}: unknown mode {mode!r}: {nearest(mode, MODES)}")
    ci95 = record.numbers("ci95", 2)
    if ci95[0] > ci95[1]:
        raise UserError(f"{where}: ci95 is not in order: {list(ci95)}")
    return ModeResult(
        mode=mode,
        shots=record.integer("shots"),
        steps=record.integer("steps"),
        mean=record.number("mean"),
        iqm=record.number("iqm"),
        ci95=(ci95[0], ci95[1]),
        adaptation_env_steps=record.number("adaptation_env_steps"),
        deterministic_mean=record.number("deterministic_mean"),
        per_task=record.numbers("per_task", tasks),
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
