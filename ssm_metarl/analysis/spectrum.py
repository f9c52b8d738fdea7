"""Eigenvalues of the state space (how long the memory lasts), and what adaptation changed."""

import cmath
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Complex
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.core.gated import GATE_SHARPNESS, GatedSSM
from ssm_metarl.core.ssm import DiagonalSSM
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.evaluation.play import mean_returns

HALF_OPEN = 0.5  # the gate at which the decay of a gated cell is given
EPISODES, RETURN_STREAM = 10, 7
PARTS = {
    "encoder": "encoder",
    "context": "context vector",
    "A": "state transition (A)",
    "B": "input projection (B)",
    "C": "output projection (C)",
    "D": "feedthrough (D)",
    "gates": "gates",
    "action": "action head",
}
"""The parts of the network that adaptation may change, and what people call them."""
PARTS_OF_CELLS = {
    "gru": {
        "A": "recurrent weights",
        "B": "input weights",
        "C": "output projection",
        "gates": "biases of the gates",
    },
    "mlp": {
        "B": "hidden layer",
        "C": "output projection",
        "D": "skip connection",
        "gates": "biases of the hidden layer",
    },
}
"""Other names for the parts, by the kind of cell."""
_PART_OF = {"nu": "A", "theta": "A", "B": "B", "C": "C", "D": "D", "W": "B", "U": "A"}


@dataclass(frozen=True)
class Eigenvalue:
    """One entry of the diagonal of A: the block, the number in it, and the eigenvalue."""

    block: int
    number: int
    value: complex

    @property
    def time_constant(self) -> float:
        """Steps after which 1/e (37%) of a state is left."""
        return -1.0 / math.log(abs(self.value))

    @property
    def period(self) -> float:
        """Steps of a full turn; infinite for a real positive eigenvalue."""
        angle = abs(cmath.phase(self.value))
        return 2.0 * math.pi / angle if angle else math.inf


def eigenvalues(agent: Agent) -> list[Eigenvalue]:
    """Return the eigenvalues of all blocks.

    Those of a gated cell depend on its input and are given at half-open gates. GRU and MLP cells
    have none.
    """
    return [
        Eigenvalue(block, number, complex(value))
        for block, cell in enumerate(agent.policy.cells)
        if isinstance(cell, DiagonalSSM | GatedSSM)
        for number, value in enumerate(_transition(cell, agent).tolist())
    ]


def _transition(cell: DiagonalSSM | GatedSSM, agent: Agent) -> Complex[Tensor, "N"]:
    nu = agent.params[f"{cell.name}.nu"].double()
    if isinstance(cell, DiagonalSSM):
        return torch.polar((-nu.exp()).exp(), agent.params[f"{cell.name}.theta"].double().exp())
    return (
        (-GATE_SHARPNESS * torch.nn.functional.softplus(nu) * HALF_OPEN).exp().to(torch.complex128)
    )


@dataclass(frozen=True)
class ParameterChange:
    """How much adaptation changed one part of the network.

    Attributes:
        part: A key of :data:`PARTS`.
        share: Its share of the squared norm of the whole change.
        relative: Norm of its change over its own norm before; None where that is 0.
    """

    part: str
    share: float
    relative: float | None


def parameter_changes(before: Agent, after: Agent) -> list[ParameterChange]:
    """Compare the parameters that adaptation may change; empty if none has changed."""
    change, norm = defaultdict(float), defaultdict(float)  # squared, by part
    for part, names in _parts(before).items():
        for name in names:
            old = before.params[name]
            change[part] += torch.linalg.vector_norm(after.params[name] - old).item() ** 2
            norm[part] += torch.linalg.vector_norm(old).item() ** 2
    total = sum(change.values())
    if not total:
        return []
    return [
        ParameterChange(
            part,
            change[part] / total,
            math.sqrt(change[part] / norm[part]) if norm[part] else None,
        )
        for part in change
    ]


def ablated_returns(
    before: Agent, after: Agent, family: TaskFamily, task: Tasks, seed: int
) -> dict[str, float]:
    """Return the mean return on a task with the change of a single part, for every part.

    Also under ``before`` with none of the changes and ``after`` with all; all on the same episodes.
    """
    mixtures = {"before": dict(before.params), "after": dict(after.params)}
    for part, names in _parts(before).items():
        mixtures[part] = {**before.params, **{name: after.params[name] for name in names}}
    stream = SeedSequence([seed, RETURN_STREAM])
    return {
        name: float(mean_returns(before.policy, params, family, task, EPISODES, stream).mean())
        for name, params in mixtures.items()
    }


def _parts(agent: Agent) -> dict[str, list[str]]:
    """Return the parameters of each part that the agent's network has, in the order of `PARTS`."""
    found: dict[str, list[str]] = {part: [] for part in PARTS}
    for name, leaf in agent.policy.leaves.items():
        if leaf.group == "cell":
            found[_PART_OF.get(name.rpartition(".")[-1], "gates")].append(name)
        elif leaf.group in found:
            found[leaf.group].append(name)
    return {part: names for part, names in found.items() if names}


def as_numbers(before: Agent, after: Agent) -> Mapping[str, Any]:
    """Return the eigenvalues before and after adaptation and the changes as plain numbers."""
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
        "changes": [vars(change) for change in parameter_changes(before, after)],
    }
