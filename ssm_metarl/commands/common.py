"""What several commands do alike."""

import contextlib
import os
import runpy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich import box
from rich.table import Table

from ssm_metarl.checkpoint.files import check_writable
from ssm_metarl.errors import SsmMetaRLError, UserError
from ssm_metarl.hub.client import is_address, read_address
from ssm_metarl.training.tracking import TRACKERS

if TYPE_CHECKING:  # they import torch
    from ssm_metarl.adaptation.agent import Agent
    from ssm_metarl.env_runner.family import TaskFamily


FAMILY_FLAG: dict[str, Any] = {
    "help": "TOML file that declares a family of tasks of your own (docs/families.md), or a "
    "Python file that registers one, which needs --trust_env_code.",
    "unset": "none",
    "metavar": "FILE",
}
"""What there is to say of ``--family``."""

TRACK_FLAG: dict[str, Any] = {
    "default": "none",
    "help": "Where to show the metrics, besides metrics.jsonl.",
    "choices": tuple(TRACKERS),
}
"""What there is to say of ``--track``."""

RUN: Any = {
    "help": "The folder of a run or of a saved agent (pretrained/cartpole comes with the package), "
    "or hf://owner/name[@revision].",
    "positional": True,
    "metavar": "RUN",
}
"""What declares the agent that a command is about."""
NOMINAL = "nominal"
"""The task of which every parameter is nominal, as ``--task``."""
TRUST = "Allow an agent whose environment is of the form module:Env-v0, which runs code."


class Loaded(NamedTuple):
    """An agent, the folder of its results, and the family that it was trained on."""

    agent: "Agent"
    place: Path
    family: "TaskFamily"


def load_agent(run: str, family: Path | None, trust_env_code: bool) -> Loaded:
    """Load the agent that a command is about, whose family a file may declare."""
    from ssm_metarl.training.loading import agent_family, load, locate

    use_one_thread()
    declared = register_file(family, trust_env_code=trust_env_code)
    folder = locate(run)
    agent = load(folder, trust_env_code=trust_env_code)
    check_is_of(declared, agent.family, run)
    place = folder
    if folder != Path(run):  # of the Hub or of the package, where no results are kept
        place = Path(read_address(run)[0] if is_address(run) else run).name
    return Loaded(agent, Path(place), agent_family(agent, trust_env_code=trust_env_code))


def use_one_thread() -> None:
    """Leave the other cores alone, unless the user has said how many threads there should be.

    The tensors are small: threads that wait for each other at every operation gain little on an
    idle machine, and on a busy one were seen to take a hundred times as long.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def register_file(path: Path | None, *, trust_env_code: bool) -> "TaskFamily | None":
    """Register the family that a file declares, and return it; None without a file.

    Raises:
        UserError: The file is not valid, or its family does not run.
    """
    if path is None:
        return None
    from ssm_metarl.env_runner.family_file import read_family
    from ssm_metarl.env_runner.registry import list_families, register

    with naming_flag("family"):
        if path.suffix != ".py":
            return register(read_family(path, trust_env_code=trust_env_code))
        if not trust_env_code:
            raise UserError(f"{path} is code; the flag --trust-env-code allows to run it")
        before = list_families()
        _run_file(path)
        new = [family for family in list_families() if family not in before]
        if len(new) != 1:
            raise UserError(f"{path} registers {len(new)} families; valid: one, by sm.register")
        return new[0]


def _run_file(path: Path) -> None:
    try:
        runpy.run_path(str(path))
    except SsmMetaRLError:
        raise
    except Exception as error:  # what somebody's code raises is its own business
        reason = " ".join(str(error).split())
        raise UserError(f"{path} failed: {type(error).__name__}: {reason}") from error


def check_is_of(family: "TaskFamily | None", name: str, run: object) -> None:
    """Refuse a ``--family`` that a run was not trained on.

    Raises:
        UserError: Naming both.
    """
    if family is not None and family.name != name:
        raise UserError(f"--family declares {family.name!r}, but {run} was trained on {name!r}")


def task_values(text: str) -> dict[str, float | str]:
    """Return the parameters of ``--task``, numbers or what they are called.

    Raises:
        UserError: It is no list of NAME=VALUE, or names one twice.
    """
    values: dict[str, float | str] = {}
    parts = () if text.strip() == NOMINAL else text.split(",")
    for part in filter(None, (part.strip() for part in parts)):
        name, _, given = part.partition("=")
        try:
            value = float(given)
        except ValueError:
            value = given.strip()
        if value == "" or name.strip() in values:
            raise UserError(
                f"--task: {part!r} is not valid; write each parameter once as NAME=VALUE, "
                "such as gravity=12,length=1.0"
            )
        values[name.strip()] = value
    return values


def refuse_unused(names: Sequence[str], mode: str) -> None:
    """Refuse flags that the mode would ignore."""
    if names:
        flags, them = ", ".join(f"--{name}" for name in names), "them" if names[1:] else "it"
        raise UserError(f"--mode {mode} has no use for {flags}; leave {them} out")


def refuse_no_folder(name: str, path: Path | None) -> None:
    """Refuse a path that has to be a folder, and is something else."""
    if path and path.exists() and not path.is_dir():
        raise UserError(f"--{name} {path} is no folder; name a folder")


@contextlib.contextmanager
def naming_flag(name: str) -> Iterator[None]:
    """Say which flag a mistake is about, of what knows nothing of flags."""
    try:
        yield
    except UserError as error:
        raise UserError(f"--{name}: {error}") from error


def check_results_folder(out: Path | None, folder: Path) -> None:
    """Refuse a folder for results that cannot be written; `out` is the flag, None if not given."""
    try:
        check_writable(folder)
    except UserError as error:
        if out:
            raise UserError(f"--out: {error}") from error
        raise UserError(f"{error}; --out FOLDER puts the results elsewhere") from error


def attempt(what: str, make: Callable[[], object]) -> None:
    """Make something beside the results; if that fails, say why: the results stay."""
    try:
        made(what, make())
    except SsmMetaRLError as error:
        made(what, f"skipped: {error}")


def made(what: str, where: object) -> None:
    """Say where something is; further lines stand below."""
    print(f"  {what:<15}", str(where).replace("\n", f"\n{'':<18}"))


def plain_table(title: str, caption: str) -> Table:
    """Return a table with its title and caption to the left, and no columns yet."""
    return Table(
        title=title,
        caption=caption,
        box=box.SIMPLE_HEAD,
        title_style="",
        title_justify="left",
        caption_justify="left",
    )
