"""The settings of a network; importing this does not import torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ssm_metarl.core.cells import CELLS
from ssm_metarl.core.encoders import ENCODERS
from ssm_metarl.errors import UserError, nearest


@dataclass(frozen=True)
class PolicyConfig:
    """The network.

    Attributes:
        cell: Kind of memory, a name of :data:`core.cells.CELLS`.
        width: Features per block, ``D``.
        state_size: State size of each block, ``N`` (complex for ssm).
        blocks: Number of blocks.
        max_time_constant: Longest initial time constant of the memory, in steps.
        norm: Normalise the input of each block (RMS).
        trial_inputs: Also see the previous action, previous reward and episode start.
        memory: What the hidden state lasts for: one episode, or a trial of several.
        initial_log_std: Of continuous actions, whose bounds are -1 and 1.
        encoder: What turns inputs into features, a name of :data:`core.encoders.ENCODERS`.
    """

    cell: str = "ssm"
    width: int = 32
    state_size: int = 16
    blocks: int = 1
    max_time_constant: float = 100.0
    norm: bool = False
    trial_inputs: bool = False
    memory: Literal["episode", "trial"] = "episode"
    initial_log_std: float = -0.5
    encoder: str = "linear"

    def __post_init__(self) -> None:
        _check_name("cell", self.cell, CELLS)
        _check_name("encoder", self.encoder, ENCODERS)


def _check_name(field: str, name: str, registry: Mapping[str, object]) -> None:
    if name not in registry:
        raise UserError(f"{field} cannot be {name!r}; {nearest(name, registry)}")
