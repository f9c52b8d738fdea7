"""From the command line to a dataclass of settings, or one line about what is wrong.

tyro finds the flags and prints ``--help``. It is given every value as a text, so that checking
values, and saying what would be valid, is :class:`ssm_metarl.training.settings.Setting`'s alone.
"""

import contextlib
import dataclasses
import difflib
import io
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

import tyro

from ssm_metarl.errors import UserError
from ssm_metarl.meta_rl.registry import LEARNERS
from ssm_metarl.training.config import default_text, used_by
from ssm_metarl.training.settings import Setting, settings_of

T = TypeVar("T")

METAVARS = {int: "INT", float: "NUMBER", str: "TEXT"}


def parse(kind: type[T], program: str, argv: Sequence[str]) -> T:
    """Read flags, spelled with underscores or hyphens, into a dataclass of settings.

    Args:
        kind: The dataclass.
        program: What stands before the flags.
        argv: The flags.

    Raises:
        UserError: An unknown flag or a value that is not valid: its name, and what would be.
        SystemExit: With code 0, after ``--help`` was answered.
    """
    settings = settings_of(kind)
    flags = _flags(kind)
    for token in argv:
        if "=" in token and _is_switch(flags.get(_name(token))):
            flag, _, value = token.partition("=")
            raise UserError(_too_much(flag, value, flags))
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # what tyro says of mistakes is a box
            typed, unknown = tyro.cli(
                _texts(kind),
                prog=program,
                description=kind.__doc__,
                args=argv,
                use_underscores=True,
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if stop.code == 0:
            raise
        raise UserError(_missing(argv, flags, program)) from None
    if unknown:
        raise UserError(_unknown(unknown[0], argv, flags, program))
    values = {name: getattr(typed, name) for name in settings}
    for name, one in settings.items():
        values[name] = values[name] if one.type is bool else one.parse(values[name])
    return kind(**values)


def given(kind: type, argv: Sequence[str]) -> list[str]:
    """Return the names of the settings whose flags were typed."""
    flags, typed = _flags(kind), [_name(token) for token in argv if token.startswith("--")]
    return [flags[flag].name for flag in typed if flag in flags]


def as_typed(message: str, kind: type, argv: Sequence[str]) -> str:
    """Say a message that names flags with the spellings that were typed for them."""
    typed = {_name(token): token.partition("=")[0] for token in argv if token.startswith("--")}
    for one in settings_of(kind).values():
        for flag in _spellings(one):
            if flag in typed:
                message = re.sub(rf"--{one.name}\b", typed[flag], message)
    return message


def _texts(kind: type) -> type:
    """Return a dataclass with the same flags, whose values are texts, or true or false."""
    fields: list[tuple[str, Any, Any]] = []
    for name, one in settings_of(kind).items():
        hint: Any = bool if one.type is bool else str
        needed = one.default is dataclasses.MISSING
        default = one.default if needed or hint is bool else str(one.default)
        marks: list[Any] = [_described(kind, one)]
        marks += [tyro.conf.Positional] if one.positional else []
        marks += [] if one.negatable else [tyro.conf.FlagCreatePairsOff]
        for mark in marks:
            hint = Annotated[hint, mark]
        fields.append((name, hint, dataclasses.field(default=default)))
    return dataclasses.make_dataclass(kind.__name__, fields)


def _described(kind: type, one: Setting) -> object:
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
    return {flag: one for one in settings_of(kind).values() for flag in _spellings(one)}


def _is_switch(one: Setting | None) -> bool:
    return one is not None and one.type is bool


def _spellings(one: Setting) -> list[str]:
    """Return all names of a flag, with underscores."""
    if one.positional:
        return []
    negated = [f"--no_{one.name}"] if one.type is bool and one.negatable else []
    return [f"--{one.name}", *one.aliases, *negated]


def _name(token: str) -> str:
    """Return the flag's name in what was typed: `--num_epochs` of `--num-epochs=3`."""
    return "--" + token.partition("=")[0].removeprefix("--").replace("-", "_")


def _missing(argv: Sequence[str], flags: Mapping[str, Setting], program: str) -> str:
    """Say which value is missing; all that tyro refuses, as it takes any text."""
    for token, following in itertools.pairwise([*argv, "--"]):
        one = flags.get(_name(token))
        bare = one is not None and not _is_switch(one) and "=" not in token
        if one and bare and following.startswith("--"):
            return f"{token} needs a value: {one.valid}"
    return f"{program} needs RUN: the folder of a run, or of a saved agent"


def _unknown(token: str, argv: Sequence[str], flags: Mapping[str, Setting], program: str) -> str:
    if not token.startswith("-"):
        before = argv[max(0, argv.index(token) - 1)]
        if _is_switch(flags.get(_name(before))):
            return _too_much(before, token, flags)
        return f"{token!r} is not expected here; {program} --help lists what is"
    close = difflib.get_close_matches(_name(token), flags, n=3, cutoff=0.5)
    guess = f"did you mean {' or '.join(close)}? " if close else ""
    return f"unknown flag {token.partition('=')[0]}; {guess}{program} --help lists them"


def _too_much(flag: str, value: str, flags: Mapping[str, Setting]) -> str:
    opposite = f"--no_{flags[_name(flag)].name}"
    also = f"; its opposite is {opposite}" if opposite in flags else ""
    return f"{flag} takes no value, so {value!r} is too much{also}"
