"""Parameters: flat dictionaries of tensors, and filters that pick some of their leaves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Params = Mapping[str, Tensor]
"""Name to tensor. A tensor is ``[...]`` (shared by all tasks) or ``[K, ...]`` (one per task)."""

Group = Literal["encoder", "cell", "action", "context", "value", "prediction"]


@dataclass(frozen=True)
class Leaf:
    """What is known of a parameter without its values.

    Attributes:
        name: Its key in :data:`Params`, and in files.
        group: The part of the network it belongs to.
        shape: Without a task axis.
    """

    name: str
    group: Group
    shape: tuple[int, ...]


Leaves = Mapping[str, Leaf]
LeafFilter = Callable[[Leaf], bool]


def device_of(params: Params) -> torch.device:
    """Return where parameters are, which is the same place for all."""
    return next(iter(params.values())).device


def in_groups(*groups: Group) -> LeafFilter:
    """Return a filter that accepts the leaves of some groups."""
    return lambda leaf: leaf.group in groups


def partition(
    params: Params, leaves: Leaves, accept: LeafFilter
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split parameters into those whose leaf a filter accepts, and the others.

    :func:`combine` puts them together again (after ``equinox.partition`` and ``combine``).
    """
    accepted = {name: value for name, value in params.items() if accept(leaves[name])}
    return accepted, {name: value for name, value in params.items() if name not in accepted}


def combine(*parts: Params) -> dict[str, Tensor]:
    """Join parts into one dictionary; where names repeat, the last part counts."""
    return {name: value for part in parts for name, value in part.items()}


def expand_tasks(params: Params, tasks: int) -> dict[str, Tensor]:
    """Give every tensor a task axis of the given size, without copying."""
    return {name: value.expand(tasks, *value.shape) for name, value in params.items()}
