"""Videos of the agents of an answer, for the player."""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.random import SeedSequence
from PIL import Image

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.adaptation.standard import adapt_tasks
from ssm_metarl.core.parameters import Params
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.evaluation.evaluate import ADAPTATION_STREAM, untrained
from ssm_metarl.evaluation.report import MODES
from ssm_metarl.ui.limits import CLIP_STEPS
from ssm_metarl.ui.player import Clip
from ssm_metarl.ui.query import Query, Subject
from ssm_metarl.video.episode import RecordedEpisode, frames_per_second
from ssm_metarl.video.writer import Frame, encoded

FRAMES_PER_SECOND = 25  # at most, of the video
SHRUNK = 480  # pixels: wider pictures are halved


def clips(subject: Subject, query: Query, adapted: Mapping[str, Params]) -> Iterator[Clip]:
    """Record an episode before adapting and one after, for every mode; all start alike.

    Args:
        subject: The agent and the task.
        query: What was asked.
        adapted: The parameters of each mode after adapting.
    """
    yield record_clip(subject, subject.agent, "before adapting", "zero_shot", query.seed, 0)
    for mode in query.modes:
        remembered = query.plan().trial_episodes - 1 if mode == "in_context" else 0
        agent = subject.agent.with_params(adapted[mode])
        yield record_clip(subject, agent, f"after: {MODES[mode]}", mode, query.seed, remembered)


def agent_after(subject: Subject, query: Query, mode: str) -> Agent:
    """Return the agent once it has adapted, exactly as its return was measured."""
    agent, plan = subject.agent, query.plan()
    if mode == "in_context":
        return agent  # only what it remembers changes
    if mode == "from_scratch":
        agent = dataclasses.replace(agent, params=untrained(agent, SeedSequence(plan.seed)))
    memory = Memory.of(agent) if mode == "hybrid" else None
    *_, last = adapt_tasks(
        agent,
        subject.family,
        subject.task,
        episodes=query.episodes,
        steps=query.steps,
        seed=substream(SeedSequence(plan.seed), ADAPTATION_STREAM),
        memory=memory,
        guarded=plan.guarded,
    )
    return agent.with_params(last.params)


def record_clip(
    subject: Subject, agent: Agent, name: str, style: str, seed: int, remembered: int
) -> Clip:
    """Record one episode.

    Args:
        subject: The family and the task.
        agent: Who plays.
        name: What the clip is called.
        style: Suffix of the CSS class that colours it.
        seed: Of the start and of the actions.
        remembered: Episodes of the task that the agent plays before, and remembers.
    """
    family = subject.family
    speed = frames_per_second(family, subject.task)
    every = -(-speed // FRAMES_PER_SECOND)
    episode = RecordedEpisode(agent, family, subject.task, seed, remembered)
    with contextlib.closing(episode.frames(every)) as frames:
        pictures = itertools.islice(frames, CLIP_STEPS // every + 1)
        mp4 = encoded(map(shrunk, pictures), speed / every)
    first = "" if episode.ended else "the first "
    ending = f"return {episode.total:.4g} after {first}{episode.steps} steps"
    return Clip(name, style, mp4, episode.steps, 1 / speed, ending, family.picture)


def shrunk(picture: Frame) -> np.ndarray:
    """Halve a large picture, and leave its sides even, as H.264 wants them."""
    image = Image.fromarray(picture)
    image = image.reduce(2) if image.width > SHRUNK else image
    return np.asarray(image.crop((0, 0, image.width & ~1, image.height & ~1)))
