"""Checkpoints to save, and to tamper with."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssm_metarl.checkpoint import format as checkpoint

META = {"iteration": 3, "name": "é", "rates": [0.25, None, -0.0]}


def some_tensors(number: float = 1.0) -> dict[str, Tensor]:
    return {
        "encoder.weight": torch.full((3, 4), float(number)),
        "moments": torch.full((2,), float(number), dtype=torch.float64),
        "step": torch.tensor(7),
    }


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        tensor.dtype == other[name].dtype
        and tensor.shape == other[name].shape
        and torch.equal(tensor, other[name])
        for name, tensor in one.items()
    )


def forge(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest and put the right checksum on it, as a malicious author would."""
    path = folder / "checkpoint.json"
    manifest = json.loads(path.read_text())
    del manifest["checksum"]
    change(manifest)
    path.write_text(json.dumps({**manifest, "checksum": checkpoint._checksum(manifest)}))


def forge_state(folder: Path, data: bytes) -> None:
    """Replace the state file, with the right size and SHA-256 in the manifest."""
    manifest = json.loads((folder / "checkpoint.json").read_text())
    (folder / manifest["file"]).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    forge(folder, lambda value: value.update(bytes=len(data), sha256=digest))
