"""The learners by name: what the command line, the page, the docs and loading know of each.

This module imports no torch, so that ``--help`` is quick.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class LearnerSpec:
    """One learner.

    Attributes:
        name: The value of ``--mode``.
        help: What it does, in one line.
        uses: Names of the settings that it uses and some other learner does not; a setting that
            no learner lists is used by all.
        defaults: Its values of settings that nobody set; they go before a family's suggestions.
        trial_defaults: More of them, for a memory that lasts a trial where it usually does not.
    """

    name: str
    help: str
    uses: frozenset[str]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    trial_defaults: Mapping[str, Any] = field(default_factory=dict)


LEARNERS: dict[str, LearnerSpec] = {
    spec.name: spec
    for spec in (
        LearnerSpec(
            "meta_rl",
            "MAML over a family of tasks",
            uses=frozenset(
                (
                    *("num_epochs", "tasks_per_epoch", "episodes_per_task", "outer_epochs"),
                    *("query_steps", "support_weight", "first_order", "learn_inner_lr"),
                    *("experience", "validate_every", "validation_tasks"),
                )
            ),
            defaults={
                "num_epochs": 40,
                "tasks_per_epoch": 16,
                "outer_epochs": 3,
                "gae_lambda": 1.0,
            },
            # To adapt before any step too has to be asked for, and takes longer.
            trial_defaults={"num_epochs": 150, "outer_epochs": 8, "support_weight": 1.0},
        ),
        LearnerSpec(
            "rl2",
            "PPO over trials of several episodes, so that the memory adapts",
            uses=frozenset(
                (
                    *("num_epochs", "tasks_per_epoch", "query_steps", "first_steps"),
                    *("validate_every", "validation_tasks"),
                )
            ),
            defaults={
                "num_epochs": 80,
                "tasks_per_epoch": 32,
                "outer_lr": 0.003,
                "gae_lambda": 0.95,
                "memory": "trial",
                "width": 64,
                "state_size": 32,
                "blocks": 2,
            },
        ),
        LearnerSpec(
            "policy_gradient",
            "PPO on the one nominal task",
            uses=frozenset({"num_episodes"}),
            defaults={"outer_lr": 0.01, "gae_lambda": 0.98},
        ),
    )
}
