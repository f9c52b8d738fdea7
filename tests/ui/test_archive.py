"""Zips of runs: what goes out comes in again, and nothing else does."""

import dataclasses
import errno
import pickle
import re
import shutil
import stat
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from visiting import TINY

from ssm_metarl.checkpoint.format import load_checkpoint, save_checkpoint
from ssm_metarl.errors import SsmMetaRLError, UserError
from ssm_metarl.training import archive
from ssm_metarl.training.archive import ALLOWED, pack
from ssm_metarl.training.loading import load
from ssm_metarl.training.loop import CHECKPOINT, train
from ssm_metarl.ui.errors import without_paths
from ssm_metarl.ui.store import RunStore

ONE = dataclasses.replace(TINY, num_epochs=1)
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "mine"
    list(train(ONE, folder))
    return folder


@pytest.fixture(scope="module")
def files(run: Path) -> Files:
    found = {path.relative_to(run).as_posix(): path for path in run.rglob("*")}
    return {name: path.read_bytes() for name, path in found.items() if ALLOWED.fullmatch(name)}


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs", tmp_path / "pretrained")


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def refused(path: Path, store: RunStore, words: str) -> None:
    before = sorted(store.runs.parent.rglob("*"))
    with pytest.raises(SsmMetaRLError) as error:
        store.import_zip(path, "new")
    line = without_paths(str(error.value))
    assert re.search(words, line)
    assert "\n" not in line
    left = set(store.runs.parent.rglob("*")) - set(before) - {store.runs}
    assert not left


@pytest.mark.parametrize("with_experience", [False, True])
def test_a_run_comes_back_as_it_went(
    run: Path, store: RunStore, tmp_path: Path, with_experience: bool
) -> None:
    pack(run, tmp_path / "mine.zip", with_experience=with_experience)
    names = zipfile.ZipFile(tmp_path / "mine.zip").namelist()
    assert {name.rsplit(".")[-1] for name in names} <= {"json", "jsonl", "safetensors", "sqlite"}
    store.import_zip(tmp_path / "mine.zip", "new")
    there, here = load(store.folder("new")), load(run)
    assert all((there.params[name] == value).all() for name, value in here.params.items())
    for name in ("config.json", "metrics.jsonl"):
        assert (store.folder("new") / name).read_bytes() == (run / name).read_bytes()
    assert (store.folder("new") / "experience").exists() == with_experience


