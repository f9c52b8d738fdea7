"""``ssm-metarl adapt``: one agent, one task, episode by episode."""

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.table import Table

from ssm_metarl.checkpoint.files import check_writable
from ssm_metarl.commands.common import (
    attempt,
    best_return,
    made,
    naming_flag,
    refuse_unused,
    use_one_thread,
)
from ssm_metarl.console import INTERRUPTED, Bar, Interruption, show
from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.errors import CheckpointError, SsmMetaRLError, UserError
from ssm_metarl.evaluation.modes import EXPLAINED
from ssm_metarl.evaluation.report import MODES, counted
from ssm_metarl.training.settings import check_settings, setting

if TYPE_CHECKING:  # they import torch
    from ssm_metarl.adaptation.agent import Agent
    from ssm_metarl.adaptation.online import AdaptProgress
    from ssm_metarl.env_runner.family import TaskFamily

UNUSED_BY = {
    "zero_shot": ("steps", "guard"),
    "in_context": ("steps", "guard"),
    "standard": (),
    "hybrid": (),
}
MEASURED_EPISODES = 20
MEASURE_STREAM = 3
SHOWN_MATCHES = 3


@dataclass(frozen=True)
class Adapt:
    """Adapt an agent to one task, episode by episode, and see what it was worth."""

    run: str = setting(
        help="The folder of a run or of a saved agent, or hf://owner/name.",
        positional=True,
        metavar="RUN",
    )
    mode: str = setting(
        "standard",
        help=f"How to adapt. {'; '.join(f'{mode}: {EXPLAINED[mode]}' for mode in UNUSED_BY)}.",
        choices=tuple(UNUSED_BY),
    )
    task: str = setting(
        "",
        help="Parameters of the task, such as gravity=12,length=1.0; the others are nominal.",
        metavar="NAME=VALUE,...",
    )
    episodes: int = setting(
        20,
        help="Episodes per gradient step; in all for the modes without steps.",
        least=1,
        most=100_000,
    )
    steps: int = setting(1, help="Gradient steps.", least=1, most=1_000)
    guard: bool = setting(True, help="Undo a step that the episodes played show to do harm.")
    save: Path | None = setting(
        None,
        help="Also save the adapted agent, in a new folder.",
        unset="not saved",
        metavar="FOLDER",
    )
    out: Path | None = setting(
        None,
        help="Where the figure and the video go.",
        unset="RUN/adapt/MODE",
        metavar="FOLDER",
    )
    video: bool = setting(True, help="Record the task before and after adapting.")
    seed: int = setting(0, help="Seed of everything random in the adaptation.", least=0)
    trust_env_code: bool = setting(
        False,
        help="Allow an agent whose environment is of the form module:Env-v0, which runs code.",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.out and self.out.exists() and not self.out.is_dir():
            raise UserError(f"--out {self.out} is no folder; name a folder")
        _ = self.task_values

    @property
    def task_values(self) -> dict[str, float]:
        """The task's parameters.

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


def run(asked: Adapt, given: Collection[str]) -> int:
    """Adapt an agent to one task; show how it went and what it was worth; return the exit code.

    Raises:
        UserError: A mode, task parameter or folder that is not valid.
        CheckpointError: The agent is damaged.
    """
    from ssm_metarl.training.loading import agent_family, check_free, load, locate

    refuse_unused([name for name in UNUSED_BY[asked.mode] if name in given], asked.mode)
    use_one_thread()
    place = locate(asked.run)
    agent = load(place, trust_env_code=asked.trust_env_code)
    family = agent_family(agent, trust_env_code=asked.trust_env_code)
    with naming_flag("task"):
        task = family.task(**asked.task_values)
    if asked.save:
        with naming_flag("save"):
            check_free(asked.save)
            check_writable(asked.save)
    folder = asked.out or place / "adapt" / asked.mode
    with naming_flag("out"):
        check_writable(folder)
    records, stopped = _follow(agent, family, task, asked)
    adapted = records[-1].agent if records else agent
    before, after = _measure(agent, adapted, family, task, records, asked)
    show(_table(family, task, records, asked, before, after))
    _tell_what_happened(records)
    learned = asked.mode not in ("standard", "hybrid") or bool(records and records[-1].steps)
    if not learned:
        print("Stopped before the first gradient step: the agent is as it was, and is not saved.")
    elif asked.save:
        made("agent", _saved(adapted, asked.save))
    if records:
        attempt("figure", lambda: _draw(records, after, agent, family, asked, folder))
    if asked.video:
        attempt("video", lambda: _record(agent, adapted, family, task, asked, folder))
    return INTERRUPTED if stopped else 0


def _draw(
    records: list["AdaptProgress"],
    after: np.ndarray,
    agent: "Agent",
    family: "TaskFamily",
    asked: Adapt,
    folder: Path,
) -> object:
    """Draw the returns of the episodes played."""
    from ssm_metarl.evaluation.figures import episode_curve, write_png

    horizon = agent.config.horizon
    whole = asked.mode == "in_context" or horizon >= family.max_episode_steps
    figure = episode_curve(
        records,
        float(after.mean()),
        family=family.name,
        best=best_return(family),
        cut=None if whole else horizon,
    )
    return write_png(figure, folder / "episodes.png")


def _saved(agent: "Agent", folder: Path) -> Path:
    from ssm_metarl.training.loading import save

    try:
        return save(agent, folder)
    except CheckpointError as error:  # a full disk: nothing the user wrote is wrong
        raise SsmMetaRLError(str(error)) from error


def _follow(
    agent: "Agent", family: "TaskFamily", task: Tasks, asked: Adapt
) -> tuple[list["AdaptProgress"], bool]:
    """Play and learn, showing each episode; return the records, and whether it was stopped."""
    from ssm_metarl.adaptation.online import adapt

    records: list[AdaptProgress] = []
    learns = asked.mode in ("standard", "hybrid")
    env = family.gymnasium(task)
    stream = adapt(
        agent,
        env,
        asked.mode,
        episodes=asked.episodes,
        steps=asked.steps,
        guarded=asked.guard,
        seed=asked.seed,
    )
    with Interruption() as interruption, Bar(f"{asked.mode} {family.name}") as bar:
        for record in stream:
            records.append(record)
            taken = f"; {counted(record.steps, 'gradient step')}" if learns else ""
            text = f"return {record.returns.mean():.1f}{taken}"
            bar.update(record.episodes, record.total, text)
            if interruption.asked:
                break
    env.close()
    return records, interruption.asked


def _measure(
    agent: "Agent",
    adapted: "Agent",
    family: "TaskFamily",
    task: Tasks,
    records: list["AdaptProgress"],
    asked: Adapt,
) -> tuple[np.ndarray, np.ndarray]:
    """Return what the agent earns before and after, on episodes that nothing is learned from."""
    remembered = records[-1].episodes if records and asked.mode == "in_context" else 0
    with contextlib.closing(family.reusing()) as kept:
        return (
            _measured(agent, kept, task, asked.seed, 0),
            _measured(adapted, kept, task, asked.seed, remembered),
        )


def _table(
    family: "TaskFamily",
    task: Tasks,
    records: list["AdaptProgress"],
    asked: Adapt,
    before: np.ndarray,
    after: np.ndarray,
) -> Table:
    """Lay out what the agent earns before and after."""
    table = Table(
        title=f"{family.name}\n{task.describe(0)}",
        caption=f"Mean return of {MEASURED_EPISODES} complete episodes that nothing is learned "
        "from.\nEpisodes and env steps: what adaptation used of the task.",
        box=box.SIMPLE_HEAD,
        title_style="bold",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("Mode")
    for name in ("Episodes", "Env steps", "Mean return", "Worst", "Best"):
        table.add_column(name, justify="right")
    used = (records[-1].episodes, records[-1].environment_steps) if records else (0, 0)
    rows = [(MODES["zero_shot"], (0, 0), before), (MODES[asked.mode], used, after)]
    for name, (episodes, steps), returns in rows[: 1 + (asked.mode != "zero_shot")]:
        numbers = (f"{value:.1f}" for value in (returns.mean(), returns.min(), returns.max()))
        table.add_row(name, f"{episodes:,}", f"{steps:,}", *numbers)
    return table


def _measured(
    agent: "Agent", family: "TaskFamily", task: Tasks, seed: int, remembered: int
) -> np.ndarray:
    """Return the returns of fresh episodes, or of those that come after others in a trial."""
    from numpy.random import SeedSequence

    from ssm_metarl.env_runner.streams import substream
    from ssm_metarl.evaluation.evaluate import mean_returns, play_trials

    own = substream(SeedSequence(seed), MEASURE_STREAM)
    lanes = Tasks(
        {name: column.repeat(MEASURED_EPISODES) for name, column in task.values.items()},
        np.arange(MEASURED_EPISODES),
    )
    if not remembered:
        return mean_returns(agent.policy, agent.params, family, lanes, 1, own)
    trials = play_trials(agent.policy, agent.params, family, lanes, 1, remembered + 1, own)
    return trials.returns[-1]


def _tell_what_happened(records: list["AdaptProgress"]) -> None:
    """Say what was recalled and undone, where it was."""
    for record in records:
        if record.rolled_back:
            print(
                f"After {counted(record.episodes, 'episode')} the last step was seen to do harm "
                "and was undone."
            )
        recalled = record.recalled
        if recalled is None:
            continue
        if not bool((recalled.weight > 0).any()):
            print("No earlier task resembles this one, so none was recalled.")
            continue
        own = float(recalled.own[0])
        best = zip(recalled.tasks[0].tolist(), recalled.weight[0].tolist(), strict=True)
        named = [f"task {task} ({weight:.0%})" for task, weight in list(best)[:SHOWN_MATCHES]]
        print(
            f"Recalled {len(recalled.tasks[0])} earlier tasks, most of all {', '.join(named)}; "
            f"the own episodes weigh {own:.0%}."
        )


def _record(
    agent: "Agent", adapted: "Agent", family: "TaskFamily", task: Tasks, asked: Adapt, folder: Path
) -> str:
    from ssm_metarl.video.before_after import record_side_by_side

    if asked.mode == "zero_shot":  # there is no after: another episode tells more than the same
        path = folder / "episodes.mp4"
        seeds, captions = (asked.seed, asked.seed + 1), ("zero-shot", "zero-shot, another episode")
        one, other = record_side_by_side((agent, agent), family, task, seeds, captions, path)
        return f"{path}\n{'':<18}return {one:.1f} in one episode, {other:.1f} in another"
    path = folder / "before-after.mp4"
    episodes = counted(asked.episodes, "episode")
    remembered = asked.episodes if asked.mode == "in_context" else 0
    what = f"after {episodes}" if remembered else f"{MODES[asked.mode]}, {episodes} per step"
    before, after = record_side_by_side(
        (agent, adapted),
        family,
        task,
        (asked.seed, asked.seed),
        ("before adapting", what),
        path,
        episodes_before=remembered,
    )
    return f"{path}\n{'':<18}return {before:.1f} before adapting, {after:.1f} after"
