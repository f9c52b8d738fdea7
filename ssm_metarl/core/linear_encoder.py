"""The default encoder: one linear layer and tanh."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ssm_metarl.core.activations import tanh
from ssm_metarl.core.config import PolicyConfig
from ssm_metarl.core.linear import constant, linear, random_matrix
from ssm_metarl.core.parameters import Params


@dataclass(frozen=True)
class LinearEncoder:
    """``tanh((x / scale) W + b)``.

    Attributes:
        config: Of the policy.
        scale: Typical magnitude of each input; its length is ``I``.
        image: Not used: the pixels of an image are numbers like any others.
    """

    config: PolicyConfig
    scale: tuple[float, ...]
    image: tuple[int, ...] = ()

    def init(self, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw initial parameters."""
        return {
            "encoder.weight": random_matrix(rng, len(self.scale), self.config.width),
            "encoder.bias": constant(0.0, self.config.width),
        }

    def bind(self, params: Params) -> "BoundLinearEncoder":
        """Put parameters in place; the scaling of the inputs goes into the weights."""
        weight = params["encoder.weight"]
        scale = weight.new_tensor(self.scale).unsqueeze(-1)
        return BoundLinearEncoder(weight / scale, params["encoder.bias"])


@dataclass(frozen=True)
class BoundLinearEncoder:
    """A :class:`LinearEncoder` with its parameters in place."""

    weight: Float[Tensor, "*tasks I D"]
    bias: Float[Tensor, "*tasks D"]

    def given(self, last: Float[Tensor, "J"]) -> "BoundLinearEncoder":
        """Return the encoder of the inputs before the last, which are always these."""
        first, rest = self.weight[: -len(last)], self.weight[-len(last) :]
        return BoundLinearEncoder(first, self.bias + last @ rest)

    def __call__(self, inputs: Float[Tensor, "*time K E I"]) -> Float[Tensor, "*time K E D"]:
        """Return features between -1 and 1."""
        return tanh(linear(inputs, self.weight, self.bias))
