"""An agent: a policy with its parameters, and how it adapts."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.core.actions import EnvironmentAction
from ssm_metarl.core.distributions import Distribution
from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import BoundPolicy, Policy, State
from ssm_metarl.core.registry import Entry
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.env_runner.trajectory import nothing_yet
from ssm_metarl.errors import UserError, check_whole
from ssm_metarl.meta_rl.batch import Batch, make_batch
from ssm_metarl.meta_rl.inner_rule import InnerRule, Rates, adapted_leaves
from ssm_metarl.meta_rl.registry import INNER_LOSSES

PUSH = Entry("what uploads an agent", "ssm_metarl.training.publish", "push_agent")
"""By name, as it needs all that is built on agents."""


@dataclass(frozen=True)
class AgentState:
    """What an agent carries from one ``predict`` to the next, for ``E`` lanes."""

    policy: Policy
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
        config: How it adapts.
        family: Name of the family it was trained on.
        family_source: Text of the file that declares that family, if one does.
        experience: The store of earlier tasks that came with it, for hybrid adaptation.
        run: Fingerprint of the run that trained it, which its experience has too; None if unknown.
        simulators: Versions of what ran its environments in training, beside Gymnasium.
    """

    policy: Policy
    params: Params = field(repr=False)  # hundreds of lines
    rates: Rates = field(repr=False)
    config: AdaptationConfig
    family: str
    family_source: str = field(default="", repr=False)
    experience: Path | None = None
    run: str | None = None
    simulators: Mapping[str, str] = field(default_factory=dict)

    def predict(
        self,
        observation: np.ndarray,
        state: AgentState | None = None,
        episode_start: np.ndarray | bool | None = None,
        deterministic: bool = True,
        *,
        reward: np.ndarray | float | None = None,
        seed: int = 0,
    ) -> tuple[EnvironmentAction, AgentState]:
        """Choose an action for one observation ``[O]`` or a batch ``[E, O]``.

        Returns actions in the environment's units, shaped like its action space (with ``E`` in
        front for a batch), and the state for the next call.

        Args:
            observation: In the environment's units.
            state: What the last call returned; None at the very start.
            episode_start: Whether each observation is the first of its episode; None for no.
            deterministic: Take the most likely action rather than sample.
            reward: Of the previous action, for policies that see it; None for 0.
            seed: Of the sampling, where the state is None.

        Raises:
            UserError: The observation is not shaped as the agent's are, something is not finite,
                the numbers of lanes differ, or the state is of another kind of agent.
        """
        return self.choose(
            observation, state, episode_start, deterministic, reward=reward, seed=seed
        )[:2]

    @torch.inference_mode()
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
        """Return what :meth:`predict` does, and the distribution ``[1, E]`` of the action."""
        seen = self.seen(observation)
        single, lanes = np.ndim(observation) == 1, seen.shape[1]
        start = torch.full((1, lanes), state is None)
        if state is None:
            noise = torch.Generator().manual_seed(check_whole("seed", seed, 0))
            state = self.begin(lanes, noise)
        if not isinstance(state, AgentState) or not self._is_alike(state.policy):
            raise UserError("the state is not one that predict returned, or of another network")
        if state.action.shape[1] != lanes:
            raise UserError(f"the state is of {state.action.shape[1]} lanes, not of {lanes}")
        if episode_start is not None:
            start = start | _per_lane("episode_start", episode_start, lanes).bool()
        earned = torch.zeros(1, lanes, dtype=torch.float32)
        if reward is not None:
            earned = _per_lane("reward", reward, lanes)
        inputs = self._inputs(seen, state.action, earned, start)
        keep = ~start if self.policy.config.memory == "episode" else None
        features, memory = self._bound.step(inputs, state.memory, keep)
        distribution = self._bound.distribution(features)
        action = (
            distribution.mode()
            if deterministic
            else distribution.sample(self._noise(lanes, state.noise))
        )
        out = self.policy.spaces.contained(action[0, 0] if single else action[0])
        after = AgentState(self.policy, memory, action, state.noise)
        return out, after, distribution

    def batch(self, played: Trajectory) -> Batch:
        """Return what adapting needs of episodes of K tasks."""
        return make_batch(played, self.policy, self.config.discount, self.config.gae_lambda)

    def rule(self) -> InnerRule:
        """Return the inner rule that it adapts by."""
        loss, leaves = (
            INNER_LOSSES[self.config.surrogate].load(),
            adapted_leaves(self.config.adapts),
        )
        return InnerRule(self.policy, loss, self.rates, leaves)

    def with_params(self, params: Params) -> "Agent":
        """Return an agent that acts with other parameters, of one task if they have a task axis.

        It has no experience: the store's trajectories were played with other parameters.
        """
        own = {
            name: value[0] if value.ndim > self.params[name].ndim else value
            for name, value in params.items()
        }
        return replace(self, params=own, experience=None)

    def push_to_hub(
        self,
        name: str,
        *,
        private: bool = True,
        license: str = "mit",
        trust_env_code: bool = False,
    ) -> str:
        """Upload the agent by itself to the Hugging Face Hub, with a model card (docs/hub.md).

        A run goes there with its settings and results by :func:`ssm_metarl.push_to_hub`.

        Args:
            name: ``owner/name`` of the repository, which is made if there is none.
            private: Refuse a repository that is public, and make a new one private.
            license: Identifier of the licence that it is under, as the Hub has it.
            trust_env_code: Allow an environment that is module:Env-v0, which runs code.

        Returns:
            ``hf://owner/name@commit``, which :func:`ssm_metarl.load` takes.

        Raises:
            UserError: The extra is missing, nobody is logged in, or the repository is not one to
                push to.
            SsmMetaRLError: The Hub cannot be reached.
        """
        return PUSH.load()(
            self, name, private=private, license=license, trust_env_code=trust_env_code
        )

    @cached_property
    def _bound(self) -> BoundPolicy:
        return self.policy.bind(self.params)

    def seen(self, observation: np.ndarray) -> Float[Tensor, "1 E O"]:
        """Return an observation ``[O]`` or a batch ``[E, O]`` as the policy takes it."""
        size = len(self.policy.spaces.observation_scale)
        seen = _finite("the observation", observation)
        if seen.ndim not in (1, 2) or seen.shape[-1] != size:
            raise UserError(f"the agent sees [{size}] or [E, {size}], got {list(seen.shape)}")
        return seen.view(1, -1, size)

    def begin(self, lanes: int, noise: torch.Generator) -> AgentState:
        """Return an empty memory: nothing has been seen or done yet."""
        memory = self.policy.initial_state(1, lanes, torch.zeros((), dtype=torch.float32))
        return AgentState(self.policy, memory, self._no_action(lanes), noise)

    def _is_alike(self, other: Policy) -> bool:
        own = self.policy
        return other is own or (other.config, other.spaces) == (own.config, own.spaces)

    def _no_action(self, lanes: int) -> Tensor:
        return nothing_yet(self.policy, torch.zeros(1, lanes, 1, dtype=torch.float32))[0]

    def _inputs(self, seen: Tensor, action: Tensor, reward: Tensor, start: Tensor) -> Tensor:
        """Return the policy's inputs; a memory of an episode sees nothing from before its start."""
        if self.policy.config.memory == "episode" and self.policy.config.trial_inputs:
            before = start.view(*start.shape, *[1] * (action.ndim - start.ndim))
            action = torch.where(before, self._no_action(seen.shape[1]), action)
            reward = reward.masked_fill(start, 0.0)
        return self.policy.inputs(seen, action, reward, start)

    def _noise(self, lanes: int, rng: torch.Generator) -> Tensor:
        shape = (1, lanes, self.policy.spaces.actions)
        if self.policy.noise_kind == "normal":
            return torch.randn(shape, generator=rng, dtype=torch.float32)
        return -torch.rand(shape, generator=rng, dtype=torch.float32).log().neg().log()


def _per_lane(name: str, values: np.ndarray | float | bool, lanes: int) -> Float[Tensor, "1 E"]:
    given = _finite(name, values).view(1, -1)
    if given.shape[1] not in (1, lanes):
        raise UserError(f"{name} has {given.shape[1]} entries for {lanes} observations")
    return given.expand(1, lanes)


def _finite(name: str, values: np.ndarray | float | bool) -> Tensor:
    """Return finite float32 numbers."""
    try:
        with np.errstate(over="ignore"):
            numbers = np.array(values, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{name} cannot be read as numbers: {error}") from error
    if not np.isfinite(numbers).all():  # quicker than torch on so few
        raise UserError(f"{name} is not finite")
    return torch.from_numpy(numbers)
