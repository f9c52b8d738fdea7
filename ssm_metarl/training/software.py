"""What a run was computed with: bits of results depend on it, and so does resuming exactly."""

import contextlib
import importlib.metadata
import warnings
from collections.abc import Mapping

import torch

PACKAGES = ("torch", "numpy", "gymnasium", "mujoco")
Software = Mapping[str, str | int]


def current_software() -> dict[str, str | int]:
    """Return the versions of the packages that are installed, and the number of torch's threads."""
    found: dict[str, str | int] = {"threads": torch.get_num_threads()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def warn_of_changes(saved: Software) -> None:
    """Warn, in one line, where a resumed run may not continue to the last bit as it was.

    What is saved is empty in checkpoints of version 0.1.
    """
    now = current_software()
    changes = [
        f"{name} {saved[name]} then, {now.get(name, 'not installed')} now"
        for name in saved
        if _minor(saved[name]) != _minor(now.get(name, ""))
    ]
    if changes:
        warnings.warn(
            f"results may differ in their last bits from those of an uninterrupted run: "
            f"{'; '.join(changes)}",
            stacklevel=3,
        )


def _minor(version: str | int) -> tuple[str, ...]:
    """Return the part of a version that may change results."""
    return tuple(str(version).split(".")[:2])
