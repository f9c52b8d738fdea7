"""The settings of a run, as its learner gets them."""

from typing import Any

from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.training.config import TrainConfig


def resolved(mode: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return those of a learner on CartPole, some of them changed."""
    return {**vars(TrainConfig(mode=mode).resolve(get_family("CartPole-v1"))), **changes}
