"""Reading JSON from anyone: whatever is wrong is reported with its place."""

import dataclasses
import sys
from collections.abc import Iterable

from ssm_metarl.errors import UserError, nearest


class Record:
    """A JSON object with exactly the fields of a dataclass; reading one checks its type.

    All methods raise a UserError that says where something is wrong, and what.
    """

    def __init__(self, raw: object, kind: type, where: str) -> None:
        """Check the names of the fields.

        Args:
            raw: What JSON held.
            kind: The dataclass.
            where: The place, for messages.
        """
        if not isinstance(raw, dict):
            raise UserError(f"{where}: expected an object, found {type(raw).__name__}")
        names = [field.name for field in dataclasses.fields(kind)]
        for name in raw:
            if name not in names:
                raise UserError(f"{where}: unknown key {name!r}: {nearest(name, names)}")
        for name in names:
            if name not in raw:
                raise UserError(f"{where}: key {name!r} is missing")
        self._raw = raw
        self._where = where

    def text(self, name: str) -> str:
        """Return a text that is not empty."""
        value = self._raw[name]
        if not isinstance(value, str) or not value:
            raise self._error(name, "a name")
        return value

    def one_of(self, valid: Iterable[str], name: str) -> str:
        """Return a text that is one of some."""
        value = self.text(name)
        if value not in valid:
            raise UserError(f"{self._where}: unknown {name} {value!r}: {nearest(value, valid)}")
        return value

    def interval(self, name: str) -> tuple[float, float]:
        """Return two numbers in order."""
        low, high = self.numbers(name, 2)
        if low > high:
            raise UserError(f"{self._where}: {name} is not in order: {[low, high]}")
        return low, high

    def integer(self, name: str) -> int:
        """Return a whole number from 0 up."""
        value = self._raw[name]
        if type(value) is not int or value < 0:  # a bool is an int, but not here
            raise self._error(name, "a whole number from 0 up")
        return value

    def number(self, name: str) -> float:
        """Return a finite number."""
        if not _is_finite_number(self._raw[name]):
            raise self._error(name, "a finite number")
        return float(self._raw[name])

    def items(self, name: str) -> list[object]:
        """Return a list of anything."""
        value = self._raw[name]
        if not isinstance(value, list):
            raise self._error(name, "a list")
        return value

    def numbers(self, name: str, count: int) -> tuple[float, ...]:
        """Return so many finite numbers."""
        values = self.items(name)
        if len(values) != count:
            raise UserError(f"{self._where}: {name} has {len(values)} entries, expected {count}")
        if not all(map(_is_finite_number, values)):
            raise self._error(name, "finite numbers")
        return tuple(map(float, self._raw[name]))

    def _error(self, name: str, expected: str) -> UserError:
        found = repr(self._raw[name])
        shown = found if len(found) <= 40 else found[:37] + "..."
        return UserError(f"{self._where}: {name} should be {expected}, found {shown}")


def _is_finite_number(value: object) -> bool:
    # Python's json reads NaN, Infinity, 1e999 and integers beyond any float.
    largest = sys.float_info.max
    return type(value) in (int, float) and -largest <= value <= largest  # type: ignore[operator]
