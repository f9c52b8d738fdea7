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

    Args:
        path: The file to create or replace; its folder is created if it is missing.

    Yields:
        A path in the same folder, not yet existing; the block must create it.

    Raises:
        OSError: The disk is full or the folder cannot be written. Whatever the error, `path` is as
            it was, or, when only the last sync of the folder failed, already the new file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def check_writable(folder: Path) -> None:
    """Refuse a folder that nothing can be put into, before the work that is to be kept there.

    Args:
        folder: An existing one, or one to be made.

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
    """Create or replace a file in one step.

    Args:
        path: The file.
        data: Its whole new content.

    Raises:
        OSError: As `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text_atomically(path: Path, text: str) -> None:
    """Create or replace a UTF-8 text file in one step.

    Args:
        path: The file.
        text: Its whole new content.

    Raises:
        OSError: As `replacing`.
    """
    write_bytes_atomically(path, text.encode("utf-8"))


def write_json_atomically(path: Path, value: object) -> None:
    """Create or replace a JSON file, indented for people, in one step.

    Args:
        path: The file.
        value: Anything plain JSON can hold.

    Raises:
        OSError: As `replacing`.
        TypeError: `value` holds something that is not JSON.
        ValueError: `value` holds NaN or infinity, which JSON has not.
    """
    write_text_atomically(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def parse_json(data: bytes) -> object:
    """Parse UTF-8 JSON as the standard has it.

    Args:
        data: One JSON value.

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


def _sync(path: Path, mode: int = os.O_RDWR) -> None:
    """Wait until a file is on the disk; Windows needs it open for writing."""
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    with contextlib.suppress(PermissionError):  # Windows opens no folders
        _sync(path, os.O_RDONLY)
