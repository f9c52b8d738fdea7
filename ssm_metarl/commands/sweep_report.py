"""What a sweep has found: the best trials, what mattered, and the command of the best one."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial

from ssm_metarl.commands.common import attempt, plain_table
from ssm_metarl.commands.sweep_study import REASON, quiet, run_of
from ssm_metarl.console import show
from ssm_metarl.evaluation.report import counted

if TYPE_CHECKING:  # it imports this module
    from ssm_metarl.commands.sweep import Sweep

SHOWN, SHOWN_FAILURES = 10, 3
GONE = "its worker was killed, each time that it was tried again"


def ranked(done: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that were completed, the best one first."""
    complete = [trial for trial in done if trial.state.name == "COMPLETE"]
    return sorted(complete, key=lambda trial: (-trial.values[0], trial.number))


def state(trained: Sequence[FrozenTrial], done: Sequence[FrozenTrial]) -> str:
    """Say how a sweep is going."""
    counts = Counter(trial.state.name for trial in done)
    parts = [f"best {best.value:.1f} ({run_of(best)})" for best in ranked(done)[:1]]
    parts += [f"{counts['PRUNED']} pruned"] * bool(counts["PRUNED"])
    parts += [f"{counts['FAIL']} failed"] * bool(counts["FAIL"])
    parts += [f"training {', '.join(sorted(map(run_of, trained)))}"] * bool(trained)
    return "; ".join(parts)


def tell(asked: "Sweep", done: Sequence[FrozenTrial]) -> None:
    """Show the best trials and what went wrong, and draw what mattered."""
    best, counts = ranked(done), Counter(trial.state.name for trial in done)
    table = plain_table("Best trials", "")
    table.add_column("Trial")
    for name in ("Return", "Iterations", *(one.name for one in asked.space)):
        table.add_column(name, justify="right")
    for trial in best[:SHOWN]:
        values = [trial.params[one.name] for one in asked.space]
        texts = [f"{value:.4g}" if type(value) is float else str(value) for value in values]
        iterations = str(max(trial.intermediate_values))
        table.add_row(run_of(trial), f"{trial.value:.1f}", iterations, *texts)
    if best:
        show(table)
    print(
        f"{counted(len(done), 'trial')} in {asked.folder}: {counts['COMPLETE']} complete, "
        f"{counts['PRUNED']} pruned, {counts['FAIL']} failed."
    )
    failed = [trial for trial in done if trial.state.name == "FAIL"]
    for trial in failed[:SHOWN_FAILURES]:
        print(f"{run_of(trial)} failed: {trial.user_attrs.get(REASON, GONE)}")
    if len(failed) > SHOWN_FAILURES:
        print(f"So did {counted(len(failed) - SHOWN_FAILURES, 'other')}.")
    if len(best) > 1:
        attempt("what mattered", lambda: _draw(asked, done))


def _draw(asked: "Sweep", done: Sequence[FrozenTrial]) -> Path:
    from ssm_metarl.evaluation.figures import TrialPoint, sweep_figure, write_png

    points = [
        TrialPoint(trial.number, trial.value, trial.params, trial.state.name == "PRUNED")
        for trial in done
        if trial.value is not None
    ]
    logarithmic = [one.name for one in asked.space if one.log]
    title = f"{asked.env_name}, {asked.mode}"
    figure = sweep_figure(points, importance(done), logarithmic, title=title)
    return write_png(figure, asked.folder / "sweep.png")


def importance(done: Sequence[FrozenTrial]) -> dict[str, float]:
    """Return the share of the variance of returns that each setting explains, by fANOVA.

    A pruned trial counts with the return that it had reached: without them, what makes trainings
    bad would seem not to matter. Optuna's usual measure, PED-ANOVA, compares the best tenth with
    all trials, and sees nothing in a setting whose bad values the sampler has hardly tried.
    """
    valued = [one for one in done if one.value is not None]
    if len({one.value for one in valued}) == 1:  # nothing to explain
        return dict.fromkeys(valued[0].params, 0.0)
    copies = [
        optuna.create_trial(value=one.value, params=one.params, distributions=one.distributions)
        for one in valued
    ]
    with quiet():
        study = optuna.create_study(direction="maximize")
        study.add_trials(copies)
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}
