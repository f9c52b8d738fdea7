"""The family of a run: one that is known here, or as the file that the run keeps declares it."""

import warnings
from pathlib import Path

from ssm_metarl.checkpoint.files import write_text_atomically
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.family_file import LARGEST, parse_family
from ssm_metarl.env_runner.registry import get_family, is_known
from ssm_metarl.errors import UserError
from ssm_metarl.training.config import TrainConfig

FAMILY = "family.toml"


def run_family(config: TrainConfig, run_dir: Path | None = None) -> TaskFamily:
    """Return the family a run trains on; a new run has no folder yet.

    Raises:
        UserError: It is not known here.
    """
    trust = config.trust_env_code
    if run_dir is None:
        return get_family(config.env_name, trust_env_code=trust)
    return find_family(config.env_name, kept_family(run_dir), str(run_dir), trust_env_code=trust)


def keep_family(family: TaskFamily, folder: Path) -> None:
    """Write the file that declares a family beside a run or an agent, if one does."""
    if family.source:
        write_text_atomically(folder / FAMILY, family.source)


def kept_family(folder: Path) -> str:
    """Return the text of the file that declares a run's family; empty if there is none.

    Raises:
        UserError: It cannot be read.
    """
    path = folder / FAMILY
    if not path.is_file():
        return ""
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} is larger than {LARGEST} bytes, and no family's file")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def find_family(name: str, source: str, where: str, *, trust_env_code: bool) -> TaskFamily:
    """Return the family that a run or an agent was trained on.

    Args:
        name: Its name; a family that was registered here by that name comes first.
        source: Text of the file that declares it, if one is kept; else empty.
        where: The run or agent, for messages.
        trust_env_code: Whether it may import and run code.

    Raises:
        UserError: It is not known here.
    """
    if is_known(name) or not source:
        if not is_known(name, gymnasium_too=True) and ":" not in name:
            raise UserError(
                f"{where} was trained on the family {name!r}, which is not registered here; valid: "
                "--family FILE, the file that declares it, or sm.register(family) before"
            )
        family = get_family(name, trust_env_code=trust_env_code)
        if source and family.source and family.source != source:
            warnings.warn(
                f"{where} was trained on another version of the family {name}; the registered one "
                "is used",
                stacklevel=2,
            )
        return family
    family = parse_family(source, f"{where}/{FAMILY}", trust_env_code=trust_env_code)
    if family.name != name:
        raise UserError(f"{where}/{FAMILY} declares {family.name!r}, not {name!r}")
    return family
