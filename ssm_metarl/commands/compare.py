"""``ssm-metarl compare``: methods and their seeds, from runs that were evaluated."""

import dataclasses
import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from ssm_metarl.checkpoint.files import check_writable, write_text_atomically
from ssm_metarl.commands.common import attempt, made, naming_flag, plain_table, refuse_no_folder
from ssm_metarl.console import show
from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.report import MODES, Evaluation, counted, describe
from ssm_metarl.training.settings import check_settings, setting

if TYPE_CHECKING:  # they import torch
    from ssm_metarl.evaluation.adastop import Decision
    from ssm_metarl.evaluation.methods import Method

SAME = ("family", "split", "tasks", "seed")  # of all evaluations, or the tasks are others


@dataclass(frozen=True)
class Compare:
    """Compare runs that were evaluated on the same tasks.

    Runs whose settings differ by the seed only are one method.
    """

    runs: tuple[str, ...] = setting(
        help="Folders of runs, each with the evaluation.json of ssm-metarl evaluate, or such "
        "files.",
        positional=True,
        metavar="RUN...",
    )
    mode: str | None = setting(
        None,
        "Way to adapt.",
        unset="of each method the first of hybrid, in_context and standard that was evaluated",
        choices=tuple(MODES),
    )
    episodes: int | None = setting(
        None,
        "Episodes to adapt from, as the tables of evaluate have them.",
        unset="the least",
        within=(0, 1_000_000),
    )
    adastop: int | None = setting(
        None,
        "Test by AdaStop which methods differ, after each so many seeds of every method: says "
        "when further seeds are needed, and is wrong about equal ones in 5% of cases at most.",
        unset="no test",
        within=(1, 1_000),
    )
    adastop_groups: int = setting(5, "After how many such groups it ends.", within=(1, 100))
    out: Path = setting(
        Path("comparison"),
        "Where comparison.json and the figure go.",
        metavar="FOLDER",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        twice = [run for run in self.runs if self.runs.count(run) > 1]
        if twice:
            raise UserError(f"{twice[0]} is named twice; name each run once")
        refuse_no_folder("out", self.out)


def run(asked: Compare, given: Collection[str]) -> int:
    """Pool seeds, compare methods; show, write and draw; return 0."""
    from ssm_metarl.evaluation.methods import method_of, to_json

    with naming_flag("out"):
        check_writable(asked.out)
    evaluations = {run: _evaluation(run) for run in asked.runs}
    first = evaluations[asked.runs[0]]
    _check_same(evaluations)
    groups = _by_settings(asked.runs)
    methods = [
        method_of(runs, [evaluations[run] for run in runs], name, asked.mode, asked.episodes)
        for name, runs in zip(_names(groups), groups, strict=True)
    ]
    show(_means(methods, describe(first)), whole=True)
    if len(methods) > 1:
        show(_pairs(methods), whole=True)
    decisions = _decide(asked, methods) if asked.adastop else []
    path = asked.out / "comparison.json"
    write_text_atomically(path, to_json(first, methods, decisions))
    made("numbers", path)
    attempt("figure", lambda: _draw(methods, describe(first), asked.out / "comparison.png"))
    return 0


def _draw(methods: Sequence["Method"], title: str, path: Path) -> Path:
    from ssm_metarl.evaluation.figures.methods import method_comparison
    from ssm_metarl.evaluation.figures.style import write_png

    return write_png(method_comparison(methods, title), path)


def _evaluation(run: str) -> Evaluation:
    """Read the evaluation of a run."""
    from ssm_metarl.training.publish import EVALUATION, read_evaluation

    path = Path(run)
    path = path / EVALUATION if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"{run} has no {EVALUATION}; ssm-metarl evaluate {run} writes it")
    return read_evaluation(path)


def _check_same(evaluations: Mapping[str, Evaluation]) -> None:
    """Refuse evaluations of other tasks."""
    (name, first), *others = evaluations.items()
    for run, other in others:
        for what in SAME:
            mine, theirs = getattr(first, what), getattr(other, what)
            if mine != theirs:
                raise UserError(
                    f"{name} and {run} were not evaluated on the same tasks: {what} is {mine} "
                    f"and {theirs}; evaluate both with the same flags"
                )


