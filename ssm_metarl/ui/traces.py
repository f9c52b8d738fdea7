"""What goes on in an agent while it plays: its hidden state and its actions, step by step."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ssm_metarl.adaptation.agent import Agent, AgentState
from ssm_metarl.core.distributions import Categorical, Distribution
from ssm_metarl.core.policy import State


@dataclass(frozen=True)
class Look:
    """One moment.

    Attributes:
        start: Whether it was the first of an episode.
        state: The hidden state of all blocks, after the observation; complex numbers as pairs.
        action: Probability of each discrete action, or mean of a continuous one.
    """

    start: bool
    state: Float[np.ndarray, "N"]
    action: Float[np.ndarray, "A"]


@dataclass(frozen=True)
class Watched(Agent):
    """An agent that notes every moment at which it chooses; it acts as it always does.

    Attributes:
        looks: The moments so far.
    """

    looks: list[Look] = field(default_factory=list)

    @classmethod
    def of(cls, agent: Agent) -> "Watched":
        """Monitor an agent."""
        return cls(**{one.name: getattr(agent, one.name) for one in fields(Agent)})

    def choose(
        self,
        observation: np.ndarray,
        state: AgentState | None,
        episode_start: np.ndarray | None,
        deterministic: bool,
        *,
        reward: np.ndarray | float | None = None,
        seed: int = 0,
    ) -> tuple[np.ndarray, AgentState, Distribution]:
        """Do as :meth:`Agent.choose`, and look."""
        chosen = super().choose(
            observation, state, episode_start, deterministic, reward=reward, seed=seed
        )
        _, after, distribution = chosen
        start = state is None or bool(np.any(episode_start))
        self.looks.append(Look(start, flat_state(after.memory), _head(distribution)))
        return chosen

    def last_episode(self, steps: int) -> "Trace":
        """Return the first steps of the episode that was played last."""
        begin = max(place for place, look in enumerate(self.looks) if look.start)
        looks = self.looks[begin : begin + steps]
        return Trace(
            np.stack([look.state for look in looks]), np.stack([look.action for look in looks])
        )


@dataclass(frozen=True)
class Trace:
    """One episode.

    Attributes:
        state: Hidden state at each step.
        action: Probabilities or means at each step, as in :class:`Look`.
    """

    state: Float[np.ndarray, "T N"]
    action: Float[np.ndarray, "T A"]

    @property
    def size(self) -> Float[np.ndarray, "T"]:
        """Norm of the state at each step."""
        return np.linalg.norm(self.state, axis=1)


def flat_state(memory: State) -> Float[np.ndarray, "N"]:
    """Return the memory of one lane as real numbers."""
    return torch.cat([_real(block[0, 0]) for block in memory]).numpy()


def _real(state: Tensor) -> Tensor:
    return torch.view_as_real(state).flatten() if state.is_complex() else state


def _head(distribution: Distribution) -> Float[np.ndarray, "A"]:
    head: Any = (
        distribution.logits.softmax(-1)
        if isinstance(distribution, Categorical)
        else distribution.mean
    )
    return head[0, 0].numpy()


def principal(
    traces: Sequence[Trace], count: int = 2
) -> tuple[list[Float[np.ndarray, "T C"]], Float[np.ndarray, "C"]]:
    """Return the leading principal components of several episodes' states, and their shares.

    The axes are common to all, so that the traces can be compared; each axis points to where its
    largest entry is positive.
    """
    states = np.concatenate([trace.state for trace in traces]).astype(np.float64)
    middle = states.mean(0)
    _, sizes, axes = np.linalg.svd(states - middle, full_matrices=False)
    axes = axes[:count]
    largest = np.abs(axes).argmax(1, keepdims=True)
    axes = axes * np.sign(np.take_along_axis(axes, largest, 1))
    share = sizes**2 / max(float((sizes**2).sum()), 1e-12)
    return [(trace.state - middle) @ axes.T for trace in traces], share[:count]
