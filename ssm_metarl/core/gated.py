"""A real, input-dependent state-space layer."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ssm_metarl.core.config import PolicyConfig
from ssm_metarl.core.linear import constant, linear, normal, per_lane, random_matrix, uniform
from ssm_metarl.core.parameters import Params
from ssm_metarl.core.scan import linear_recurrence

GATE_SHARPNESS = 8.0  # c of the paper


@dataclass(frozen=True)
class GatedSSM:
    """The RG-LRU of Griffin (arXiv:2402.19427), with C and D.

    ``r_t, i_t = sigmoid(W x_t + b)``, ``a_t = exp(-c softplus(nu) r_t)``,
    ``h_t = m_t a_t h_{t-1} + sqrt(1 - a_t^2) (i_t B x_t)``, ``y_t = C h_t + D x_t``.

    Attributes:
        name: Prefix of its parameters.
        config: Of the policy; ``state_size`` is ``N``, in real numbers, and ``max_time_constant``
            is meant at half-open gates.
    """

    name: str
    config: PolicyConfig

    def init(self, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw initial parameters; the gates start half open."""
        n, d = self.config.state_size, self.config.width
        tau = 2.0 * (self.config.max_time_constant / 2.0) ** uniform(rng, n)
        return {
            f"{self.name}.nu": torch.expm1(2.0 / (GATE_SHARPNESS * tau)).log(),
            f"{self.name}.B": random_matrix(rng, d, 3 * n),
            f"{self.name}.gate_bias": constant(0.0, 2 * n),
            f"{self.name}.C": random_matrix(rng, n, d),
            f"{self.name}.D": normal(rng, d),
        }

    def initial_state(self, tasks: int, lanes: int, like: Tensor) -> Float[Tensor, "K E N"]:
        """Return the zero state."""
        return like.new_zeros(tasks, lanes, self.config.state_size)

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


@dataclass(frozen=True)
class BoundGatedSSM:
    """A :class:`GatedSSM` with its parameters in place."""

    rate: Float[Tensor, "..."]
    B: Float[Tensor, "*tasks D _"]
    gate_bias: Float[Tensor, "..."]
    C: Float[Tensor, "*tasks N D"]
    D: Float[Tensor, "..."]

    def step(
        self,
        x: Float[Tensor, "K E D"],
        state: Float[Tensor, "K E N"],
        keep: Bool[Tensor, "K E"] | None,
    ) -> tuple[Float[Tensor, "K E D"], Float[Tensor, "K E N"]]:
        """Advance by one step."""
        decay, drive = self._decay_and_drive(x)
        if keep is not None:
            state = state * keep.unsqueeze(-1)
        state = torch.addcmul(drive, decay, state)
        return self._output(state, x), state

    def scan(
        self,
        x: Float[Tensor, "T K E D"],
        state: Float[Tensor, "K E N"],
        keep: Bool[Tensor, "T K E"] | None,
    ) -> tuple[Float[Tensor, "T K E D"], Float[Tensor, "K E N"]]:
        """Advance by a sequence."""
        states = linear_recurrence(*self._decay_and_drive(x), state, keep)
        return self._output(states, x), states[-1]

    def _decay_and_drive(
        self, x: Float[Tensor, "*time K E D"]
    ) -> tuple[Float[Tensor, "*time K E N"], Float[Tensor, "*time K E N"]]:
        n = self.rate.shape[-1]
        drive, gates = linear(x, self.B).split([n, 2 * n], -1)
        forget, admit = (gates + self.gate_bias).sigmoid().chunk(2, -1)
        log_decay = -self.rate * forget
        # 1 - a^2 by expm1: near a = 1 the difference would lose all its digits.
        drive = (-torch.expm1(2.0 * log_decay)).sqrt() * admit * drive
        return log_decay.exp(), drive

    def _output(
        self, states: Float[Tensor, "*time K E N"], x: Float[Tensor, "*time K E D"]
    ) -> Float[Tensor, "*time K E D"]:
        return torch.addcmul(linear(states, self.C), self.D, x)
