"""An agent: a policy with its parameters, and what it needs to act on its own."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import BoundPolicy, Policy, State
from ssm_metarl.errors import UserError
from ssm_metarl.meta_rl.inner_loop import Rates
from ssm_metarl.meta_rl.maml import MetaConfig

if TYPE_CHECKING:
    from ssm_metarl.adaptation.session import Session


@dataclass(frozen=True)
class AgentState:
    """What an agent remembers between calls of :meth:`Agent.predict`, for ``E`` lanes."""

    memory: State
    action: Tensor
    noise: torch.Generator


@dataclass(frozen=True)
class Agent:
    """A trained policy; adapting it makes another agent and leaves this one as it is.

    Attributes:
        policy: The network.
        params: Shared parameters, detached.
        rates: Inner learning rates, detached.
        config: How it was meta-trained.
        family: Name of the family it was trained on.
        experience: The store of earlier tasks that came with it, for hybrid adaptation.
    """

    policy: Policy
    params: Params
    rates: Rates
    config: MetaConfig
    family: str
    experience: Path | None = None

    def predict(
        self,
        observation: np.ndarray,
        state: AgentState | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
        *,
        reward: np.ndarray | None = None,
        seed: int = 0,
    ) -> tuple[np.ndarray, AgentState]:
        """Choose an action for one observation ``[O]`` or a batch ``[E, O]``.

        Args:
            observation: In the environment's units.
            state: What the last call returned; None at the very start.
            episode_start: Whether each observation is the first of its episode; None for no.
            deterministic: Take the most likely action rather than sample.
            reward: What the previous action brought, for policies that see it; None for 0.
            seed: Of the sampling, where the state is None.

        Returns:
            Actions in the environment's units, shaped like its action space (with ``E`` in front
            for a batch), and the state for the next call.

        Raises:
            UserError: The observation is not shaped as the agent's are, or not finite.
        """
        action, state, _ = self.choose(
            observation, state, episode_start, deterministic, reward=reward, seed=seed
        )
        return action, state

    @torch.inference_mode()
    def choose(
        self,
        observation: np.ndarray,
        state: AgentState | None,
        episode_start: np.ndarray | None,
        deterministic: bool,
        *,
        reward: np.ndarray | None = None,
        seed: int = 0,
    ) -> tuple[np.ndarray, AgentState, Tensor]:
        """Do as :meth:`predict`, and also return the action's log-probability ``[1, E]``."""
        single = observation.ndim == 1
        seen = torch.as_tensor(np.atleast_2d(observation), dtype=torch.float32).unsqueeze(0)
        self._check(seen, observation)
        lanes = seen.shape[1]
        fresh = state is None
        state = self._start(lanes, seed) if state is None else state
        start = torch.full((1, lanes), fresh)
        if episode_start is not None:
            start = start | torch.as_tensor(np.reshape(episode_start, (1, lanes)), dtype=torch.bool)
        earned = torch.zeros(1, lanes) if reward is None else torch.as_tensor(reward).view(1, lanes)
        inputs = self.policy.inputs(seen, state.action, earned.float(), start)
        keep = ~start if self.policy.config.memory == "episode" else None
        features, memory = self._bound.features(inputs, state.memory, keep)
        distribution = self._bound.distribution(features)
        action = (
            distribution.mode()
            if deterministic
            else distribution.sample(self._noise(lanes, state.noise))
        )
        out = self.policy.to_environment(action)[0].numpy()
        after = AgentState(memory, action, state.noise)
        return np.asarray(out[0] if single else out), after, distribution.log_prob(action)

    def session(
        self,
        mode: str = "standard",
        *,
        episodes: int = 5,
        guarded: bool = True,
        deterministic: bool = False,
        seed: int = 0,
    ) -> "Session":
        """Open a session, in which the agent acts in a live system and adapts between episodes.

        See :class:`ssm_metarl.adaptation.session.Session`.
        """
        from ssm_metarl.adaptation.session import Session

        return Session(
            self,
            mode,
            episodes=episodes,
            guarded=guarded,
            deterministic=deterministic,
            seed=seed,
        )

    def with_params(self, params: Params) -> "Agent":
        """Return an agent that acts with other parameters, of one task if they have a task axis."""
        own = {
            name: value[0] if value.ndim > self.params[name].ndim else value
            for name, value in params.items()
        }
        return replace(self, params=own)

    @cached_property
    def _bound(self) -> BoundPolicy:
        return self.policy.bind(self.params)

    def _check(self, seen: Tensor, observation: np.ndarray) -> None:
        size = len(self.policy.spaces.observation_scale)
        if seen.ndim != 3 or seen.shape[-1] != size:
            raise UserError(
                f"the agent sees [{size}] or [E, {size}], got {list(observation.shape)}"
            )
        if not torch.isfinite(seen).all():
            raise UserError("the observation is not finite")

    def _start(self, lanes: int, seed: int) -> AgentState:
        spaces, like = self.policy.spaces, torch.zeros(())
        none = (
            torch.full((1, lanes), -1) if spaces.discrete else torch.zeros(1, lanes, spaces.actions)
        )
        noise = torch.Generator().manual_seed(seed)
        return AgentState(self.policy.initial_state(1, lanes, like), none, noise)

    def _noise(self, lanes: int, rng: torch.Generator) -> Tensor:
        shape = (1, lanes, self.policy.spaces.actions)
        if self.policy.noise_kind == "normal":
            return torch.randn(shape, generator=rng)
        return -torch.rand(shape, generator=rng).log().neg().log()
