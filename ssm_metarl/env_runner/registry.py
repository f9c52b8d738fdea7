"""Families by name: those of this package, and any other Gymnasium id as a family of one task."""

import difflib
import functools
import importlib
import warnings

import gymnasium
from gymnasium.envs.registration import EnvSpec

from ssm_metarl.env_runner import families
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.errors import EnvironmentFailure, UserError

_FAMILIES = {
    family.name: family
    for family in (
        families.CARTPOLE,
        families.CARTPOLE_NO_VELOCITY,
        families.CARTPOLE_HARD,
        families.PENDULUM,
        families.ACROBOT,
        families.MOUNTAIN_CAR,
        families.NAVIGATION_2D,
    )
}

_EXTRAS = {
    "gymnasium.envs.mujoco": "ssm-metarl[mujoco]",
    "gymnasium.envs.box2d": "gymnasium[box2d]",
    "gymnasium.envs.phys2d": "gymnasium[jax]",
    "gymnasium.envs.tabular": "gymnasium[jax]",
    "gymnasium.envs.toy_text": "gymnasium[toy-text]",
}


def list_families() -> tuple[TaskFamily, ...]:
    """Return the families of this package."""
    return tuple(_FAMILIES.values())


def get_family(name: str, *, trust_env_code: bool = False) -> TaskFamily:
    """Return a family of this package, or any other Gymnasium id as a family of one task.

    Args:
        name: A family's name, or an id that Gymnasium knows.
        trust_env_code: Also accept `module:Env-v0`, which imports and runs that module.

    Raises:
        UserError: An unknown name, untrusted code, or an environment that cannot be built here.
    """
    if name in _FAMILIES:
        return _FAMILIES[name]
    if ":" in name:
        if not trust_env_code:
            raise UserError(
                f"{name!r} would import and run code; the flag --trust-env-code allows it"
            )
    elif name not in gymnasium.registry:
        close = difflib.get_close_matches(name, {**gymnasium.registry, **_FAMILIES}, n=3)
        guess = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
        valid = ", ".join(_FAMILIES)
        raise UserError(f"unknown environment {name!r}; {guess}valid: {valid}, or any Gymnasium id")
    return _one_task_family(name)


@functools.cache  # so that it is built, and the warning is given, once
def _one_task_family(name: str) -> TaskFamily:
    extra = None
    module, _, env_id = name.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        spec = gymnasium.spec(env_id)
        extra = _extra(spec)
        family = TaskFamily(name, f"Gymnasium's {name}, one task", env_id=name)
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


def _extra(spec: EnvSpec) -> str | None:
    """Return what to install for an environment of Gymnasium's that needs more than the core."""
    entry = spec.entry_point if isinstance(spec.entry_point, str) else ""
    return next((extra for module, extra in _EXTRAS.items() if entry.startswith(module)), None)
