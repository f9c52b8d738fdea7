"""One episode with the agent's hidden state and its intentions, step by step."""

import base64
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import gymnasium
import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from ssm_metarl.adaptation.agent import Agent, AgentState
from ssm_metarl.core.distributions import Categorical, Distribution
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.runs.recording import Frame

INK = (20, 160, 140)  # of the heat map; how dark it is, is how opaque
BRIGHTEST = 99.0  # percentile


@dataclass
class Watched:
    """An episode as it was played.

    Attributes:
        states: Sizes of the hidden state's numbers, one row per step.
        intentions: Probability of the last action (discrete), or mean of the first axis, per step.
        total: Return.
        frames: Pictures, for the video.
    """

    states: list[np.ndarray] = field(default_factory=list)
    intentions: list[float] = field(default_factory=list)
    total: float = 0.0

    @property
    def steps(self) -> int:
        """Length of the episode."""
        return len(self.intentions)

    def play(
        self, agent: Agent, family: TaskFamily, task: Tasks, seed: int, before: int, most: int
    ) -> Iterator[Frame]:
        """Play an episode and yield its pictures, after some that are not looked at."""
        state: AgentState | None = None
        quiet = family.gymnasium(task)
        for number in range(before):
            *_, state = _episode(agent, quiet, state, seed + 1 + number, Watched())
        quiet.close()
        env = family.gymnasium(task, render_mode="rgb_array")
        played = _episode(agent, env, state, seed, self)
        for _ in itertools.islice(played, most + 1):
            yield np.asarray(env.render())
        env.close()

    def heat(self, order: np.ndarray) -> str:
        """Return a picture of the state, a row for each number in some order, as a data address."""
        sizes: Float[np.ndarray, "T N"] = np.array(self.states)[:, order]
        scale = np.percentile(sizes, BRIGHTEST) or 1.0
        shade = (255 * np.clip(sizes / scale, 0, 1)).astype(np.uint8).T
        picture = np.empty((*shade.shape, 4), np.uint8)
        picture[..., :3], picture[..., 3] = INK, shade
        file = io.BytesIO()
        Image.fromarray(picture, "RGBA").save(file, "PNG")
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _episode(
    agent: Agent, env: gymnasium.Env, state: AgentState | None, seed: int, seen: Watched
) -> Iterator[AgentState | None]:
    """Play an episode into a record; yield the agent's memory at its start and after each step."""
    observation, _ = env.reset(seed=seed)
    start, reward, done = np.array([True]), 0.0, False
    yield state
    while not done:
        action, state, distribution = agent.choose(
            observation, state, start, deterministic=False, reward=reward, seed=seed
        )
        seen.states.append(torch.cat([part[0, 0].abs() for part in state.memory]).numpy())
        seen.intentions.append(_intention(distribution))
        observation, earned, terminated, truncated, _ = env.step(action)
        reward, start, done = float(earned), None, terminated or truncated
        seen.total += reward
        yield state


def _intention(distribution: Distribution) -> float:
    if isinstance(distribution, Categorical):
        return float(distribution.logits.softmax(-1)[0, 0, -1])
    return float(distribution.mode()[0, 0, 0])
