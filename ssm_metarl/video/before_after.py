"""The video of one task, met by the agent before and after it adapted."""

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import SeedSequence

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.adaptation.session import Session
from ssm_metarl.adaptation.standard import adapt_tasks
from ssm_metarl.env_runner.family import Parameter, TaskFamily, Tasks
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.errors import UserError
from ssm_metarl.evaluation.evaluate import ADAPTATION_STREAM, EvaluationPlan, task_source
from ssm_metarl.evaluation.report import counted
from ssm_metarl.video.writer import Frame, write_side_by_side

DEFAULT_FPS = 30  # of environments that do not say


@dataclass(frozen=True)
class Showcase:
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
    agent: Agent, family: TaskFamily, tasks: Tasks, plan: EvaluationPlan, path: Path
) -> Showcase:
    """Film one episode before and one after adapting, from the same start, side by side.

    The adaptation is the first step that :func:`ssm_metarl.evaluation.evaluate.evaluate` takes on
    this task with the same plan, and both clips sample their actions with the same seed: nothing
    is picked for its looks.

    Args:
        agent: The agent as it was trained.
        family: Of the tasks.
        tasks: Where :func:`choose_task` finds the task to show.
        plan: Its largest budget is adapted from; and the seed.
        path: The `.mp4` to write.

    Raises:
        UserError: The packages for videos are missing, or the environment cannot be drawn.
    """
    number = choose_task(family, tasks)
    task, episodes = tasks[number], max(plan.budgets)
    adapted = adapted_agent(agent, family, task, plan)
    captions = ("before adapting", f"after 1 step on {counted(episodes, 'episode')}")
    before, after = film((agent, adapted), family, task, (plan.seed, plan.seed), captions, path)
    return Showcase(number, before, after)


def film(
    agents: tuple[Agent, Agent],
    family: TaskFamily,
    task: Tasks,
    seeds: tuple[int, int],
    captions: tuple[str, str],
    path: Path,
    *,
    episodes_before: int = 0,
) -> tuple[float, float]:
    """Film an episode of each of two agents, side by side.

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
    """
    fps = frames_per_second(family, task)
    left = FilmedEpisode(agents[0], family, task, seeds[0], 0)
    right = FilmedEpisode(agents[1], family, task, seeds[1], episodes_before)
    write_side_by_side(left.frames(), right.frames(), captions, path, fps)
    return left.total, right.total


def adapted_agent(
    agent: Agent,
    family: TaskFamily,
    task: Tasks,
    plan: EvaluationPlan,
    *,
    steps: int = 1,
    memory: Memory | None = None,
) -> Agent:
    """Return the agent after gradient steps on one task (K = 1), those of the evaluation."""
    *_, last = adapt_tasks(
        agent,
        task_source(agent, family, task),
        episodes=max(plan.budgets),
        steps=steps,
        seed=substream(SeedSequence(plan.seed), ADAPTATION_STREAM),
        memory=memory,
        guarded=plan.guarded,
    )
    return agent.with_params(last.params)


def _choice(family: TaskFamily) -> Parameter | None:
    return next((parameter for parameter in family.parameters if parameter.choices), None)


def frames_per_second(family: TaskFamily, task: Tasks) -> int:
    """Return how many steps of an environment are a second.

    Raises:
        UserError: It cannot be drawn.
    """
    env = family.gymnasium(task)
    metadata = env.metadata
    env.close()
    if "rgb_array" not in metadata.get("render_modes", ()):
        raise UserError(f"{family.name} cannot draw itself")
    return int(metadata.get("render_fps", DEFAULT_FPS))


class FilmedEpisode:
    """One episode, played as it is filmed.

    Attributes:
        total: Its return so far.
        steps: Its length so far.
        ended: Whether it is over.
    """

    def __init__(
        self, agent: Agent, family: TaskFamily, task: Tasks, seed: int, episodes_before: int
    ) -> None:
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame looks for a screen otherwise
        self.session = Session(agent, "in_context" if episodes_before else "zero_shot", seed=seed)
        self.seed, self.episodes_before = seed, episodes_before
        self.total, self.steps, self.ended = 0.0, 0, False
        self.env = family.gymnasium(task, render_mode="rgb_array")

    def frames(self, every: int = 1) -> Generator[Frame, None, None]:
        """Yield the picture at the start and after every so many steps, and the last one."""
        try:
            for number in range(self.episodes_before):
                for _ in self._episode(self.seed + 1 + number):
                    pass
            self.total, self.steps = 0.0, 0
            for over in self._episode(self.seed):
                self.ended = over
                if self.ended or self.steps % every == 0:
                    yield self._picture()
        finally:
            self.env.close()

    def _episode(self, seed: int) -> Iterator[bool]:
        """Play an episode; yield at its start and after every step whether it has ended."""
        observation, _ = self.env.reset(seed=seed)
        done = False
        yield done
        while not done:
            action = self.session.act(observation)
            observation, reward, terminated, truncated, _ = self.env.step(action)
            self.session.observe(float(reward), terminated, truncated, observation)
            self.total, self.steps = self.total + float(reward), self.steps + 1
            done = terminated or truncated
            yield done

    def _picture(self) -> Frame:
        try:
            return np.asarray(self.env.render())
        except Exception as error:  # what a foreign environment raises is its own business
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"the environment could not be drawn: {reason}") from error
