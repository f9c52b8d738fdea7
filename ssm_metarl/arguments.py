"""The flags of each command; their documentation is what `--help` shows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ssm_metarl.errors import UserError
from ssm_metarl.runs.config import TrainConfig


@dataclass(frozen=True)
class Train:
    """Train an agent: meta-train it on a family of tasks, or plainly on one task."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = TrainConfig()  # noqa: RUF009 (frozen)

    run_dir: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """The run's folder, which must not exist yet; None for runs/ENV-MODE-TIME."""

    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Continue the run in --run_dir, with the settings it was started with."""

    track: Literal["none", "tensorboard", "trackio", "wandb"] = "none"
    """Where to show the metrics, besides metrics.jsonl."""


@dataclass(frozen=True)
class Evaluate:
    """Compare the ways of meeting tasks that the agent has never seen."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of a run."""

    modes: str | None = None
    """Ways of meeting a task, with commas between them: zero_shot, in_context, standard and
    from_scratch; None for all that the agent knows."""

    tasks: int = 100
    """Number of tasks."""

    episodes: int = 20
    """Episodes of each task to adapt from, per gradient step."""

    steps: int = 3
    """Gradient steps; the return is measured after each."""

    split: Literal["held_out", "shifted", "validation"] = "held_out"
    """Which tasks: shifted ones lie outside the training ranges."""

    seed: int = 0
    """Seed of everything random in the evaluation."""

    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Also write the results there, besides RUN/evaluation.json."""

    video: bool = True
    """Film one task before and after adapting."""

    trust_env_code: bool = False
    """Allow a run whose environment is of the form module:Env-v0, which imports and runs code."""

    def validate(self) -> None:
        """Refuse what makes no sense, before any work.

        Raises:
            UserError: Naming the flag and what would be valid.
        """
        for name in ("tasks", "episodes", "steps"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} is {getattr(self, name)}; it must be at least 1")
        if self.seed < 0:
            raise UserError(f"--seed is {self.seed}; it must not be negative")
        if self.json and self.json.is_dir():
            raise UserError(f"--json {self.json} is a folder; name a file")
        if self.json and not self.json.parent.is_dir():
            raise UserError(f"--json {self.json}: there is no folder {self.json.parent}")


@dataclass(frozen=True)
class Envs:
    """List the families of tasks, their parameters and ranges."""
