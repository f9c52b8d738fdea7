"""From what a user typed to a dataclass of flags, or one line about what is wrong with it."""

import ast
import contextlib
import dataclasses
import difflib
import functools
import inspect
import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import tyro

from ssm_metarl.errors import UserError, nearest

T = TypeVar("T")

KINDS = {int: "a whole number", float: "a number"}


def parse(kind: type[T], program: str, argv: Sequence[str], default: T | None = None) -> T:
    """Read flags, spelled with underscores or hyphens, into a dataclass.

    Args:
        kind: The dataclass, whose documentation is that of the flags.
        program: What stands before the flags.
        argv: The flags.
        default: Where values that are not given come from; None takes the dataclass's own.

    Raises:
        UserError: An unknown flag or a bad value: its name, and the nearest valid ones.
        SystemExit: With code 0, after `--help` was answered.
    """
    settings: dict[str, Any] = {} if default is None else {"default": default}
    _join_help_lines(kind)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            value, unknown = tyro.cli(
                kind,
                prog=program,
                args=argv,
                use_underscores=True,
                return_unknown_args=True,
                **settings,
            )
    except SystemExit as stop:
        if stop.code == 0:
            raise
        raise UserError(_bad_value(complaint.getvalue(), argv, _flags(kind))) from None
    if unknown:
        raise UserError(_unknown(unknown[0], argv, _flags(kind), program))
    return value


def as_typed(message: str, kind: type, argv: Sequence[str]) -> str:
    """Say a message that names flags with the spellings that were typed for them."""
    typed = {_name(token): token.partition("=")[0] for token in argv if token.startswith("--")}
    for name, hint, extras in _fields(kind):
        for flag in _spellings(name, hint, extras):
            if flag in typed:
                message = re.sub(rf"--{name}\b", typed[flag], message)
    return message


def _fields(kind: type) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Yield the name, type and annotations of every flag, also of dataclasses within."""
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint, *extras = _taken_apart(hints[field.name])
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield from _fields(hint)
        else:
            yield field.name, hint, tuple(extras)


def _spellings(name: str, hint: object, extras: tuple[Any, ...]) -> list[str]:
    """Return all names of a flag, spelled with underscores."""
    aliases = [alias for extra in extras for alias in getattr(extra, "aliases", None) or ()]
    paired = hint is bool and tyro.conf.FlagCreatePairsOff not in extras
    return [f"--{name}", *aliases, *([f"--no_{name}"] if paired else [])]


def _flags(kind: type) -> dict[str, object]:
    """Return the type of each flag, by all of its names."""
    return {
        flag: hint
        for name, hint, extras in _fields(kind)
        for flag in _spellings(name, hint, extras)
    }


@functools.cache
def _join_help_lines(kind: type) -> None:
    """Let help texts wrap as the terminal wants: tyro keeps the line breaks of indented ones."""
    described = _descriptions(kind)
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if name in described:
            kind.__annotations__[name] = Annotated[hint, tyro.conf.arg(help=described[name])]
        elif dataclasses.is_dataclass(_taken_apart(hint)[0]):
            _join_help_lines(_taken_apart(hint)[0])


def _descriptions(kind: type) -> dict[str, str]:
    """Return the text below each field of a dataclass, on one line."""
    (defined,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(defined, ast.ClassDef)
    return {
        ast.unparse(field.target): " ".join(ast.literal_eval(text.value).split())
        for field, text in itertools.pairwise(defined.body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }


def _taken_apart(hint: object) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) is Annotated else (hint,)


def _name(token: str) -> str:
    """Return the flag's name in what was typed: `--num_epochs` of `--num-epochs=3`."""
    return "--" + token.partition("=")[0].removeprefix("--").replace("-", "_")


def _unknown(token: str, argv: Sequence[str], flags: Mapping[str, object], program: str) -> str:
    if not token.startswith("-"):
        before = argv[max(0, argv.index(token) - 1)]
        if flags.get(_name(before)) is bool:
            opposite = f"--no_{_name(before)[2:]}"
            also = f"; its opposite is {opposite}" if opposite in flags else ""
            return f"{before} takes no value, so {token!r} is too much{also}"
        return f"{token!r} is not expected here; {program} --help lists what is"
    close = difflib.get_close_matches(_name(token), flags, n=3, cutoff=0.5)
    guess = f"did you mean {' or '.join(close)}? " if close else ""
    return f"unknown flag {token.partition('=')[0]}; {guess}{program} --help lists them"


def _bad_value(complaint: str, argv: Sequence[str], flags: Mapping[str, object]) -> str:
    """Say in one line, and in the user's words, what tyro says in a box."""
    reason = _first_paragraph(complaint)
    meant = {_name(flag) for flag in re.findall(r"--[\w-]+", reason)}
    for token, following in zip(reversed(argv), (None, *reversed(argv)), strict=False):
        if _name(token) in meant:
            flag, given, value = token.partition("=")
            value = value if given else following
            valid = _valid(flags[_name(token)], value or "")
            if value is None or (not given and _name(value) in flags):
                return f"{flag} needs a value; {valid}"
            return f"{flag} cannot be {value!r}; {valid}"
    return re.sub(
        r"^Missing from (.+?): (\S+) (.*?)(?: \(required\))?$", r"\1 needs \2: \3", reason
    )


def _valid(hint: object, value: str) -> str:
    if get_origin(hint) is Literal:
        return nearest(value, get_args(hint))
    kinds = [KINDS[option] for option in get_args(hint) or (hint,) if option in KINDS]
    return f"it takes {' or '.join(kinds) or 'a text'}"


def _first_paragraph(box: str) -> str:
    """Return what a box says below its title, up to the first rule or empty line."""
    lines = [line.strip(" │╭╮╰╯") for line in box.splitlines()[1:]]
    paragraph: list[str] = []
    for line in lines:
        if line.strip("─-"):
            paragraph.append(line)
        elif paragraph:
            break
    return " ".join(paragraph)
