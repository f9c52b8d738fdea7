"""The configuration of a training run: the flags of ``ssm-metarl train``, and ``config.json``."""

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from ssm_metarl.checkpoint.fields import read_fields
from ssm_metarl.checkpoint.files import parse_json
from ssm_metarl.errors import UserError

AT_LEAST_ONE = (
    "num_epochs",
    "num_episodes",
    "tasks_per_epoch",
    "episodes_per_task",
    "episodes_per_trial",
    "inner_steps",
    "outer_epochs",
    "support_steps",
    "query_steps",
    "width",
    "state_size",
    "blocks",
    "validate_every",
    "validation_tasks",
)
AT_MOST = {"width": 4096, "state_size": 4096, "blocks": 64}  # of a network
MOST = AT_MOST | {
    "num_epochs": 10**6,
    "num_episodes": 10**8,
    "tasks_per_epoch": 10**4,
    "episodes_per_task": 10**4,
    "episodes_per_trial": 10**3,
    "inner_steps": 100,
    "outer_epochs": 10**3,
    "validation_tasks": 10**4,
}
USED_BY = {
    "num_epochs": ("meta_rl", "rl2"),
    "num_episodes": ("policy_gradient",),
    "tasks_per_epoch": ("meta_rl", "rl2"),
    "episodes_per_task": ("meta_rl",),
    "outer_epochs": ("meta_rl",),
    "query_steps": ("meta_rl", "rl2"),
    "first_order": ("meta_rl",),
    "learn_inner_lr": ("meta_rl",),
    "experience": ("meta_rl",),
    "validate_every": ("meta_rl", "rl2"),
    "validation_tasks": ("meta_rl", "rl2"),
}
"""Modes that use a setting, where not all do. Those of the inner step serve adaptation later."""

POSITIVE = ("inner_lr", "outer_lr", "max_grad_norm")
FRACTIONS = ("discount", "adaptation_discount", "gae_lambda", "clip")


