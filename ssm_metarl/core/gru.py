"""A gated recurrent unit behind the interface of the state-space layers."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssm_metarl.core.config import PolicyConfig
from ssm_metarl.core.linear import constant, linear, random_matrix
from ssm_metarl.core.parameters import Params


@dataclass(frozen=True)
class GRU:
    """A gated recurrent unit (Cho et al. 2014, arXiv:1406.1078), in the form cuDNN computes.

    Attributes:
        name: Prefix of its parameters.
        config: Of the policy; ``state_size`` is the number of hidden units ``N``.
    """

    name: str
    config: PolicyConfig

    def init(self, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw initial parameters."""
        n, d = self.config.state_size, self.config.width
        return {
            f"{self.name}.W": random_matrix(rng, d, 3 * n),
            f"{self.name}.U": random_matrix(rng, n, 3 * n),
            f"{self.name}.input_bias": constant(0.0, 3 * n),
            f"{self.name}.state_bias": constant(0.0, 3 * n),
            f"{self.name}.C": random_matrix(rng, n, d),
        }

    def initial_state(self, tasks: int, lanes: int, like: Tensor) -> Float[Tensor, "K E N"]:
        """Return the zero state."""
        return like.new_zeros(tasks, lanes, self.config.state_size)

    def bind(self, params: Params) -> "BoundGRU":
        """Put parameters in place."""
        return BoundGRU(
            W=params[f"{self.name}.W"],
            U=params[f"{self.name}.U"],
            input_bias=params[f"{self.name}.input_bias"],
            state_bias=params[f"{self.name}.state_bias"],
            C=params[f"{self.name}.C"],
        )


@dataclass(frozen=True)
class BoundGRU:
    """A :class:`GRU` with its parameters in place."""

    W: Float[Tensor, "*tasks D _"]
    U: Float[Tensor, "*tasks N _"]
    input_bias: Float[Tensor, "*tasks _"]
    state_bias: Float[Tensor, "*tasks _"]
    C: Float[Tensor, "*tasks N D"]

    def step(
        self,
        x: Float[Tensor, "K E D"],
        state: Float[Tensor, "K E N"],
        keep: Bool[Tensor, "K E"] | None,
    ) -> tuple[Float[Tensor, "K E D"], Float[Tensor, "K E N"]]:
        """Advance by one step."""
        state = self._advance(linear(x, self.W, self.input_bias), state, keep)
        return linear(state, self.C), state

    def scan(
        self,
        x: Float[Tensor, "T K E D"],
        state: Float[Tensor, "K E N"],
        keep: Bool[Tensor, "T K E"] | None,
    ) -> tuple[Float[Tensor, "T K E D"], Float[Tensor, "K E N"]]:
        """Advance by a sequence."""
        drive, states = linear(x, self.W, self.input_bias), []
        for t, row in enumerate(drive.unbind(0)):
            state = self._advance(row, state, None if keep is None else keep[t])
            states.append(state)
        return linear(torch.stack(states), self.C), state

    def _advance(
        self,
        drive: Float[Tensor, "K E _"],
        state: Float[Tensor, "K E N"],
        keep: Bool[Tensor, "K E"] | None,
    ) -> Float[Tensor, "K E N"]:
        if keep is not None:
            state = state * keep.unsqueeze(-1)
        n = state.shape[-1]
        recurrent = linear(state, self.U, self.state_bias)
        gates = (drive[..., : 2 * n] + recurrent[..., : 2 * n]).sigmoid()
        reset, update = gates.chunk(2, -1)
        candidate = (drive[..., 2 * n :] + reset * recurrent[..., 2 * n :]).tanh()
        return torch.lerp(candidate, state, update)
