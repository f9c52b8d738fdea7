"""Several training seeds on the same tasks, pooled into one result."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ssm_metarl.evaluation.report import Evaluation, ModeResult, Success, with_success
from ssm_metarl.evaluation.statistics import iqm, mean, stratified_bootstrap


def pooled_result(
    mode: str,
    shots: int,
    steps: int,
    scores: Float[np.ndarray, "S K"],
    greedy: Float[np.ndarray, "S"],
    environment_steps: Float[np.ndarray, "S"],
) -> ModeResult:
    """Average over seeds and tasks; the interval resamples both.

    Args:
        mode: Way of meeting the tasks.
        shots: Episodes used.
        steps: Gradient steps taken.
        scores: Return of every seed on every task, stochastic policy.
        greedy: Mean return of every seed, taking the most likely action.
        environment_steps: Used by every seed, mean over tasks.
    """
    return ModeResult(
        mode=mode,
        shots=shots,
        steps=steps,
        mean=float(mean(scores.ravel())),
        iqm=float(iqm(scores.ravel())),
        ci95=stratified_bootstrap(scores, design="crossed"),
        adaptation_env_steps=float(environment_steps.mean()),
        deterministic_mean=float(greedy.mean()),
        per_task=tuple(scores.mean(0).tolist()),
    )


def over_seeds(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Pool one evaluation per seed, result by result; differences stay with the seeds."""
    rows = []
    for same in zip(*(evaluation.results for evaluation in evaluations), strict=True):
        first = same[0]
        row = pooled_result(
            first.mode,
            first.shots,
            first.steps,
            np.array([row.per_task for row in same]),
            np.array([row.deterministic_mean for row in same]),
            np.array([row.adaptation_env_steps for row in same]),
        )
        rates = [one.success for one in with_success(same) if one.success]
        rows.append(dataclasses.replace(row, success=_pooled_success(rates) if rates else None))
    return dataclasses.replace(
        evaluations[0], results=tuple(rows), differences=(), success_differences=()
    )


def _pooled_success(rates: Sequence[Success]) -> Success:
    scores = np.array([rate.per_task for rate in rates])
    return Success(
        float(mean(scores.ravel())),
        stratified_bootstrap(scores, design="crossed"),
        float(mean(np.array([rate.deterministic_mean for rate in rates]))),
        tuple(scores.mean(0).tolist()),
    )