def test_what_else_lies_in_a_run_stays_there(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "secret.txt").write_text("secret")
    (copy / "metrics.jsonl").unlink()
    (copy / "metrics.jsonl").symlink_to("/etc/hostname")
    pack(copy, tmp_path / "copy.zip")
    names = zipfile.ZipFile(tmp_path / "copy.zip").namelist()
    assert sorted(name.split("/")[0] for name in names) == [
        "checkpoint",
        "checkpoint",
        "config.json",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "../config.json",
        "/etc/passwd",
        "run/config.json",
        "checkpoint/../../x.safetensors",
        "checkpoint/state-1.pkl",
        "checkpoint/deep/state-1.safetensors",
        "checkpoint\\state-1.safetensors",
        "experience/store.sqlite-wal",
        "config.json\x00.txt",
        "Config.json",
        "links/",
    ],
)
def test_other_names_are_refused(files: Files, store: RunStore, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for other, data in files.items():
            archive.writestr(other, data)
        entry = zipfile.ZipInfo("placeholder")
        entry.filename = name.split("\x00")[0] + "\x00.txt" if "\x00" in name else name
        archive.writestr(entry, b"x")
    refused(tmp_path / "x.zip", store, "is not of a run")


def linked(files: Files, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            link = name == "metrics.jsonl"
            entry.external_attr = ((stat.S_IFLNK if link else stat.S_IFREG) | 0o644) << 16
            archive.writestr(entry, b"/etc/passwd" if link else data)
    return path


def twice(files: Files, path: Path) -> Path:
    with (
        zipfile.ZipFile(zipped(path, files), "a") as archive,
        pytest.warns(UserWarning, match="Duplicate"),
    ):
        archive.writestr("config.json", files["config.json"])
    return path


def lzma(files: Files, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("config.json", files["config.json"])
    return path


def commented(files: Files, path: Path) -> Path:
    with zipfile.ZipFile(zipped(path, files), "a") as archive:
        archive.comment = b"hello"
    return path


def cut(files: Files, path: Path) -> Path:
    data = zipped(path, files).read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def flipped(files: Files, path: Path) -> Path:
    data = bytearray(zipped(path, files).read_bytes())
    data[200] ^= 0xFF
    path.write_bytes(data)
    return path


def encrypted(files: Files, path: Path) -> Path:
    data = bytearray(zipped(path, files).read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    return path


def before_its_start(files: Files, path: Path) -> Path:
    data = bytearray(zipped(path, files).read_bytes())
    place = len(data) - 22 + 16  # where the last record says that the directory begins
    data[place : place + 4] = (int.from_bytes(data[place : place + 4], "little") + 100).to_bytes(
        4, "little"
    )
    path.write_bytes(data)
    return path


def no_zip(files: Files, path: Path) -> Path:
    path.write_bytes(pickle.dumps(files))
    return path


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (linked, "does not cover"),
        (twice, "each once"),
        (lzma, "can read"),
        (commented, "can read"),
        (cut, "can read"),
        (flipped, "can read"),
        (encrypted, "can read"),
        (before_its_start, "can read"),
        (no_zip, "can read"),
    ],
)
def test_broken_and_crafted_zips_are_refused(
    files: Files,
    store: RunStore,
    tmp_path: Path,
    broken: Callable[[Files, Path], Path],
    words: str,
) -> None:
    refused(broken(files, tmp_path / "x.zip"), store, words)


def test_a_bomb_is_counted_as_it_comes_out(
    files: Files, store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES", 10**6)
    bomb = zipped(tmp_path / "x.zip", {**files, "metrics.jsonl": b"\n" * 2 * 10**6})
    assert bomb.stat().st_size < 10**5
    refused(bomb, store, "unpacks to more than 1 MB")


def test_a_bomb_that_lies_about_its_size_is_refused(
    files: Files, store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES", 10**6)
    bomb = zipped(tmp_path / "x.zip", {**files, "metrics.jsonl": b"\n" * 2 * 10**6})
    data, size = bomb.read_bytes(), (2 * 10**6).to_bytes(4, "little")
    assert data.count(size) == 2  # beside the file and in the directory
    bomb.write_bytes(data.replace(size, (10).to_bytes(4, "little")))
    refused(bomb, store, "can read|unpacks to more")


def test_a_directory_of_many_names_is_refused_before_it_is_read(
    store: RunStore, tmp_path: Path
) -> None:
    many = zipped(tmp_path / "x.zip", {f"{'x' * 50}{number}": b"" for number in range(1000)})
    refused(many, store, "can read")
    few = zipped(tmp_path / "x.zip", {f"x{number}": b"" for number in range(65)})
    refused(few, store, "65 entries, of at most 64")


class Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return exec, ("raise SystemExit('ran')",)


def test_a_pickle_in_the_place_of_tensors_is_refused(
    files: Files, store: RunStore, tmp_path: Path
) -> None:
    state = next(name for name in files if name.endswith(".safetensors"))
    refused(zipped(tmp_path / "x.zip", {**files, state: pickle.dumps(Evil())}), store, state[11:])


CONFIG = b'{"mode": "meta_rl", "env_name": "CartPole-v1", "width": %s}'


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("config.json", b"{", "not valid JSON"),
        ("config.json", b'{"mode": "meta_rl", "env_name": "os.path:Env-v0"}', "families"),
        ("config.json", b'{"mode": "meta_rl", "env_name": "Blackjack-v1"}', "families"),
        ("config.json", CONFIG % b"1000000000", "width"),
        ("config.json", CONFIG % b"16", "does not fit"),
        ("config.json", b"\xff\xfe", "utf-8"),
        ("metrics.jsonl", b'{"iteration": 1}\n', "must be a number"),
        ("metrics.jsonl", b"nonsense\n", "not JSON"),
        ("metrics.jsonl", b"", "does not cover the whole training"),
        ("checkpoint/checkpoint.json", b"{}", "not an ssm-metarl checkpoint"),
        ("experience/store.sqlite", b"SQLite format 3\x00", "store"),
    ],
)
def test_content_that_is_not_of_a_run_is_refused(
    files: Files, store: RunStore, tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    refused(zipped(tmp_path / "x.zip", {**files, name: data}), store, words)


def test_metrics_of_another_training_are_refused(
    files: Files, store: RunStore, tmp_path: Path
) -> None:
    longer = files["metrics.jsonl"].replace(b'"iterations": 1', b'"iterations": 2')
    path = zipped(tmp_path / "x.zip", {**files, "metrics.jsonl": longer})
    refused(path, store, "does not cover the whole training")


@pytest.mark.parametrize("change", [{"best_return": "x"}, {"iteration": 2}, {"seconds": None}])
def test_a_corrupt_checkpoint_is_refused(
    run: Path, files: Files, store: RunStore, tmp_path: Path, change: dict[str, Any]
) -> None:
    there = load_checkpoint(run / CHECKPOINT)
    save_checkpoint(tmp_path / "corrupt", there.tensors, {**there.meta, **change})
    kept = {name: data for name, data in files.items() if not name.startswith(CHECKPOINT)}
    corrupt = {f"{CHECKPOINT}/{p.name}": p.read_bytes() for p in (tmp_path / "corrupt").iterdir()}
    words = f"^checkpoint: {next(iter(change))}"
    refused(zipped(tmp_path / "x.zip", {**kept, **corrupt}), store, words)


def test_a_full_disk_is_not_taken_for_a_broken_zip(
    files: Files, store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(archive: zipfile.ZipFile, place: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive, "_extract", full)
    with pytest.raises(OSError, match="No space left"):
        store.import_zip(zipped(tmp_path / "x.zip", files), "new")
    assert not list(store.runs.iterdir())


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ("", "^new is not a run: it has no config.json"),  # an empty zip
        ("config.json", "^new is not a run: it has no config.json"),
        ("checkpoint/checkpoint.json", "checkpoint.json"),
    ],
)
def test_a_run_without_its_parts_is_refused(
    files: Files, store: RunStore, tmp_path: Path, without: str, words: str
) -> None:
    rest = {name: data for name, data in files.items() if without and name != without}
    refused(zipped(tmp_path / "x.zip", rest), store, words)


def test_a_name_that_is_taken_stays_who_it_is(run: Path, store: RunStore, tmp_path: Path) -> None:
    pack(run, tmp_path / "mine.zip")
    store.import_zip(tmp_path / "mine.zip", "new")
    with pytest.raises(UserError, match="choose another name"):
        store.import_zip(tmp_path / "mine.zip", "new")
