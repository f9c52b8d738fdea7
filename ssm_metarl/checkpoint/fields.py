"""From plain values, such as JSON's, to a frozen dataclass, strictly."""

import dataclasses
import sys
from collections.abc import Collection
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ssm_metarl.errors import UserError, nearest

T = TypeVar("T")

RENAMED = {"trace": "gae_lambda", "slowest": "max_time_constant"}
"""Former names of fields, as runs of version 0.1 have them."""


def read_fields(kind: type[T], values: object, source: str) -> T:
    """Build a dataclass from a JSON object; fields that are missing keep their defaults.

    Fields may be dataclasses themselves, or tuples of them.

    Raises:
        UserError: No object, an unknown or missing name, or a value of the wrong type; `source` is
            what the message calls it.
    """
    hints = get_type_hints(kind)
    read: dict[str, Any] = {}
    declared = dataclasses.fields(kind)  # pyright: ignore[reportArgumentType]  (a dataclass)
    needed = [one.name for one in declared if one.default is one.default_factory]  # both MISSING
    for name, value in known_fields(hints, values, source, needed).items():
        try:
            read[name] = as_type(value, hints[name])
        except TypeError:
            raise UserError(f"{source}: {name} cannot be {value!r}") from None
    return kind(**read)


def known_fields(
    known: Collection[str], values: object, source: str, needed: Collection[str] = ()
) -> dict[str, Any]:
    """Return a JSON object with former names replaced by today's.

    Raises:
        UserError: It is no object, has an unknown name, or lacks one that is needed.
    """
    if not isinstance(values, dict):
        raise UserError(f"{source} must hold one object")
    read = {RENAMED.get(str(name), str(name)): value for name, value in values.items()}
    for name in read:
        if name not in known:
            raise UserError(f"{source} has an unknown name {name!r}; {nearest(name, known)}")
    missing = [name for name in needed if name not in read]
    if missing:
        raise UserError(f"{source} does not say {' and '.join(missing)}")
    return read


def as_type(value: Any, hint: Any) -> Any:  # noqa: ANN401 (any value, any type)
    """Return a value as the plain one of an annotated type: NumPy's scalars become Python's.

    A whole number is valid where any number is, but neither 1.0 nor True where a whole one is.
    Numbers are finite.

    Raises:
        TypeError: It is not of that type.
        UserError: It is an object that is not one of that dataclass.
    """
    if getattr(value, "ndim", None) == 0:  # a NumPy scalar
        value = value.item()
    origin, options = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType) and value is None and NoneType in options:
        return None
    if origin in (Union, UnionType):
        (hint,) = (option for option in options if option is not NoneType)
        return as_type(value, hint)
    if origin is tuple and isinstance(value, list | tuple):
        if options[-1] is not Ellipsis and len(value) != len(options):
            raise TypeError(f"{value!r} has not {len(options)} items")
        return tuple(as_type(item, options[0]) for item in value)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return read_fields(hint, value, hint.__name__)
    if origin is Literal and isinstance(value, str) and value in options:
        return value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if abs(value) <= sys.float_info.max:
            return float(value)
    elif hint is Path and isinstance(value, str | Path):
        return Path(value)
    elif type(value) is hint:
        return value
    raise TypeError(f"{value!r} is not of the type {hint}")
