"""The video of one task, before and after adaptation."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import SeedSequence

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.standard import adapt_tasks
from ssm_metarl.analysis.linear_probe import probed_parameter
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.evaluate import Measurement
from ssm_metarl.evaluation.figures.style import GROUPS
from ssm_metarl.evaluation.report import ModeResult, counted, label
from ssm_metarl.video.episode import RecordedEpisode, frames_per_second
from ssm_metarl.video.writer import write_side_by_side


def task_groups(family: TaskFamily, tasks: Tasks) -> list[str] | None:
    """Return `swap = 1` or the like for each task, by the first choice.

    None if there is none, or more groups than can be told apart.
    """
    parameter = probed_parameter(family)
    if parameter is None:
        return None
    name = parameter.name
    groups = [f"{name} = {tasks.text(name, k)}" for k in range(len(tasks))]
    return groups if len(set(groups)) <= len(GROUPS) else None


def choose_task(family: TaskFamily, tasks: Tasks) -> int:
    """Return the first task whose controls are not the usual ones, or else the first."""
    parameter = probed_parameter(family)
    if parameter is None:
        return 0
    return int(np.argmax(tasks.values[parameter.name] != parameter.default))


@dataclass(frozen=True)
class Shown:
    """What plays on the right: the agent after one gradient step on a task, given by number.

    The result is what was measured on all tasks.
    """

    task: int
    agent: Agent
    result: ModeResult


def choose_result(shown: Shown | None, one: Measurement, agent: Agent, task: int) -> Shown | None:
    """Return which of two measurements to show; of `one`, only this task's parameters are kept.

    A first step of standard is preferred to one of hybrid, and then that of the most episodes.
    """

    def rank(result: ModeResult) -> tuple[bool, int]:
        return result.mode == "standard", result.shots

    if one.result.mode not in ("standard", "hybrid") or one.result.steps != 1:
        return shown
    if shown is not None and rank(shown.result) >= rank(one.result):
        return shown
    params = {
        name: value[task].clone() if value.ndim > agent.params[name].ndim else value
        for name, value in one.params.items()
    }
    return Shown(task, agent.with_params(params), one.result)


def write_before_after(
    agent: Agent, shown: Shown | None, family: TaskFamily, tasks: Tasks, path: Path, seed: int
) -> tuple[float, float]:
    """Record an episode before and one after adaptation, with the same start and sampling.

    Returns:
        The returns of the two episodes.

    Raises:
        UserError: No mode with gradient steps was measured, or as for `record_side_by_side`.
    """
    if shown is None:
        raise UserError("neither standard nor hybrid was measured, so there is nothing to compare")
    name, episodes = label(shown.result.mode, 1), counted(shown.result.shots, "episode")
    captions = "before adapting", f"{name} on {episodes}"
    agents = agent, shown.agent
    return record_side_by_side(agents, family, tasks[shown.task], (seed, seed), captions, path)


def record_trained(agent: Agent, family: TaskFamily, mode: str, path: Path, seed: int) -> None:
    """Record what an agent has learned to do by a mode of training, on a task of validation.

    That is an episode before and one after a gradient step, or the first and the last of a trial;
    two episodes of the task that plain policy gradients train on.

    Raises:
        UserError, EnvironmentFailure: As for :func:`record_side_by_side`.
        DivergenceError: The adapted parameters are not finite.
    """
    own, tasks = agent.config, family.validation()
    task, seeds = tasks[choose_task(family, tasks)], (seed, seed)
    after, captions, episodes_before = agent, ("one episode", "another"), 0
    if mode == "policy_gradient":
        task, seeds = family.nominal(), (seed, seed + 1)
    elif agent.policy.config.memory == "trial":
        captions = "episode 1", f"episode {own.episodes_per_trial}"
        episodes_before = own.episodes_per_trial - 1
    else:
        source, episodes = SeedSequence(seed), own.episodes
        *_, last = adapt_tasks(agent, family, task, episodes=episodes, steps=1, seed=source)
        after = agent.with_params(last.params)
        captions = "before adapting", f"after one step on {counted(episodes, 'episode')}"
    pair = agent, after
    record_side_by_side(pair, family, task, seeds, captions, path, episodes_before=episodes_before)


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
    """Record an episode of each of two agents, side by side; return the returns of both.

    Args:
        agents: The left one and the right one.
        family: Of the task.
        task: A set of one.
        seeds: Of the start and of the sampling of each.
        captions: Text above the clips.
        path: The `.mp4` to write.
        episodes_before: Episodes that the right one has in memory when its clip starts.

    Raises:
        UserError: The packages for videos are missing, or the environment cannot be drawn.
        EnvironmentFailure: The environment raised an error.
    """
    fps = frames_per_second(family, task)
    left = RecordedEpisode(agents[0], family, task, seeds[0], 0)
    right = RecordedEpisode(agents[1], family, task, seeds[1], episodes_before)
    write_side_by_side(left.frames(), right.frames(), captions, path, fps)
    return left.total, right.total
