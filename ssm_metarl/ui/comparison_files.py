"""A comparison to take away: numbers as CSV and JSON, and the figure of the command line as PNG."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from ssm_metarl.checkpoint.files import write_json_atomically
from ssm_metarl.commands.common import best_return
from ssm_metarl.evaluation.figures import budget_curve
from ssm_metarl.ui.comparing import Measured
from ssm_metarl.ui.comparison_words import by_family

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
    """Write what `ssm-metarl evaluate` writes; of several runs, all of it by their names."""
    evaluations = {one.run: json.loads(one.evaluation().to_json()) for one in found}
    if len(found) == 1:
        write_json_atomically(path := folder / "evaluation.json", evaluations[found[0].run])
    else:
        write_json_atomically(path := folder / "evaluations.json", evaluations)
    return path


def as_png(found: Sequence[Measured], folder: Path) -> Path | None:
    """Draw the budget curves, families below each other; None if there is nothing to draw."""
    pictures = []
    for group in by_family([one for one in found if _drawable(one)]):
        drawn = folder / f"{len(pictures)}.png"
        best, titles = best_return(group[0].family), [one.run for one in group]
        budget_curve([one.evaluation() for one in group], drawn, best=best, titles=titles)
        pictures.append(drawn)
    return _stacked(pictures, folder / "budgets.png") if pictures else None


def _drawable(one: Measured) -> bool:
    """Whether a curve has two points."""
    return len({row.shots for row in one.rows if row.shots and row.steps in (0, 1)}) > 1


def _stacked(pictures: Sequence[Path], path: Path) -> Path:
    """Put pictures below each other into one."""
    from PIL import Image

    parts = [Image.open(picture).convert("RGB") for picture in pictures]
    size = max(part.width for part in parts), sum(part.height for part in parts)
    whole, top = Image.new("RGB", size, "white"), 0
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height
    whole.save(path)
    return path
