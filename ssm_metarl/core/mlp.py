"""A cell without memory, the control that shows what remembering is worth."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssm_metarl.core.config import PolicyConfig
from ssm_metarl.core.linear import constant, linear, normal, per_lane, random_matrix
from ssm_metarl.core.parameters import Params


@dataclass(frozen=True)
class MLP:
    """A hidden layer of ``N`` units with a feedthrough: ``y = C tanh(W x + b) + D x``.

    Attributes:
        name: Prefix of its parameters.
        config: Of the policy.
    """

    name: str
    config: PolicyConfig

    def init(self, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw initial parameters."""
        n, d = self.config.state_size, self.config.width
        return {
            f"{self.name}.W": random_matrix(rng, d, n),
            f"{self.name}.bias": constant(0.0, n),
            f"{self.name}.C": random_matrix(rng, n, d),
            f"{self.name}.D": normal(rng, d),
        }

    def initial_state(self, tasks: int, lanes: int, like: Tensor) -> Float[Tensor, "K E 0"]:
        """Return a state of size zero."""
        return like.new_zeros(tasks, lanes, 0)

    def bind(self, params: Params) -> "BoundMLP":
        """Put parameters in place."""
        return BoundMLP(
            W=params[f"{self.name}.W"],
            bias=params[f"{self.name}.bias"],
            C=params[f"{self.name}.C"],
            D=per_lane(params[f"{self.name}.D"]),
        )


@dataclass(frozen=True)
class BoundMLP:
    """An :class:`MLP` with its parameters in place."""

    W: Float[Tensor, "*tasks D N"]
    bias: Float[Tensor, "*tasks N"]
    C: Float[Tensor, "*tasks N D"]
    D: Float[Tensor, "..."]

    def step(
        self,
        x: Float[Tensor, "K E D"],
        state: Float[Tensor, "K E 0"],
        keep: Bool[Tensor, "K E"] | None,
    ) -> tuple[Float[Tensor, "K E D"], Float[Tensor, "K E 0"]]:
        """Return the output of one step, and the empty state."""
        return self._output(x), state

    def scan(
        self,
        x: Float[Tensor, "T K E D"],
        state: Float[Tensor, "K E 0"],
        keep: Bool[Tensor, "T K E"] | None,
    ) -> tuple[Float[Tensor, "T K E D"], Float[Tensor, "K E 0"]]:
        """Return the outputs of a sequence, and the empty state."""
        return self._output(x), state

    def _output(self, x: Float[Tensor, "*time K E D"]) -> Float[Tensor, "*time K E D"]:
        y = linear(linear(x, self.W, self.bias).tanh(), self.C)
        return torch.addcmul(y, self.D, x)
