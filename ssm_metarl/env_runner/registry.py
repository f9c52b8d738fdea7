"""Families by name: of this package, registered ones, and Gymnasium ids as families of one task."""

import difflib
import functools
import importlib
import re
import warnings
from collections.abc import Mapping

import gymnasium

from ssm_metarl.env_runner import exact_families, families, mujoco_families
from ssm_metarl.env_runner.exact_families import exact_family
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.metaworld import REGISTERED, is_metaworld, metaworld_family
from ssm_metarl.env_runner.mujoco_model import load_mujoco
from ssm_metarl.env_runner.mujoco_world import ROBOTS, MuJoCoWorld
from ssm_metarl.env_runner.packages import EXTRAS, extra_of, load_environment
from ssm_metarl.env_runner.probe import probe
from ssm_metarl.errors import EnvironmentFailure, UserError

_BUILT_IN = {
    family.name: family
    for family in (
        families.CARTPOLE,
        families.CARTPOLE_NO_VELOCITY,
        families.CARTPOLE_HARD,
        families.PENDULUM,
        families.ACROBOT,
        families.MOUNTAIN_CAR,
        families.NAVIGATION_2D,
        *exact_families.FAMILIES,
    )
}

_OF_ROBOTS = {family.name: family for family in mujoco_families.FAMILIES}

_REGISTERED: dict[str, TaskFamily] = {}
_NAME = re.compile(r"\w[\w.-]*")


def list_families(*, extras: bool = False) -> tuple[TaskFamily, ...]:
    """Return the families of this package, and those that were registered.

    Args:
        extras: Also those that need more than the package does by itself.
    """
    known = _known() if extras else {**_BUILT_IN, **_REGISTERED}
    return tuple(known.values())


def is_known(name: str, *, gymnasium_too: bool = False) -> bool:
    """Whether there is a family of this name, or if wanted an environment of that id."""
    if name in _known() or is_metaworld(name) or exact_family(name):
        return True
    if gymnasium_too:
        load_environment(name)
    return gymnasium_too and name in gymnasium.registry


def is_registered(name: str) -> bool:
    """Whether somebody has added a family of this name in this process."""
    return name in _REGISTERED


def _known() -> dict[str, TaskFamily]:
    return {**_BUILT_IN, **_OF_ROBOTS, **_REGISTERED}


def register(family: TaskFamily) -> TaskFamily:
    """Make a family known by its name to everything that takes one, in this process.

    Its environments are built and played for a moment: see :func:`ssm_metarl.env_runner.probe`.

    Args:
        family: It takes the place of one that was registered by the same name.

    Returns:
        The same family.

    Raises:
        UserError: The name is taken or not valid, or the environments fail where a range ends.
    """
    own = family.name in {**_BUILT_IN, **_OF_ROBOTS} or exact_family(family.name)
    taken = own or is_metaworld(family.name)
    if taken or not _NAME.fullmatch(family.name):
        why = "is a family of this package" if taken else "is no valid name"
        raise UserError(
            f"a family cannot be called {family.name!r}, which {why}; valid: another name, of "
            "letters, digits and _ . -"
        )
    probe(family)
    _REGISTERED[family.name] = family
    return family


def make(
    family: TaskFamily | str,
    task: Tasks | Mapping[str, int | float] | None = None,
    render_mode: str | None = None,
) -> gymnasium.Env:
    """Build an ordinary Gymnasium environment of one task.

    Args:
        family: A family, or its name.
        task: A set of one; or values by name, the others being nominal; None for the nominal task.
        render_mode: Gymnasium's.

    Raises:
        UserError: An unknown family, parameter or value.
    """
    known = get_family(family) if isinstance(family, str) else family
    if not isinstance(task, Tasks):
        task = known.task(**dict(task or {}))
    if len(task) != 1:
        raise UserError(f"an environment has one task, not {len(task)}; pass one, such as tasks[0]")
    return known.gymnasium(task, render_mode)


def get_family(name: str, *, trust_env_code: bool = False) -> TaskFamily:
    """Return a family that is known, or any other Gymnasium id as a family of one task.

    Args:
        name: A family's name, or an id that Gymnasium knows.
        trust_env_code: Also accept `module:Env-v0`, which imports and runs that module.

    Raises:
        UserError: An unknown name, untrusted code, or an environment that cannot be built here.
    """
    known = _known()
    if name in _OF_ROBOTS:
        load_mujoco()
    if name in known:
        return known[name]
    if exact := exact_family(name):
        return exact
    if is_metaworld(name):
        return metaworld_family(name)
    if name.rpartition(":")[2].startswith(REGISTERED):
        raise UserError(
            f"{name!r} is not supported: the ids that Meta-World registers with Gymnasium mix up "
            "training and test tasks; valid: ML1-reach-v3 or another of its tasks, ML10, ML45"
        )
    load_environment(name)
    if ":" in name:
        if not trust_env_code:
            raise UserError(
                f"{name!r} would import and run code; the flag --trust-env-code allows it"
            )
    elif name not in gymnasium.registry:
        close = difflib.get_close_matches(name, {**gymnasium.registry, **known}, n=3)
        guess = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
        raise UserError(
            f"unknown environment {name!r}; {guess}valid: {', '.join(known)}, Meta-World's "
            "ML1-reach-v3 (or another of its tasks), ML10 and ML45, or any Gymnasium id"
        )
    return _one_task_family(name)


@functools.cache  # so that it is built, and the warning is given, once
def _one_task_family(name: str) -> TaskFamily:
    extra = None
    module, _, env_id = name.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        spec = gymnasium.spec(env_id)
        extra = extra_of(spec)
        if extra == EXTRAS["gymnasium.envs.mujoco"]:
            load_mujoco()
        world = MuJoCoWorld(name) if name in ROBOTS else None
        family = TaskFamily(
            name,
            f"Gymnasium's {name}, one task",
            "" if world else name,
            (world and spec.max_episode_steps) or 0,
            world=world,
        )
        _ = family.action_space  # builds it
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    except Exception as raised:  # what a foreign environment raises is its own business
        error = (isinstance(raised, EnvironmentFailure) and raised.__cause__) or raised
        reason = " ".join(str(error).split()) or type(error).__name__
        missing = isinstance(error, ImportError | gymnasium.error.DependencyNotInstalled)
        install = f"; install it with: pip install '{extra}'" if missing and extra else ""
        raise UserError(f"cannot build {name}: {reason}{install}") from raised
    warnings.warn(
        f"{name} declares no parameters that vary: it is a family of one task", stacklevel=3
    )
    return family