def _by_settings(runs: Sequence[str]) -> list[tuple[str, ...]]:
    """Group the runs whose settings differ by the seed only; others stand alone."""
    from ssm_metarl.training.saved import CONFIG, read_config

    groups: dict[object, list[str]] = {}
    for run in runs:
        folder = Path(run) if Path(run).is_dir() else Path(run).parent
        known = (folder / CONFIG).is_file()
        settings = dataclasses.replace(read_config(folder), seed=0) if known else run
        groups.setdefault(settings, []).append(run)
    return [tuple(group) for group in groups.values()]


def _names(groups: Sequence[tuple[str, ...]]) -> list[str]:
    """Name methods: a run's folder, or what the names of several have in common."""
    found = []
    for runs in groups:
        names = [Path(run).name if Path(run).is_dir() else run for run in runs]
        shared = _shared_start(names)
        found.append(shared if len(names) > 1 and shared else names[0])
    return found if len({*found}) == len(found) else [runs[0] for runs in groups]


def _shared_start(names: Sequence[str]) -> str:
    """Return ``rl2`` for ``rl2-seed-0`` and ``rl2-seed-1``."""
    letters = itertools.takewhile(lambda each: len({*each}) == 1, zip(*names, strict=False))
    start = "".join(letter for letter, *_ in letters)
    return re.sub(r"[-_ .]*(seed)?[-_ .]*$", "", start)


def _means(methods: Sequence["Method"], title: str) -> Table:
    table = plain_table(title, "[95% CI]: bootstrap over seeds and tasks. IQM: of the middle half.")
    for name in ("Method", "Mode", "Episodes", "Seeds", "Mean return [95% CI]", "IQM [95% CI]"):
        table.add_column(name, justify="left" if name in ("Method", "Mode") else "right")
    for one in methods:
        row, seeds = one.row, len(one.scores)
        means = (_interval(row.mean, row.ci95), _interval(row.iqm, one.iqm_ci95))
        table.add_row(one.name, one.way, f"{row.shots:,}", str(seeds), *means)
    return table


def _pairs(methods: Sequence["Method"]) -> Table:
    from ssm_metarl.evaluation.methods import comparisons

    better = "Better: the probability that the one is better on a task, each with some seed."
    table = plain_table("Differences on the same tasks", better)
    table.add_column("Return of the one minus the other")
    table.add_column("Difference [95% CI]", justify="right")
    table.add_column("Better [95% CI]", justify="right")
    for one, other, found in comparisons(methods):
        difference, improvement = found
        percent = (100 * improvement.mean, tuple(100 * end for end in improvement.ci95))
        table.add_row(
            f"{one.name} minus {other.name}",
            _interval(*difference),
            "{:.0f}% [{:.0f}, {:.0f}]".format(percent[0], *percent[1]),
        )
    return table


def _decide(asked: Compare, methods: Sequence["Method"]) -> list["Decision"]:
    """Test the mean returns of the seeds one group after another, and tell the outcome."""
    from ssm_metarl.evaluation.adastop import adastop

    assert asked.adastop is not None
    scores = [one.scores.mean(1) for one in methods]
    with naming_flag("adastop"):
        decisions = adastop(scores, asked.adastop, asked.adastop_groups)
    words = {1: "better than", -1: "worse than", 0: "equal to, as far as it can tell,"}
    for one in decisions:
        first, second = methods[one.first].name, methods[one.second].name
        said = "not told apart yet from (train more seeds)" if one.sign is None else words[one.sign]
        print(f"AdaStop, {counted(one.seeds, 'seed')} each: {first} {said} {second}")
    return decisions


def _interval(value: float, ends: tuple[float, float]) -> str:
    digits = 1 if abs(value) >= 100 else 2
    return f"{value:.{digits}f} [{ends[0]:.{digits}f}, {ends[1]:.{digits}f}]"
