"""What there is to say about a run at a glance, read from its settings and its last line."""

import os
from dataclasses import dataclass
from pathlib import Path

from ssm_metarl.errors import SsmMetaRLError
from ssm_metarl.training.loop import METRICS
from ssm_metarl.ui.records import last_record
from ssm_metarl.ui.store import RunStore


@dataclass(frozen=True)
class Summary:
    """One run.

    Attributes:
        name: Its id.
        family: Its family of tasks; empty if its settings or its metrics cannot be read.
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
    def of(cls, store: RunStore, run: str) -> "Summary":
        """Read it; whatever is damaged is left empty.

        Raises:
            UserError: There is no such run.
        """
        folder = store.folder(run)
        try:
            config, last = store.config(run), last_record(folder / METRICS)
            family, learner = config.env_name, config.mode
        except SsmMetaRLError:
            family, learner, last = "", "", {}
        return cls(
            name=run,
            family=family,
            learner=learner,
            done=last.get("iteration", 0),
            iterations=last.get("iterations", 0),
            best_return=last.get("best_return"),
            bytes=size(folder),
            changed=max(path.lstat().st_mtime for path in (folder, *folder.iterdir())),
            own=store.is_own(run),
        )

    @property
    def unfinished(self) -> bool:
        """Whether there is something to continue."""
        return bool(self.family) and (self.iterations == 0 or self.done < self.iterations)


def summaries(store: RunStore) -> list[Summary]:
    """Return all runs, the newest first."""
    return [Summary.of(store, run) for run in store.ids()]


def unfinished(store: RunStore) -> list[str]:
    """Return the page's own runs that can be continued."""
    return [run.name for run in summaries(store) if run.own and run.unfinished]


def size(folder: Path) -> int:
    """Return the bytes of all files in a folder, links left out."""
    files = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
    return sum(file.lstat().st_size for file in files)
