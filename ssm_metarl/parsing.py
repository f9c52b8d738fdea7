"""From the command line to a dataclass of settings, or one line about what is wrong.

tyro prints ``--help``. Flags are read here: every value is a text until its
:class:`ssm_metarl.training.settings.Setting` checks it and says what would be valid.
"""

import dataclasses
import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypeVar, get_origin

import tyro

from ssm_metarl.errors import UserError, closest
from ssm_metarl.meta_rl.registry import LEARNERS, used_by
from ssm_metarl.training.defaults import default_text
from ssm_metarl.training.settings import Setting, settings_of

T = TypeVar("T")

METAVARS = {int: "INT", float: "NUMBER", str: "TEXT"}


def parse(kind: type[T], program: str, argv: Sequence[str], more: str = "") -> tuple[T, list[str]]:
    """Read flags, spelled with underscores or hyphens, into a dataclass of settings.

    Args:
        kind: The dataclass.
        program: What stands before the flags.
        argv: The flags.
        more: What else ``--help`` says.

    Returns:
        The settings, and the names of those that were typed.

    Raises:
        UserError: An unknown flag or a value that is not valid: its name, and what would be.
        SystemExit: With code 0, after ``--help`` was answered.
    """
    if {"-h", "--help"} & {*argv}:
        tyro.cli(
            _texts(kind),
            prog=program,
            description=f"{inspect.getdoc(kind)}\n\n{more}",
            args=["--help"],
            use_underscores=True,
        )
    values: dict[str, Any] = {}
    for one, value in _tokens(kind, program, argv):
        if get_origin(one.type) is tuple:  # each time one more
            values[one.name] = (*values.get(one.name, ()), value)
        else:
            values[one.name] = value if one.type is bool else one.parse(value)
    for one in settings_of(kind).values():
        if one.default is dataclasses.MISSING and not values.get(one.name):
            about = one.help[:1].lower() + one.help[1:].rstrip(".")
            raise UserError(f"{program} needs {one.metavar}: {about}")
    return kind(**values), [*values]


def _tokens(kind: type, program: str, argv: Sequence[str]) -> Iterator[tuple[Setting, Any]]:
    """Yield each setting that was typed, with its text, or whether it is on."""
    flags = _flags(kind)
    positional = [one for one in settings_of(kind).values() if one.positional]
    tokens, switch = iter(argv), ""
    for token in tokens:
        flag, equals, value = token.partition("=")
        one = flags.get(_name(token)) if token.startswith("--") else None
        if one and one.type is bool:
            if equals:
                raise UserError(_too_much(flag, value, flags))
            yield one, _name(token) == f"--{one.name}"
        elif one:
            value = value if equals else next(tokens, "--")
            if not equals and value.startswith("--"):
                raise UserError(f"{flag} needs a value: {one.valid}")
            yield one, value
        elif token.startswith("-"):
            close = closest(_name(token), flags, most=3)
            guess = f"did you mean {' or '.join(close)}? " if close else ""
            raise UserError(f"unknown flag {flag}; {guess}{program} --help lists them")
        elif positional:
            one = positional[0] if get_origin(positional[0].type) is tuple else positional.pop(0)
            yield one, token
        elif switch:
            raise UserError(_too_much(switch, token, flags))
        else:
            raise UserError(f"{token!r} is not expected here; {program} --help lists what is")
        switch = flag if one and one.type is bool else ""


def as_typed(message: str, kind: type, argv: Sequence[str]) -> str:
    """Say a message that names flags with the spellings that were typed for them."""
    typed = {_name(token): token.partition("=")[0] for token in argv if token.startswith("--")}
    for flag, one in _flags(kind).items():
        if flag in typed:
            message = re.sub(rf"--{one.name}\b", typed[flag], message)
    return message


def _texts(kind: type) -> type:
    """Return a dataclass with the same flags, whose values are texts, or true or false."""
    fields: list[tuple[str, Any, Any]] = []
    own = kind.__annotations__  # before those that are inherited
    for name, one in sorted(settings_of(kind).items(), key=lambda item: item[0] not in own):
        hint: Any = bool if one.type is bool else str
        needed = one.default is dataclasses.MISSING
        default = one.default if needed else hint(one.default)
        marks: list[Any] = [_described(one)]
        marks += [tyro.conf.Positional] if one.positional else []
        marks += [] if one.negatable else [tyro.conf.FlagCreatePairsOff]
        for mark in marks:
            hint = Annotated[hint, mark]
        fields.append((name, hint, dataclasses.field(default=default)))
    return dataclasses.make_dataclass(kind.__name__, fields)


def _described(one: Setting) -> object:
    users = used_by(one.name)
    only = f"{', '.join(users)}: " if len(users) < len(LEARNERS) else ""
    default = "required" if one.default is dataclasses.MISSING else f"default: {default_text(one)}"
    values = f"{{{','.join(one.choices)}}}" if one.choices else METAVARS.get(one.type, "PATH")
    return tyro.conf.arg(
        help=only + one.help,
        help_behavior_hint=f"({default})",
        metavar=None if one.type is bool else one.metavar or values,
        aliases=one.aliases or None,
    )


def _flags(kind: type) -> dict[str, Setting]:
    """Return the setting of each spelling of a flag, with underscores."""
    flags: dict[str, Setting] = {}
    for one in settings_of(kind).values():
        negated = [f"--no_{one.name}"] if one.type is bool and one.negatable else []
        spellings = [] if one.positional else [f"--{one.name}", *one.aliases, *negated]
        flags |= dict.fromkeys(spellings, one)
    return flags


def _name(token: str) -> str:
    """Return the flag's name in what was typed: `--num_epochs` of `--num-epochs=3`."""
    return "--" + token.partition("=")[0].removeprefix("--").replace("-", "_")


def _too_much(flag: str, value: str, flags: dict[str, Setting]) -> str:
    opposite = f"--no_{flags[_name(flag)].name}"
    also = f"; its opposite is {opposite}" if opposite in flags else ""
    return f"{flag} takes no value, so {value!r} is too much{also}"
