"""Linear maps whose weights are shared by all tasks or differ by task, and how they are drawn."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ssm_metarl.core.product import NARROW, ROWS, product
from ssm_metarl.core.torch_state import is_exporting


def linear(
    x: Float[Tensor, "*time K E I"],
    weight: Float[Tensor, "*tasks I O"],
    bias: Float[Tensor, "*tasks O"] | None = None,
) -> Float[Tensor, "*time K E O"]:
    """Apply ``x @ weight + bias``.

    A time axis, if there is one, trades places with the tasks, so that each task is one large
    matrix product and, after the first layer, nothing has to be copied to get there.

    Args:
        x: ``[K, E, I]`` when acting, ``[T, K, E, I]`` when training.
        weight: ``[I, O]``, shared, or ``[K, I, O]``, one per task.
        bias: ``[O]`` or ``[K, O]``, likewise.
    """
    if x.ndim == 3:
        return _rows_times(x, weight, bias)
    tasks_first = x.transpose(0, 1)
    rows = tasks_first if weight.ndim == 2 else tasks_first.flatten(1, 2)
    return _rows_times(rows, weight, bias).view(*tasks_first.shape[:-1], -1).transpose(0, 1)


def _rows_times(
    x: Float[Tensor, "K *rows I"],
    weight: Float[Tensor, "*tasks I O"],
    bias: Float[Tensor, "*tasks O"] | None,
) -> Float[Tensor, "K *rows O"]:
    if weight.ndim == 3:
        return product(x, weight, bias)
    if weight.shape[1] > NARROW or is_exporting() or x.shape[:-1].numel() < ROWS:
        return torch.nn.functional.linear(x, weight.mT, bias)
    rows = x.flatten(0, -2).unsqueeze(0)
    y = product(rows, weight.unsqueeze(0), None if bias is None else bias.unsqueeze(0))
    return y.view(*x.shape[:-1], -1)


def per_lane(vector: Shaped[Tensor, "*tasks D"]) -> Shaped[Tensor, "..."]:
    """Make a vector ``[D]`` or ``[K, D]`` broadcast against ``[..., K, E, D]``."""
    return vector if vector.ndim == 1 else vector.unsqueeze(-2)


def random_matrix(rng: torch.Generator, rows: int, columns: int, gain: float = 1.0) -> Tensor:
    """Draw a ``[rows, columns]`` weight whose product with unit-variance input has std ``gain``."""
    return normal(rng, rows, columns) * (gain / rows**0.5)


def normal(rng: torch.Generator, *shape: int) -> Tensor:
    """Draw from the standard normal distribution, in float32."""
    return torch.randn(shape, generator=rng, dtype=torch.float32)


def uniform(rng: torch.Generator, *shape: int) -> Tensor:
    """Draw uniformly from [0, 1), in float32."""
    return torch.rand(shape, generator=rng, dtype=torch.float32)


def constant(value: float, *shape: int) -> Tensor:
    """Return float32 numbers that are all the same."""
    return torch.full(shape, value, dtype=torch.float32)
