"""The figures: one style, one colour per adaptation mode, names on the lines.

Most functions write a PNG at twice screen density (to a temporary name, then renamed) and return
its path; ``*_figure`` and ``*_plot`` return the figure, which the page shows. matplotlib is an
extra, imported only when a figure is drawn; pyplot's global state is never touched.
"""

from ssm_metarl.evaluation.figures.curves import (
    adaptation_curve,
    budget_curve,
    budget_figure,
    trial_curve,
)
from ssm_metarl.evaluation.figures.episodes import episode_curve
from ssm_metarl.evaluation.figures.inside import eigenvalue_plot, trace_plot
from ssm_metarl.evaluation.figures.learning import learning_curve
from ssm_metarl.evaluation.figures.tasks import (
    Scatter,
    performance_profile,
    scatter_figure,
    task_scatter,
)

__all__ = [
    "Scatter",
    "adaptation_curve",
    "budget_curve",
    "budget_figure",
    "eigenvalue_plot",
    "episode_curve",
    "learning_curve",
    "performance_profile",
    "scatter_figure",
    "task_scatter",
    "trace_plot",
    "trial_curve",
]
