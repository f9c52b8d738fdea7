"""Checkpoints: tensors in safetensors, the rest in JSON; no pickle, strict, and safe to kill.

A checkpoint is a folder with two files:

* ``state-<n>.safetensors``, the tensors;
* ``checkpoint.json``, the manifest: which state file, its size and SHA-256, the name, shape and
  dtype of every tensor, `meta`, the plain JSON that the caller wants to keep, and a checksum of
  all this.

The state file is complete and synced before the manifest is replaced, so replacing the manifest
*is* the commit: a kill before it leaves the previous checkpoint, a kill after it the new one.
State files that the manifest does not name are litter, and removed after the next commit. When
loading, sizes are bounded before anything is allocated.
"""

import contextlib
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ssm_metarl.checkpoint.fields import read_fields
from ssm_metarl.checkpoint.files import parse_json, write_bytes_atomically, write_text_atomically
from ssm_metarl.errors import CheckpointError

MANIFEST = "checkpoint.json"
FORMAT = "ssm-metarl checkpoint"
VERSION = 1
MAX_STATE_BYTES = 2 * 1024**3
MAX_JSON_BYTES = 16 * 1024**2
MAX_TENSORS = 10_000

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_STATE = re.compile(r"state-([0-9]{1,18})\.safetensors")
_TEMPORARY = re.compile(r"\.(state-[0-9]+\.safetensors|checkpoint\.json)\.[0-9a-f]+\.tmp")


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, on the CPU when loaded, and the plain JSON that is saved with them."""

    tensors: dict[str, Tensor]
    meta: dict[str, Any]


@dataclass(frozen=True)
class _Manifest:
    format: str
    version: int
    file: str
    bytes: int
    sha256: str
    tensors: dict  # {tensor name: {"dtype": "F32", "shape": [3, 2]}}, as in a safetensors header
    meta: dict


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Save a checkpoint in place of the previous one, which stays loadable until this is complete.

    One writer at a time; any number of readers. The folder is the checkpoint's own. Tensors are
    real, integer or bool, of any shape, on any device; meta is plain JSON: finite numbers, string
    keys; tuples come back as lists.

    Raises:
        CheckpointError: A tensor that holds NaN or infinity or has another dtype, `meta` that is
            not JSON, more than the limits above, or a full disk. The previous checkpoint stays.
    """
    with _naming(folder / MANIFEST, "cannot be saved: "):
        table = _table(tensors)
        data = _serialise(tensors)
        folder.mkdir(parents=True, exist_ok=True)
        names = os.listdir(folder)
        used = (int(match[1]) for match in map(_STATE.fullmatch, names) if match)
        name = f"state-{max(used, default=0) + 1}.safetensors"
        text = _format_manifest(name, data, table, meta)
        try:
            write_bytes_atomically(folder / name, data)
            write_text_atomically(folder / MANIFEST, text)
        except OSError:
            if _committed(folder) != name:  # free the space, unless only the last sync failed
                (folder / name).unlink(missing_ok=True)
            raise
    for other in names:
        if other != name and (_STATE.fullmatch(other) or _TEMPORARY.fullmatch(other)):
            with contextlib.suppress(OSError):  # saved is saved, even if litter stays
                (folder / other).unlink()


def load_checkpoint(folder: Path) -> Checkpoint:
    """Load a checkpoint, all of it or nothing; it may be being saved to right now.

    Raises:
        CheckpointError: The checkpoint is missing, damaged, too large, not ours, or a symbolic
            link; one line that names the file and the reason.
    """
    manifest = _read_manifest(folder)
    while True:
        try:
            return Checkpoint(_read_state(folder / manifest.file, manifest), manifest.meta)
        except CheckpointError:
            # A run in training may have committed the next one and removed this state meanwhile.
            newer = _read_manifest(folder)
            if newer == manifest:
                raise
            manifest = newer


def checkpoint_files(folder: Path) -> tuple[Path, Path]:
    """Return the two files of a checkpoint, the manifest and the tensors.

    Raises:
        CheckpointError: As for :func:`load_checkpoint`.
    """
    return folder / MANIFEST, folder / _read_manifest(folder).file


