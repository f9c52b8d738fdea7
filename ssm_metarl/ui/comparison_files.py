"""A comparison to take away: numbers as CSV and JSON, and the figure of the command line as PNG."""

import csv
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

from ssm_metarl.commands.common import best_return
from ssm_metarl.evaluation.figures import budget_curve
from ssm_metarl.ui.comparing import Measured

COLUMNS = (
    "run",
    "family",
    "task_set",
    "tasks",
    "seed",
    "mode",
    "episodes",
    "gradient_steps",
    "mean_return",
    "ci95_low",
    "ci95_high",
    "iqm",
    "greedy_mean_return",
    "adaptation_env_steps",
)


def as_csv(found: Sequence[Measured], folder: Path) -> Path:
    """Write a line per measurement."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in found:
        about = (one.run, one.family.name, one.split, len(one.tasks), one.plan.seed)
        for row in one.rows:
            told = (row.mode, row.shots, row.steps, row.mean, *row.ci95, row.iqm)
            writer.writerow((*about, *told, row.deterministic_mean, row.adaptation_env_steps))
    path = folder / "comparison.csv"
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def as_json(found: Sequence[Measured], folder: Path) -> Path:
    """Write ``evaluation.json``, or a zip with one for each run."""
    texts = {one.run: one.evaluation().to_json().encode() for one in found}
    return _one_or_zip({f"{run}.json": text for run, text in texts.items()}, folder, "evaluation")


def as_png(found: Sequence[Measured], folder: Path) -> Path | None:
    """Draw the budget curves, a picture per family; None if there is nothing to draw."""
    pictures = {}
    for name in dict.fromkeys(one.family.name for one in found):
        group = [one for one in found if one.family.name == name and _drawable(one)]
        if not group:
            continue
        path = folder / "budgets.png"
        best, titles = best_return(group[0].family), [one.run for one in group]
        budget_curve([one.evaluation() for one in group], path, best=best, titles=titles)
        pictures[f"{name}.png"] = path.read_bytes()
    return _one_or_zip(pictures, folder, "budgets") if pictures else None


def _drawable(one: Measured) -> bool:
    """Whether a curve has two points."""
    return len({row.shots for row in one.rows if row.shots and row.steps in (0, 1)}) > 1


def _one_or_zip(contents: dict[str, bytes], folder: Path, name: str) -> Path:
    """Write one file as it is, several in a zip."""
    if len(contents) == 1:
        [(inner, content)] = contents.items()
        path = folder / f"{name}{Path(inner).suffix}"
        path.write_bytes(content)
        return path
    path = folder / f"{name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for inner, content in contents.items():
            bundle.writestr(inner, content)
    return path
