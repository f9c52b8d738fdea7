"""A session: the agent in somebody's live system, which calls it and not the other way round.

    session = agent.session(mode="standard", episodes=5)
    action = session.act(observation)
    session.observe(reward, terminated, truncated)

Episodes are recorded as they are played. When enough of them have ended the agent takes a gradient
step, inside ``observe`` and thus between two episodes, never between two steps of one.
"""

import time
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.adaptation.agent import Agent, AgentState
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.adaptation.standard import Adaptation, Adapted
from ssm_metarl.env_runner.rollout import Trajectory, side_by_side
from ssm_metarl.errors import DivergenceError, UserError, nearest

Mode = Literal["zero_shot", "in_context", "standard", "hybrid"]
MODES: tuple[str, ...] = get_args(Mode)


@dataclass
class _Episode:
    """One episode as it is being played: what was seen, done and earned."""

    observations: list[np.ndarray] = field(default_factory=list)
    actions: list[Tensor] = field(default_factory=list)
    log_probs: list[Tensor] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)


class Session:
    """One agent on one task, adapting while it is used.

    Attributes:
        agent: As it is now; an agent like any other, which can be saved.
        returns: Sums of rewards of the episodes that have ended.
        adapted: State of the adaptation after the last gradient step.
        longest_pause: Longest time in seconds that ``observe`` took for a gradient step.
    """

    def __init__(
        self,
        agent: Agent,
        mode: str = "standard",
        *,
        episodes: int = 5,
        memory: Memory | None = None,
        guarded: bool = True,
        deterministic: bool = False,
        seed: int = 0,
    ) -> None:
        """Open a session.

        Args:
            agent: Where to start from; it stays as it is.
            mode: One of :data:`MODES`.
            episodes: Episodes per gradient step.
            memory: Earlier tasks, for hybrid; None reads those that came with the agent.
            guarded: Whether to go back where later episodes show that a step did harm.
            deterministic: Take the most likely actions: no way to learn, and so only for the modes
                without gradient steps.
            seed: Of the sampling.

        Raises:
            UserError: A mode that there is not, or that this agent cannot do.
        """
        check_mode(agent, mode)
        learns = mode in ("standard", "hybrid")
        if learns and deterministic:
            raise UserError(f"mode {mode} learns from sampled actions; deterministic is not valid")
        if mode == "hybrid" and memory is None:
            memory = Memory.of(agent)
        self.agent, self.mode, self.episodes = agent, mode, episodes
        self._start, self._deterministic, self._seed = agent, deterministic, seed
        self._adaptation = (
            Adaptation(agent, 1, seed=SeedSequence(seed), memory=memory, guarded=guarded)
            if learns
            else None
        )
        self.returns: list[float] = []
        self.longest_pause = 0.0
        self._state: AgentState | None = None
        self._episode = _Episode()
        self._ended: list[Trajectory] = []
        self._starting, self._earned = True, 0.0

    @property
    def adapted(self) -> Adapted | None:
        """Return the state of the adaptation; None in modes without gradient steps."""
        return None if self._adaptation is None else self._adaptation.now

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Choose an action for one observation ``[O]``.

        Raises:
            UserError: The observation is not shaped as the agent's are, or not finite; or the last
                action was not followed by :meth:`observe`.
        """
        episode = self._episode
        if len(episode.actions) > len(episode.rewards):
            raise UserError("act was called twice; call observe with what the first action brought")
        action, self._state, log_prob = self.agent.choose(
            np.asarray(observation, np.float32),
            self._state,
            np.array([self._starting]),
            self._deterministic,
            reward=np.array([self._earned], np.float32),
            seed=self._seed,
        )
        episode.observations.append(np.array(observation, np.float32))
        episode.actions.append(self._state.action)
        episode.log_probs.append(log_prob)
        self._starting = False
        return action

    def observe(
        self,
        reward: float,
        terminated: bool,
        truncated: bool,
        observation: np.ndarray | None = None,
    ) -> None:
        """Take in what the last action brought, and learn if enough episodes have ended.

        Args:
            reward: Of the step.
            terminated: The episode ended for good.
            truncated: The episode was cut by a time limit.
            observation: What an episode that was cut led to; None takes the last one seen.

        Raises:
            UserError: There was no action.
            DivergenceError: The reward, or what was learned, is not finite; the agent stays as it
                was and the episode is dropped.
        """
        episode = self._episode
        if len(episode.actions) == len(episode.rewards):
            raise UserError("observe was called without an action; call act first")
        if not np.isfinite(reward):
            self._begin()
            raise DivergenceError(f"the reward is {reward}; the episode was dropped")
        episode.rewards.append(float(reward))
        self._earned = float(reward)
        if not (terminated or truncated):
            return
        self.returns.append(sum(episode.rewards))
        last = np.asarray(episode.observations[-1] if observation is None else observation)
        if self._adaptation is not None:
            self._ended.append(self._trajectory(last, terminated=terminated))
        self._begin()
        if self.agent.policy.config.memory == "trial":
            self._see_the_end(last)
        if len(self._ended) >= self.episodes:
            self._learn()

    def _begin(self) -> None:
        """Get ready for the next episode; a memory that lasts the trial goes on."""
        self._episode, self._starting = _Episode(), True

    def _see_the_end(self, last: np.ndarray) -> None:
        """Show a memory that lasts the trial how the episode ended, as in training."""
        seen = np.asarray(last, np.float32)
        earned = np.array([self._earned], np.float32)
        _, self._state, _ = self.agent.choose(seen, self._state, None, False, reward=earned)
        self._earned = 0.0

    def _learn(self) -> None:
        assert self._adaptation is not None
        started = time.perf_counter()
        played, self._ended = side_by_side(self._ended), []
        adapted = self._adaptation.learn(played)
        self.agent = self._start.with_params(adapted.params)
        self.longest_pause = max(self.longest_pause, time.perf_counter() - started)

    def _trajectory(self, last: np.ndarray, *, terminated: bool) -> Trajectory:
        """Return the episode as ``[T, 1, 1]``, no longer than those of meta-training."""
        episode = self._episode
        limit = self._start.config.support_horizon
        steps = min(len(episode.rewards), limit)
        cut = steps < len(episode.rewards) or not terminated
        seen = np.stack([*episode.observations, last])[: steps + 1]
        flags = torch.zeros(steps, 1, 1, dtype=torch.bool)
        start = torch.zeros(steps + 1, 1, 1, dtype=torch.bool)
        start[0] = True
        ends = flags.clone()
        ends[-1] = True
        return Trajectory(
            action=torch.stack(episode.actions[:steps]),
            observation=torch.from_numpy(seen).float()[:, None, None],
            reward=torch.tensor(episode.rewards[:steps])[:, None, None],
            log_prob=torch.stack(episode.log_probs[:steps]),
            terminated=flags if cut else ends,
            truncated=ends if cut else flags,
            valid=~flags,
            episode_start=start,
        )


def check_mode(agent: Agent, mode: str) -> None:
    """Refuse a mode that there is not, or that an agent cannot do.

    Raises:
        UserError: Naming the valid ones.
    """
    if mode not in MODES:
        raise UserError(f"unknown mode {mode!r}; {nearest(mode, MODES)}")
    if mode == "in_context" and agent.policy.config.memory != "trial":
        raise UserError(
            "in_context: this agent's memory ends with each episode, so it has nothing to adapt "
            "with between them; train one with --mode rl2, or with --memory trial"
        )
