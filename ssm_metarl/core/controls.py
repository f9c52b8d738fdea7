"""Controls behind the interface of the state-space layers: a GRU, and an MLP with no memory."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssm_metarl.core.parameters import Params, linear, per_lane, random_matrix


@dataclass(frozen=True)
class GRU:
    """A gated recurrent unit (Cho et al. 2014, arXiv:1406.1078), in the form cuDNN computes.

    Attributes:
        name: Prefix of its parameters.
        width: Input and output size ``D``.
        state_size: Hidden units ``N``.
    """

    name: str
    width: int
    state_size: int

    def init(self, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw initial parameters."""
        n = self.state_size
        return {
            f"{self.name}.W": random_matrix(rng, self.width, 3 * n),
            f"{self.name}.U": random_matrix(rng, n, 3 * n),
            f"{self.name}.input_bias": torch.zeros(3 * n),
            f"{self.name}.state_bias": torch.zeros(3 * n),
            f"{self.name}.C": random_matrix(rng, n, self.width),
        }

    def initial_state(self, tasks: int, lanes: int, like: Tensor) -> Float[Tensor, "K E N"]:
        """Return the zero state."""
        return torch.zeros(tasks, lanes, self.state_size, dtype=like.dtype, device=like.device)

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

    def __call__(
        self,
        x: Float[Tensor, "*time K E D"],
        state: Float[Tensor, "K E N"],
        keep: Bool[Tensor, "*time K E"] | None,
    ) -> tuple[Float[Tensor, "*time K E D"], Float[Tensor, "K E N"]]:
        """Read inputs, advance the state, return outputs and the last state."""
        drive = linear(x, self.W, self.input_bias)
        if x.ndim == 3:
            state = self._advance(drive, state, keep)
            return linear(state, self.C), state
        states = []
        for t, row in enumerate(drive.unbind(0)):
            state = self._advance(row, state, None if keep is None else keep[t])
            states.append(state)
        return linear(torch.stack(states), self.C), state

    def _advance(self, drive: Tensor, state: Tensor, keep: Tensor | None) -> Tensor:
        if keep is not None:
            state = state * keep.unsqueeze(-1)
        n = state.shape[-1]
        recurrent = linear(state, self.U, self.state_bias)
        gates = (drive[..., : 2 * n] + recurrent[..., : 2 * n]).sigmoid()
        reset, update = gates.chunk(2, -1)
        candidate = (drive[..., 2 * n :] + reset * recurrent[..., 2 * n :]).tanh()
        return torch.lerp(candidate, state, update)


@dataclass(frozen=True)
class MLP:
    """A hidden layer without memory, for what remembering is worth.

    Attributes:
        name: Prefix of its parameters.
        width: Input and output size ``D``.
        state_size: Hidden units ``N``.
    """

    name: str
    width: int
    state_size: int

    def init(self, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw initial parameters."""
        return {
            f"{self.name}.W": random_matrix(rng, self.width, self.state_size),
            f"{self.name}.bias": torch.zeros(self.state_size),
            f"{self.name}.C": random_matrix(rng, self.state_size, self.width),
            f"{self.name}.D": torch.randn(self.width, generator=rng),
        }

    def initial_state(self, tasks: int, lanes: int, like: Tensor) -> Float[Tensor, "K E 0"]:
        """Return a state of size zero."""
        return torch.zeros(tasks, lanes, 0, dtype=like.dtype, device=like.device)

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

    def __call__(
        self,
        x: Float[Tensor, "*time K E D"],
        state: Float[Tensor, "K E 0"],
        keep: Bool[Tensor, "*time K E"] | None,
    ) -> tuple[Float[Tensor, "*time K E D"], Float[Tensor, "K E 0"]]:
        """Return outputs and the empty state."""
        y = linear(linear(x, self.W, self.bias).tanh(), self.C)
        return torch.addcmul(y, self.D, x), state
