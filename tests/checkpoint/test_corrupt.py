"""What is damaged or forged is refused, by name and in one line."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from corrupt_fixtures import META, forge, forge_state, same, some_tensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor

from ssm_metarl.checkpoint import format as checkpoint
from ssm_metarl.checkpoint.format import load_checkpoint
from ssm_metarl.errors import CheckpointError


def refused(folder: Path, reason: str, file: str) -> None:
    with pytest.raises(CheckpointError, match=reason) as caught:
        load_checkpoint(folder)
    line = str(caught.value)
    assert line.startswith(f"{folder / file}: ")
    assert "\n" not in line
    assert len(line) < 300 + len(str(folder)) + 50


def entry(dtype: str, shape: list[int]) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [0, 0]}


def with_header(header: object, body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


@pytest.mark.parametrize("missing", ["checkpoint.json", "state-1.safetensors"])
def test_a_missing_file_is_named(missing: str, saved: Path) -> None:
    (saved / missing).unlink()
    refused(saved, "No such file", missing)


@pytest.mark.parametrize("name", ["checkpoint.json", "state-1.safetensors"])
def test_links_pipes_and_folders_are_refused(name: str, saved: Path, tmp_path: Path) -> None:
    (saved / name).rename(tmp_path / "real")
    (saved / name).symlink_to(tmp_path / "real")
    refused(saved, "is a symbolic link", name)
    (saved / name).unlink()
    os.mkfifo(saved / name)  # opening it would wait for ever
    refused(saved, "is not a regular file", name)
    (saved / name).unlink()
    (saved / name).mkdir()
    refused(saved, "is not a regular file", name)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Expecting value"),
        (b"\x80\x02}q\x00.", "can't decode byte"),  # a pickle
        (b"[]", "not an ssm-metarl checkpoint"),
        (b'{"format": "pytorch"}', "not an ssm-metarl checkpoint"),
        (b'{"format": NaN}', "NaN is not a number"),
        (b"[" * 1_000_000, "nested too deeply"),
        (b'{"a' + b"\\n" * 5000 + b'": 1, "a": 1e999}', "1e999 is out of range"),
    ],
    ids=["empty", "pickle", "list", "foreign", "NaN", "deep", "out of range"],
)
def test_a_foreign_manifest_is_refused(data: bytes, reason: str, saved: Path) -> None:
    (saved / "checkpoint.json").write_bytes(data)
    refused(saved, reason, "checkpoint.json")


@pytest.mark.parametrize(
    "name",
    [
        "../state-1.safetensors",
        "/etc/passwd",
        "state-1.safetensors\n",
        "a\0b",
        "",
        "state-१.safetensors",
    ],
    ids=repr,
)
def test_a_file_name_that_leads_elsewhere_is_refused(name: object, saved: Path) -> None:
    forge(saved, lambda manifest: manifest.update(file=name))
    refused(saved, "names the state file", "checkpoint.json")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.update(version=2), "has format version 2; this program reads 1"),
        (lambda m: m.update(version=True), "has format version True"),
        (lambda m: m.pop("version"), "has format version None"),
        (lambda m: m.pop("meta"), "the manifest does not say meta"),
        (lambda m: m.update(pickle="x"), "unknown name 'pickle'"),
        (lambda m: m.update(meta=[]), r"meta cannot be \[\]"),
        (lambda m: m.update(file=1), "file cannot be 1"),
        (lambda m: m.update(sha256=None), "sha256 cannot be None"),
        (lambda m: m.update(bytes=True), "bytes cannot be True"),
        (lambda m: m.update(bytes=1.0), "bytes cannot be 1.0"),
        (lambda m: m.update(tensors=[]), r"tensors cannot be \[\]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "edit",
)  # fmt: skip
def test_a_forged_manifest_is_refused(
    change: Callable[[dict[str, Any]], object], reason: str, saved: Path
) -> None:
    forge(saved, change)
    refused(saved, reason, "checkpoint.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["tensors"].update(a=[]),
        lambda m: m["tensors"].update(a={"dtype": "U8", "shape": [0]}),
        lambda m: m["tensors"].pop("step"),
        lambda m: m["tensors"]["step"].update(x=1),
        lambda m: m["tensors"]["step"].update(dtype="I32"),
        lambda m: m["tensors"]["step"].update(shape=3),
        lambda m: m["tensors"]["step"].update(shape=[10**4000]),
        lambda m: m["tensors"]["step"].update(shape=[1]),
    ],
)
def test_a_manifest_of_other_tensors_is_refused(
    change: Callable[[dict[str, Any]], object], saved: Path
) -> None:
    forge(saved, change)
    refused(saved, "differs from the manifest in the tensor '(a|step)'", "state-1.safetensors")


@pytest.mark.parametrize(("size", "reason"), [(-1, "is too large"), (2**31 + 1, "is cut short")])
def test_a_forged_size_is_refused(size: int, reason: str, saved: Path) -> None:
    forge(saved, lambda manifest: manifest.update(bytes=size))
    refused(saved, reason, "state-1.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("step"),
        lambda tensors: tensors.update(extra=torch.zeros(2)),
        lambda tensors: tensors.update(step=torch.tensor([7])),
        lambda tensors: tensors.update(step=torch.tensor(7.0, dtype=torch.float64)),
    ],
    ids=["missing", "extra", "shape", "dtype"],
)
def test_tensors_other_than_announced_are_refused(
    change: Callable[[dict[str, Tensor]], object], saved: Path
) -> None:
    tensors = some_tensors()
    change(tensors)
    forge_state(saved, save(tensors))
    refused(saved, "differs from the manifest in the tensor '(step|extra)'", "state-1.safetensors")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "header too small"),
        (b"\xff" * 8, "header too large"),
        ((2**30).to_bytes(8, "little") + b"{}", "header too large"),
        (with_header([]), "invalid JSON in header"),
        (with_header({"a": 1}), "invalid JSON in header"),
        (b"\x03" + b"\0" * 7 + b"{]}", "invalid JSON in header"),
        (with_header({"__metadata__": {"a": "b"}}), "differs from the manifest"),
        (with_header({"a": entry("U8", [2**31])}), "Error while deserializing"),
        (with_header({"a": entry("F32", [0, 2**40, 2**40])}), "torch has not: Stride"),
        (with_header({"a": entry("F4", [0])}), "torch has not: 'F4'"),
        (with_header({"a": entry("C64", [0])}), "unsupported dtype torch.complex64"),
    ],
    ids=[
        *("empty", "huge header", "long header", "list", "number", "text", "metadata"),
        *("huge tensor", "huge strides", "unknown dtype", "other dtype"),
    ],
)
def test_a_forged_state_file_is_refused(data: bytes, reason: str, saved: Path) -> None:
    forge_state(saved, data)
    refused(saved, reason, "state-1.safetensors")


@pytest.mark.parametrize("offsets", [[0, 2**40], [4, 8], [8, 0], [0, 2], [-1, 3]], ids=str)
def test_tensors_that_lie_elsewhere_in_the_file_are_refused(
    offsets: list[int], saved: Path
) -> None:
    one = {"dtype": "F32", "shape": [1]}
    forge_state(saved, with_header({"a": {**one, "data_offsets": offsets}}, b"\0" * 8))
    forge(saved, lambda manifest: manifest.update(tensors={"a": one}))
    refused(saved, "[Ee]rror|[Ii]nvalid", "state-1.safetensors")


@pytest.mark.parametrize(
    ("name", "size", "reason"),
    [
        ("checkpoint.json", 16 * 2**20 + 1, "too large: 16777217 bytes"),
        ("state-1.safetensors", 2**40, "too large: 1099511627776 bytes"),
        ("state-1.safetensors", 100, "cut short: 100 bytes instead of"),
    ],
)
def test_sizes_are_checked_before_anything_is_read(
    name: str, size: int, reason: str, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.truncate(saved / name, size)  # sparse: takes no disk
    monkeypatch.setattr(checkpoint, "load", lambda _: pytest.fail("tensors were made"))
    refused(saved, reason, name)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_changed_byte_or_a_cut_is_found(data: st.DataObject, saved: Path) -> None:
    path = data.draw(st.sampled_from(sorted(saved.iterdir())))
    original = path.read_bytes()
    content = bytearray(original)
    if data.draw(st.booleans(), label="cut"):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        loaded = load_checkpoint(saved)
    except CheckpointError:
        return
    finally:
        path.write_bytes(original)
    assert same(loaded.tensors, some_tensors())  # white space, for instance
    assert repr(loaded.meta) == repr(META)
