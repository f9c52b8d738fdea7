"""Packages of environments that are extras of ours: what they register may be asked for by name.

Gymnasium knows such an id only after its package was imported. These are imported where an id of
theirs is asked for; the modules of others need ``--trust-env-code``.
"""

import importlib
import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator

from ssm_metarl.env_runner.mujoco_model import load_mujoco
from ssm_metarl.errors import UserError


@dataclass(frozen=True)
class Package:
    """One package.

    Attributes:
        name: Of the distribution.
        module: What is imported.
        ids: Regular expression of the ids that this registers.
        wrappers: Those of its wrappers that a family's file may use, in `wrapper_module`.
    """

    name: str
    module: str
    ids: str
    wrappers: tuple[str, ...] = ()
    wrapper_module: str = ""


PACKAGES = (
    Package(
        "highway-env",
        "highway_env",
        r"(exit|highway|highway-fast|intersection|intersection-multi-agent|lane-keeping|merge|"
        r"parking|racetrack|racetrack-large|racetrack-oval|roundabout|two-way|u-turn)-v\d+",
    ),
    Package(
        "minigrid",
        "minigrid",
        r"(BabyAI|MiniGrid)-.+-v\d+",
        (
            *("DirectionObsWrapper", "FlatObsWrapper", "FullyObsWrapper", "ImgObsWrapper"),
            *("OneHotPartialObsWrapper", "RGBImgObsWrapper", "RGBImgPartialObsWrapper"),
            *("SymbolicObsWrapper", "ViewSizeWrapper"),
        ),
        "minigrid.wrappers",
    ),
    Package("popgym", "popgym", r"popgym-.+-v\d+"),
)
EXTRAS = {
    **{package.module: "ssm-metarl[worlds]" for package in PACKAGES},
    "gymnasium.envs.box2d": "ssm-metarl[worlds]",
    "gymnasium.envs.mujoco": "ssm-metarl[mujoco]",
    "gymnasium.envs.phys2d": "gymnasium[jax]",
    "gymnasium.envs.tabular": "gymnasium[jax]",
    "gymnasium.envs.toy_text": "gymnasium[toy-text]",
}
"""What to install for environments that need more than the core, by the beginning of a module."""


def load_environment(env_id: str) -> None:
    """Import the package of an id that is not known yet, if it is one of `PACKAGES`.

    Raises:
        UserError: It is not installed, or cannot be imported.
    """
    package = next((each for each in PACKAGES if re.fullmatch(each.ids, env_id)), None)
    if package and env_id not in gymnasium.registry:
        import_from(package.module, package, env_id)


def load_wrapper(name: str) -> Any:  # noqa: ANN401 (a class)
    """Return a wrapper of `PACKAGES` by its name; None if it is not theirs.

    Raises:
        UserError: As for :func:`load_environment`.
    """
    package = next((each for each in PACKAGES if name in each.wrappers), None)
    return package and getattr(import_from(package.wrapper_module, package, name), name)


def import_from(module: str, package: Package, what: str) -> Any:  # noqa: ANN401 (a module)
    """Import a module of a package, which has to be the one that is installed.

    Raises:
        UserError: It is not installed, another module stands in its place, or its import fails.
    """
    try:
        installed = importlib.metadata.distribution(package.name)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"{what} is of the package {package.name}, which is not installed; install it with: "
            f"pip install '{EXTRAS[package.module]}'"
        ) from None
    found = importlib.util.find_spec(package.module)
    origin = Path((found and found.origin) or "")
    own = Path(str(installed.locate_file(f"{package.module}/__init__.py")))
    if origin.resolve() != own.resolve():
        raise UserError(
            f"{what} would import {origin}, which is not of the package {package.name}; "
            f"valid: {package.module}:{what} with --trust-env-code"
        )
    try:
        return importlib.import_module(module)
    except Exception as error:  # what it raises is its own business
        reason = " ".join(str(error).split())
        raise UserError(f"{what}: {package.name} cannot be imported: {reason}") from error


def extra_of(spec: EnvSpec) -> str | None:
    """Return what to install for an environment that needs more than the core."""
    entry = spec.entry_point if isinstance(spec.entry_point, str) else ""
    return next((extra for module, extra in EXTRAS.items() if entry.startswith(module)), None)


def creator_of(spec: EnvSpec) -> Any:  # noqa: ANN401 (a class or a function)
    """Return what constructs an environment; None if it cannot be had.

    Raises:
        UserError: It needs an extra that is not installed.
    """
    try:
        if extra_of(spec) == EXTRAS["gymnasium.envs.mujoco"]:
            load_mujoco()  # before it is imported, so that it writes no log
        point = spec.entry_point
        return load_env_creator(point) if isinstance(point, str) else point
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        extra = extra_of(spec)
        if extra is None:
            return None
        reason = " ".join(str(error).split())
        raise UserError(
            f"{spec.id} cannot be built: {reason}; install it with: pip install '{extra}'"
        ) from error
    except gymnasium.error.Error:
        return None
