"""What figure tests share: results to draw, and reading off a figure what was drawn."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from ssm_metarl.evaluation.figures.style import COLOURS, REFERENCE
from ssm_metarl.evaluation.report import Evaluation, ModeResult


def result(mode: str, shots: int, steps: int, mean: float) -> ModeResult:
    """A result with an interval of 5 to either side."""
    return ModeResult(mode, shots, steps, mean, mean, (mean - 5, mean + 5), 0.0, mean, (mean,))


EVALUATION = Evaluation(
    "CartPole-v1",
    1,
    0,
    "held_out",
    (
        result("zero_shot", 0, 0, 34.0),
        result("in_context", 2, 0, 442.0),
        result("in_context", 5, 0, 470.0),
        result("standard", 5, 1, 480.0),
        result("standard", 20, 1, 490.0),
        result("standard", 1, 1, 350.0),
        result("standard", 40, 2, 499.0),
        result("from_scratch", 0, 0, 20.0),
        result("from_scratch", 20, 1, 83.0),
        result("from_scratch", 40, 2, 120.0),
    ),
)

METRICS = [
    {
        "iteration": index,
        "environment_steps": 1000.0 * index,
        "return_before": 34.0,
        "return_after": float(index),
    }
    for index in range(40)
]


def points(line: Line2D) -> np.ndarray:
    """The data of a line, ``[points, 2]``."""
    return np.asarray(line.get_xydata())


def curves(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    """The points of every line that belongs to a mode, by colour; dotted ones apart."""
    return {
        to_hex(line.get_color()) + ", dotted" * (pattern(line) == (1, 1)): [
            (x, y) for x, y in points(line).tolist()
        ]
        for line in axes.lines
        if pattern(line) != REFERENCE["linestyle"][1]
    }


def pattern(line: Line2D) -> tuple[float, ...]:
    """The dashes of a line, in units of its width; of a solid one, none."""
    _, dashes = line._unscaled_dash_pattern  # pyright: ignore[reportAttributeAccessIssue]
    return tuple(dashes or ())


def colour(mode: str) -> str:
    """The colour of a mode."""
    return COLOURS[mode]


def texts(axes: Axes) -> list[str]:
    """Everything written on the axes."""
    return [text.get_text() for text in axes.texts]
