"""How fast everything is, side by side with its peers: see benchmarks/README.md.

pip install -e '.[peers,figures]'
python -m benchmarks
python -m benchmarks --only rollout meta-step --base HEAD~10
"""

import sys
import tempfile
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from benchmarks.measure.figures import draw
from benchmarks.measure.race import Contestant, Effort, Row
from benchmarks.measure.record import show, write
from benchmarks.measure.sections import SECTIONS, Plan, source_of
from benchmarks.measure.worker import Worker
from ssm_metarl.evaluation.figures import write_png

RESULTS = Path(__file__).parent / "results" / "speed"
Name = Literal["rollout", "meta-step", "recurrence", "acting", "growth", "jobs"]
PEERS = ("jax", "sb3_contrib", "onnxruntime")


def measure(name: Name, plan: Plan, console: Console) -> list[Row]:
    """Run a section; show how far it is."""
    columns = TextColumn("{task.description}"), TimeElapsedColumn()
    rows: list[Row] = []
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(name, total=None)
        for found in SECTIONS[name].run(plan):
            rows += found
            cell = ", ".join(f"{key} {value}" for key, value in found[0].cell.items())
            progress.update(bar, description=f"{name}: measured {cell}")
    return rows


def main(
    only: tuple[Name, ...] = ("rollout", "meta-step", "recurrence", "acting", "growth"),
    base: str | None = None,
    quick: bool = False,
    rounds: int = 4,
    out: Path = RESULTS,
) -> None:
    """Measure sections, print tables and write JSON and figures.

    Args:
        only: Sections; ``jobs`` takes half an hour and has to be named.
        base: Also measure the package as it was at this revision.
        quick: One cell of each section and one round, to see that everything works.
        rounds: Of A B B A, where a run takes less than a second.
        out: Folder of the results.
    """
    console = Console(width=None if sys.stdout.isatty() else 140)
    for peer in PEERS:
        if not Contestant("", peer).there:
            console.print(
                f"{peer} is not installed: left out (pip install -e '.[peers]')", markup=False
            )
    effort = Effort(1, 0.01) if quick else Effort(rounds)
    with tempfile.TemporaryDirectory() as folder:
        source = source_of(base, Path(folder)) if base else None
        plan = Plan(effort, quick, source)
        for name in only:
            worker = Worker()
            floors = {} if quick else worker.call("benchmarks.measure.machine:floors")
            worker.close()
            rows = measure(name, plan, console)
            show(f"{name}: {SECTIONS[name].about}", SECTIONS[name].unit, rows, console)
            write(out / f"{name}.json", SECTIONS[name].unit, rows, {"base": base, "floors": floors})
            write_png(draw(name, rows), out / f"{name}.png")


if __name__ == "__main__":
    tyro.cli(main)
