"""What numbers were computed with: bits of results depend on it, and those of a simulator more."""

import contextlib
import importlib.metadata
import warnings
from collections.abc import Collection, Mapping

import torch

PACKAGES = ("torch", "numpy", "gymnasium")
Software = Mapping[str, str | int]


def current_software(simulators: Collection[str] = ()) -> dict[str, str | int]:
    """Return the versions that are installed, and the number of torch's threads.

    Args:
        simulators: Packages beside the usual ones, such as :attr:`TaskFamily.simulators`.
    """
    return {"threads": torch.get_num_threads(), **versions((*PACKAGES, *simulators))}


def versions(packages: Collection[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def warn_of_changes(saved: Software, simulators: Collection[str] = ()) -> None:
    """Warn, in one line, where a resumed run may not continue to the last bit as it was.

    What is saved is empty in checkpoints of version 0.1.
    """
    now = current_software(simulators)
    if changed := _changes(saved, now):
        warnings.warn(
            "results may differ in their last bits from those of an uninterrupted run: "
            f"{'; '.join(changed)}",
            stacklevel=3,
        )


def warn_of_simulators(what: str, saved: Mapping[str, str]) -> None:
    """Warn, in one line, where environments may not behave as they did.

    Between minor versions of MuJoCo, robots of the same id have other contacts, and other returns.

    Args:
        what: What was made with them, to begin the sentence with.
        saved: The versions they had then.
    """
    if changed := _changes(saved, versions(saved)):
        warnings.warn(
            f"{what} comes from another simulator, whose environments may behave otherwise: "
            f"{'; '.join(changed)}",
            stacklevel=4,
        )


def _changes(saved: Software, now: Software) -> list[str]:
    return [
        f"{name} {saved[name]} then, {now[name]} now"
        for name in saved
        if name in now and _minor(saved[name]) != _minor(now[name])
    ]


def _minor(version: str | int) -> tuple[str, ...]:
    """Return the part of a version that may change results."""
    return tuple(str(version).split(".")[:2])
