"""Checkpoints come back bit for bit; test_checkpoint_forged.py has those that must not."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from corrupt_fixtures import same, some_tensors
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ssm_metarl.checkpoint import format as checkpoint
from ssm_metarl.checkpoint.format import load_checkpoint, save_checkpoint
from ssm_metarl.errors import CheckpointError

DTYPES = list(checkpoint._DTYPES)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3, 4)], ids=str)
def test_every_dtype_and_shape_comes_back(
    dtype: torch.dtype, shape: tuple[int, ...], tmp_path: Path
) -> None:
    tensor = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 100).to(dtype)
    save_checkpoint(tmp_path, {"a": tensor}, {})
    assert same(load_checkpoint(tmp_path).tensors, {"a": tensor})


def test_views_gradients_and_shared_memory_come_back_as_values(tmp_path: Path) -> None:
    base = torch.arange(12.0).view(3, 4)
    tensors = {
        "whole": base,
        "part": base[1:],
        "transposed": base.T,
        "expanded": base[:, :1].expand(3, 5),
        "negated": torch.tensor([1 + 2j]).conj().imag,
        "parameter": torch.nn.Parameter(base.clone()),
        "adapted": torch.ones(2, requires_grad=True) * 2,
    }
    save_checkpoint(tmp_path, tensors, {})
    loaded = load_checkpoint(tmp_path).tensors
    assert same(loaded, tensors)
    loaded["whole"] += 1  # the tensors are the caller's own
    assert base[0, 0] == 0
    assert not any(tensor.requires_grad for tensor in loaded.values())


plain_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**130), 2**130)  # the entropy of a SeedSequence has 128 bits
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(
    meta=st.dictionaries(st.text(), plain_json, max_size=4),
    names=st.sets(st.text(st.characters(exclude_categories=["Cs"])), max_size=4),
)
def test_any_meta_and_any_names_come_back(meta: dict[str, Any], names: set[str]) -> None:
    tensors = {name: torch.tensor([float(i)]) for i, name in enumerate(sorted(names))}
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder), tensors, meta)
        loaded = load_checkpoint(Path(folder))
    assert loaded.meta == meta
    assert repr(loaded.meta) == repr(meta)  # True is not 1, and 0.0 is not -0.0
    assert same(loaded.tensors, tensors)


def test_saving_again_replaces_the_old_checkpoint(saved: Path) -> None:
    for iteration in range(4, 7):
        save_checkpoint(saved, some_tensors(iteration), {"iteration": iteration})
    assert load_checkpoint(saved).meta == {"iteration": 6}
    assert same(load_checkpoint(saved).tensors, some_tensors(6))
    assert len(contents(saved)) == 2


def test_litter_is_removed_and_other_files_are_not(saved: Path) -> None:
    litter = ["state-7.safetensors", ".state-8.safetensors.0a1b2c3d.tmp"]
    others = ["notes.txt", "state-x.safetensors", "best-state-1.safetensors"]
    for name in [*litter, *others]:
        (saved / name).write_bytes(b"")
    save_checkpoint(saved, some_tensors(2), {})
    assert set(contents(saved)) == {*others, "checkpoint.json", "state-8.safetensors"}
    assert same(load_checkpoint(saved).tensors, some_tensors(2))


@pytest.mark.parametrize(
    ("tensors", "meta", "reason"),
    [
        ({"a": torch.tensor([1.0, float("nan")])}, {}, "tensor 'a' holds NaN or infinity"),
        ({"a": torch.tensor(float("-inf"), dtype=torch.bfloat16)}, {}, "NaN or infinity"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, {}, "unsupported dtype torch.complex64"),
        ({"__metadata__": torch.zeros(2)}, {}, "keeps the name '__metadata__'"),
        ({}, {"loss": float("nan")}, "meta is not plain JSON"),
        ({}, {"tensor": torch.zeros(2)}, "meta is not plain JSON"),
        ({str(i): torch.zeros(0) for i in range(10_001)}, {}, "10001 tensors"),
        ({"a": torch.zeros(1).expand(2**30)}, {}, "4294967296 bytes together are more than"),
        ({}, {"long": "x" * 2**24}, "bytes of JSON"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_loaded_is_not_saved(
    tensors: dict[str, Tensor], meta: dict[str, Any], reason: str, saved: Path
) -> None:
    before = contents(saved)
    with pytest.raises(CheckpointError, match=reason) as caught:
        save_checkpoint(saved, tensors, meta)
    assert str(caught.value).startswith(f"{saved / 'checkpoint.json'}: cannot be saved: ")
    assert contents(saved) == before


def test_a_reader_follows_a_newer_commit(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_manifest = checkpoint._read_manifest
    commits = iter([4, 5])

    def read_and_be_overtaken(folder: Path) -> object:
        manifest = read_manifest(folder)
        for iteration in commits:
            save_checkpoint(folder, some_tensors(iteration), {"iteration": iteration})
            break
        return manifest

    monkeypatch.setattr(checkpoint, "_read_manifest", read_and_be_overtaken)
    loaded = load_checkpoint(saved)
    assert loaded.meta == {"iteration": 5}
    assert same(loaded.tensors, some_tensors(5))
