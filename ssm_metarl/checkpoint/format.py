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
import math
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

from ssm_metarl.checkpoint.files import parse_json, write_bytes_atomically, write_text_atomically
from ssm_metarl.errors import CheckpointError

MANIFEST = "checkpoint.json"
FORMAT = "ssm-metarl checkpoint"
VERSION = 1
MAX_STATE_BYTES = 2 * 1024**3
MAX_JSON_BYTES = 16 * 1024**2
MAX_TENSORS = 10_000
MAX_RANK = 64  # of PyTorch

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_STATE = re.compile(r"state-([0-9]{1,18})\.safetensors")
_TEMPORARY = re.compile(r"\.(state-[0-9]+\.safetensors|checkpoint\.json)\.[0-9a-f]+\.tmp")

_KEYS = ("format", "version", "file", "bytes", "sha256", "tensors", "meta")

# {tensor name: {"dtype": "F32", "shape": [3, 2]}}, as in a safetensors header
Table = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Checkpoint:
    """What `load_checkpoint` gives back.

    Attributes:
        tensors: The tensors by name, on the CPU.
        meta: The plain JSON that was saved with them.
    """

    tensors: dict[str, Tensor]
    meta: dict[str, Any]


@dataclass(frozen=True)
class _Manifest:
    file: str
    bytes: int
    sha256: str
    tensors: Table
    meta: dict[str, Any]


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Save a checkpoint in place of the previous one, which stays loadable until this is complete.

    One writer at a time; any number of readers.

    Args:
        folder: The checkpoint's own folder, created if missing.
        tensors: Real, integer or bool tensors of any shape, on any device.
        meta: Plain JSON: finite numbers, string keys; tuples come back as lists.

    Raises:
        CheckpointError: A tensor that holds NaN or infinity or has another dtype, `meta` that is
            not JSON, more than the limits above, or a full disk. The previous checkpoint stays.
    """
    with _naming(folder / MANIFEST, "cannot be saved: "):
        data = _serialise(tensors)
        used = (int(match[1]) for match in map(_STATE.fullmatch, _names(folder)) if match)
        name = f"state-{max(used, default=0) + 1}.safetensors"
        text = _format_manifest(name, data, meta)
        try:
            write_bytes_atomically(folder / name, data)
            write_text_atomically(folder / MANIFEST, text)
        except OSError:
            if _committed(folder) != name:  # free the space, unless only the last sync failed
                (folder / name).unlink(missing_ok=True)
            raise
    for other in _names(folder):
        if other != name and (_STATE.fullmatch(other) or _TEMPORARY.fullmatch(other)):
            with contextlib.suppress(OSError):  # saved is saved, even if litter stays
                (folder / other).unlink()


def load_checkpoint(folder: Path) -> Checkpoint:
    """Load a checkpoint, all of it or nothing.

    Args:
        folder: The folder given to `save_checkpoint`, which may be saving to it right now.

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


def _serialise(tensors: Mapping[str, Tensor]) -> bytes:
    _check_limits(len(tensors), sum(tensor.nbytes for tensor in tensors.values()))
    for name, tensor in tensors.items():
        if name == "__metadata__":
            raise ValueError("safetensors keeps the name '__metadata__' to itself")
        if tensor.dtype not in _DTYPES.values():
            raise ValueError(f"tensor {name!r} has the unsupported dtype {tensor.dtype}")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"tensor {name!r} holds NaN or infinity")
    # Memory of its own for each one: safetensors refuses tensors that share it.
    layout = torch.contiguous_format
    return save({k: v.detach().cpu().clone(memory_format=layout) for k, v in tensors.items()})


