"""What a store is, and stays: of which environment, how large, and what it lets go of."""

import sqlite3
from dataclasses import dataclass

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.errors import UserError, check_whole, nearest
from ssm_metarl.experience.layout import Layout
from ssm_metarl.experience.retention import RETENTIONS

MAX_CAPACITY = 10**9
MAX_SIZE = 100_000  # of an observation or an action
_BOUNDS = {
    "capacity": (1, MAX_CAPACITY),
    "observations": (1, MAX_SIZE),
    "actions": (1, MAX_SIZE),
    "discrete": (0, 1),
    "seed": (0, 2**63 - 1),
}


@dataclass(frozen=True)
class Identity:
    """The facts of a store's table `meta`.

    Attributes:
        family: Name of the family.
        layout: Sizes of its observations and actions.
        capacity: Most transitions held.
        retention: One of `RETENTIONS`.
        seed: Of the reservoir's choices.
        run: Fingerprint of the run whose agent played; None if that is not known.
    """

    family: str
    layout: Layout
    capacity: int
    retention: str
    seed: int
    run: str | None = None

    @classmethod
    def of(
        cls, family: TaskFamily, capacity: int, retention: str, seed: int, run: str | None
    ) -> "Identity":
        """Return the identity of a new store.

        Raises:
            UserError: An argument that makes no sense.
        """
        if retention not in RETENTIONS:
            raise UserError(f"no retention {retention!r}; {nearest(retention, RETENTIONS)}")
        capacity = check_whole("capacity", capacity, *_BOUNDS["capacity"])
        seed = check_whole("seed", seed, *_BOUNDS["seed"])
        return cls(family.name, Layout.of(family), capacity, retention, seed, run)

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
            "retention": self.retention,
            "seed": self.seed,
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
        family, retention = meta.get("family"), meta.get("retention")
        if type(family) is not str or retention not in RETENTIONS:
            raise ValueError("is damaged: its family or retention cannot be read")
        run = meta.get("run")
        if run is not None and type(run) is not str:
            raise ValueError(f"is damaged: run is {run!r}, not a text")
        layout = Layout(meta["observations"], meta["actions"], bool(meta["discrete"]))
        return cls(family, layout, meta["capacity"], retention, meta["seed"], run)
