"""Files are replaced whole or not at all, and JSON is strict."""

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from ssm_metarl.checkpoint.files import (
    parse_json,
    replacing,
    write_bytes_atomically,
    write_json_atomically,
    write_text_atomically,
)


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "made" / "on the way" / "file"
    write_text_atomically(path, "θ' = θ − α g\r\n")
    assert path.read_bytes() == "θ' = θ − α g\r\n".encode()
    write_bytes_atomically(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    write_json_atomically(path, {"α": [1, None, 0.1]})
    assert json.loads(path.read_text()) == {"α": [1, None, 0.1]}
    assert os.listdir(path.parent) == ["file"]


def test_others_may_read_the_file_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_text_atomically(tmp_path / "file", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("theirs")
    (tmp_path / "file").symlink_to(tmp_path / "elsewhere")
    write_text_atomically(tmp_path / "file", "ours")
    assert (tmp_path / "elsewhere").read_text() == "theirs"
    assert not (tmp_path / "file").is_symlink()


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_text_atomically(path, "old")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, full_disk)
        with pytest.raises(OSError, match="No space left"):
            write_text_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with pytest.raises(OSError, match=f"'{file}'"), replacing(file) as temporary:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(temporary))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_the_block_leaves_the_old_file_and_nothing_else(
    error: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    write_text_atomically(path, "old")

    def fail_half_way() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail_half_way()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_content_is_synced_before_the_rename_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "content")
        fsync(descriptor)

    def record_replace(source: Path, target: Path) -> None:
        events.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    write_text_atomically(tmp_path / "file", "new")
    assert events == ["content", "rename", "folder"]


def test_a_file_is_saved_where_folders_cannot_be_opened_nor_readers_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows."""
    system_open, fsync, writable = os.open, os.fsync, set[int]()

    def windows_open(path: Path, flags: int, *more: int) -> int:
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        descriptor = system_open(path, flags, *more)
        (writable.add if flags & (os.O_RDWR | os.O_WRONLY) else writable.discard)(descriptor)
        return descriptor

    def windows_fsync(descriptor: int) -> None:
        if descriptor not in writable:
            raise OSError(errno.EBADF, "Bad file descriptor")
        fsync(descriptor)

    monkeypatch.setattr(os, "open", windows_open)
    monkeypatch.setattr(os, "fsync", windows_fsync)
    write_text_atomically(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"


def test_json_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    write_json_atomically(tmp_path / "file", [1])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json_atomically(tmp_path / "file", float("nan"))
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json_atomically(tmp_path / "file", {1, 2})
    assert json.loads((tmp_path / "file").read_text()) == [1]


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "[-Infinity]",
        "1e999",
        '{"a": 1, "a": 2}',
        "[" * 100_000,
        "9" * 5000,
        "\xff",
        "",
        "{} {}",
    ],
)
def test_what_only_python_takes_for_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (json words its own messages)
        parse_json(text.encode("latin-1"))


def test_json_is_parsed() -> None:
    value = {"a": [1, -0.5, 1e-300, True, None, "é"], "b": {"c": 2**100}}
    assert parse_json(json.dumps(value).encode()) == value