def _format_manifest(name: str, data: bytes, meta: Mapping[str, Any]) -> str:
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "file": name,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "tensors": _read_header(data),
        "meta": dict(meta),
    }
    try:
        # The checksum is of what will be read: keys that are not strings become strings here.
        value = json.loads(json.dumps(manifest, allow_nan=False))
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
        checksum = value.pop("checksum", None)
        if checksum != _checksum(value):
            raise ValueError("is damaged: its checksum is not that of its content")
        if value.keys() != set(_KEYS):
            raise ValueError(f"has missing or extra keys: {', '.join(sorted(value))}")
        file, size, sha256 = value["file"], value["bytes"], value["sha256"]
        if not isinstance(file, str) or not _STATE.fullmatch(file):
            raise ValueError(f"names the state file {file!r}, which is not a state-<n>.safetensors")
        if type(size) is not int or not 0 <= size <= MAX_STATE_BYTES:
            raise ValueError(f"gives its state {size!r} bytes of at most {MAX_STATE_BYTES}")
        if not isinstance(sha256, str) or not isinstance(value["meta"], dict):
            raise ValueError("has a SHA-256 or meta of the wrong type")
        return _Manifest(file, size, sha256, _check_table(value["tensors"]), value["meta"])


def _read_state(path: Path, manifest: _Manifest) -> dict[str, Tensor]:
    with _naming(path):
        data = _read_file(path, manifest.bytes)
        if len(data) != manifest.bytes:
            raise ValueError(f"is cut short: {len(data)} bytes instead of {manifest.bytes}")
        if hashlib.sha256(data).hexdigest() != manifest.sha256:
            raise ValueError("is damaged: its SHA-256 is not the one in the manifest")
        table, announced = _read_header(data), manifest.tensors
        if table != announced:
            names = table.keys() | announced.keys()
            wrong = min(name for name in names if table.get(name) != announced.get(name))
            raise ValueError(f"differs from the manifest in the tensor {wrong!r}")
        return load(data)


def _read_header(data: bytes) -> Table:
    """Return the table of a safetensors file, which is 8 bytes of length, JSON, and the tensors.

    Where in the file each tensor lies is left to the safetensors library to check.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(MAX_JSON_BYTES, len(data) - 8):
        raise ValueError(f"is not a safetensors file: no room for a header of {length} bytes")
    header = parse_json(data[8 : 8 + length])
    if not isinstance(header, dict) or not all(isinstance(v, dict) for v in header.values()):
        raise ValueError("is not a safetensors file: its header is not a table")
    for entry in header.values():
        entry.pop("data_offsets", None)
    return _check_table(header)


def _check_table(table: object) -> Table:
    """Return `table` if it is well formed and its tensors fit the limits; allocates nothing."""
    if not isinstance(table, dict):
        raise ValueError("has a table of tensors that is not an object")
    total = 0
    for name, entry in table.items():
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape"}:
            raise ValueError(f"describes the tensor {name!r} by other than dtype and shape")
        dtype, shape = entry["dtype"], entry["shape"]
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            raise ValueError(f"gives the tensor {name!r} the unknown dtype {dtype!r}")
        if not isinstance(shape, list) or len(shape) > MAX_RANK:
            raise ValueError(f"gives the tensor {name!r} the shape {shape!r}")
        if not all(type(n) is int and 0 <= n <= MAX_STATE_BYTES for n in shape):
            raise ValueError(f"gives the tensor {name!r} the shape {shape!r}")
        # A zero must not hide sizes beside it that would overflow the strides.
        total += math.prod(max(n, 1) for n in shape) * _DTYPES[dtype].itemsize
    _check_limits(len(table), total)
    return table


def _check_limits(tensors: int, size: int) -> None:
    if tensors > MAX_TENSORS or size > MAX_STATE_BYTES:
        raise ValueError(
            f"{tensors} tensors of {size} bytes together are more than "
            f"the {MAX_TENSORS} and {MAX_STATE_BYTES} allowed"
        )


def _read_file(path: Path, limit: int) -> bytes:
    mode = os.lstat(path).st_mode
    if not stat.S_ISREG(mode):  # a link may lead anywhere, and a pipe would block
        raise ValueError("is a symbolic link" if stat.S_ISLNK(mode) else "is not a regular file")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise ValueError(f"is too large: {size} bytes instead of at most {limit}")
        return file.read(size)


def _names(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []


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
