"""The eigenvalues of a state space, and what they mean in steps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import torch

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.core.ssm import DiagonalSSM
from ssm_metarl.ui.charts import Line, legend

SIZE, MARGIN = 340, 34  # pixels
NEVER = 10_000.0  # steps: slower than this is written as infinite


@dataclass(frozen=True)
class Eigenvalue:
    """One number of the hidden state, and how it forgets.

    Attributes:
        block: Which layer it belongs to, from 1.
        value: ``lambda``, by which it is multiplied at every step.
    """

    block: int
    value: complex

    @property
    def time_constant(self) -> float:
        """Steps after which a third is left (``1/e``)."""
        size = abs(self.value)
        return math.inf if size >= 1 else -1.0 / math.log(size) if size > 0 else 0.0

    @property
    def period(self) -> float:
        """Steps of one turn around the circle."""
        angle = abs(math.atan2(self.value.imag, self.value.real))
        return math.inf if angle == 0 else 2 * math.pi / angle

    @property
    def words(self) -> str:
        """What it remembers, in words."""
        return f"remembers {_steps(self.time_constant)}, turns once in {_steps(self.period)}"


def eigenvalues(agent: Agent) -> list[Eigenvalue]:
    """Return the eigenvalues of every block; none for memories that are no linear state space."""
    found = []
    with torch.no_grad():
        bound = agent.policy.bind(agent.params)
        for number, (cell, layer) in enumerate(zip(agent.policy.cells, bound.cells, strict=True)):
            if isinstance(cell, DiagonalSSM):
                values = np.asarray(getattr(layer, "decay").flatten())  # noqa: B009 (of its kind)
                found += [Eigenvalue(number + 1, complex(value)) for value in values]
    return found


def disc(before: Sequence[Eigenvalue], after: Sequence[Eigenvalue], alt: str) -> str:
    """Draw eigenvalues in the unit disc, with lines from where they were to where they are.

    Args:
        before: As they were.
        after: The same ones as they are, in the same order.
        alt: What the picture shows, in words.
    """
    radius = SIZE / 2 - MARGIN
    parts = [f'<circle class="rim" cx="{SIZE / 2}" cy="{SIZE / 2}" r="{radius}"/>']
    for constant in (3, 10, 30):  # steps
        size = radius * math.exp(-1 / constant)
        parts.append(f'<circle class="grid" cx="{SIZE / 2}" cy="{SIZE / 2}" r="{size:.1f}"/>')
    parts += _axes()
    for one, other in zip(before, after, strict=True):
        (x0, y0), (x1, y1) = _place(one.value), _place(other.value)
        parts.append(
            f'<line class="line mark-hybrid" x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}"/>'
            f'<circle class="dot mark-zero_shot" cx="{x0}" cy="{y0}" r="5">'
            f"<title>before: {escape(one.words)}</title></circle>"
            f'<circle class="dot mark-hybrid" cx="{x1}" cy="{y1}" r="4">'
            f"<title>after: {escape(other.words)}</title></circle>"
        )
    names = legend([Line("before", "zero_shot", []), Line("after adapting", "hybrid", [])])
    return (
        f'<figure class="chart disc"><svg viewBox="0 0 {SIZE} {SIZE}" role="img" '
        f'aria-label="{escape(alt)}">{"".join(parts)}</svg>{names}</figure>'
    )


def table(before: Sequence[Eigenvalue], after: Sequence[Eigenvalue]) -> str:
    """List the time constants and periods, the slowest first, before and after."""
    order = sorted(range(len(before)), key=lambda n: -before[n].time_constant)
    rows = "".join(
        f"<tr><td>{before[n].block}</td><td>{before[n].time_constant:.3g} &rarr; "
        f"{after[n].time_constant:.3g}</td><td>{before[n].period:.3g} &rarr; "
        f"{after[n].period:.3g}</td></tr>"
        for n in order
    )
    return (
        "<details><summary>Time constants and periods, in steps</summary><table><tr><th>Block</th>"
        f"<th>A third is left after</th><th>One turn takes</th></tr>{rows}</table></details>"
    )


def _axes() -> list[str]:
    middle = SIZE / 2
    return [
        f'<line class="grid" x1="{MARGIN}" x2="{SIZE - MARGIN}" y1="{middle}" y2="{middle}"/>',
        f'<line class="grid" y1="{MARGIN}" y2="{SIZE - MARGIN}" x1="{middle}" x2="{middle}"/>',
        f'<text x="{SIZE - 6}" y="{middle - 8}" text-anchor="end">real</text>',
        f'<text x="{middle + 8}" y="{MARGIN - 10}">imaginary</text>',
    ]


def _place(value: complex) -> tuple[float, float]:
    radius = SIZE / 2 - MARGIN
    return round(SIZE / 2 + radius * value.real, 1), round(SIZE / 2 - radius * value.imag, 1)


def _steps(number: float) -> str:
    return "no end" if number > NEVER else f"{number:.3g} steps"
