"""The flags of each command; their documentation is what `--help` shows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.modes import EXPLAINED
from ssm_metarl.training.config import TrainConfig

UNUSED_BY = {
    "zero_shot": ("steps", "guard"),
    "in_context": ("steps", "guard"),
    "standard": (),
    "hybrid": (),
}

MOST_EPISODES = 10_000
MOST = {"tasks": 10_000, "steps": 1_000, "episodes": 100_000}


def _meeting() -> str:
    told = (f"{mode}: {words}" for mode, words in EXPLAINED.items() if mode in UNUSED_BY)
    return f"How to meet the task. {'; '.join(told)}."


@dataclass(frozen=True)
class Train:
    """Train an agent: meta-train it on a family of tasks, or plainly on one task."""

    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = TrainConfig()  # noqa: RUF009 (frozen)

    run_dir: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """The run's folder, which must not exist yet; None for runs/env-mode-time."""

    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Continue the run in --run_dir, with the settings it was started with."""

    track: Literal["none", "tensorboard", "trackio", "wandb"] = "none"
    """Where to show the metrics, besides metrics.jsonl."""


@dataclass(frozen=True)
class Evaluate:
    """Compare the ways of meeting tasks that the agent has never seen."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of a run, or of a saved agent."""

    modes: str | None = None
    """Ways of meeting a task, with commas between them: zero_shot, in_context, standard, hybrid
    and from_scratch; None for all that the agent knows."""

    tasks: int = 100
    """Number of tasks."""

    episodes: str = "1,2,5,10,20"
    """Episodes of each task to adapt from, with commas between: the return is measured after one
    gradient step from each of these numbers of them."""

    steps: int = 3
    """Gradient steps, each from as many episodes as the largest number of them; the return is
    measured after each."""

    guard: bool = True
    """Go back where the episodes played show that a step did harm."""

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

    @property
    def budgets(self) -> tuple[int, ...]:
        """Return the numbers of episodes.

        Raises:
            UserError: They are not whole numbers from 1 up.
        """
        parts = [part.strip() for part in self.episodes.split(",")]
        if not all(part.isdecimal() and 1 <= int(part) <= MOST_EPISODES for part in parts):
            raise UserError(
                f"--episodes is {self.episodes!r}; valid are whole numbers from 1 to "
                f"{MOST_EPISODES} with commas between, such as 1,5,20"
            )
        return tuple(map(int, parts))

    def validate(self) -> None:
        """Refuse what makes no sense, before any work.

        Raises:
            UserError: Naming the flag and what would be valid.
        """
        check_counts(self, "tasks", "steps")
        _ = self.budgets
        if self.seed < 0:
            raise UserError(f"--seed is {self.seed}; it must not be negative")
        if self.json and self.json.is_dir():
            raise UserError(f"--json {self.json} is a folder; name a file")
        if self.json and not self.json.parent.is_dir():
            raise UserError(f"--json {self.json}: there is no folder {self.json.parent}")


@dataclass(frozen=True)
class Adapt:
    """Adapt an agent to one task, episode by episode, and see what it was worth."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of a run, or of a saved agent."""

    mode: Annotated[
        Literal["zero_shot", "in_context", "standard", "hybrid"], tyro.conf.arg(help=_meeting())
    ] = "standard"

    task: Annotated[str, tyro.conf.arg(metavar="NAME=VALUE,...")] = ""
    """Parameters of the task, such as gravity=12,length=1.0; the others are nominal."""

    episodes: int = 20
    """Episodes per gradient step; in all for the modes without steps."""

    steps: int = 1
    """Gradient steps."""

    guard: bool = True
    """Go back where the episodes played show that a step did harm."""

    save: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Also save the adapted agent, in a new folder."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Where the figure and the video go; None for RUN/adapt/MODE."""

    video: bool = True
    """Film the task before and after adapting."""

    seed: int = 0
    """Seed of everything random in the adaptation."""

    trust_env_code: bool = False
    """Allow an agent whose environment is of the form module:Env-v0, which runs code."""

    def task_values(self) -> dict[str, float]:
        """Return the task's parameters.

        Raises:
            UserError: Something is not of the form NAME=VALUE, or named twice.
        """
        values: dict[str, float] = {}
        for part in filter(None, (part.strip() for part in self.task.split(","))):
            name, equals, text = part.partition("=")
            try:
                value = float(text)
            except ValueError:
                equals, value = "", 0.0
            if not equals or name.strip() in values:
                raise UserError(
                    f"--task: {part!r} is not valid; write each parameter once as NAME=VALUE, "
                    "such as gravity=12,length=1.0"
                )
            values[name.strip()] = value
        return values

    def unused(self) -> list[str]:
        """Return the flags that were changed though the mode has no use for them."""
        usual = Adapt(self.run)
        return [n for n in UNUSED_BY[self.mode] if getattr(self, n) != getattr(usual, n)]

    def validate(self) -> None:
        """Refuse what makes no sense, before any work.

        Raises:
            UserError: Naming the flag and what would be valid.
        """
        check_counts(self, "episodes", "steps")
        if self.out and self.out.exists() and not self.out.is_dir():
            raise UserError(f"--out {self.out} is no folder; name a folder")
        if self.seed < 0:
            raise UserError(f"--seed is {self.seed}; it must not be negative")
        _ = self.task_values()


def check_counts(flags: object, *names: str) -> None:
    """Refuse numbers below 1, and such as no machine has the time or memory for.

    Raises:
        UserError: Naming the flag.
    """
    for name in names:
        value = getattr(flags, name)
        if value < 1:
            raise UserError(f"--{name} is {value}; it must be at least 1")
        if value > MOST[name]:
            raise UserError(f"--{name} is {value}; it must be at most {MOST[name]}")


@dataclass(frozen=True)
class Envs:
    """List the families of tasks, their parameters and ranges."""


@dataclass(frozen=True)
class App:
    """Open the web page: watch agents adapt, train and compare them."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other machines in, see SECURITY.md first."""

    port: int = 7860
    """Port to listen on."""

    runs: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("runs")
    """Folder of the runs that it shows and makes."""

    def validate(self) -> None:
        """Refuse what makes no sense, before any work.

        Raises:
            UserError: Naming the flag and what would be valid.
        """
        if not 1 <= self.port <= 65535:
            raise UserError(f"--port is {self.port}; it must be from 1 to 65535")
        if self.runs.exists() and not self.runs.is_dir():
            raise UserError(f"--runs {self.runs} is no folder; name a folder")
