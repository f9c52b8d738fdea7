"""The settings of a network; importing this does not import torch."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from ssm_metarl.core.cells import CELLS
from ssm_metarl.core.encoders import ENCODERS
from ssm_metarl.errors import UserError, nearest

T = TypeVar("T")


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
        max_phase: Largest initial phase of an ssm's eigenvalues, in radians per step.
        r_min: Smallest initial modulus of an ssm's eigenvalues, with ``r_max`` as in the LRU paper
            (arXiv:2303.06349) and instead of ``max_time_constant``; None for neither.
        r_max: Largest initial modulus, likewise.
        encoder: What turns inputs into features, a name of :data:`core.encoders.ENCODERS`.
        clip_obs: Bound on observations, in units of their typical magnitude; 0 for no bound.
        clip_reward: Bound on the previous reward that trial inputs show, likewise.
        context_size: Numbers of the context, which is a further input of the encoder; 0 for none.
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
    max_phase: float = math.pi / 10
    r_min: float | None = None
    r_max: float | None = None
    encoder: str = "linear"
    clip_obs: float = 0.0
    clip_reward: float = 10.0
    context_size: int = 0

    def __post_init__(self) -> None:
        check_ring(self.r_min, self.r_max)
        if not 0.0 < self.max_phase <= 2.0 * math.pi:
            raise UserError(f"max_phase is {self.max_phase}; it must be above 0, at most 2 pi")
        _check_name("cell", self.cell, CELLS)
        _check_name("encoder", self.encoder, ENCODERS)


def from_settings(kind: type[T], settings: Mapping[str, Any], **own: object) -> T:
    """Build a dataclass from the settings of a run that have its fields' names, and its own."""
    names = [each.name for each in dataclasses.fields(kind)]  # pyright: ignore[reportArgumentType]
    return kind(**{**{name: settings[name] for name in names if name in settings}, **own})


def check_ring(r_min: float | None, r_max: float | None) -> None:
    """Refuse moduli of eigenvalues that are not a ring within the unit circle; both may be None.

    Raises:
        UserError: Only one is given, or they do not lie in order.
    """
    if r_min is None and r_max is None:
        return
    if r_min is None or r_max is None:
        one, other = ("min", "max") if r_max is None else ("max", "min")
        raise UserError(f"--r_{one} needs --r_{other} too; they must be 0 <= r_min < r_max < 1")
    if not 0.0 <= r_min < r_max < 1.0:
        raise UserError(
            f"--r_min is {r_min} and --r_max is {r_max}; they must be 0 <= r_min < r_max < 1"
        )


def _check_name(field: str, name: str, registry: Mapping[str, object]) -> None:
    if name not in registry:
        raise UserError(f"{field} cannot be {name!r}; {nearest(name, registry)}")
