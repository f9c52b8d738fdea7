"""What all figures share: how they look, and how they are written."""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssm_metarl.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, FAINT = "#1f2937", "#6b7280", "#9ca3af"
REFERENCE = {"color": QUIET, "linewidth": 1.2, "linestyle": (0, (4, 3)), "zorder": 1}
SCREEN_DPI = 100

# After Okabe and Ito (https://jfly.uni-koeln.de/color/): told apart by every common kind of colour
# vision. The marker says the same again for grey print.
COLOURS = {
    "zero_shot": QUIET,
    "in_context": "#aa4a86",
    "standard": "#0072b2",
    "hybrid": "#007f5f",
    "from_scratch": "#d55e00",
}
MARKERS = {"zero_shot": "", "in_context": "v", "standard": "o", "hybrid": "^", "from_scratch": "s"}
# Groups of tasks have colours that are no mode's.
GROUPS = (("#3b9bd6", "o"), ("#e0a000", "D"), ("#8a63b8", "^"), ("#4b5563", "s"))


def look(mode: str, *, after_steps: bool = False) -> dict[str, Any]:
    """Return how the line of a mode is drawn.

    Hybrid is dashed, and its markers are smaller than those of standard: where the two coincide,
    both are seen. In context, lines are dotted where gradient steps came before.
    """
    drawn: dict[str, Any] = {"color": COLOURS[mode], "marker": MARKERS[mode]}
    if mode == "standard":
        drawn |= {"markersize": 10}
    if mode == "hybrid":
        drawn |= {"linestyle": (0, (2.5, 1.2)), "markersize": 6, "zorder": 3}
    if after_steps:
        drawn |= {"linestyle": (0, (1, 1))}
    return drawn


@contextmanager
def style() -> Iterator[None]:
    """Draw in the project's style, whatever the user's matplotlibrc says; also a decorator.

    Raises:
        UserError: matplotlib is not installed; names the extra.
    """
    try:
        import matplotlib
    except ImportError:
        raise UserError("figures need matplotlib: pip install 'ssm-metarl[figures]'") from None
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rc("figure.constrained_layout", use=True, w_pad=0.1, h_pad=0.1)
        matplotlib.rc("font", size=11)
        matplotlib.rc("text", color=INK)
        matplotlib.rc("axes", titlesize=12, titleweight="bold", titlelocation="left", titlepad=12)
        matplotlib.rc("axes", labelcolor=INK, labelpad=6, edgecolor=FAINT)
        matplotlib.rc("axes", grid=True, axisbelow=True)
        matplotlib.rc("axes.spines", top=False, right=False)
        matplotlib.rc("grid", color="#e5e7eb", linewidth=0.8)
        matplotlib.rc("xtick", color=FAINT, labelcolor=INK)
        matplotlib.rc("ytick", color=FAINT, labelcolor=INK)
        matplotlib.rc("lines", linewidth=2.2, markersize=7, markeredgecolor="white")
        yield


def subplots(
    width: float,
    height: float,
    panels: int = 1,
    *,
    rows: int = 1,
    sharey: bool = False,
    width_ratios: Sequence[float] | None = None,
) -> tuple["Figure", list["Axes"]]:
    """Return a figure of a size in inches, and its axes: row by row, from left to right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    columns = math.ceil(panels / rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=sharey, width_ratios=width_ratios)
    for axes in grid.flat[panels:]:
        axes.remove()
    return figure, list(grid.flat[:panels])


def write_png(figure: "Figure", path: str | Path) -> Path:
    """Write a figure as PNG at twice screen density.

    It is written under a temporary name and renamed, so that no half-written PNG is ever seen.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with style():
            figure.savefig(temporary, format="png", dpi=2 * SCREEN_DPI)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
