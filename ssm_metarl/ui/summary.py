"""What there is to say about a run at a glance, read from its settings and its last line."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssm_metarl.errors import SsmMetaRLError
from ssm_metarl.runs.files import parse_json
from ssm_metarl.runs.training import METRICS
from ssm_metarl.ui.records import is_record
from ssm_metarl.ui.shelf import Shelf

TAIL = 16 * 1024  # bytes: many times a line


@dataclass(frozen=True)
class Summary:
    """One run.

    Attributes:
        name: Its id.
        family: Its family of tasks; empty if the settings cannot be read.
        learner: How it learns, likewise.
        done: Iterations done.
        iterations: How many there will be; 0 where none is done yet.
        best_return: The best so far.
        bytes: On disk.
        changed: When, in seconds since 1970.
        own: Whether it may be continued and deleted.
    """

    name: str
    family: str
    learner: str
    done: int
    iterations: int
    best_return: float | None
    bytes: int
    changed: float
    own: bool

    @classmethod
    def of(cls, shelf: Shelf, run: str) -> "Summary":
        """Read it; whatever is damaged is left empty.

        Raises:
            UserError: There is no such run.
        """
        folder = shelf.folder(run)
        try:
            config = shelf.config(run)
            family, learner = config.env_name, config.mode
        except SsmMetaRLError:
            family = learner = ""
        last = last_record(folder / METRICS)
        if not is_record(last):
            last = {"iteration": 0, "iterations": 0, "best_return": None}
        return cls(
            name=run,
            family=family,
            learner=learner,
            done=last["iteration"],
            iterations=last["iterations"],
            best_return=last.get("best_return"),
            bytes=size(folder),
            changed=max(path.stat().st_mtime for path in (folder, *folder.iterdir())),
            own=shelf.is_own(run),
        )

    @property
    def unfinished(self) -> bool:
        """Whether there is something to continue."""
        return bool(self.family) and (self.iterations == 0 or self.done < self.iterations)


def summaries(shelf: Shelf) -> list[Summary]:
    """Return all runs, the newest first."""
    return [Summary.of(shelf, run) for run in shelf.ids()]


def unfinished(shelf: Shelf) -> list[str]:
    """Return the page's own runs that can be continued."""
    return [run.name for run in summaries(shelf) if run.own and run.unfinished]


def last_record(path: Path) -> dict[str, Any]:
    """Return the last whole line of a metrics file, without reading the others; {} if none."""
    if not path.is_file() or path.is_symlink():
        return {}
    with path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
        lines = file.read().split(b"\n")[:-1]  # what follows the last newline is not whole
    try:
        value = parse_json(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def size(folder: Path) -> int:
    """Return the bytes of all files in a folder, links left out."""
    files = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
    return sum(file.lstat().st_size for file in files)
