"""The runs that the page shows: those in its folder, and the agents that come with the package.

Nothing outside these two folders is read or written, whatever a visitor sends: a run is known by
its id, an id is checked before it becomes a path, and links are refused. A UserError says what is
not valid.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.checkpoint.lock import RunLock
from ssm_metarl.checkpoint.names import RUN_ID, as_name
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import get_family, list_families
from ssm_metarl.errors import SsmMetaRLError, UserError
from ssm_metarl.training.archive import check_run, unzip
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loading import load
from ssm_metarl.training.loop import CHECKPOINT, METRICS
from ssm_metarl.training.metrics import read_records
from ssm_metarl.training.saved import CONFIG, read_config
from ssm_metarl.training.summary import RunSummary, summarise
from ssm_metarl.ui.limits import RUNS

PRETRAINED = Path(__file__).parent.parent / "pretrained"


@dataclass(frozen=True)
class RunStore:
    """The runs on disk: the page's own, and those that come with the package, only read."""

    runs: Path
    pretrained: Path = PRETRAINED

    def ids(self) -> list[str]:
        """Return the ids of all runs: the page's own, newest first, then the pretrained ones."""
        own = sorted(_runs_in(self.runs), key=lambda run: run.stat().st_mtime, reverse=True)
        return [run.name for run in [*own, *sorted(_runs_in(self.pretrained))]]

    def trained(self) -> list[str]:
        """Return the runs that have an agent already."""
        found = []
        for run in self.ids():
            with contextlib.suppress(SsmMetaRLError):  # the Runs tab says so
                check_family(self.config(run).env_name)
                if (self.folder(run) / CHECKPOINT).is_dir():
                    found.append(run)
        return found

    def first(self) -> str | None:
        """Return the run that a new visitor sees first: a pretrained one if there is any."""
        pretrained = sorted(run.name for run in _runs_in(self.pretrained))
        return next(iter([*pretrained, *self.trained()]), None)

    def folder(self, run: object) -> Path:
        """Return the folder of a run; a UserError if there is none."""
        name = checked_id(run)
        for place in (self.runs, self.pretrained):
            if is_run(place / name):
                return place / name
        raise UserError(f"there is no run {name!r}")

    def is_own(self, run: object) -> bool:
        """Whether a run is one of the page's own, which may be continued and deleted."""
        return self.folder(run).parent == self.runs

    def address(self, run: object) -> str:
        """Return how a command names a run where the page was started; no absolute path."""
        if not self.is_own(run):
            return f"pretrained/{run}"
        inside = self.runs.is_relative_to(Path.cwd())
        place = self.runs.relative_to(Path.cwd()) if inside else Path(self.runs.name)
        return (place / str(run)).as_posix()

    def new_folder(self, run: object) -> Path:
        """Return the folder for a new run; a UserError if its id is taken or the store full."""
        name = checked_id(run)
        if len(_runs_in(self.runs)) >= RUNS:
            raise UserError(f"there are {RUNS} runs, the most this page keeps; delete one first")
        if (self.runs / name).exists() or (self.pretrained / name).exists():
            raise UserError(f"there is a run {name!r} already; choose another name")
        return self.runs / name

    def free_name(self, wanted: str, ending: str = "", promised: Collection[str] = ()) -> str:
        """Return an id that is not taken: a text and the ending, else a text and a number."""
        taken = {*self.ids(), *promised}
        endings = (ending, *(f"-{number}" for number in range(2, len(taken) + 3)))
        return next(name for end in endings if (name := as_name(wanted, end)) not in taken)

    def config(self, run: object) -> TrainConfig:
        """Return the settings of a run."""
        return read_config(self.folder(run))

    def metrics(self, run: object) -> list[dict[str, Any]]:
        """Return the checked metrics of a run."""
        return read_records(self.folder(run) / METRICS)

    def agent(self, run: object) -> tuple[Agent, TaskFamily]:
        """Return the agent of a run and its family, which must be one of this package."""
        check_family(self.config(run).env_name)
        agent = load(self.folder(run))
        return agent, get_family(agent.family)

    def summary(self, run: object) -> RunSummary:
        """Return a run at a glance; what is damaged is left empty."""
        return summarise(self.folder(run), own=self.is_own(run))

    def summaries(self) -> list[RunSummary]:
        """Return all runs, in the order of :meth:`ids`."""
        return [self.summary(run) for run in self.ids()]

    def unfinished(self) -> list[RunSummary]:
        """Return the page's own runs that can be continued."""
        return [run for run in self.summaries() if run.own and run.unfinished]

    def import_zip(self, archive: Path, run: object) -> None:
        """Make a run of a zip, all of it or nothing.

        Raises:
            UserError: It is no zip of a run, or too large, or there is such a run already.
            SsmMetaRLError: What it holds is damaged.
        """
        self.runs.mkdir(parents=True, exist_ok=True)
        # A name that no run can have.
        with tempfile.TemporaryDirectory(prefix=".import-", dir=self.runs) as place:
            folder = Path(place) / self.new_folder(run).name
            unzip(archive, folder)
            check_family(read_config(folder).env_name)  # before anything is imported for it
            check_run(folder)
            folder.rename(self.new_folder(run))

    def delete(self, run: object) -> None:
        """Delete one of the page's own runs; a UserError if it is another or being trained."""
        if not self.is_own(run):
            raise UserError(f"{checked_id(run)} comes with the page and cannot be deleted")
        with RunLock(self.folder(run)):
            shutil.rmtree(self.folder(run))


def checked_id(run: object) -> str:
    """Return a valid id unchanged; a UserError if it is anything else, such as a path."""
    if not isinstance(run, str) or not RUN_ID.fullmatch(run):
        raise UserError("a run's name is made of a to z, 0 to 9 and -, at most 64 of them")
    return run


def page_families() -> tuple[TaskFamily, ...]:
    """Return the families that can be built: those of robots only where MuJoCo is installed."""
    return list_families(extras=all(map(find_spec, ("mujoco", "imageio"))))


def check_family(name: object) -> str:
    """Return the name of a family of this package unchanged, and import no code for any other."""
    families = [family.name for family in page_families()]
    if name not in families:
        raise UserError(
            f"the page knows these families of tasks: {', '.join(families)}; `ssm-metarl app "
            "--family FILE` adds one"
        )
    return str(name)


def is_run(folder: Path) -> bool:
    """Whether a folder is a run; a link, or one whose settings are a link, is not."""
    linked = folder.is_symlink() or (folder / CONFIG).is_symlink()
    return not linked and (folder / CONFIG).is_file()


def _runs_in(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    return [path for path in place.iterdir() if RUN_ID.fullmatch(path.name) and is_run(path)]
