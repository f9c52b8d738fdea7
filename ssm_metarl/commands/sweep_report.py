"""What a sweep has found: the best trials, what mattered, and the command of the best one."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial

from ssm_metarl.commands.common import attempt, plain_table
from ssm_metarl.commands.sweep_study import REASON, importance, run_of
from ssm_metarl.console import show
from ssm_metarl.evaluation.report import counted

if TYPE_CHECKING:  # it imports this module
    from ssm_metarl.commands.sweep import Sweep

SHOWN, SHOWN_FAILURES = 10, 3
GONE = "its worker was killed, each time that it was tried again"


def ranked(done: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that were completed, the best one first."""
    complete = [trial for trial in done if trial.state.name == "COMPLETE"]
    return sorted(complete, key=lambda trial: (-_return(trial), trial.number))


def state(trained: Sequence[FrozenTrial], done: Sequence[FrozenTrial]) -> str:
    """Say how a sweep is going."""
    best, counts = ranked(done), _counts(done)
    parts = [f"best {_return(best[0]):.1f} ({run_of(best[0])})"] if best else []
    parts += [f"{counts[name]} {name}" for name in ("pruned", "failed") if counts[name]]
    parts += [f"training {', '.join(sorted(map(run_of, trained)))}"] if trained else []
    return "; ".join(parts)


def tell(asked: "Sweep", done: Sequence[FrozenTrial]) -> None:
    """Show the best trials and what went wrong, and draw what mattered."""
    best, counts = ranked(done), _counts(done)
    table = plain_table("Best trials", "")
    table.add_column("Trial")
    for name in ("Return", "Iterations", *(one.name for one in asked.space)):
        table.add_column(name, justify="right")
    for trial in best[:SHOWN]:
        values = [_text(trial.params[one.name]) for one in asked.space]
        iterations = str(max(trial.intermediate_values, default=0))
        table.add_row(run_of(trial), f"{_return(trial):.1f}", iterations, *values)
    if best:
        show(table)
    ended = ", ".join(f"{counts[name]} {name}" for name in ("complete", "pruned", "failed"))
    print(f"{counted(len(done), 'trial')} in {asked.folder}: {ended}.")
    failed = [trial for trial in done if trial.state.name == "FAIL"]
    for trial in failed[:SHOWN_FAILURES]:
        print(f"{run_of(trial)} failed: {trial.user_attrs.get(REASON, GONE)}")
    if len(failed) > SHOWN_FAILURES:
        print(f"{counted(len(failed) - SHOWN_FAILURES, 'trial')} more failed.")
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


def train_command(settings: Mapping[str, object], family: Path | None) -> str:
    """Return the command that trains with these settings."""
    parts = ["ssm-metarl", "train"]
    for name, value in settings.items():
        if isinstance(value, bool):
            parts.append(f"--{name}" if value else f"--no_{name}")
        elif not (family and name == "env_name"):
            parts += [f"--{name}", str(value)]
    return shlex.join([*parts, *(["--family", str(family)] if family else [])])


def _counts(done: Sequence[FrozenTrial]) -> Counter[str]:
    names = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    return Counter(names[trial.state.name] for trial in done)


def _return(trial: FrozenTrial) -> float:
    assert trial.value is not None  # it is complete
    return trial.value


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
