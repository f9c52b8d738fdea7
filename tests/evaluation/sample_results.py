"""Results that tests of reports and tables share."""

import dataclasses

from ssm_metarl.evaluation.report import Evaluation, ModeResult, differences


def result(mode: str, shots: int, steps: int, mean: float) -> ModeResult:
    """A result of three tasks around a mean."""
    return ModeResult(
        mode=mode,
        shots=shots,
        steps=steps,
        mean=mean,
        iqm=mean + 0.1,
        ci95=(mean - 1 / 3, mean + 1 / 3),
        adaptation_env_steps=34.5 * shots,
        deterministic_mean=mean + 1,
        per_task=(mean - 1, mean, mean + 1),
    )


EVALUATION = Evaluation(
    family="CartPole-v1",
    tasks=3,
    seed=0,
    split="held_out",
    results=(
        result("zero_shot", 0, 0, 34.0),
        result("standard", 20, 1, 481.25),
        result("standard", 40, 2, 499.0),
        result("from_scratch", 1000, 1, 83.0),
    ),
)

HYBRID = dataclasses.replace(
    EVALUATION,
    results=(
        result("standard", 1, 1, 300.0),
        result("standard", 20, 1, 480.0),
        result("standard", 40, 2, 490.0),
        result("hybrid", 1, 1, 480.0),
        result("hybrid", 20, 1, 479.0),
        result("hybrid", 60, 3, 495.0),
    ),
)
HYBRID = dataclasses.replace(HYBRID, differences=differences(HYBRID.results, seed=0))
