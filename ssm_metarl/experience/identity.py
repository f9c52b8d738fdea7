"""What a store holds: the experience of one environment and run, up to a capacity."""

import contextlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.software import warn_of_simulators
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
    """The facts of a store's table `meta`."""

    family: str
    layout: Layout
    capacity: int
    """Most transitions held."""
    run: str | None = None
    """Fingerprint of the run whose agent played; None if that is not known."""
    simulators: Mapping[str, str] = field(default_factory=dict)
    """Versions of what ran the environments, beside Gymnasium."""

    def check(self, family: TaskFamily) -> None:
        """Refuse another family with a ValueError that names both; warn of other simulators."""
        layout = Layout.of(family)
        if (self.family, self.layout) != (family.name, layout):
            raise ValueError(
                f"holds experience of {self.family} ({self.layout.describe()}), "
                f"not of {family.name} ({layout.describe()})"
            )
        warn_of_simulators("the experience", self.simulators)

    def check_run(self, run: str | None) -> None:
        """Refuse another run with a ValueError that names both; no run stands for any."""
        if self.run is not None and self.run != run:
            raise ValueError(
                f"was played by run {self.run}, but this agent is of "
                + (f"run {run}" if run else "a run without a fingerprint")
                + "; an agent recalls only its own experience"
            )

    def to_meta(self) -> dict[str, str | int]:
        """Return the rows of `meta`; the text of the layout is for people."""
        choices = json.dumps(self.layout.choices)
        return {
            "family": self.family,
            **asdict(self.layout),
            "choices": choices,
            "capacity": self.capacity,
            "layout": self.layout.to_text(),
            "simulators": json.dumps(dict(self.simulators)),
            **({} if self.run is None else {"run": self.run}),
        }

    @classmethod
    def read(cls, database: sqlite3.Connection) -> "Identity":
        """Read the identity of an open store; a ValueError says which fact makes no sense."""
        query = "SELECT name, value FROM meta WHERE length(value) < 1000 LIMIT 100"
        meta = dict(database.execute(query).fetchall())
        for name, (low, high) in _BOUNDS.items():
            value = meta.get(name)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"is damaged: {name} is {value!r}, not from {low} to {high}")
        for name in ("family", *(meta.keys() & {"run"})):
            if type(meta.get(name)) is not str:
                raise ValueError(f"is damaged: its {name} cannot be read")
        choices = _choices(meta.get("choices", "[]"))  # stores of version 0.1 have none
        layout = Layout(meta["observations"], meta["actions"], bool(meta["discrete"]), choices)
        simulators = _simulators(meta.get("simulators", "{}"))
        return cls(meta["family"], layout, meta["capacity"], meta.get("run"), simulators)


def _simulators(text: object) -> dict[str, str]:
    """Read versions by name; a ValueError says that they make no sense."""
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(str(text))
        if isinstance(found, dict) and all(isinstance(one, str) for one in found.values()):
            return found
    raise ValueError(f"is damaged: simulators is {text!r:.80}")


def _choices(text: object) -> tuple[int, ...]:
    try:
        choices = json.loads(str(text))
        if all(type(size) is int and 1 <= size <= MAX_SIZE for size in choices):
            return tuple(choices)
    except (ValueError, TypeError, RecursionError):
        pass
    raise ValueError(f"is damaged: choices is {text!r:.80}")
