"""How long an agent's memory lasts: the eigenvalues of its state space, and where it changed."""

import cmath
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.random import SeedSequence

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.core.gated import BoundGatedSSM
from ssm_metarl.core.ssm import BoundDiagonalSSM
from ssm_metarl.evaluation.evaluate import mean_returns
from ssm_metarl.meta_rl.inner_loop import adaptable
from ssm_metarl.ui.query import Subject

HALF_OPEN = 0.5  # of a gate
EPISODES, EFFECT_STREAM = 10, 7  # that the effect of a change is measured in
PARTS = {
    "encoder": "reading the observation",
    "A": "how long the memory lasts (A)",
    "B": "what goes into the memory (B)",
    "C": "what is read from the memory (C)",
    "D": "what goes past the memory (D)",
    "gates": "the gates of the memory",
    "action": "deciding what to do",
}
OF_OTHER_CELLS = {
    "gru": {
        "A": "what goes on in the memory",
        "B": "what goes into the memory",
        "C": "what is read from the memory",
        "gates": "the biases of the memory's gates",
    },
    "mlp": {
        "B": "the hidden layer",
        "C": "what is read from the hidden layer",
        "D": "what goes past the hidden layer",
        "gates": "the biases of the hidden layer",
    },
}
_PART_OF = {"nu": "A", "theta": "A", "B": "B", "C": "C", "D": "D", "W": "B", "U": "A"}


@dataclass(frozen=True)
class Eigenvalue:
    """One entry of the diagonal of A.

    Attributes:
        block: Number of its block.
        number: Its number there.
        value: Itself.
    """

    block: int
    number: int
    value: complex

    @property
    def time_constant(self) -> float:
        """Steps after which 37% (1/e) of what was remembered is left."""
        return -1.0 / math.log(abs(self.value))

    @property
    def period(self) -> float:
        """Steps of one turn; infinite if it does not turn."""
        angle = abs(cmath.phase(self.value))
        return 2.0 * math.pi / angle if angle else math.inf


def eigenvalues(agent: Agent) -> list[Eigenvalue]:
    """Return those of all blocks; of a gated cell with half-open gates; none of other cells."""
    found = []
    for block, cell in enumerate(agent.policy.cells):
        bound = cell.bind(agent.params)
        if isinstance(bound, BoundDiagonalSSM):
            values = bound.decay.flatten().tolist()
        elif isinstance(bound, BoundGatedSSM):
            values = (-bound.rate * HALF_OPEN).exp().flatten().tolist()
        else:
            values = []
        found += [Eigenvalue(block, number, complex(value)) for number, value in enumerate(values)]
    return found


@dataclass(frozen=True)
class Change:
    """How much adaptation changed one part of the network.

    Attributes:
        part: A key of :data:`PARTS`.
        share: Of the squared change of all parameters.
        relative: Size of its change, as a share of its own size.
    """

    part: str
    share: float
    relative: float


def changes(before: Agent, after: Agent) -> list[Change]:
    """Compare the parameters that decide on actions; nothing if none has changed."""
    moved: dict[str, float] = {}
    size: dict[str, float] = {}
    for name, old in before.params.items():
        if not adaptable(name):
            continue
        part = _part(name)
        delta = torch.linalg.vector_norm(after.params[name] - old).item()
        moved[part] = moved.get(part, 0.0) + delta**2
        size[part] = size.get(part, 0.0) + torch.linalg.vector_norm(old).item() ** 2
    total = sum(moved.values())
    if not total:
        return []
    return [
        Change(part, moved[part] / total, math.sqrt(moved[part] / size[part]))
        for part in PARTS
        if part in moved and size[part]
    ]


def effects(subject: Subject, after: Agent, seed: int) -> dict[str, float]:
    """Return the mean return of the agent with the change of one part alone, for every part.

    And of ``before`` and ``after``, all in the same episodes.
    """
    before = subject.agent
    everything = {name: after.params[name] for name in before.params}
    mixtures = {"before": dict(before.params), "after": everything}
    for part in PARTS:
        mixtures[part] = {
            name: after.params[name] if adaptable(name) and _part(name) == part else value
            for name, value in before.params.items()
        }
    stream = SeedSequence([seed, EFFECT_STREAM])
    family, task = subject.family, subject.task
    return {
        name: float(mean_returns(before.policy, params, family, task, EPISODES, stream).mean())
        for name, params in mixtures.items()
    }


def _part(name: str) -> str:
    first, last = name.split(".")
    if first in ("encoder", "action"):
        return first
    return _PART_OF.get(last, "gates")


def as_numbers(before: Agent, after: Agent) -> Mapping[str, Any]:
    """Return both as plain numbers, for the API."""
    pairs = zip(eigenvalues(before), eigenvalues(after), strict=True)
    return {
        "eigenvalues": [
            {
                "block": old.block,
                "before": [old.value.real, old.value.imag],
                "after": [new.value.real, new.value.imag],
                "time_constant_before": old.time_constant,
                "time_constant_after": new.time_constant,
                "period_after": new.period if math.isfinite(new.period) else None,
            }
            for old, new in pairs
        ],
        "changes": [vars(change) for change in changes(before, after)],
    }
