"""Return during training."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.figures.panel import Panel, finish
from ssm_metarl.evaluation.figures.style import COLOURS, style, subplots
from ssm_metarl.meta_rl.registry import LEARNERS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEW_POINTS = 10  # a line of fewer is drawn with markers


@style()
def learning_curve(
    metrics: Sequence[Mapping[str, object]],
    *,
    family: str,
    learner: str = "meta_rl",
    best: float | None = None,
) -> "Figure":
    """Draw the returns that a learner reports against the environment steps of training.

    Thin lines are the returns as recorded, thick ones their centred mean over a tenth of them.
    Records (of metrics.jsonl) without a return are left out. The best possible return of the task
    is drawn as a line.

    Raises:
        UserError: No returns, or a record without the keys that are drawn.
    """
    for row, record in enumerate(metrics):
        for key in ("environment_steps", "return_before", "return_after"):
            if key not in record:
                raise UserError(f"training metrics, record {row}: no {key!r}")
    looks = [record for record in metrics if record["return_before"] is not None]
    if not looks:
        raise UserError("no training metrics to draw")
    from matplotlib.ticker import EngFormatter

    figure, (axes,) = subplots(7.2, 4.3)
    panel = Panel(axes)
    env_steps = np.array([record["environment_steps"] for record in looks], np.float64)
    reach = len(looks) // 20
    drawn = zip(("return_before", "return_after"), LEARNERS[learner].returns.items(), strict=False)
    for key, (name, mode) in drawn:
        returns = np.array([record[key] for record in looks], np.float64)
        smooth = np.convolve(returns, np.full(2 * reach + 1, 1 / (2 * reach + 1)), "valid")
        colour = COLOURS[mode]
        axes.plot(env_steps, returns, color=colour, alpha=0.35, linewidth=1.0)
        marker = "o" if len(looks) < FEW_POINTS else ""
        middle = env_steps[reach : len(looks) - reach]
        axes.plot(middle, smooth, color=colour, marker=marker, clip_on=False)
        panel.ends.append((env_steps[-1], smooth[-1], name, colour))
    if env_steps[-1] > 0:
        axes.set_xlim(left=0.0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel("environment steps of training")
    axes.set_title(f"{family}: return during training")
    finish([panel], best)
    return figure
