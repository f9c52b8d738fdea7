"""How the environment of a task is built, for families that a file declares."""

import copy
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import gymnasium
from gymnasium.envs.registration import EnvSpec

from ssm_metarl.env_runner import wrappers
from ssm_metarl.env_runner.formula import Formula, FormulaReward
from ssm_metarl.env_runner.mujoco_model import ModelField
from ssm_metarl.env_runner.packages import creator_of, load_environment, load_wrapper
from ssm_metarl.env_runner.targets import AppliedSettings, Setting
from ssm_metarl.errors import UserError, nearest

OWN_WRAPPERS = (
    *("ActionDelay", "FixedLayout", "ObservationNoise", "ReversedActions", "SensorDropout"),
)
GYMNASIUM_WRAPPERS = (
    *("AtariPreprocessing", "ClipAction", "ClipReward", "DelayObservation", "DtypeObservation"),
    *("FilterObservation", "FlattenObservation", "FrameStackObservation", "GrayscaleObservation"),
    *("MaxAndSkipObservation", "RescaleAction", "RescaleObservation", "ReshapeObservation"),
    *("ResizeObservation", "StickyAction", "TimeAwareObservation"),
)
"""Those that need numbers alone, keep nothing over episodes, and write no files."""

Number = bool | int | float


@dataclass(frozen=True)
class WrapperUse:
    """A wrapper and its arguments."""

    name: str
    kind: Callable[..., gymnasium.Env]
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """Where one parameter goes.

    Attributes:
        kind: "argument" of the constructor, "attribute", "model" or "wrapper"; "" if only formulas
            use it.
        place: Which.
        scaled: Whether its value is a factor of what is there.
        type: What the constructor of an environment or wrapper takes.
    """

    kind: str
    place: Any
    scaled: bool = False
    type: Callable[[float], Number] = float


@dataclass(frozen=True)
class Recipe:
    """An environment of Gymnasium's, and what a task changes in it; call it to build one."""

    env_id: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    wrappers: tuple[WrapperUse, ...] = ()
    targets: Mapping[str, Target] = field(default_factory=dict)
    """By parameter."""
    derived: Mapping[str, Formula] = field(default_factory=dict)
    """By attribute."""
    reward: Formula | None = None
    success: Formula | None = None

    def __call__(self, task: Mapping[str, float], render_mode: str | None = None) -> gymnasium.Env:
        """Build the environment of one task; it does not end before it is over."""
        arguments = copy.deepcopy(dict(self.arguments))
        for path, value in self._of("argument", task).items():
            set_argument(arguments, path, value)
        if render_mode:
            arguments["render_mode"] = render_mode
        env: Any = gymnasium.make(self.env_id, max_episode_steps=-1, **cast(Any, arguments))
        settings = [
            Setting(target.place, task[name], target.scaled)
            for name, target in self.targets.items()
            if target.kind in ("attribute", "model")
        ]
        settings += [Setting(path, formula(task)) for path, formula in self.derived.items()]
        if settings:
            env = AppliedSettings(env, settings)
        if self.reward or self.success:
            env = FormulaReward(env, dict(task), self.reward, self.success)
        chosen = self._of("wrapper", task)
        for use in self.wrappers:
            own = {place[1]: value for place, value in chosen.items() if place[0] == use.name}
            env = use.kind(env, **{**use.arguments, **own})
        return env

    def _of(self, kind: str, task: Mapping[str, float]) -> dict[Any, Number]:
        """Return what a task gives to the places of one kind."""
        return {
            target.place: target.type(task[name])
            for name, target in self.targets.items()
            if target.kind == kind
        }


def set_argument(arguments: dict[str, Any], path: str, value: Number | None) -> None:
    """Set an argument, or by its dotted path what a table in it holds.

    Raises:
        UserError: It is there already, or a part of the path is no table.
    """
    *way, last = path.split(".")
    for part in way:
        arguments = arguments.setdefault(part, {})
        if not isinstance(arguments, dict):
            raise UserError(f"{part!r} of {path!r} is among the [arguments], and no table")
    if last in arguments:
        raise UserError(f"{path!r} is set twice: by the [arguments], too, or another parameter")
    arguments[last] = value


