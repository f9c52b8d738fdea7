"""Files that are the old one or the new one, never half of one, and JSON that is strict.

A file is written under a temporary name in the same folder, synced, and renamed over the old one;
then the folder is synced, so that the rename itself survives a power cut. A kill at any moment
leaves the old or the new content, and perhaps a temporary file, `.<name>.<random>.tmp`.
"""

import contextlib
import json
import math
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from ssm_metarl.errors import UserError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to, which takes the place of `path` when the block ends without error.

    It is in the same folder, which is created if it is missing; the block must create the file.

    Raises:
        OSError: The disk is full or the folder cannot be written. Whatever the error, `path` is as
            it was, or, when only the last sync of the folder failed, already the new file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        _sync(temporary, os.O_RDWR)  # Windows needs it open for writing
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename == str(temporary):
            error.filename = str(path)  # that the user knows of
        raise
    with contextlib.suppress(PermissionError):  # Windows opens no folders
        _sync(path.parent, os.O_RDONLY)


def check_writable(folder: Path) -> None:
    """Refuse a folder, existing or not, that nothing can be put into, before work to be kept there.

    Raises:
        UserError: Naming it.
    """
    there = next(place for place in [folder, *folder.absolute().parents] if os.path.lexists(place))
    try:
        with tempfile.TemporaryDirectory(prefix=".", dir=there):
            pass
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}") from error


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Create or replace a file in one step; raises as `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text_atomically(path: Path, text: str) -> None:
    """Create or replace a UTF-8 text file in one step; raises as `replacing`."""
    write_bytes_atomically(path, text.encode("utf-8"))


def write_json_atomically(path: Path, value: object) -> None:
    """Create or replace a JSON file, indented for people, in one step.

    Raises:
        OSError: As `replacing`.
        TypeError: `value` holds something that is not JSON.
        ValueError: `value` holds NaN or infinity, which JSON has not.
    """
    write_text_atomically(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def parse_json(data: bytes) -> object:
    """Parse one UTF-8 JSON value as the standard has it.

    Raises:
        ValueError: Not JSON, or what only Python takes for JSON: NaN, Infinity, numbers out of
            range, a key twice in one object; or nesting too deep to parse.
    """
    try:
        return json.loads(
            data.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_without_repeats,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is out of range")
    return value


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key occurs twice")
    return value


def _sync(path: Path, mode: int) -> None:
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
