"""Sets of tasks: the values of their parameters, and whose random streams they draw from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import overload

import numpy as np

from ssm_metarl.errors import UserError, nearest


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
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Parameter name -> what its values 0, 1, 2, ... are called, for those that have such names."""

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
        chosen = {name: column[rows] for name, column in self.values.items()}
        return replace(self, values=chosen, index=self.index[rows])

    def __iter__(self) -> Iterator["Tasks"]:
        """Yield the tasks as sets of one."""
        return (self[k] for k in range(len(self)))

    def parameters(self, k: int) -> dict[str, float]:
        """Return the parameter values of task `k` of this set."""
        return {name: float(column[k]) for name, column in self.values.items()}

    def describe(self, k: int) -> str:
        """Return task `k` in words: `gravity=9.8, swap=1`."""
        return ", ".join(f"{name}={self.text(name, k)}" for name in self.values) or "nominal"

    def text(self, name: str, k: int) -> str:
        """Return a parameter's value in task `k` in words: its name, or three digits."""
        return value_text(self.values[name][k], self.labels.get(name, ()), ".3g")


def value_text(value: float, labels: Sequence[str], digits: str = "g") -> str:
    """Return what a value is called, where values 0, 1, 2, ... have names, or its digits."""
    if labels:
        return labels[int(value)]
    return f"{value:.0f}" if float(value).is_integer() else format(value, digits)