def _serialise(tensors: Mapping[str, Tensor]) -> bytes:
    size = sum(tensor.nbytes for tensor in tensors.values())
    if len(tensors) > MAX_TENSORS or size > MAX_STATE_BYTES:
        raise ValueError(
            f"{len(tensors)} tensors of {size} bytes together are more than "
            f"the {MAX_TENSORS} and {MAX_STATE_BYTES} allowed"
        )
    for name, tensor in tensors.items():
        if name == "__metadata__":
            raise ValueError("safetensors keeps the name '__metadata__' to itself")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"tensor {name!r} holds NaN or infinity")
    # Memory of its own for each one: safetensors refuses tensors that share it.
    layout = torch.contiguous_format
    return save({k: v.detach().cpu().clone(memory_format=layout) for k, v in tensors.items()})


def _table(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Return what the manifest says of tensors."""
    for name, tensor in tensors.items():
        if tensor.dtype not in _DTYPES:
            raise ValueError(f"tensor {name!r} has the unsupported dtype {tensor.dtype}")
    return {
        name: {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape)}
        for name, tensor in tensors.items()
    }


def _format_manifest(name: str, data: bytes, table: dict[str, Any], meta: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(data).hexdigest()
    manifest = _Manifest(FORMAT, VERSION, name, len(data), digest, table, dict(meta))
    try:
        # The checksum is of what will be read: keys that are not strings become strings here.
        value = json.loads(json.dumps(vars(manifest), allow_nan=False))
        text = json.dumps({**value, "checksum": _checksum(value)}, indent=1) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"meta is not plain JSON: {error}") from error
    if len(text) > MAX_JSON_BYTES or len(data) > MAX_STATE_BYTES:
        raise ValueError(f"{len(text)} bytes of JSON and {len(data)} of tensors are too many")
    return text


def _checksum(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _read_manifest(folder: Path) -> _Manifest:
    with _naming(folder / MANIFEST):
        value = parse_json(_read_file(folder / MANIFEST, MAX_JSON_BYTES))
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ValueError("is not an ssm-metarl checkpoint")
        version = value.get("version")
        if type(version) is not int or version != VERSION:
            raise ValueError(f"has format version {version!r}; this program reads {VERSION}")
        if value.pop("checksum", None) != _checksum(value):
            raise ValueError("is damaged: its checksum is not that of its content")
        manifest = read_fields(_Manifest, value, "the manifest")
        if not _STATE.fullmatch(manifest.file):
            raise ValueError(f"names the state file {manifest.file!r}, not state-<n>.safetensors")
        return manifest


def _read_state(path: Path, manifest: _Manifest) -> dict[str, Tensor]:
    """Return the tensors of a state file, of which safetensors makes none larger than the file."""
    with _naming(path):
        data = _read_file(path, min(manifest.bytes, MAX_STATE_BYTES))
        if len(data) != manifest.bytes:
            raise ValueError(f"is cut short: {len(data)} bytes instead of {manifest.bytes}")
        if hashlib.sha256(data).hexdigest() != manifest.sha256:
            raise ValueError("is damaged: its SHA-256 is not the one in the manifest")
        try:
            tensors = load(data)
        except (KeyError, RuntimeError) as error:  # an unknown dtype, or strides that overflow
            raise ValueError(f"holds what torch has not: {error}") from error
        table, announced = _table(tensors), manifest.tensors
        if table != announced:
            names = table.keys() | announced.keys()
            wrong = min(name for name in names if table.get(name) != announced.get(name))
            raise ValueError(f"differs from the manifest in the tensor {wrong!r}")
        return tensors


def _read_file(path: Path, limit: int) -> bytes:
    mode = os.lstat(path).st_mode
    if not stat.S_ISREG(mode):  # a link may lead anywhere, and a pipe would block
        raise ValueError("is a symbolic link" if stat.S_ISLNK(mode) else "is not a regular file")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise ValueError(f"is too large: {size} bytes instead of at most {limit}")
        return file.read(size)


def _committed(folder: Path) -> str | None:
    try:
        return _read_manifest(folder).file
    except CheckpointError:
        return None


@contextlib.contextmanager
def _naming(path: Path, what: str = "") -> Iterator[None]:
    """Turn what goes wrong into one line that names the file, however long the reason is."""
    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise CheckpointError(f"{path}: {what}{' '.join(reason.split())[:300]}") from error
