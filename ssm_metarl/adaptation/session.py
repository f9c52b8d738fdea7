"""A session: an agent that adapts inside a live system, which calls it for every step.

    session = ssm_metarl.Session(agent, mode="standard", episodes=5)
    action = session.act(observation)
    session.observe(reward, terminated, truncated)

Episodes are recorded as they are played. When enough of them have ended the agent takes a gradient
step inside ``observe``, so always between two episodes.
"""

import math
import time
from dataclasses import dataclass, field
from typing import Literal, SupportsFloat, get_args

import numpy as np
import torch
from jaxtyping import Float
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.adaptation.standard import Adaptation, Adapted
from ssm_metarl.core.actions import EnvironmentAction
from ssm_metarl.core.distributions import Distribution
from ssm_metarl.core.torch_state import in_usual_torch
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.errors import DivergenceError, UserError, check_whole, nearest

Mode = Literal["zero_shot", "in_context", "standard", "hybrid"]
MODES: tuple[str, ...] = get_args(Mode)
LARGEST = float(np.finfo(np.float32).max)  # reward: beyond lies infinity


@dataclass
class _Episode:
    """One episode as it is being played, recorded as far as it will be learned from."""

    steps: int = 0
    total: float = 0.0
    observations: list[Tensor] = field(default_factory=list)
    actions: list[Tensor] = field(default_factory=list)
    log_probs: list[Tensor] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)


