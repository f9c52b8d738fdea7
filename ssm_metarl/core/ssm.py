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

from ssm_metarl.core.parameters import Params, linear, per_lane, random_matrix
from ssm_metarl.core.scan import linear_recurrence

MAX_INITIAL_PHASE = math.pi / 10


def recur(
    decay: Tensor, drive: Tensor, state: Tensor, keep: Bool[Tensor, "..."] | None
) -> tuple[Tensor, Tensor]:
    """Advance the state by one step (``[K, E, N]``) or by a sequence (``[T, K, E, N]``).

    Returns:
        The states, shaped as the drive, and the last of them.
    """
    if drive.ndim == 4:
        states = linear_recurrence(decay, drive, state, keep)
        return states, states[-1]
    kept = state if keep is None else state * keep.unsqueeze(-1)
    state = torch.addcmul(drive, decay, kept)
    return state, state


@dataclass(frozen=True)
class DiagonalSSM:
    """The default layer: time-invariant, diagonal, complex, ``lambda = exp(-e^nu + i e^theta)``.

    Attributes:
        name: Prefix of its parameters.
        width: ``D``.
        state_size: ``N``, in complex numbers.
        max_time_constant: Longest initial time constant in steps; they are log-uniform from
            2 to this.
    """

    name: str
    width: int
    state_size: int
    max_time_constant: float

    def init(self, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw initial parameters; complex columns are stored as pairs (real, imaginary)."""
        n, d = self.state_size, self.width
        tau = 2.0 * (self.max_time_constant / 2.0) ** torch.rand(n, generator=rng)
        phase = MAX_INITIAL_PHASE * torch.rand(n, generator=rng).clamp_min(1e-3)
        return {
            f"{self.name}.nu": -tau.log(),
            f"{self.name}.theta": phase.log(),
            f"{self.name}.B": random_matrix(rng, d, 2 * n, gain=0.5**0.5),
            f"{self.name}.C": random_matrix(rng, 2 * n, d),
            f"{self.name}.D": torch.randn(d, generator=rng),
        }

    def initial_state(self, tasks: int, lanes: int, like: Tensor) -> Complex[Tensor, "K E N"]:
        """Return the zero state."""
        dtype = torch.promote_types(like.dtype, torch.complex64)
        return torch.zeros(tasks, lanes, self.state_size, dtype=dtype, device=like.device)

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

    def __call__(
        self,
        x: Float[Tensor, "*time K E D"],
        state: Complex[Tensor, "K E N"],
        keep: Bool[Tensor, "*time K E"] | None,
    ) -> tuple[Float[Tensor, "*time K E D"], Complex[Tensor, "K E N"]]:
        """Read inputs, advance the state, return outputs and the last state."""
        drive = torch.view_as_complex(linear(x, self.B).unflatten(-1, (-1, 2)))
        states, state = recur(self.decay, drive, state, keep)
        y = linear(torch.view_as_real(states).flatten(-2), self.C)
        return torch.addcmul(y, self.D, x), state


@dataclass(frozen=True)
class GatedSSM:
    """A real, input-dependent layer: the RG-LRU of Griffin (arXiv:2402.19427), with C and D.

    ``r_t, i_t = sigmoid(W x_t + b)``, ``a_t = exp(-c softplus(nu) r_t)``,
    ``h_t = m_t a_t h_{t-1} + sqrt(1 - a_t^2) (i_t B x_t)``, ``y_t = C h_t + D x_t``.

    Attributes:
        name: Prefix of its parameters.
        width: ``D``.
        state_size: ``N``, in real numbers.
        max_time_constant: Longest initial time constant in steps, at half-open gates.
    """

    name: str
    width: int
    state_size: int
    max_time_constant: float

    def init(self, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw initial parameters; the gates start half open."""
        n, d = self.state_size, self.width
        tau = 2.0 * (self.max_time_constant / 2.0) ** torch.rand(n, generator=rng)
        return {
            f"{self.name}.nu": torch.expm1(2.0 / (GATE_SHARPNESS * tau)).log(),
            f"{self.name}.B": random_matrix(rng, d, 3 * n),
            f"{self.name}.gate_bias": torch.zeros(2 * n),
            f"{self.name}.C": random_matrix(rng, n, d),
            f"{self.name}.D": torch.randn(d, generator=rng),
        }

    def initial_state(self, tasks: int, lanes: int, like: Tensor) -> Float[Tensor, "K E N"]:
        """Return the zero state."""
        return torch.zeros(tasks, lanes, self.state_size, dtype=like.dtype, device=like.device)

    def bind(self, params: Params) -> "BoundGatedSSM":
        """Put parameters in place."""
        nu = params[f"{self.name}.nu"]
        return BoundGatedSSM(
            rate=per_lane(GATE_SHARPNESS * torch.nn.functional.softplus(nu)),
            B=params[f"{self.name}.B"],
            gate_bias=per_lane(params[f"{self.name}.gate_bias"]),
            C=params[f"{self.name}.C"],
            D=per_lane(params[f"{self.name}.D"]),
        )


GATE_SHARPNESS = 8.0


@dataclass(frozen=True)
class BoundGatedSSM:
    """A :class:`GatedSSM` with its parameters in place."""

    rate: Float[Tensor, "..."]
    B: Float[Tensor, "*tasks D _"]
    gate_bias: Float[Tensor, "..."]
    C: Float[Tensor, "*tasks N D"]
    D: Float[Tensor, "..."]

    def __call__(
        self,
        x: Float[Tensor, "*time K E D"],
        state: Float[Tensor, "K E N"],
        keep: Bool[Tensor, "*time K E"] | None,
    ) -> tuple[Float[Tensor, "*time K E D"], Float[Tensor, "K E N"]]:
        """Read inputs, advance the state, return outputs and the last state."""
        n = self.rate.shape[-1]
        drive, gates = linear(x, self.B).split([n, 2 * n], -1)
        forget, admit = (gates + self.gate_bias).sigmoid().chunk(2, -1)
        log_decay = -self.rate * forget
        # 1 - a^2 by expm1: near a = 1 the difference would lose all its digits.
        drive = (-torch.expm1(2.0 * log_decay)).sqrt() * admit * drive
        states, state = recur(log_decay.exp(), drive, state, keep)
        return torch.addcmul(linear(states, self.C), self.D, x), state
