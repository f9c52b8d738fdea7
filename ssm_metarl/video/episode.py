"""One episode of an agent, with a picture of every step."""

import contextlib
import itertools
import math
import os
from collections.abc import Generator, Iterator

import numpy as np

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.session import Session
from ssm_metarl.env_runner.failures import SIMULATION_FAILED, failures_named
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.errors import UserError
from ssm_metarl.video.writer import Frame, encoded

DEFAULT_FPS = 30  # of environments that do not declare one
SMALL_FPS = 25  # at most, of a small video
SMALL_WIDTH = 480  # pixels: wider pictures are halved


class RecordedEpisode:
    """An episode that is played as its pictures are asked for.

    Its return, NaN if it failed, and length so far are ``total`` and ``steps``. Whatever the
    environment raises becomes an :class:`EnvironmentFailure`, a picture that a video cannot show a
    `UserError`.
    """

    def __init__(
        self, agent: Agent, family: TaskFamily, task: Tasks, seed: int, episodes_before: int
    ) -> None:
        """Build the environment of a task, a set of one.

        The seed is that of the start and of the sampling; ``episodes_before`` are played before,
        and kept in the agent's memory.
        """
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame looks for a screen otherwise
        self.session = Session(agent, "in_context" if episodes_before else "zero_shot", seed=seed)
        self.seed, self.episodes_before = seed, episodes_before
        self.total, self.steps, self.ended = 0.0, 0, False
        with failures_named("being built"):
            self.env = family.gymnasium(task, render_mode="rgb_array")
        self._shape: tuple[int, ...] | None = None

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
            with contextlib.suppress(Exception):  # nothing more is wanted of it
                self.env.close()

    def encoded(self, fps: int, most: int) -> bytes:
        """Play it, or so many steps of it at most, as a small H.264 video.

        ``fps`` is how many steps are a second of it.
        """
        every = -(-fps // SMALL_FPS)
        with contextlib.closing(self.frames(every)) as frames:
            pictures = itertools.islice(frames, most // every + 1)
            return encoded(map(_small, pictures), fps / every)

    def _episode(self, seed: int) -> Iterator[bool]:
        """Play an episode; yield at its start and after every step whether it has ended."""
        with failures_named("reset"):
            observation, _ = self.env.reset(seed=seed)
        done = False
        yield done
        while not done:
            action = self.session.act(observation)
            with failures_named("step"):
                observation, earned, terminated, truncated, info = self.env.step(action)
                reward, done = float(earned), bool(terminated or truncated)
            self.session.observe(reward, terminated, truncated, observation)
            void = SIMULATION_FAILED in info
            self.total += math.nan if void else reward
            self.steps += 1
            yield done

    def _picture(self) -> Frame:
        with failures_named("render"):
            picture = np.asarray(self.env.render())
        self._shape = self._shape or picture.shape
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3:
            raise UserError(
                f"the environment draws {picture.dtype} pictures of shape {list(picture.shape)}; "
                "a video needs uint8 RGB pictures [H, W, 3]"
            )
        if picture.shape != self._shape:
            raise UserError(
                f"the environment draws pictures of different sizes, {list(self._shape)} and "
                f"{list(picture.shape)}; a video needs one size"
            )
        return picture


def frames_per_second(family: TaskFamily, task: Tasks) -> int:
    """Return how many steps of an environment are a second of its video.

    Raises:
        UserError: It cannot be drawn.
    """
    with failures_named("being built"):
        env = family.gymnasium(task)
        metadata = env.metadata or {}
        env.close()
    if "rgb_array" not in (metadata.get("render_modes") or ()):
        raise UserError(f"{family.name} cannot draw itself: it has no render mode rgb_array")
    fps = metadata.get("render_fps")
    return int(fps) if isinstance(fps, int | float) and 1 <= fps <= 1000 else DEFAULT_FPS


def _small(picture: Frame) -> np.ndarray:
    """Halve a large picture, and leave its sides even, as H.264 wants them."""
    from PIL import Image

    image = Image.fromarray(picture)
    image = image.reduce(2) if image.width > SMALL_WIDTH else image
    return np.asarray(image.crop((0, 0, image.width & ~1, image.height & ~1)))
