r"""State-space models: one layer, ``step`` for acting and ``scan`` for training.

Letters, as in the S5 (arXiv:2208.04933) and LRU (arXiv:2303.06349) papers::

    x_t  [.., D]  input              A = diag(lambda)  state transition, complex
    h_t  [.., N]  state, complex     B  [D, N]         input projection, complex
    y_t  [.., D]  output             C  [N, D]         output projection, complex
                                     D  [D]            feedthrough

    h_t = m_t A h_{t-1} + gamma B x_t          m_t = 0 where an episode starts
    y_t = Re(C h_t) + D x_t
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from ssm_metarl.core.config import PolicyConfig
from ssm_metarl.core.linear import linear, normal, per_lane, random_matrix, uniform
from ssm_metarl.core.parameters import Params
from ssm_metarl.core.scan import linear_recurrence

MAX_INITIAL_PHASE = math.pi / 10


@dataclass(frozen=True)
class DiagonalSSM:
    """The default layer: time-invariant, diagonal, complex, ``lambda = exp(-e^nu + i e^theta)``.

    Attributes:
        name: Prefix of its parameters.
        config: Of the policy; ``state_size`` is ``N``, in complex numbers. The initial time
            constants are log-uniform from 2 steps to ``max_time_constant``.
    """

    name: str
    config: PolicyConfig

    def init(self, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw initial parameters; complex columns are stored as pairs (real, imaginary)."""
        n, d = self.config.state_size, self.config.width
        tau = 2.0 * (self.config.max_time_constant / 2.0) ** uniform(rng, n)
        phase = MAX_INITIAL_PHASE * uniform(rng, n).clamp_min(1e-3)
        return {
            f"{self.name}.nu": -tau.log(),
            f"{self.name}.theta": phase.log(),
            f"{self.name}.B": random_matrix(rng, d, 2 * n, gain=0.5**0.5),
            f"{self.name}.C": random_matrix(rng, 2 * n, d),
            f"{self.name}.D": normal(rng, d),
        }

    def initial_state(self, tasks: int, lanes: int, like: Tensor) -> Complex[Tensor, "K E N"]:
        """Return the zero state."""
        dtype = torch.promote_types(like.dtype, torch.complex64)
        return like.new_zeros(tasks, lanes, self.config.state_size, dtype=dtype)

    def bind(self, params: Params) -> "BoundDiagonalSSM":
        """Compute lambda and the normalised input projection once for many steps."""
        nu, theta = params[f"{self.name}.nu"], params[f"{self.name}.theta"]
        rate = nu.exp()
        gamma = (1.0 - (-2.0 * rate).exp()).sqrt()  # keeps the state's variance near the input's
        decay = torch.polar((-rate).exp(), theta.exp())
        return BoundDiagonalSSM(
            decay=per_lane(decay),
            B=params[f"{self.name}.B"] * gamma.repeat_interleave(2, -1).unsqueeze(-2),
            C=params[f"{self.name}.C"],
            D=per_lane(params[f"{self.name}.D"]),
        )


@dataclass(frozen=True)
class BoundDiagonalSSM:
    """A :class:`DiagonalSSM` with its parameters in place."""

    decay: Complex[Tensor, "..."]
    B: Float[Tensor, "*tasks D _"]
    C: Float[Tensor, "*tasks _ D"]
    D: Float[Tensor, "..."]

    def step(
        self,
        x: Float[Tensor, "K E D"],
        state: Complex[Tensor, "K E N"],
        keep: Bool[Tensor, "K E"] | None,
    ) -> tuple[Float[Tensor, "K E D"], Complex[Tensor, "K E N"]]:
        """Advance by one step."""
        if keep is not None:
            state = state * keep.unsqueeze(-1)
        state = torch.addcmul(self._drive(x), self.decay, state)
        return self._output(state, x), state

    def scan(
        self,
        x: Float[Tensor, "T K E D"],
        state: Complex[Tensor, "K E N"],
        keep: Bool[Tensor, "T K E"] | None,
    ) -> tuple[Float[Tensor, "T K E D"], Complex[Tensor, "K E N"]]:
        """Advance by a sequence."""
        states = linear_recurrence(self.decay, self._drive(x), state, keep)
        return self._output(states, x), states[-1]

    def _drive(self, x: Float[Tensor, "*time K E D"]) -> Complex[Tensor, "*time K E N"]:
        return torch.view_as_complex(linear(x, self.B).unflatten(-1, (-1, 2)))

    def _output(
        self, states: Complex[Tensor, "*time K E N"], x: Float[Tensor, "*time K E D"]
    ) -> Float[Tensor, "*time K E D"]:
        y = linear(torch.view_as_real(states).flatten(-2), self.C)
        return torch.addcmul(y, self.D, x)
