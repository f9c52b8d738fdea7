"""Linear maps whose weights are shared by all tasks or differ by task, and how they are drawn."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ssm_metarl.core.product import NARROW, product
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
    timed = x.ndim == 4
    tasks_first = x.transpose(0, 1) if timed else x
    if weight.ndim == 3:
        y = product(tasks_first.flatten(1, -2) if timed else x, weight, bias)
    elif weight.shape[1] > NARROW or is_exporting():  # for batches of any size
        y = torch.nn.functional.linear(tasks_first, weight.mT, bias)
        return y.transpose(0, 1) if timed else y
    else:
        rows = tasks_first.flatten(0, -2).unsqueeze(0)
        y = product(rows, weight.unsqueeze(0), None if bias is None else bias.unsqueeze(0))
    y = y.view(*tasks_first.shape[:-1], -1)
    return y.transpose(0, 1) if timed else y


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
