"""The figures of :mod:`ssm_metarl.evaluation.figures` as inline SVG, and native line plots.

An SVG takes its colours from the page's style sheet, so that it follows light and dark; its text
stays text.
"""

import io
from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
import pandas as pd

from ssm_metarl.evaluation.comparison import Measured
from ssm_metarl.evaluation.figures import budget_curve
from ssm_metarl.evaluation.figures.style import COLOURS, FAINT, INK, QUIET

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = (4.6, 3.2)  # inches; text stays readable on a phone and is not huge on a desk
VARIABLES = {
    INK: "--body-text-color",
    QUIET: "--body-text-color-subdued",
    FAINT: "--border-color-primary",
    "#e5e7eb": "--border-color-primary",
    "#ffffff": "--background-fill-primary",
    **{colour: f"--mode-{mode}" for mode, colour in COLOURS.items() if mode != "zero_shot"},
}


def svg(
    figure: "Figure", alt: str, size: tuple[float, float] | None = SIZE, title: str = ""
) -> str:
    """Return a figure as HTML; its size is in inches, None for the figure's own."""
    import matplotlib

    text = io.StringIO()
    if size is not None:
        figure.set_size_inches(size)
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(text, format="svg", transparent=True)
    drawn = text.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    for colour, variable in VARIABLES.items():
        drawn = drawn.replace(colour, f"var({variable})")
    caption = title and f"<figcaption>{escape(title)}</figcaption>"  # here it can wrap
    return f'<figure class="figure" role="img" aria-label="{escape(alt)}">{caption}{drawn}</figure>'


def budget_curves(found: Measured, title: str = "") -> str:
    """Draw the mean return, and the success rate, against the episodes used, if there are two."""
    drawn = []
    for success in (False, True)[: 1 + found.rated] if found.drawable else ():
        best = None if success else found.family.best_return
        figure = budget_curve(found.evaluation(), best=best, titles=[""], success=success)
        what = "success rate" if success else "mean return"
        alt = f"{found.run}: {what} against the episodes used; see the table"
        drawn.append(svg(figure, alt, title=title))
    return "".join(drawn)


def line_plot(**how: Any) -> gr.LinePlot:
    """Return a line plot whose value :func:`lines_of` makes."""
    return gr.LinePlot(
        x="x", y="y", color="line", color_title=" ", x_axis_format="~r", height=320, **how
    )


def lines_of(lines: Mapping[str, Iterable[tuple[float, float]]]) -> pd.DataFrame:
    """Return named lines of points as the value of a line plot; all of them are in its legend."""
    rows = [
        (name, x, y) for name, points in lines.items() for x, y in list(points) or [(0.0, None)]
    ]
    # Numbers, also where there are none yet, or the axis would be one of names.
    return pd.DataFrame(rows, columns=["line", "x", "y"]).astype({"x": float, "y": float})
