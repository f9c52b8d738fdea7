"""Where the parameters of a declared family go: into an environment's attributes, or its model."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from ssm_metarl.env_runner import mujoco_model
from ssm_metarl.env_runner.mujoco_model import ModelField
from ssm_metarl.errors import UserError, nearest

TOLERANCE = 1e-6  # an attribute may be kept in float32


@dataclass(frozen=True)
class Setting:
    """A number of an environment that a task sets.

    Attributes:
        place: Dotted path of an attribute of the unwrapped environment, or a field of its model.
        value: What to set.
        scaled: Whether it is a factor of what is there instead.
    """

    place: str | ModelField
    value: float
    scaled: bool = False


class AppliedSettings(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """An environment with some of its numbers set, again after every reset that puts them back.

    It works from inside: `set_attr` of a vector environment takes any name, changes nothing, and
    what is edited from outside is lost where the environments live in other processes.
    """

    def __init__(self, env: gymnasium.Env, settings: Sequence[Setting]) -> None:
        """Set them.

        Raises:
            UserError: There is no such number, or it cannot be set.
        """
        gymnasium.utils.RecordConstructorArgs.__init__(self, settings=settings)
        gymnasium.Wrapper.__init__(self, env)
        self._fields = [one for one in settings if isinstance(one.place, ModelField)]
        self._attributes: dict[str, float] = {}
        for one in settings:
            if isinstance(one.place, str):
                _refuse_state(self.unwrapped, one.place)
                now = read_attribute(self.unwrapped, one.place)
                self._attributes[one.place] = one.value * (now if one.scaled else 1.0)
        self._model: Any = None
        self._apply()

    def reset(self, **kwargs: Any) -> tuple[Any, Any]:  # noqa: ANN401 (Gymnasium's)
        """Reset, and set what that has put back."""
        result = self.env.reset(**kwargs)
        self._apply()
        return result

    def _apply(self) -> None:
        for path, value in self._attributes.items():
            set_attribute(self.unwrapped, path, value)
        if not self._fields:
            return
        model = model_of(self.env)
        if model is not self._model:
            self._model = model
            for one in self._fields:
                assert isinstance(one.place, ModelField)
                mujoco_model.change(model, one.place, one.value, one.scaled)
            mujoco_model.refresh(model)
            self._kept = {name: np.copy(owner[name]) for name, owner in self._owners()}
            return
        lost = [
            (name, owner)
            for name, owner in self._owners()
            if not np.array_equal(owner[name], self._kept[name])
        ]
        for name, owner in lost:
            owner[name] = self._kept[name]
        if lost:
            mujoco_model.refresh(model)

    def _owners(self) -> list[tuple[str, "_Fields"]]:
        names = dict.fromkeys(
            one.place.name for one in self._fields if not isinstance(one.place, str)
        )
        if "body_mass" in names:  # which changes the inertia as well
            names["body_inertia"] = None
        return [(name, _Fields(self._model)) for name in names]


class _Fields:
    """The arrays of a model by name; those of its options begin with ``opt.``."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 (an MjModel)
        self._model = model

    def _owner(self, name: str) -> tuple[Any, str]:
        option = name.startswith("opt.")
        return (self._model.opt, name[4:]) if option else (self._model, name)

    def __getitem__(self, name: str) -> np.ndarray:
        owner, field = self._owner(name)
        return np.asarray(getattr(owner, field))

    def __setitem__(self, name: str, value: np.ndarray) -> None:
        owner, field = self._owner(name)
        if np.ndim(value):
            getattr(owner, field)[:] = value
        else:
            setattr(owner, field, float(value))


def model_of(env: gymnasium.Env) -> Any:  # noqa: ANN401
    """Return the MuJoCo model that an environment simulates.

    Raises:
        UserError: It has none.
    """
    model = getattr(env.unwrapped, "model", None)
    if not hasattr(model, "body_mass"):
        raise UserError(f"{type(env.unwrapped).__name__} has no MuJoCo model that could be changed")
    return model


def _refuse_state(env: object, path: str) -> None:
    """Refuse what a reset of MuJoCo's environments draws, and has shown before it could be set."""
    if path.startswith("data.") and hasattr(env, "model"):
        raise UserError(
            f"attribute {path!r} is the simulation's state, which every reset draws; valid: a "
            'field of the model (model = "body_pos[target].0" moves Reacher\'s goal)'
        )


def read_attribute(env: object, path: str) -> float:
    """Return a number of an environment by its dotted path, such as ``world.gravity.1``.

    Raises:
        UserError: There is no such attribute, or it is no number.
    """
    owner, last = _owner(env, path)
    value: Any = _member(owner, last, path)
    if type(value) in (np.ndarray, list, tuple) and np.shape(value):
        size = len(value)
        hint = f"valid: one of its numbers, {path}.0 to {path}.{size - 1}"
        raise UserError(f"attribute {path!r} has {size} numbers; {hint}")
    try:
        return float(value)
    except (TypeError, ValueError):
        hint = nearest("", _numeric(value)) if _numeric(value) else "valid: the path of a number"
        kind = type(value).__name__
        raise UserError(f"attribute {path!r} is a {kind}, not a number; {hint}") from None


def set_attribute(env: object, path: str, value: float) -> None:
    """Set a number of an environment, and see whether it stays.

    Raises:
        UserError: It does not.
    """
    owner, last = _owner(env, path)
    before = _member(owner, last, path)
    whole = isinstance(before, int | np.integer) and float(value).is_integer()
    new = (bool if isinstance(before, bool) else int)(value) if whole else float(value)
    _store(owner, last, new, path)
    if "." in path and not _is_close(read_attribute(env, path), value):
        # Box2D hands out copies of its vectors, and takes them back.
        outer, name = _owner(env, path.rpartition(".")[0])
        with contextlib.suppress(UserError):
            _store(outer, name, owner, path)
    after = read_attribute(env, path)
    if not _is_close(after, value):
        raise UserError(
            f"attribute {path!r} was set to {value:g} and reads {after:g}: what the path leads to "
            "is a copy, or only whole numbers; valid: a path to the number itself"
        )


def _store(owner: Any, name: str, value: object, path: str) -> None:  # noqa: ANN401
    try:
        if name.isdecimal():
            owner[int(name)] = value
        else:
            setattr(owner, name, value)
    except (AttributeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"attribute {path!r} cannot be set: {reason}") from None


def _is_close(now: float, wanted: float) -> bool:
    return abs(now - wanted) <= TOLERANCE * max(1.0, abs(wanted))


def _owner(env: object, path: str) -> tuple[Any, str]:
    *way, last = path.split(".")
    owner = env
    for part in way:
        owner = _member(owner, part, path)
    return owner, last


def _member(owner: Any, part: str, path: str) -> Any:  # noqa: ANN401
    try:
        if part.isdecimal():
            return owner[int(part)]
        if not part.startswith("_"):
            return getattr(owner, part)
    except (AttributeError, IndexError, KeyError, TypeError):
        pass
    kind = type(owner).__name__
    raise UserError(f"attribute {path!r}: {kind} has no {part!r}; {nearest(part, _numeric(owner))}")


def _numeric(owner: object) -> list[str]:
    """Return the names of an object's numbers, and of arrays of them."""
    with np.errstate(all="ignore"):
        names = [name for name in dir(owner) if name[0] != "_" and not hasattr(gymnasium.Env, name)]
        return [name for name in names if _is_number(owner, name)]


def _is_number(owner: object, name: str) -> bool:
    try:
        value = getattr(owner, name)
    except Exception:  # a property may raise anything
        return False
    return isinstance(value, int | float | np.number | np.ndarray)