@dataclass(frozen=True)
class TrainConfig:
    """Meta-train (or plainly train) a policy on a family of tasks."""

    mode: Literal["meta_rl", "rl2", "policy_gradient"] = "meta_rl"
    """meta_rl: MAML over a family of tasks. rl2: PPO over trials of several episodes, so that the
    memory adapts. policy_gradient: PPO on the one nominal task."""

    env_name: Annotated[str, tyro.conf.arg(aliases=["--env"])] = "CartPole-v1"
    """Family of tasks, or any Gymnasium id; `ssm-metarl envs` lists them."""

    num_epochs: Annotated[int | None, tyro.conf.arg(aliases=["--epochs"])] = None
    """meta_rl, rl2: iterations. Each samples new tasks, meets them and improves the policy; None
    is 40 for meta_rl (150 with --memory trial) and 80 for rl2."""

    num_episodes: Annotated[int, tyro.conf.arg(aliases=["--episodes"])] = 200
    """policy_gradient: episodes in all."""

    tasks_per_epoch: int | None = None
    """meta_rl, rl2: tasks per iteration; None is 16 for meta_rl and 32 for rl2."""

    episodes_per_task: int = 20
    """meta_rl: episodes per task before, and as many again after, each inner update."""

    episodes_per_trial: int = 4
    """Episodes of one task in a row, through which the memory lasts (rl2, or --memory trial)."""

    inner_lr: float | None = None
    """meta_rl: rate of the inner step, on the policy gradient summed over an episode's steps;
    None takes the family's, or 0.03 for discrete actions and 0.01 for continuous ones."""

    outer_lr: Annotated[float | None, tyro.conf.arg(aliases=["--lr"])] = None
    """Rate of the optimiser (Adam); None is 0.003 for rl2; for meta_rl the family's, or 0.005
    with discrete actions and else 0.01; and 0.01 for policy_gradient."""

    inner_steps: int = 1
    """meta_rl: gradient steps per task."""

    outer_epochs: int | None = None
    """meta_rl: outer gradient steps on the data of one iteration; None is 3, or 8 with --memory
    trial."""

    support_steps: int | None = None
    """Step limit of the episodes to adapt from (meta_rl), or of those of the first iteration, from
    where it grows (rl2); None takes the family's (twice that with --memory trial), or a tenth of
    query_steps."""

    query_steps: int | None = None
    """Step limit of the episodes after adaptation (meta_rl), or that they grow to (rl2); None
    takes the family's."""

    discount: float | None = None
    """Discount per step; None takes the family's."""

    adaptation_discount: float | None = None
    """meta_rl: discount of the data a trained agent adapts from; None takes the family's."""

    gae_lambda: Annotated[float | None, tyro.conf.arg(aliases=["--trace"])] = None
    """Lambda of the generalised advantages; None is 1 for meta_rl, 0.95 for rl2 and 0.98 for
    policy_gradient."""

    clip: float = 0.2
    """Clipping range of the likelihood ratio."""

    entropy: float = 0.0
    """Weight of the entropy bonus."""

    support_weight: float | None = None
    """meta_rl: weight of the return before adapting in what is learned; None takes the family's, or
    1 with --memory trial."""

    max_grad_norm: float = 1.0
    """Bound on the norm of a gradient of the optimiser."""

    surrogate: Literal["lvc", "dice", "emaml", "prediction"] = "lvc"
    """meta_rl: inner loss; docs/gradients.md compares the first three. prediction adapts by
    learning to predict observations, and so needs no rewards of a new task."""

    first_order: bool = False
    """meta_rl: treat the inner gradient as a constant."""

    learn_inner_lr: bool = False
    """meta_rl: also learn an inner rate for every parameter, starting at inner_lr."""

    cell: Literal["ssm", "gated", "gru", "mlp"] = "ssm"
    """Memory: ssm (diagonal complex), gated (input-dependent ssm), gru, or mlp (none)."""

    width: int | None = None
    """Features per block; None is 64 for rl2, and else 32."""

    state_size: int | None = None
    """State size of each block; None is 32 for rl2, and else 16."""

    blocks: int | None = None
    """Number of blocks; None is 2 for rl2, and else 1."""

    norm: bool = False
    """Normalise the input of each block."""

    trial_inputs: bool = False
    """Also show the policy its previous action and reward; a memory of a trial always sees them."""

    memory: Literal["episode", "trial"] | None = None
    """What the hidden state lasts for; None is a trial for rl2, and else an episode. meta_rl with a
    memory of a trial learns to adapt in both ways: in context, and by gradient steps."""

    experience: int = 1_000_000
    """meta_rl: steps of earlier tasks kept on disk, for hybrid adaptation; the newest ones stay."""

    validate_every: int = 10
    """meta_rl, rl2: iterations between looks at the validation tasks."""

    validation_tasks: int = 20
    """meta_rl, rl2: number of validation tasks; the best policy on them is the one kept."""

    seed: int = 0
    """Seed of everything random in the run."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Where tensors live."""

    trust_env_code: bool = False
    """Allow env ids of the form module:Env-v0, which import and run code."""

    def validate(self) -> None:
        """Refuse values that make no sense.

        Raises:
            UserError: Naming the flag, its value and what would be valid.
        """
        for name in AT_LEAST_ONE:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name} is {value}; it must be at least 1")
        for name, most in MOST.items():
            value = getattr(self, name)
            if value is not None and value > most:
                raise UserError(f"--{name} is {value}; it must be at most {most}")
        for name in POSITIVE:
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise UserError(f"--{name} is {value}; it must be positive and finite")
        for name in FRACTIONS:
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise UserError(f"--{name} is {value}; it must be between 0 and 1")
        if self.surrogate == "prediction" and self.first_order:
            raise UserError(
                "--first_order: --surrogate prediction is learned through the inner step, which "
                "first order treats as a constant; leave one of them out"
            )
        if self.surrogate == "emaml" and self.tasks_per_epoch == 1:
            raise UserError(
                f"--tasks_per_epoch is {self.tasks_per_epoch}; --surrogate emaml needs at least 2, "
                "as it compares each task with the others"
            )
        if self.memory == "trial" and self.cell == "mlp":
            raise UserError("--memory trial: --cell mlp has no memory; valid: ssm, gated, gru")
        if self.adapts_both_ways:
            episodes, each = self.episodes_per_task, self.episodes_per_trial
            if episodes % each:
                raise UserError(
                    f"--episodes_per_task is {episodes}; with --memory trial it must be a multiple "
                    f"of --episodes_per_trial, which is {each}"
                )
        if not (self.entropy >= 0 and math.isfinite(self.entropy)):
            raise UserError(f"--entropy is {self.entropy}; it must not be negative")
        weight = self.support_weight
        if weight is not None and not (weight >= 0 and math.isfinite(weight)):
            raise UserError(f"--support_weight is {weight}; it must not be negative")
        if self.experience < 0:
            raise UserError(f"--experience is {self.experience}; it must not be negative")
        if self.seed < 0:
            raise UserError(f"--seed is {self.seed}; it must not be negative")

    @property
    def adapts_both_ways(self) -> bool:
        """Whether it is meta-trained with a memory of a trial: to adapt in context and by steps."""
        return self.mode == "meta_rl" and self.memory == "trial"

    def unused(self) -> list[str]:
        """Return the settings that were changed though the mode has no use for them."""
        usual = TrainConfig()
        return [
            name
            for name, modes in USED_BY.items()
            if self.mode not in modes and getattr(self, name) != getattr(usual, name)
        ]

    def to_json(self) -> str:
        """Return the configuration as readable JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "TrainConfig":
        """Read what :meth:`to_json` wrote.

        Raises:
            UserError: Malformed JSON, an unknown or missing name, or a value of the wrong type.
        """
        try:
            values: Any = parse_json(text.encode())
        except ValueError as error:
            raise UserError(f"config.json is not valid JSON: {error}") from error
        config = read_fields(cls, values, "config.json")
        missing = [name for name in ("mode", "env_name") if name not in values]
        if missing:
            raise UserError(f"config.json does not say {' and '.join(missing)}")
        config.validate()
        return config
