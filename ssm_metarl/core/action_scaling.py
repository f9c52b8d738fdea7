"""From a policy's continuous actions to an environment's."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class ActionScaling(NamedTuple):
    """Maps the [-1, 1] of a policy to an environment's bounds, where there are two of them."""

    low: Float[Tensor, "A"]
    high: Float[Tensor, "A"]
    scaled: Bool[Tensor, "A"] | None
    """Dimensions that it maps, clipped; None for all."""

    def __call__(self, action: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch A"]:
        """Return actions in the environment's units."""
        inside = self.low + (self.high - self.low) * 0.5 * (action.clamp(-1.0, 1.0) + 1.0)
        return inside if self.scaled is None else torch.where(self.scaled, inside, action)
