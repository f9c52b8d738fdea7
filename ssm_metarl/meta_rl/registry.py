"""The learners and inner losses by name, for the command line, the page, the docs and loading.

This module imports no torch, so that ``--help`` is quick.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ssm_metarl.core.registry import Entry

Validation = Literal["adaptation", "trials", "training"]
RETURNS: dict[Validation, Mapping[str, str]] = {
    "adaptation": {"before adapting": "zero_shot", "after adapting": "standard"},
    "trials": {"first episode": "zero_shot", "last episode": "in_context"},
    "training": {"training episodes": "standard"},
}
"""What ``return_before`` and ``return_after`` are called, and the mode whose colour they have."""


@dataclass(frozen=True)
class LearnerSpec:
    """One learner, by its name: a value of ``--mode``.

    Attributes:
        uses: Names of the settings that it uses and some other learner does not; a setting that
            no learner lists is used by all.
        ignores: Names of such settings that it does not use.
        defaults: Its values of settings that nobody set; they go before a family's suggestions.
        trial_defaults: More of them, for a memory that lasts a trial where it usually does not.
        module: Module whose function ``make(policy, family, params, settings)`` builds it.
        phases: What an iteration consists of, with a line on each, in order.
        validation: What ``return_before`` and ``return_after`` are, and by what the best parameters
            are chosen: "adaptation" (on validation tasks, before and after a gradient step),
            "trials" (on validation tasks, first and last episode of a trial) or "training" (of the
            episodes it trains on).
        rates: Its learning rates among the settings, which may be too high where it diverges.
    """

    name: str
    help: str
    uses: Sequence[str]
    module: str
    phases: Mapping[str, str]
    validation: Validation
    rates: tuple[str, ...] = ("outer_lr",)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    trial_defaults: Mapping[str, Any] = field(default_factory=dict)
    ignores: Sequence[str] = ()

    @property
    def trains_steps(self) -> bool:
        """Whether it meta-trains the gradient steps of adaptation."""
        return self.validation == "adaptation"

    @property
    def returns(self) -> Mapping[str, str]:
        """Its entry in :data:`RETURNS`."""
        return RETURNS[self.validation]

    @property
    def counts_iterations(self) -> bool:
        """Whether its budget is in iterations, or else in episodes."""
        return "num_epochs" in self.uses

    def load(self) -> Callable[..., Any]:
        """Import the learner's module and return what builds it."""
        return importlib.import_module(self.module).make


VALIDATING = "evaluates on the validation tasks"
_TRAINING_STEPS: dict[str, Any] = {  # what learners that meta-train gradient steps share
    "phases": {
        "support": "plays episodes to adapt from",
        "query": "plays episodes with the adapted policies",
        "update": "improves the shared parameters",
        "validation": VALIDATING,
    },
    "validation": "adaptation",
}
_STEPS_USE = (
    *("num_epochs", "tasks_per_epoch", "episodes_per_task", "query_steps"),
    *("experience", "validate_every", "validation_tasks"),
)

