"""The errors a user may meet, each one line that names what was wrong and what would be valid."""

import difflib
from collections.abc import Iterable
from numbers import Integral


class SsmMetaRLError(Exception):
    """Base of every error this package raises on purpose."""


class UserError(SsmMetaRLError, ValueError):
    """Bad input: the message is one line, and the command line exits with code 2."""


class CheckpointError(SsmMetaRLError):
    """A checkpoint that is missing, damaged, too large or not ours; nothing was loaded."""


class StoreError(SsmMetaRLError):
    """An experience store that is missing, damaged, full, empty, or of another environment."""


class DivergenceError(SsmMetaRLError):
    """A loss, gradient or observation stopped being finite."""


class EnvironmentFailure(SsmMetaRLError):
    """An environment that is not ours raised an error while it was played."""


MAX_WHOLE = 2**63 - 1


def check_whole(name: str, value: object, least: int, most: int = MAX_WHOLE) -> int:
    """Return a whole number as a plain one.

    Raises:
        UserError: It is none, or too small or large; the message names it.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise UserError(f"{name} is {value!r}; it must be a whole number, at least {least}")
    if int(value) < least:
        raise UserError(f"{name} is {value}; it must be at least {least}")
    if int(value) > most:
        raise UserError(f"{name} is {value}; it must be at most {most}")
    return int(value)


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return a hint such as ``did you mean 'gravity'? valid: force, gravity``."""
    names = sorted(valid)
    close = closest(name, names)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return f"{guess}valid: {', '.join(names)}"


def closest(name: str, valid: Iterable[str], most: int = 1) -> list[str]:
    """Return those names that are most like one that is not valid, whatever its case."""
    lower = {each.lower(): each for each in valid}
    close = difflib.get_close_matches(name.lower(), lower, n=most, cutoff=0.5)
    return [lower[each] for each in close]
