"""Settings: dataclass fields that say once what they mean and which values are valid.

A dataclass declares its fields with :func:`setting`. Validation, the command line, the page and
the docs all read the same :class:`Setting` objects, which :func:`settings_of` returns::

    width = settings_of(TrainConfig)["width"]
    width.least, width.most, width.default, width.help  # 1, 4096, None, "Features per block."
"""

import contextlib
import dataclasses
import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ssm_metarl.checkpoint.fields import as_type
from ssm_metarl.errors import UserError, nearest

KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
KINDS |= {tuple[str, ...]: "a text, once for each"}
SHOWN = 60  # characters of a value that is refused


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: Of the field; its flag is ``--name``.
        type: The type of its values, without None.
        default: Its value where none is given; None where that is decided later, and
            ``dataclasses.MISSING`` where one must be given.
        optional: Whether None is valid.
        unset: What None stands for, in words.
        otherwise: The value in place of None where nothing else suggests one.
        family: Name of the attribute of a family that suggests a value.
        above: A number that valid ones are larger than.
        aliases: Other names of its flag.
        positional: Whether the command line takes it without a flag.
        negatable: Whether a flag that is true or false also exists as ``--no_name``.
    """

    name: str
    type: Any
    default: Any
    optional: bool
    help: str
    unset: str = ""
    otherwise: Any = None
    family: str = ""
    least: int | float | None = None
    most: int | float | None = None
    above: int | float | None = None
    choices: Collection[str] = ()  # a registry may grow
    aliases: tuple[str, ...] = ()
    metavar: str = ""
    positional: bool = False
    negatable: bool = True

    @property
    def valid(self) -> str:
        """The values it takes, in words: ``a whole number from 1 to 100``."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        kind = KINDS.get(self.type, "a path")
        if self.above is not None:
            most = "" if self.most is None else f", at most {self.most:g}"
            return f"{kind} above {self.above:g}{most}"
        if self.least is not None and self.most is not None:
            return f"{kind} from {self.least:,} to {self.most:,}"
        return kind if self.least is None else f"{kind}, at least {self.least:,}"

    def check(self, value: object) -> Any:  # noqa: ANN401 (of the setting's own type)
        """Return a valid value as a plain Python one: NumPy's scalars become Python's.

        Raises:
            UserError: It is not valid; names the setting and what would be.
        """
        if value is None and self.optional:
            return None
        if value == "" and self.type is Path:  # which would be the current folder
            raise UserError(f"--{self.name} is empty; name a {(self.metavar or 'path').lower()}")
        try:
            plain = as_type(value, self.type)
        except TypeError:
            raise self._refusal(value) from None
        if self.choices and plain not in self.choices:
            raise UserError(f"--{self.name} is {value!r}; {nearest(plain, self.choices)}")
        if self.type in (int, float) and not self._contains(plain):
            raise self._refusal(plain)
        return plain

    def parse(self, text: str) -> Any:  # noqa: ANN401 (of the setting's own type)
        """Return the value that was typed on the command line; raises as :meth:`check`."""
        value: object = text
        if text == "None" and self.optional:
            value = None
        elif self.type in (int, float):
            with contextlib.suppress(ValueError):
                value = self.type(text)
        return self.check(value)

    def _contains(self, number: int | float) -> bool:
        return (
            (self.least is None or number >= self.least)
            and (self.most is None or number <= self.most)
            and (self.above is None or number > self.above)
        )

    def _refusal(self, value: object) -> UserError:
        shown = repr(value)
        shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
        return UserError(f"--{self.name} is {shown}; it must be {self.valid}")


def setting(
    default: object = dataclasses.MISSING,
    help: str = "",
    within: tuple[int, int] | None = None,
    **described: object,
) -> Any:  # noqa: ANN401 (a field, which type checkers take for its value)
    """Declare a field by the attributes of :class:`Setting`; `within` is the least and the most."""
    if within:
        described["least"], described["most"] = within
    return field(default=default, metadata={Setting: {"help": help, **described}})


def listed(registry: Mapping[str, Any], mark: str = ", ", between: str = "; ") -> str:
    """Return the entries of a registry with their help, for that of a setting."""
    return between.join(f"{name}{mark}{entry.help}" for name, entry in registry.items())


@functools.cache
def settings_of(kind: type) -> dict[str, Setting]:
    """Return the settings that a dataclass declares, by name and in order."""
    hints = get_type_hints(kind)
    return {each.name: _setting(each, hints[each.name]) for each in dataclasses.fields(kind)}


def _setting(declared: dataclasses.Field[Any], hint: Any) -> Setting:  # noqa: ANN401 (a type)
    described: dict[str, Any] = dict(declared.metadata[Setting])
    optional = get_origin(hint) in (Union, UnionType)
    if optional:
        (hint,) = (option for option in get_args(hint) if option is not NoneType)
    if get_origin(hint) is Literal:
        hint, described["choices"] = str, get_args(hint)
    return Setting(declared.name, hint, declared.default, optional, **described)


def check_settings(values: Any) -> None:  # noqa: ANN401 (any dataclass of settings)
    """Check every setting of a frozen dataclass, and make its values plain ones, in place.

    Raises:
        UserError: Naming the first that is not valid, its value and what would be.
    """
    for name, one in settings_of(type(values)).items():
        object.__setattr__(values, name, one.check(getattr(values, name)))