LEARNERS: dict[str, LearnerSpec] = {
    spec.name: spec
    for spec in (
        LearnerSpec(
            "meta_rl",
            "MAML over a family of tasks",
            uses=(
                *_STEPS_USE,
                *("outer_epochs", "support_weight", "first_order", "learn_inner_lr", "adapts"),
                "dice_lambda",
            ),
            module="ssm_metarl.meta_rl.maml",
            **_TRAINING_STEPS,
            rates=("outer_lr", "inner_lr"),
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
            "promp",
            "MAML with ProMP's penalties on what training changes before adapting",
            uses=(
                *_STEPS_USE,
                *("outer_epochs", "support_weight", "first_order", "learn_inner_lr", "adapts"),
                "dice_lambda",
                *("target_kl", "kl_coefficient"),
            ),
            module="ssm_metarl.meta_rl.promp",
            **_TRAINING_STEPS,
            rates=("outer_lr", "inner_lr"),
            defaults={
                "num_epochs": 40,
                "tasks_per_epoch": 16,
                "outer_epochs": 5,
                "gae_lambda": 1.0,
            },
            trial_defaults={"num_epochs": 150, "outer_epochs": 8, "support_weight": 1.0},
        ),
        LearnerSpec(
            "maml_trpo",
            "MAML with TRPO's outer step, as in the MAML paper",
            uses=(
                *_STEPS_USE,
                *("support_weight", "first_order", "learn_inner_lr", "adapts", "target_kl"),
                "dice_lambda",
            ),
            module="ssm_metarl.meta_rl.maml_trpo",
            **_TRAINING_STEPS,
            rates=("target_kl", "inner_lr"),
            defaults={"num_epochs": 40, "tasks_per_epoch": 16, "gae_lambda": 1.0},
            trial_defaults={"num_epochs": 150, "support_weight": 1.0},
            ignores=("outer_lr", "max_grad_norm", "clip"),
        ),
        LearnerSpec(
            "reptile",
            "Reptile: first order, towards the adapted parameters",
            uses=_STEPS_USE,
            module="ssm_metarl.meta_rl.reptile",
            **_TRAINING_STEPS,
            rates=("outer_lr", "inner_lr"),
            defaults={"num_epochs": 40, "tasks_per_epoch": 16, "gae_lambda": 1.0},
            trial_defaults={"num_epochs": 150},
            ignores=("clip", "entropy"),
        ),
        LearnerSpec(
            "rl2",
            "PPO over trials of several episodes, so that the memory adapts",
            uses=(
                *("num_epochs", "tasks_per_epoch", "query_steps", "first_steps", "outer_epochs"),
                *("minibatches", "validate_every", "validation_tasks"),
            ),
            module="ssm_metarl.meta_rl.rl2",
            phases={
                "play": "plays trials",
                "update": "improves the policy",
                "validation": VALIDATING,
            },
            validation="trials",
            defaults={
                "num_epochs": 80,
                "tasks_per_epoch": 32,
                "outer_epochs": 4,
                "minibatches": 4,
                "outer_lr": 0.003,
                "gae_lambda": 0.95,
                "memory": "trial",
                "width": 64,
                "state_size": 32,
                "blocks": 2,
            },
            ignores=("inner_steps",),
        ),
        LearnerSpec(
            "policy_gradient",
            "PPO on the one nominal task",
            uses=("num_episodes",),
            module="ssm_metarl.meta_rl.policy_gradient",
            phases={"play": "plays episodes", "update": "improves the policy"},
            validation="training",
            defaults={"outer_lr": 0.01, "gae_lambda": 0.98},
            ignores=("inner_steps",),
        ),
    )
}


def used_by(name: str) -> tuple[str, ...]:
    """Return the learners that use a setting."""
    some = tuple(spec.name for spec in LEARNERS.values() if name in spec.uses)
    return some or tuple(spec.name for spec in LEARNERS.values() if name not in spec.ignores)


@dataclass(frozen=True)
class AdaptsEntry:
    """What gradient steps change, a value of ``--adapts``: groups of :class:`Leaf`."""

    help: str
    groups: tuple[Literal["encoder", "cell", "action", "context"], ...]


ADAPTS: dict[str, AdaptsEntry] = {
    "all": AdaptsEntry("all that acts, as in MAML", ("encoder", "cell", "action")),
    "heads": AdaptsEntry("the action head alone, as in ANIL", ("action",)),
    "context": AdaptsEntry("a context vector among the inputs alone, as in CAVIA", ("context",)),
}


@dataclass(frozen=True)
class InnerLossEntry(Entry):
    """An inner loss, a value of ``--surrogate``.

    Attributes:
        heads: Heads of the network, beside what acts, that it trains.
        credits_sampling: Whether the outer loss needs the sampling term of E-MAML.
        settings: Names of the settings that are arguments of it in meta-training.
    """

    heads: tuple[Literal["value", "prediction"], ...] = ()
    credits_sampling: bool = False
    settings: tuple[str, ...] = ()


_LOSSES = "ssm_metarl.meta_rl.inner_losses"

INNER_LOSSES: dict[str, InnerLossEntry] = {
    "lvc": InnerLossEntry("low-variance curvature, as in ProMP", _LOSSES, "lvc"),
    "dice": InnerLossEntry("DiCE, exact to any order", _LOSSES, "dice"),
    "loaded_dice": InnerLossEntry(
        "loaded DiCE, from lvc to dice by --dice_lambda",
        _LOSSES,
        "loaded_dice",
        settings=("dice_lambda",),
    ),
    "emaml": InnerLossEntry(
        "log pi * A, with E-MAML's sampling term in the outer loss",
        _LOSSES,
        "score",
        credits_sampling=True,
    ),
    "prediction": InnerLossEntry(
        "prediction of observations, which needs no rewards of a new task",
        _LOSSES,
        "prediction",
        heads=("prediction",),
    ),
}