def spec_of(env_id: str, *, trust_env_code: bool) -> EnvSpec:
    """Return what Gymnasium knows of an environment.

    Raises:
        UserError: It knows none of that id, or would have to import code that nobody vouches for.
    """
    module, _, name = env_id.rpartition(":")
    if module and not trust_env_code:
        raise UserError(
            f"{env_id!r} would import and run code; the flag --trust-env-code allows it"
        )
    if module:
        try:
            importlib.import_module(module)
        except Exception as error:  # what it raises is its own business
            reason = " ".join(str(error).split())
            raise UserError(f"{env_id!r}: {module} cannot be imported: {reason}") from error
    load_environment(name)
    if name not in gymnasium.registry:
        close = nearest(name, gymnasium.registry).partition("valid:")[0]
        raise UserError(f"unknown environment {env_id!r}; {close}valid: any Gymnasium id")
    return gymnasium.spec(name)


def arguments_of(spec: EnvSpec) -> dict[str, inspect.Parameter] | None:
    """Return the arguments of an environment's constructor; None if that cannot be known.

    Raises:
        UserError: It needs an extra that is not installed.
    """
    creator = creator_of(spec)
    try:
        known = dict(inspect.signature(creator).parameters)
        if isinstance(creator, type) and creator.__module__.startswith("gymnasium.envs.mujoco"):
            del known["kwargs"]  # is for the base class
            known |= inspect.signature(creator.__mro__[1]).parameters
        return _named(known)
    except (TypeError, ValueError):
        return None


def find_wrapper(name: str, *, trust_env_code: bool) -> Callable[..., gymnasium.Env]:
    """Return a wrapper by its name.

    Raises:
        UserError: There is none, or it would run code that nobody vouches for.
    """
    if name in OWN_WRAPPERS:
        return getattr(wrappers, name)
    if name in GYMNASIUM_WRAPPERS:
        return getattr(gymnasium.wrappers, name)
    known = load_wrapper(name)
    if known is not None:
        return known
    module, colon, kind = name.partition(":")
    if not colon:
        valid = nearest(name, (*OWN_WRAPPERS, *GYMNASIUM_WRAPPERS))
        raise UserError(f"unknown wrapper {name!r}; {valid}, or module:Class")
    if not trust_env_code:
        raise UserError(f"{name!r} would import and run code; the flag --trust-env-code allows it")
    try:
        return getattr(importlib.import_module(module), kind)
    except Exception as error:  # what it raises is its own business
        raise UserError(f"{name!r} cannot be imported: {error}") from error


def wrapper_arguments(kind: Callable[..., gymnasium.Env]) -> dict[str, inspect.Parameter] | None:
    """Return the arguments of a wrapper beside the environment; None for any."""
    known = _named(inspect.signature(kind).parameters)
    return None if known is None else {name: known[name] for name in list(known)[1:]}


def _named(known: Mapping[str, inspect.Parameter]) -> dict[str, inspect.Parameter] | None:
    """Return arguments by name; None if any name will do."""
    if any(one.kind is one.VAR_KEYWORD for one in known.values()):
        return None
    return {name: one for name, one in known.items() if one.kind is not one.VAR_POSITIONAL}


def check_argument(name: str, known: Mapping[str, inspect.Parameter] | None, whose: str) -> None:
    """Refuse an argument that there is not.

    Raises:
        UserError: Naming the nearest.
    """
    if known is not None and name not in known:
        raise UserError(f"{whose} takes no argument {name!r}; {nearest(name, known)}")


def parse_place(kind: str, text: str) -> str | ModelField:
    """Return the place of an attribute or a model's field."""
    return ModelField.parse(text) if kind == "model" else text
