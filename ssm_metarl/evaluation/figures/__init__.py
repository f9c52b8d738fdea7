"""The figures: one style, one colour per adaptation mode, names on the lines.

Each function returns a figure; :func:`write_png` writes one. matplotlib is an extra, imported only
when a figure is drawn; pyplot's global state is never touched.
"""

from ssm_metarl.evaluation.figures.curves import adaptation_curve, budget_curve, trial_curve
from ssm_metarl.evaluation.figures.episodes import episode_curve
from ssm_metarl.evaluation.figures.inside import eigenvalue_plot, trace_plot
from ssm_metarl.evaluation.figures.learning import learning_curve
from ssm_metarl.evaluation.figures.style import write_png
from ssm_metarl.evaluation.figures.sweep import TrialPoint, sweep_figure
from ssm_metarl.evaluation.figures.tasks import Scatter, performance_profile, task_scatter

__all__ = [
    "Scatter",
    "TrialPoint",
    "adaptation_curve",
    "budget_curve",
    "eigenvalue_plot",
    "episode_curve",
    "learning_curve",
    "performance_profile",
    "sweep_figure",
    "task_scatter",
    "trace_plot",
    "trial_curve",
    "write_png",
]
