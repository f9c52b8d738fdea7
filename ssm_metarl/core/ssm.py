r"""The default cell: a diagonal complex state-space model, ``step`` to act and ``scan`` to train.

Letters, as in the S5 (arXiv:2208.04933) and LRU (arXiv:2303.06349) papers::

    x_t  [.., D]  input              A = diag(lambda)  state transition, complex
    h_t  [.., N]  state, complex     B  [D, N]         input projection, complex
    y_t  [.., D]  output             C  [N, D]         output projection, complex
                                     D  [D]            feedthrough

    lambda = exp(-e^nu + i e^theta)
    h_t = m_t A h_{t-1} + gamma B x_t          m_t = 0 where an episode starts
    y_t = Re(C h_t) + D x_t

Parameters and states hold a complex number as two neighbouring real ones, ``S = 2 N``. ``step``
views them as complex ones, but only to multiply and to add, which is all that ONNX can export.

Where it departs from the LRU paper: gamma is computed from lambda, ``sqrt(1 - |lambda|^2)``, while
theirs only starts there and is learned; the moduli are drawn so that time constants are
log-uniform from 2 steps to ``max_time_constant``, while theirs are uniform on the ring from
``r_min`` to ``r_max``; and phases start below pi / 10, while theirs fill the circle. The last two
are settings: ``r_min=0.0, r_max=0.99, max_phase=2 * math.pi`` draws as they do.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from ssm_metarl.core.config import PolicyConfig
from ssm_metarl.core.linear import linear, normal, per_lane, random_matrix, uniform
from ssm_metarl.core.parameters import Params
from ssm_metarl.core.scan import linear_recurrence
from ssm_metarl.core.torch_state import is_exporting


@dataclass(frozen=True)
class DiagonalSSM:
    """A time-invariant layer whose state has ``N = state_size`` complex entries.

    Attributes:
        name: Prefix of its parameters.
        config: Of the policy.
    """

    name: str
    config: PolicyConfig

    def init(self, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw initial parameters."""
        n, d = self.config.state_size, self.config.width
        nu = self._initial_nu(uniform(rng, n))
        phase = self.config.max_phase * uniform(rng, n).clamp_min(1e-3)
        return {
            f"{self.name}.nu": nu,
            f"{self.name}.theta": phase.log(),
            f"{self.name}.B": random_matrix(rng, d, 2 * n, gain=0.5**0.5),
            f"{self.name}.C": random_matrix(rng, 2 * n, d),
            f"{self.name}.D": normal(rng, d),
        }

    def _initial_nu(self, u: Float[Tensor, "N"]) -> Float[Tensor, "N"]:
        """Return ``log(-log |lambda|)`` from uniform numbers in [0, 1)."""
        c = self.config
        if c.r_min is None or c.r_max is None:
            return -(2.0 * (c.max_time_constant / 2.0) ** u).log()
        square = c.r_max**2 - u * (c.r_max**2 - c.r_min**2)  # uniform in area; never r_min itself
        return (-0.5 * square.log()).log()

    def initial_state(self, tasks: int, lanes: int, like: Tensor) -> Float[Tensor, "K E S"]:
        """Return the zero state."""
        return like.new_zeros(tasks, lanes, 2 * self.config.state_size)

    def bind(self, params: Params) -> "BoundDiagonalSSM":
        """Compute lambda and the normalised input projection once for many steps."""
        nu, theta = params[f"{self.name}.nu"], params[f"{self.name}.theta"]
        rate = nu.exp()
        gamma = (1.0 - (-2.0 * rate).exp()).sqrt()  # keeps the state's variance near the input's
        decay = torch.polar((-rate).exp(), theta.exp())
        return BoundDiagonalSSM(
            decay=per_lane(decay),
            rotation=torch.view_as_real(per_lane(decay)),
            B=params[f"{self.name}.B"] * gamma.repeat_interleave(2, -1).unsqueeze(-2),
            C=params[f"{self.name}.C"],
            D=per_lane(params[f"{self.name}.D"]),
        )


@dataclass(frozen=True)
class BoundDiagonalSSM:
    """A :class:`DiagonalSSM` with its parameters in place."""

    decay: Complex[Tensor, "... N"]
    rotation: Float[Tensor, "... N 2"]
    """The decay as pairs."""
    B: Float[Tensor, "*tasks D S"]
    C: Float[Tensor, "*tasks S D"]
    D: Float[Tensor, "... D"]

    def step(
        self,
        x: Float[Tensor, "K E D"],
        state: Float[Tensor, "K E S"],
        keep: Bool[Tensor, "K E"] | None,
    ) -> tuple[Float[Tensor, "K E D"], Float[Tensor, "K E S"]]:
        """Advance by one step."""
        if keep is not None:
            state = state * keep.unsqueeze(-1)
        drive = linear(x, self.B)
        if torch.compiler.is_compiling() or is_exporting():  # neither does well on complex numbers
            state = drive + rotate(state, self.rotation)
        else:
            state = as_pairs(torch.addcmul(as_complex(drive), self.decay, as_complex(state)))
        return self._output(state, x), state

    def scan(
        self,
        x: Float[Tensor, "T K E D"],
        state: Float[Tensor, "K E S"],
        keep: Bool[Tensor, "T K E"] | None,
    ) -> tuple[Float[Tensor, "T K E D"], Float[Tensor, "K E S"]]:
        """Advance by a sequence."""
        drive, start = as_complex(linear(x, self.B)), as_complex(state)
        states = as_pairs(linear_recurrence(self.decay, drive, start, keep))
        return self._output(states, x), states[-1]

    def _output(
        self, states: Float[Tensor, "*time K E S"], x: Float[Tensor, "*time K E D"]
    ) -> Float[Tensor, "*time K E D"]:
        return torch.addcmul(linear(states, self.C), self.D, x)


def as_complex(pairs: Float[Tensor, "*batch S"]) -> Complex[Tensor, "*batch N"]:
    """View neighbouring (real, imaginary) numbers as complex ones."""
    return torch.view_as_complex(pairs.view(*pairs.shape[:-1], -1, 2))


def as_pairs(numbers: Complex[Tensor, "*batch N"]) -> Float[Tensor, "*batch S"]:
    """View complex numbers as neighbouring real ones, the inverse of :func:`as_complex`."""
    return torch.view_as_real(numbers).flatten(-2)


def rotate(
    pairs: Float[Tensor, "*batch S"], rotation: Float[Tensor, "... N 2"]
) -> Float[Tensor, "*batch S"]:
    """Multiply pairs, as complex numbers, by others, without any complex operation."""
    real, imaginary = rotation.unbind(-1)
    swapped = pairs.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    own = torch.stack([real, real], -1).flatten(-2)
    crossed = torch.stack([-imaginary, imaginary], -1).flatten(-2)
    return own * pairs + crossed * swapped
