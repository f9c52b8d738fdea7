"""What a policy needs of its parts. A part holds no parameters; ``bind`` puts them in place."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from ssm_metarl.core.parameters import Params


@runtime_checkable
class BoundEncoder(Protocol):
    """An encoder with its parameters in place."""

    def __call__(self, inputs: Float[Tensor, "*time K E I"]) -> Float[Tensor, "*time K E D"]:
        """Turn inputs into features, each step on its own."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """The first part of a policy, without memory.

    Its class is called as ``encoder(config, scale, image)``, with the policy's config, the typical
    magnitude of each input, and the shape of the image that the first of them are, or (). Its
    parameters are named ``encoder.*``.
    """

    def init(self, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw initial parameters, float32."""
        ...

    def bind(self, params: Params) -> BoundEncoder:
        """Put parameters in place."""
        ...


@runtime_checkable
class BoundCell(Protocol):
    """A cell with its parameters in place. ``keep`` is False where the state is reset first."""

    def step(
        self,
        x: Float[Tensor, "K E D"],
        state: Shaped[Tensor, "K E S"],
        keep: Bool[Tensor, "K E"] | None,
    ) -> tuple[Float[Tensor, "K E D"], Shaped[Tensor, "K E S"]]:
        """Advance by one step; return the output and the new state."""
        ...

    def scan(
        self,
        x: Float[Tensor, "T K E D"],
        state: Shaped[Tensor, "K E S"],
        keep: Bool[Tensor, "T K E"] | None,
    ) -> tuple[Float[Tensor, "T K E D"], Shaped[Tensor, "K E S"]]:
        """Advance by a sequence; return the outputs and the last state."""
        ...


@runtime_checkable
class Cell(Protocol):
    """A layer with memory.

    Its class is called as ``cell(name, config)``. Its parameters are named ``{name}.*``.
    """

    @property
    def name(self) -> str:
        """Prefix of its parameters."""
        ...

    def init(self, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw initial parameters, float32."""
        ...

    def initial_state(self, tasks: int, lanes: int, like: Tensor) -> Shaped[Tensor, "K E S"]:
        """Return the empty memory, with the dtype and device of a tensor."""
        ...

    def bind(self, params: Params) -> BoundCell:
        """Put parameters in place."""
        ...
