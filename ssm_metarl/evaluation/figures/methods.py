"""Methods beside each other: means, who is better on how many tasks, and whole distributions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.figures.style import REFERENCE, style, subplots
from ssm_metarl.evaluation.methods import Method
from ssm_metarl.evaluation.statistics import compare

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# After Okabe and Ito, as the modes' colours.
COLOURS = ("#0072b2", "#d55e00", "#007f5f", "#aa4a86", "#e0a000", "#3b9bd6", "#8a63b8", "#4b5563")
POINTS = 200  # of a profile
RESAMPLES = 500


@style()
def method_comparison(methods: Sequence[Method], title: str) -> "Figure":
    """Draw means and interquartile means, the probability of improvement, and the profiles.

    After Agarwal et al. 2021 (arXiv:2108.13264); all intervals and bands are 95% bootstraps over
    tasks and seeds.

    Raises:
        UserError: More methods than colours, or matplotlib is missing.
    """
    if len(methods) > len(COLOURS):
        raise UserError(f"at most {len(COLOURS)} methods can be told apart, not {len(methods)}")
    height = max(3.8, 1.6 + 0.6 * len(methods))
    panels = 3 if len(methods) > 1 else 2
    figure, axes = subplots(5.2 * panels, height, panels)
    _draw_means(axes[0], methods)
    if panels == 3:
        _draw_improvement(axes[1], methods)
    _draw_profiles(axes[-1], methods)
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    return figure


def _draw_means(axes: "Axes", methods: Sequence[Method]) -> None:
    for place, (method, colour) in enumerate(zip(methods, COLOURS, strict=False)):
        row = method.row
        shown = ((row.mean, row.ci95, "o", -0.12), (row.iqm, method.iqm_ci95, "D", 0.12))
        for value, ends, marker, shift in shown:
            axes.plot(ends, [place + shift] * 2, color=colour)
            axes.plot([value], [place + shift], color=colour, marker=marker)
    axes.set_yticks(range(len(methods)), [f"{one.name}\n{one.way}" for one in methods])
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.set_xlabel("return")
    axes.set_title("Mean (round) and IQM (square)")


def _draw_improvement(axes: "Axes", methods: Sequence[Method]) -> None:
    first, *others = methods
    for place, (method, colour) in enumerate(zip(others, COLOURS[1:], strict=False)):
        found = compare(method.scores, first.scores).improvement
        axes.plot(found.ci95, [place] * 2, color=colour)
        axes.plot([found.mean], [place], color=colour, marker="o")
    axes.axvline(0.5, **REFERENCE)
    axes.set_yticks(range(len(others)), [one.name for one in others])
    axes.set(xlim=(0, 1), ylim=(len(others) - 0.5, -0.5))
    axes.set_xlabel("probability")
    axes.set_title(f"Better than {first.name}")


def _draw_profiles(axes: "Axes", methods: Sequence[Method]) -> None:
    low = min(one.scores.min() for one in methods)
    high = max(one.scores.max() for one in methods)
    returns = np.linspace(low, high, POINTS)
    for method, colour in zip(methods, COLOURS, strict=False):
        share, (lower, upper) = profile(method.scores, returns)
        axes.plot(returns, 100 * share, color=colour, label=method.name)
        axes.fill_between(returns, 100 * lower, 100 * upper, color=colour, alpha=0.15, lw=0)
    axes.set(ylim=(0, 103))
    axes.set_xlabel("return reached")
    axes.set_ylabel("% of seeds and tasks")
    axes.set_title("Performance profile")
    axes.legend(frameon=False, fontsize="small")


def profile(
    scores: Float[np.ndarray, "S N"], returns: Float[np.ndarray, " P"]
) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, "2 P"]]:
    """Return the share of seeds and tasks that reach each return, and its pointwise interval."""
    seeds, tasks = scores.shape
    reached = scores[:, :, None] >= returns  # [S, N, P]
    rng = np.random.default_rng(0)
    task = rng.multinomial(tasks, np.full(tasks, 1 / tasks), size=RESAMPLES) / tasks
    seed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES) / seeds
    drawn = np.einsum("snp,rn,rs->rp", reached, task, seed, optimize=True)
    return reached.mean((0, 1)), np.quantile(drawn, (0.025, 0.975), axis=0)
