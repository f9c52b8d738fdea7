"""The runs that the page shows: those under its folder, and the agents that come with the package.

Nothing outside these two folders is ever read or written, whatever a visitor sends: a run is known
by its id, an id is checked before it becomes a path, and links are refused.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.checkpoint.lock import RunLock
from ssm_metarl.checkpoint.names import RUN_ID
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import list_families
from ssm_metarl.errors import SsmMetaRLError, UserError
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loading import agent_family, load
from ssm_metarl.training.loop import CHECKPOINT, CONFIG, read_config
from ssm_metarl.ui.limits import RUNS

PRETRAINED = Path(__file__).parent.parent / "pretrained"


@dataclass(frozen=True)
class RunStore:
    """Where runs are.

    Attributes:
        runs: The folder of the page's own runs.
        pretrained: That of the agents that come with the package, which stay as they are.
    """

    runs: Path
    pretrained: Path = PRETRAINED

    def ids(self) -> list[str]:
        """Return the runs there are: the visitor's own, newest first, then the pretrained ones."""
        own = sorted(_runs_in(self.runs), key=lambda run: run.stat().st_mtime, reverse=True)
        return [run.name for run in [*own, *sorted(_runs_in(self.pretrained))]]

    def trained(self) -> list[str]:
        """Return the runs that have an agent already."""
        return [run for run in self.ids() if self._has_agent(run)]

    def _has_agent(self, run: str) -> bool:
        try:
            check_family(self.config(run).env_name)
        except SsmMetaRLError:  # the list of runs shows it; there is nothing to choose
            return False
        return (self.folder(run) / CHECKPOINT).is_dir()

    def first(self) -> str | None:
        """Return the run that a new visitor meets: the first that comes with the page."""
        given = sorted(run.name for run in _runs_in(self.pretrained))
        return next(iter([*given, *self.trained()]), None)

    def folder(self, run: object) -> Path:
        """Return the folder of a run.

        Raises:
            UserError: There is no such run.
        """
        name = checked_id(run)
        for place in (self.runs, self.pretrained):
            if is_run(place / name):
                return place / name
        raise UserError(f"there is no run {name!r}")

    def is_own(self, run: object) -> bool:
        """Whether a run is one of the page's own, which may be continued and deleted."""
        return self.folder(run).parent == self.runs

    def new_folder(self, run: object) -> Path:
        """Return the folder that a new run will have.

        Raises:
            UserError: The id is not valid, or taken, or the store is full.
        """
        name = checked_id(run)
        if len(_runs_in(self.runs)) >= RUNS:
            raise UserError(f"there are {RUNS} runs, as many as fit; delete one first")
        if (self.runs / name).exists() or (self.pretrained / name).exists():
            raise UserError(f"there is a run {name!r} already; choose another name")
        return self.runs / name

    def config(self, run: object) -> TrainConfig:
        """Return the settings of a run.

        Raises:
            UserError: There is no such run, or they are malformed.
        """
        return read_config(self.folder(run))

    def agent(self, run: object) -> tuple[Agent, TaskFamily]:
        """Return the agent of a run and its family.

        Raises:
            UserError: There is no such run, or its environment is not one of this package.
            CheckpointError: It is damaged.
        """
        check_family(self.config(run).env_name)
        agent = load(self.folder(run))
        return agent, agent_family(agent)

    def delete(self, run: object) -> None:
        """Delete a run of the page's own.

        Raises:
            UserError: There is no such run, it is one that comes with the package, or is in work.
        """
        if not self.is_own(run):
            raise UserError(f"{checked_id(run)} comes with the page and cannot be deleted")
        with RunLock(self.folder(run)):
            shutil.rmtree(self.folder(run))


def checked_id(run: object) -> str:
    """Return the id of a run, if it is one.

    Raises:
        UserError: It is anything else, such as a path.
    """
    if not isinstance(run, str) or not RUN_ID.fullmatch(run):
        raise UserError("a run's name is made of a to z, 0 to 9 and -, at most 64 of them")
    return run


def check_family(name: object) -> str:
    """Return the name of a family of this package.

    Raises:
        UserError: It is anything else; no code is imported to find out.
    """
    families = [family.name for family in list_families()]
    if name not in families:
        raise UserError(f"the page knows these families of tasks: {', '.join(families)}")
    return str(name)


def is_run(folder: Path) -> bool:
    """Whether a folder is a run, and neither it nor its settings are a link to elsewhere."""
    linked = folder.is_symlink() or (folder / CONFIG).is_symlink()
    return not linked and (folder / CONFIG).is_file()


def _runs_in(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    return [path for path in place.iterdir() if RUN_ID.fullmatch(path.name) and is_run(path)]