class Session:
    """One agent on one task, adapting while it is used.

    Args:
        agent: Where to start from; it stays as it is.
        mode: ``zero_shot``, ``in_context``, ``standard`` or ``hybrid``.
        episodes: Episodes per gradient step.
        memory: Earlier tasks, for hybrid; None reads those that came with the agent.
        guarded: Whether to roll back where later episodes show that a step did harm.
        deterministic: Take the most likely actions; only for the modes without gradient steps,
            which learn from sampled ones.
        seed: Of the sampling.

    Attributes:
        agent: As it is now; an agent like any other, which can be saved.
        deterministic: As given; may be changed at any time in modes without gradient steps.
        returns: Sums of rewards of the episodes that have ended.
        longest_pause: Longest time in seconds that ``observe`` took for a gradient step.

    Raises:
        UserError: A mode that is unknown or that this agent cannot do; a number that is too small
            or not whole; or a memory of another agent.
    """

    @in_usual_torch
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
        check_mode(agent, mode)
        learns = mode in ("standard", "hybrid")
        if learns and deterministic:
            raise UserError(f"mode {mode} learns from sampled actions; deterministic is not valid")
        episodes, seed = check_whole("episodes", episodes, 1), check_whole("seed", seed, 0)
        recalled = (memory or Memory.of(agent)) if mode == "hybrid" else None
        self.agent, self.mode = agent, mode
        self._start, self.deterministic = agent, deterministic
        own, self._adaptation = SeedSequence(seed), None
        if learns:
            self._adaptation = Adaptation(
                agent, 1, seed=own, episodes=episodes, memory=recalled, guarded=guarded
            )
        self.returns: list[float] = []
        self.longest_pause = 0.0
        self._state = agent.begin(1, torch.Generator().manual_seed(seed))
        self._seen = torch.zeros(0)
        self.drop_episode()

    @property
    def adapted(self) -> Adapted | None:
        """Return the state of the adaptation; None in modes without gradient steps."""
        return None if self._adaptation is None else self._adaptation.now

    @in_usual_torch
    def act(self, observation: np.ndarray) -> EnvironmentAction:
        """Choose an action for one observation ``[O]``.

        Raises:
            UserError: The observation is not shaped as the agent's are, or not finite, and the
                episode is dropped; or the last action was not followed by :meth:`observe`.
        """
        if self._acted:
            raise UserError("act was called twice; call observe with what the first action brought")
        seen = self._one(observation)
        action, distribution = self._choose(seen, start=not self._episode.steps)
        self._seen, self._acted = seen, True
        if self._adaptation is not None:
            self._record(seen, distribution)
        return action

    @in_usual_torch
    def observe(
        self,
        reward: SupportsFloat,
        terminated: bool,
        truncated: bool,
        observation: np.ndarray | None = None,
    ) -> None:
        """Take in what the last action brought, and learn if enough episodes have ended.

        What the episode led to is of use where it ends; without it, the last observation that was
        acted on stands for it.

        Raises:
            UserError: There was no action; or the reward is no number, or the observation not
                shaped as the agent's are, or not finite. The episode is dropped then.
            DivergenceError: The reward, or what was learned, is not finite; the agent stays as it
                was and the episodes that would be learned from are dropped.
        """
        if not self._acted:
            raise UserError("observe was called without an action; call act first")
        episode, self._acted = self._episode, False
        if not isinstance(reward, SupportsFloat) or getattr(reward, "ndim", 0):
            self.drop_episode()
            raise UserError(f"the reward is {reward!r}, not a number; the episode was dropped")
        try:
            earned = float(reward)
        except OverflowError:  # a whole number of hundreds of digits
            earned = math.inf
        if not abs(earned) <= LARGEST:
            self.drop_episode()
            raise DivergenceError(f"the reward is {earned}; the episode was dropped")
        episode.steps, episode.total = episode.steps + 1, episode.total + earned
        if len(episode.rewards) < len(episode.actions):
            episode.rewards.append(earned)
        self._earned = earned
        if terminated or truncated:
            self._end(observation, terminated=terminated)

    def drop_episode(self) -> None:
        """Forget the episode that is being played, as after a failure; the next `act` starts one.

        Only ``in_context`` carries the memory over; in the other modes episodes start without any.
        """
        self._episode, self._acted, self._earned = _Episode(), False, 0.0
        if self.mode != "in_context":
            self._state = self.agent.begin(1, self._state.noise)

    def _end(self, observation: np.ndarray | None, *, terminated: bool) -> None:
        """Record the return, and hand the episode to the adaptation, which waits for enough."""
        last = self._seen if observation is None else self._one(observation)
        self.returns.append(self._episode.total)
        if self.mode == "in_context":  # the memory sees how the episode ended, as in training
            self._choose(last, start=False)
        played = self._trajectory(last, terminated=terminated) if self._adaptation else None
        self.drop_episode()
        if self._adaptation and played:
            started = time.perf_counter()
            if self._adaptation.add(played):
                self.agent = self._start.with_params(self._adaptation.now.params)
                self.longest_pause = max(self.longest_pause, time.perf_counter() - started)

    def _choose(self, seen: Tensor, *, start: bool) -> tuple[EnvironmentAction, Distribution]:
        action, self._state, distribution = self.agent.choose(
            seen.numpy(), self._state, np.array(start), self.deterministic, reward=self._earned
        )
        return action, distribution

    def _record(self, seen: Tensor, distribution: Distribution) -> None:
        """Record a step and what it led to, up to the horizon of adaptation."""
        episode, horizon = self._episode, self._start.config.horizon
        if len(episode.observations) <= horizon:
            episode.observations.append(seen)
        if len(episode.actions) < horizon:
            episode.actions.append(self._state.action)
            episode.log_probs.append(distribution.log_prob(self._state.action))

    def _one(self, observation: np.ndarray) -> Float[Tensor, "O"]:
        """Return an observation as the policy takes it; the episode is dropped if it is none."""
        try:
            seen = self.agent.seen(observation)[0]
            if len(seen) != 1:
                raise UserError(
                    f"a session plays one episode at a time, got {len(seen)} observations"
                )
        except UserError:
            self.drop_episode()
            raise
        return seen[0]

    def _trajectory(self, last: Tensor, *, terminated: bool) -> Trajectory:
        """Return the episode as ``[T, 1, 1]``, no longer than those of meta-training."""
        episode = self._episode
        steps = len(episode.rewards)
        cut = steps < episode.steps or not terminated
        seen = torch.stack([*episode.observations, last])[: steps + 1]
        flags = torch.zeros(steps, 1, 1, dtype=torch.bool)
        start = torch.zeros(steps + 1, 1, 1, dtype=torch.bool)
        start[0] = True
        ends = flags.clone()
        ends[-1] = True
        return Trajectory(
            action=torch.stack(episode.actions),
            observation=seen[:, None, None],
            reward=torch.tensor(episode.rewards)[:, None, None],
            log_prob=torch.stack(episode.log_probs),
            terminated=flags if cut else ends,
            truncated=ends if cut else flags,
            valid=~flags,
            episode_start=start,
        )


def check_mode(agent: Agent, mode: str) -> None:
    """Refuse what is not an agent, and a mode that is unknown or that the agent cannot do.

    Raises:
        UserError: Naming what is valid.
    """
    if not isinstance(agent, Agent):
        raise UserError(
            f"{agent!r:.60} is not an agent; valid: what ssm_metarl.load(folder) returns"
        )
    if mode not in MODES:
        raise UserError(f"unknown mode {mode!r}; {nearest(str(mode), MODES)}")
    if mode == "in_context" and agent.policy.config.memory != "trial":
        raise UserError(
            "in_context: this agent's memory ends with each episode, so it has nothing to adapt "
            "with between them; train one whose memory lasts: "
            f"ssm-metarl train --mode rl2 --env {agent.family}"
        )
