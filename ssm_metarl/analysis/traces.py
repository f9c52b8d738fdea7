"""Hidden states and actions of an episode, step by step."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from jaxtyping import Float

from ssm_metarl.adaptation.agent import Agent, AgentState
from ssm_metarl.analysis.linear_probe import flat_state
from ssm_metarl.core.actions import EnvironmentAction
from ssm_metarl.core.distributions import Categorical, Distribution


@dataclass(frozen=True)
class Trace:
    """One episode.

    Attributes:
        state: Hidden state of all blocks after each observation; complex numbers as pairs.
        action: Probability of each choice, or mean of each continuous one.
    """

    state: Float[np.ndarray, "T N"]
    action: Float[np.ndarray, "T A"]

    @property
    def norm(self) -> Float[np.ndarray, "T"]:
        """Norm of the hidden state at each step."""
        return np.linalg.norm(self.state, axis=1)


@dataclass(frozen=True)
class RecordedAgent(Agent):
    """An agent that acts as ever and records its hidden state and action at every step.

    Attributes:
        steps: Whether each step was the first of an episode, its state ``[N]`` and action ``[A]``.
    """

    steps: list[tuple[bool, np.ndarray, np.ndarray]] = field(default_factory=list)

    @classmethod
    def of(cls, agent: Agent) -> "RecordedAgent":
        """Return an agent with the same parameters that records."""
        return cls(**{one.name: getattr(agent, one.name) for one in fields(Agent)})

    def choose(
        self,
        observation: np.ndarray,
        state: AgentState | None,
        episode_start: np.ndarray | bool | None,
        deterministic: bool,
        *,
        reward: np.ndarray | float | None = None,
        seed: int = 0,
    ) -> tuple[EnvironmentAction, AgentState, Distribution]:
        """Choose as :meth:`Agent.choose` does, and record the step."""
        action, after, distribution = super().choose(
            observation, state, episode_start, deterministic, reward=reward, seed=seed
        )
        if isinstance(distribution, Categorical):
            head = distribution.probabilities()
        else:
            head = distribution.mode()
        start = state is None or bool(np.any(episode_start))
        memory = flat_state(after.memory)[0, 0].numpy()
        self.steps.append((start, memory, head[0, 0].numpy()))
        return action, after, distribution

    def last_episode(self, steps: int) -> Trace:
        """Return the first steps of the episode that was played last."""
        begin = max(place for place, (start, _, _) in enumerate(self.steps) if start)
        _, states, actions = zip(*self.steps[begin : begin + steps], strict=True)
        return Trace(np.stack(states), np.stack(actions))


def principal_components(
    traces: Sequence[Trace], count: int = 2
) -> tuple[list[Float[np.ndarray, "T C"]], Float[np.ndarray, "C"]]:
    """Project states on their leading principal axes, which are common to all episodes.

    The sign of each axis is such that its largest entry is positive.

    Returns:
        The projections, and the share of the variance along each axis.
    """
    states = np.concatenate([trace.state for trace in traces]).astype(np.float64)
    mean = states.mean(0)
    _, sizes, axes = np.linalg.svd(states - mean, full_matrices=False)
    axes = axes[:count]
    largest = np.abs(axes).argmax(1, keepdims=True)
    axes = axes * np.sign(np.take_along_axis(axes, largest, 1))
    share = sizes**2 / max(float((sizes**2).sum()), 1e-12)
    return [(trace.state - mean) @ axes.T for trace in traces], share[:count]
