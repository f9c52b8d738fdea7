"""Parameters as flat dictionaries of tensors, each shared by all tasks or one per task."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

Params = Mapping[str, Tensor]
"""Name to tensor. A tensor is ``[...]`` (shared by all tasks) or ``[K, ...]`` (one per task)."""


def linear(
    x: Float[Tensor, "*time K E I"],
    weight: Float[Tensor, "*tasks I O"],
    bias: Float[Tensor, "*tasks O"] | None = None,
) -> Float[Tensor, "*time K E O"]:
    """Apply ``x @ weight + bias`` with weights that are shared or differ by task.

    Whatever has a time axis is laid out in memory with the tasks first, so that each task is one
    large matrix product and, after the first layer, nothing has to be copied to get there.

    Args:
        x: ``[K, E, I]`` when acting, ``[T, K, E, I]`` when training.
        weight: ``[I, O]`` or ``[K, I, O]``.
        bias: ``[O]`` or ``[K, O]``.
    """
    timed = x.ndim == 4
    tasks_first = x.transpose(0, 1) if timed else x
    if weight.ndim == 2:
        y = torch.nn.functional.linear(tasks_first, weight.mT, bias)
    else:
        rows = tasks_first.flatten(1, -2)
        y = torch.bmm(rows, weight) if bias is None else torch.baddbmm(bias[:, None], rows, weight)
        y = y.unflatten(1, tasks_first.shape[1:-1])
    return y.transpose(0, 1) if timed else y


def per_lane(vector: Shaped[Tensor, "*tasks D"]) -> Shaped[Tensor, "..."]:
    """Make a vector ``[D]`` or ``[K, D]`` broadcast against ``[..., K, E, D]``."""
    return vector if vector.ndim == 1 else vector.unsqueeze(-2)


def expand_tasks(params: Params, tasks: int) -> dict[str, Tensor]:
    """Give every tensor a task axis of the given size, without copying."""
    return {name: value.expand(tasks, *value.shape) for name, value in params.items()}


def random_matrix(rng: torch.Generator, rows: int, columns: int, gain: float = 1.0) -> Tensor:
    """Draw a ``[rows, columns]`` weight whose product with unit-variance input has std ``gain``."""
    return torch.randn(rows, columns, generator=rng) * (gain / rows**0.5)
