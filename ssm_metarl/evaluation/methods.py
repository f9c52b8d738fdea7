"""Methods, each trained with one or more seeds, compared on the same tasks."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.adastop import Decision
from ssm_metarl.evaluation.comparison import representative
from ssm_metarl.evaluation.pooling import over_seeds
from ssm_metarl.evaluation.report import Evaluation, ModeResult, label
from ssm_metarl.evaluation.statistics import Comparison, compare, iqm, stratified_bootstrap


@dataclass(frozen=True)
class Method:
    """Runs that differ by their training seed only, and one way in which they adapt.

    Attributes:
        name: What it is called.
        runs: Where its runs are.
        row: The result that stands for it, pooled over the seeds.
        scores: Return of every seed on every task.
    """

    name: str
    runs: tuple[str, ...]
    row: ModeResult
    scores: Float[np.ndarray, "S N"]

    @property
    def way(self) -> str:
        """How it adapts: ``standard, 1 step``."""
        return label(self.row.mode, self.row.steps, self.row.shots)

    @property
    def iqm_ci95(self) -> tuple[float, float]:
        """The 95% interval of the interquartile mean."""
        return stratified_bootstrap(self.scores, iqm, design="crossed")


def method_of(
    runs: Sequence[str],
    evaluations: Sequence[Evaluation],
    name: str,
    mode: str | None = None,
    episodes: int | None = None,
) -> Method:
    """Pool the seeds of a method.

    Args:
        runs: One for each seed.
        evaluations: Theirs.
        name: What the method is called.
        mode: In which it adapts; by default hybrid, in_context or standard, what there is.
        episodes: From how many it adapts; by default the least.

    Raises:
        UserError: That was not measured, or not for all seeds.
    """
    shared = set.intersection(*({_key(row) for row in one.results} for one in evaluations))
    if not shared:
        raise UserError(f"{' and '.join(runs)} were not evaluated in any mode alike")
    same = [
        dataclasses.replace(one, results=tuple(row for row in one.results if _key(row) in shared))
        for one in evaluations
    ]
    rows = [
        row
        for row in over_seeds(same).results
        if mode in (None, row.mode) and episodes in (None, row.shots)
    ]
    if not rows:
        asked = " ".join(str(one) for one in (mode, episodes) if one is not None)
        ways = ", ".join(f"{mode} {shots}" for mode, shots, _ in sorted(shared))
        raise UserError(f"{runs[0]} was not evaluated by {asked}; valid modes and episodes: {ways}")
    row = representative(rows)
    scores = [one.per_task for each in same for one in each.results if _key(one) == _key(row)]
    return Method(name, tuple(runs), row, np.array(scores))


def _key(row: ModeResult) -> tuple[str, int, int]:
    return row.mode, row.shots, row.steps


def comparisons(methods: Sequence[Method]) -> list[tuple[Method, Method, Comparison]]:
    """Compare each method with each that comes before it."""
    return [
        (one, other, compare(one.scores, other.scores))
        for i, one in enumerate(methods)
        for other in methods[:i]
    ]


def to_json(
    evaluation: Evaluation, methods: Sequence[Method], decisions: Sequence[Decision] = ()
) -> str:
    """Return the text of `comparison.json`; the tasks are those of any of the evaluations."""
    told = [
        {
            "name": one.name,
            "runs": one.runs,
            **one.row.to_record(),
            "iqm_ci95": one.iqm_ci95,
            "per_seed_and_task": one.scores.tolist(),
        }
        for one in methods
    ]
    pairs = [
        {
            "method": one.name,
            "than": other.name,
            "difference": found.difference._asdict(),
            "probability_of_improvement": found.improvement._asdict(),
        }
        for one, other, found in comparisons(methods)
    ]
    tasks = {name: getattr(evaluation, name) for name in ("family", "split", "tasks", "seed")}
    found = tasks | {"methods": told, "comparisons": pairs}
    if decisions:
        names = [one.name for one in methods]
        found["adastop"] = [
            one._asdict() | {"first": names[one.first], "second": names[one.second]}
            for one in decisions
        ]
    return json.dumps(found, indent=1) + "\n"
