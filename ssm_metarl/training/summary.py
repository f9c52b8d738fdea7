"""A run at a glance."""

import os
from dataclasses import dataclass
from pathlib import Path

from ssm_metarl.errors import SsmMetaRLError
from ssm_metarl.training.metrics import METRICS, last_record
from ssm_metarl.training.saved import read_config


@dataclass(frozen=True)
class RunSummary:
    """What is known of a run from its settings, its last metrics and its files."""

    name: str
    family: str  # empty, as is the learner, if its settings or last metrics cannot be read
    learner: str
    done: int  # iterations
    iterations: int  # in all; 0 where none is done yet
    best_return: float | None
    bytes: int
    changed: float  # seconds since 1970
    own: bool  # may be continued and deleted

    @property
    def unfinished(self) -> bool:
        """Whether there is something to continue."""
        return bool(self.family) and (self.iterations == 0 or self.done < self.iterations)


def summarise(folder: Path, *, own: bool) -> RunSummary:
    """Return a run at a glance; what is damaged is left empty."""
    try:
        config, last = read_config(folder), last_record(folder / METRICS)
        family, learner = config.env_name, config.mode
    except SsmMetaRLError:
        family, learner, last = "", "", {}
    return RunSummary(
        name=folder.name,
        family=family,
        learner=learner,
        done=last.get("iteration", 0),
        iterations=last.get("iterations", 0),
        best_return=last.get("best_return"),
        bytes=size(folder),
        changed=max(path.lstat().st_mtime for path in (folder, *folder.iterdir())),
        own=own,
    )


def size(folder: Path) -> int:
    """Return the bytes of all files in a folder, without following links."""
    files = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
    return sum(file.lstat().st_size for file in files)
