"""The parameters of a family, and sets of tasks drawn from them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import overload

import numpy as np

from ssm_metarl.errors import UserError, nearest

Interval = tuple[float, float]


@dataclass(frozen=True)
class Parameter:
    """One quantity that differs between the tasks of a family.

    Either uniform on `[low, high)`, or one of `choices`, each equally likely.
    """

    name: str
    default: float
    """The nominal value: Gymnasium's own."""
    unit: str = ""
    description: str = ""
    low: float = math.nan
    high: float = math.nan
    choices: tuple[float, ...] = ()
    bounds: Interval = (-math.inf, math.inf)
    """Closed limits of what a user may set."""
    shifted: tuple[Interval, ...] | None = None
    """Intervals outside the training range, for the shifted test set; None to keep that range."""

    @property
    def range_text(self) -> str:
        """How the parameter is drawn for training, for people: `5 to 15` or `one of 0, 1`."""
        if self.choices:
            return f"one of {', '.join(f'{c:g}' for c in self.choices)}"
        return f"{self.low:g} to {self.high:g}"

    def transform(self, uniform: np.ndarray, shifted: bool = False) -> np.ndarray:
        """Map numbers uniform on [0, 1) to values of this parameter, float64 of the same shape."""
        if self.choices:
            return np.asarray(self.choices)[(uniform * len(self.choices)).astype(np.int64)]
        intervals = self.shifted if shifted and self.shifted else ((self.low, self.high),)
        widths = np.array([high - low for low, high in intervals])
        starts = np.concatenate([[0.0], np.cumsum(widths)])
        along = uniform * starts[-1]
        which = np.minimum(np.searchsorted(starts, along, side="right") - 1, len(widths) - 1)
        return np.array([low for low, _ in intervals])[which] + along - starts[which]

    def check(self, value: object) -> float:
        """Return `value` as a float, or raise `UserError` naming what would have been valid."""
        if isinstance(value, bool) or not isinstance(value, int | float | np.number):
            raise UserError(f"{self.name} must be a number, got {value!r}")
        try:
            number = float(value)
        except OverflowError:  # a whole number of hundreds of digits
            number = math.inf
        if self.choices:
            if number not in self.choices:
                raise UserError(f"{self.name} must be {self.range_text}, got {number:g}")
            return number
        low, high = self.bounds
        if not low <= number <= high:  # also refuses NaN
            raise UserError(
                f"{self.name} must be from {low:g} to {high:g} {self.unit}".rstrip()
                + f", got {number:g}"
            )
        return number


class TaskValues(dict[str, float]):
    """The values of one task by name, as whoever builds its environment gets them."""

    def __missing__(self, name: str) -> float:
        raise UserError(f"the task has no parameter {name!r}; {nearest(name, self)}")


@dataclass(frozen=True)
class Tasks:
    """K tasks: one value per parameter each, and an identity that names their random streams."""

    values: Mapping[str, np.ndarray]
    """Parameter name -> float64 `[K]`."""
    index: np.ndarray
    """Int64 `[K]`."""

    def __len__(self) -> int:
        """Return K."""
        return len(self.index)

    @overload
    def __getitem__(self, rows: int | slice | np.ndarray) -> "Tasks": ...

    @overload
    def __getitem__(self, rows: str) -> float: ...

    def __getitem__(self, rows: int | slice | np.ndarray | str) -> "Tasks | float":
        """Select tasks, which keep their identity; or a value of one task by its name.

        An integer selects a set of one, and so does iterating. Only such a set has single values.

        Raises:
            UserError: An unknown name.
        """
        if isinstance(rows, str):
            if len(self) != 1:
                raise UserError(f"{rows!r} has {len(self)} values here; select a task first")
            return TaskValues(self.parameters(0))[rows]
        if isinstance(rows, int):
            rows = np.array([rows])
        return Tasks({name: column[rows] for name, column in self.values.items()}, self.index[rows])

    def __iter__(self) -> Iterator["Tasks"]:
        """Yield the tasks as sets of one."""
        return (self[k] for k in range(len(self)))

    def parameters(self, k: int) -> dict[str, float]:
        """Return the parameter values of task `k` of this set."""
        return {name: float(column[k]) for name, column in self.values.items()}

    def describe(self, k: int) -> str:
        """Return task `k` in words: `gravity=9.8, swap=1`."""
        return (
            ", ".join(f"{name}={value:.3g}" for name, value in self.parameters(k).items())
            or "nominal"
        )
