"""From JSON to a frozen dataclass of plain values, strictly: names, types and nothing more."""

import sys
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ssm_metarl.errors import UserError, nearest

T = TypeVar("T")

RENAMED = {"trace": "gae_lambda", "slowest": "max_time_constant"}
"""Former names of fields, as runs of version 0.1 have them."""


def read_fields(kind: type[T], values: object, source: str) -> T:
    """Build a dataclass from a JSON object; fields that are missing keep their defaults.

    Args:
        kind: Its fields are numbers, texts, flags, literals, or tuples of numbers.
        values: What the JSON held.
        source: Where it came from, for the message.

    Raises:
        UserError: No object, an unknown or missing name, or a value of the wrong type.
    """
    hints = get_type_hints(kind)
    if not isinstance(values, dict):
        raise UserError(f"{source} must hold one object")
    read: dict[str, Any] = {}
    for written, value in values.items():
        name = RENAMED.get(written, written)
        if name not in hints:
            raise UserError(f"{source} has an unknown name {written!r}; {nearest(name, hints)}")
        if not _fits(value, hints[name]):
            raise UserError(f"{source}: {name} cannot be {value!r}")
        read[name] = _converted(value, hints[name])
    try:
        return kind(**read)
    except TypeError as error:  # a field without a default was not given
        raise UserError(f"{source}: {error}") from None


def _converted(value: Any, hint: object) -> Any:  # noqa: ANN401 (a JSON value)
    """Undo what JSON does to numbers and tuples."""
    if isinstance(value, list):
        return tuple(float(item) for item in value)
    if type(value) is int and int not in (hint, *get_args(hint)):
        return float(value)  # JSON has one kind of number
    return value


def _fits(value: object, hint: object) -> bool:
    """Whether a JSON value is of an annotated type (a plain one, a union, or a literal)."""
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is tuple:
        return isinstance(value, list) and all(_fits(item, float) for item in value)
    if hint is float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        return abs(value) <= sys.float_info.max
    if isinstance(hint, type):
        return type(value) is hint
    return get_origin(hint) in (Union, type(int | None)) and any(
        _fits(value, option) for option in get_args(hint)
    )
