"""``ssm-metarl adapt``: one agent, one task, episode by episode."""

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ssm_metarl.checkpoint.files import check_writable
from ssm_metarl.commands.common import (
    FAMILY_FLAG,
    NOMINAL,
    RUN,
    TRUST,
    Loaded,
    attempt,
    check_results_folder,
    load_agent,
    made,
    naming_flag,
    refuse_no_folder,
    refuse_unused,
    task_values,
)
from ssm_metarl.commands.outcome import (
    Measured,
    mean_text,
    measured,
    outcome_table,
    tell_of_failures,
    tell_what_happened,
)
from ssm_metarl.console import INTERRUPTED, Bar, Interruption, show
from ssm_metarl.env_runner.tasks import Tasks
from ssm_metarl.errors import MAX_WHOLE, CheckpointError, SsmMetaRLError
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


@dataclass(frozen=True)
class Adapt:
    """Adapt an agent to one task, episode by episode, and see what it was worth."""

    run: str = setting(**RUN)
    mode: str = setting(
        "standard",
        f"How to adapt. {'; '.join(f'{mode}: {EXPLAINED[mode]}' for mode in UNUSED_BY)}.",
        choices=tuple(UNUSED_BY),
    )
    task: str = setting(
        NOMINAL,
        "Parameters of the task, such as gravity=12,length=1.0; the others are nominal.",
        metavar="NAME=VALUE,...",
    )
    episodes: int = setting(
        20, "Episodes per gradient step; in all for the modes without steps.", within=(1, 100_000)
    )
    steps: int = setting(1, "Gradient steps.", within=(1, 1_000))
    guard: bool = setting(True, "Undo a step that the episodes played show to do harm.")
    save: Path | None = setting(
        None, "Also save the adapted agent, in a new folder.", unset="not saved", metavar="FOLDER"
    )
    out: Path | None = setting(
        None, "Where the figure and the video go.", unset="RUN/adapt/MODE", metavar="FOLDER"
    )
    family: Path | None = setting(None, **FAMILY_FLAG)
    video: bool = setting(True, "Record the task before and after adapting.")
    seed: int = setting(0, "Seed of everything random in the adaptation.", within=(0, MAX_WHOLE))
    trust_env_code: bool = setting(False, TRUST)

    def __post_init__(self) -> None:
        check_settings(self)
        refuse_no_folder("out", self.out)
        _ = self.task_values

    @property
    def task_values(self) -> dict[str, float | str]:
        """The task's parameters, numbers or what they are called."""
        return task_values(self.task)

    @property
    def learns(self) -> bool:
        """Whether the mode takes gradient steps."""
        return self.mode in ("standard", "hybrid")


def run(asked: Adapt, given: Collection[str]) -> int:
    """Adapt an agent to one task; show how it went and what it was worth; return the exit code."""
    from ssm_metarl.training.loading import check_free, save

    refuse_unused([name for name in UNUSED_BY[asked.mode] if name in given], asked.mode)
    loaded = load_agent(asked.run, asked.family, asked.trust_env_code)
    agent, place, family = loaded
    with naming_flag("task"):
        task = family.task(**asked.task_values)
    if asked.save:
        with naming_flag("save"):
            check_free(asked.save)
            check_writable(asked.save)
    folder = asked.out or place / "adapt" / asked.mode
    check_results_folder(asked.out, folder)
    records, stopped = _follow(loaded, task, asked)
    adapted = records[-1].agent if records else agent
    remembered = records[-1].episodes if records and asked.mode == "in_context" else 0
    with contextlib.closing(family.reusing()) as kept:
        before = measured(agent, kept, task, asked.seed, 0)
        after = measured(adapted, kept, task, asked.seed, remembered)
    tell_of_failures(records, before, after)
    title = f"[bold]{family.name}\n{task.describe(0)}"
    show(outcome_table(title, asked.mode, records, before, after))
    for record in records:
        tell_what_happened(record)
    if asked.learns and not (records and records[-1].steps):
        print("Stopped before the first gradient step: the agent is as it was, and is not saved.")
    elif asked.save:
        try:
            made("agent", save(adapted, asked.save))
        except CheckpointError as error:  # a full disk: nothing the user wrote is wrong
            raise SsmMetaRLError(str(error)) from error
    if records:
        attempt("figure", lambda: _draw(loaded, records, after, asked, folder))
    if asked.video:
        attempt("video", lambda: _record((agent, adapted), family, task, asked, folder))
    return INTERRUPTED if stopped else 0


def _follow(loaded: Loaded, task: Tasks, asked: Adapt) -> tuple[list["AdaptProgress"], bool]:
    """Play and learn, showing each episode; return the records, and whether it was stopped."""
    from ssm_metarl.adaptation.online import adapt

    records: list[AdaptProgress] = []
    title = f"{asked.mode} {loaded.family.name}"
    with (
        contextlib.closing(loaded.family.gymnasium(task)) as env,
        Interruption() as interruption,
        Bar(title) as bar,
    ):
        for record in adapt(
            loaded.agent,
            env,
            asked.mode,
            episodes=asked.episodes,
            steps=asked.steps,
            guarded=asked.guard,
            seed=asked.seed,
        ):
            records.append(record)
            taken = f"; {counted(record.steps, 'gradient step')}" if asked.learns else ""
            solved = "" if record.success is None else f"; {record.success.mean():.0%} solved"
            text = f"return {mean_text(record.returns)}{solved}{taken}"
            bar.update(record.episodes, record.total, text)
            if interruption.asked:
                break
    return records, interruption.asked


def _draw(
    loaded: Loaded, records: list["AdaptProgress"], after: Measured, asked: Adapt, folder: Path
) -> object:
    """Draw the returns of the episodes played."""
    from ssm_metarl.evaluation.figures import episode_curve, write_png

    family, horizon = loaded.family, loaded.agent.config.horizon
    whole = asked.mode == "in_context" or horizon >= family.max_episode_steps
    figure = episode_curve(
        records,
        float(after.returns.mean()),
        family=family.name,
        best=family.best_return,
        cut=None if whole else horizon,
    )
    return write_png(figure, folder / "episodes.png")


def _record(
    agents: tuple["Agent", "Agent"], family: "TaskFamily", task: Tasks, asked: Adapt, folder: Path
) -> str:
    """Record an episode before and one after adapting; return where, and what they earned."""
    from ssm_metarl.video.before_after import record_side_by_side

    episodes = counted(asked.episodes, "episode")
    name, seeds, remembered = "before-after", (asked.seed, asked.seed), 0
    captions = "before adapting", f"{MODES[asked.mode]}, {episodes} per step"
    said = "return {:.1f} before adapting, {:.1f} after"
    if asked.mode == "in_context":
        captions, remembered = ("before adapting", f"after {episodes}"), asked.episodes
    elif asked.mode == "zero_shot":  # there is no after: another episode tells more than the same
        name, seeds = "episodes", (asked.seed, asked.seed + 1)
        captions = "zero-shot", "zero-shot, another episode"
        said = "return {:.1f} in one episode, {:.1f} in another"
    path = folder / f"{name}.mp4"
    returns = record_side_by_side(
        agents, family, task, seeds, captions, path, episodes_before=remembered
    )
    return f"{path}\n{said.format(*returns)}"
