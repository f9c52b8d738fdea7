"""The video of one task, before and after adaptation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.env_runner.family import Parameter, TaskFamily, Tasks
from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.evaluate import Measurement
from ssm_metarl.evaluation.report import counted, label
from ssm_metarl.video.episode import RecordedEpisode, frames_per_second
from ssm_metarl.video.writer import write_side_by_side


@dataclass(frozen=True)
class BeforeAfter:
    """What a video shows.

    Attributes:
        task: Number of the task in its set.
        before: Return of the left clip: the agent as it was.
        after: Return of the right clip: the agent after one gradient step.
    """

    task: int
    before: float
    after: float


def task_groups(family: TaskFamily, tasks: Tasks) -> list[str] | None:
    """Return `swap = 1` or the like for each task, by the first choice; None if there is none."""
    parameter = _choice(family)
    if parameter is None:
        return None
    return [f"{parameter.name} = {value:g}" for value in tasks.values[parameter.name]]


def choose_task(family: TaskFamily, tasks: Tasks) -> int:
    """Return the first task whose controls are not the usual ones, or else the first."""
    parameter = _choice(family)
    if parameter is None:
        return 0
    return int(np.argmax(tasks.values[parameter.name] != parameter.default))


def write_before_after(
    agent: Agent,
    family: TaskFamily,
    tasks: Tasks,
    measured: Sequence[Measurement],
    path: Path,
    seed: int,
) -> BeforeAfter:
    """Record an episode before and one after adaptation, from the same start, side by side.

    Both sample their actions with the same seed.

    Args:
        agent: The agent as it was trained.
        family: Of the tasks.
        tasks: Those that were evaluated; :func:`choose_task` chooses one.
        measured: Of the evaluation; the agent after :func:`shown_result` plays on the right.
        path: The `.mp4` to write.
        seed: Of the start and of the sampling.

    Raises:
        UserError: No mode with gradient steps was measured, the packages for videos are missing,
            or the environment cannot be drawn.
        EnvironmentFailure: The environment raised an error.
    """
    number = choose_task(family, tasks)
    shown = shown_result(measured)
    params = {
        name: value[number] if value.ndim > agent.params[name].ndim else value
        for name, value in shown.params.items()
    }
    name, episodes = label(shown.result.mode, 1), counted(shown.result.shots, "episode")
    before, after = record_side_by_side(
        (agent, agent.with_params(params)),
        family,
        tasks[number],
        (seed, seed),
        ("before adapting", f"{name} on {episodes}"),
        path,
    )
    return BeforeAfter(number, before, after)


def shown_result(measured: Sequence[Measurement]) -> Measurement:
    """Return the first gradient step from the most episodes, of standard if it was measured.

    Raises:
        UserError: No mode with gradient steps was measured.
    """
    for mode in ("standard", "hybrid"):
        rows = [one for one in measured if (one.result.mode, one.result.steps) == (mode, 1)]
        if rows:
            return max(rows, key=lambda one: one.result.shots)
    raise UserError("neither standard nor hybrid was measured, so there is nothing to compare")


def record_side_by_side(
    agents: tuple[Agent, Agent],
    family: TaskFamily,
    task: Tasks,
    seeds: tuple[int, int],
    captions: tuple[str, str],
    path: Path,
    *,
    episodes_before: int = 0,
) -> tuple[float, float]:
    """Record an episode of each of two agents, side by side.

    Args:
        agents: The left one and the right one.
        family: Of the task.
        task: A set of one.
        seeds: Of the start and of the sampling of each.
        captions: What is written above the clips.
        path: The `.mp4` to write.
        episodes_before: Episodes that the right one has in memory when its clip starts.

    Returns:
        The returns of the two episodes.

    Raises:
        UserError: The packages for videos are missing, or the environment cannot be drawn.
        EnvironmentFailure: The environment raised an error.
    """
    fps = frames_per_second(family, task)
    left = RecordedEpisode(agents[0], family, task, seeds[0], 0)
    right = RecordedEpisode(agents[1], family, task, seeds[1], episodes_before)
    write_side_by_side(left.frames(), right.frames(), captions, path, fps)
    return left.total, right.total


def _choice(family: TaskFamily) -> Parameter | None:
    return next((parameter for parameter in family.parameters if parameter.choices), None)
