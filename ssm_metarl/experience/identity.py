"""What a store is, and stays: of which environment and run, and how large."""

import sqlite3
from dataclasses import dataclass

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.errors import check_whole
from ssm_metarl.experience.layout import Layout

MAX_CAPACITY = 10**9
MAX_SIZE = 100_000  # of an observation or an action
_BOUNDS = {
    "capacity": (1, MAX_CAPACITY),
    "observations": (1, MAX_SIZE),
    "actions": (1, MAX_SIZE),
    "discrete": (0, 1),
}


@dataclass(frozen=True)
class Identity:
    """The facts of a store's table `meta`.

    Attributes:
        family: Name of the family.
        layout: Sizes of its observations and actions.
        capacity: Most transitions held.
        run: Fingerprint of the run whose agent played; None if that is not known.
    """

    family: str
    layout: Layout
    capacity: int
    run: str | None = None

    @classmethod
    def of(cls, family: TaskFamily, capacity: int, run: str | None) -> "Identity":
        """Return the identity of a new store.

        Raises:
            UserError: An argument that makes no sense.
        """
        capacity = check_whole("capacity", capacity, *_BOUNDS["capacity"])
        return cls(family.name, Layout.of(family), capacity, run)

    def check(self, family: TaskFamily) -> None:
        """Refuse another family.

        Raises:
            ValueError: Naming both.
        """
        layout = Layout.of(family)
        if (self.family, self.layout) != (family.name, layout):
            raise ValueError(
                f"holds experience of {self.describe()}, not of {family.name} ({layout.describe()})"
            )

    def check_run(self, run: str | None) -> None:
        """Refuse the agent of another run; a store of before runs were recorded is of any.

        Raises:
            ValueError: Naming both.
        """
        if self.run is not None and self.run != run:
            raise ValueError(
                f"was played by run {self.run}, but this agent is of "
                + (f"run {run}" if run else "a run without a fingerprint")
                + "; an agent recalls only its own experience"
            )

    def describe(self) -> str:
        """Return of what experience is: ``CartPole-v1 (4 observations, 2 discrete actions)``."""
        return f"{self.family} ({self.layout.describe()})"

    def to_meta(self) -> dict[str, str | int]:
        """Return the rows of `meta`, with a description for people beside them."""
        return {
            "family": self.family,
            "observations": self.layout.observations,
            "actions": self.layout.actions,
            "discrete": int(self.layout.discrete),
            "capacity": self.capacity,
            "layout": self.layout.to_text(),
            **({} if self.run is None else {"run": self.run}),
        }

    @classmethod
    def read(cls, database: sqlite3.Connection) -> "Identity":
        """Read the identity of an open store; nothing in it is large.

        Raises:
            ValueError: A fact is missing or makes no sense.
        """
        query = "SELECT name, value FROM meta WHERE length(value) < 1000 LIMIT 100"
        meta = dict(database.execute(query).fetchall())
        for name, (low, high) in _BOUNDS.items():
            value = meta.get(name)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"is damaged: {name} is {value!r}, not from {low} to {high}")
        family = meta.get("family")
        if type(family) is not str:
            raise ValueError("is damaged: its family cannot be read")
        run = meta.get("run")
        if run is not None and type(run) is not str:
            raise ValueError(f"is damaged: run is {run!r}, not a text")
        layout = Layout(meta["observations"], meta["actions"], bool(meta["discrete"]))
        return cls(family, layout, meta["capacity"], run)
