"""A policy: an encoder, blocks with memory, and heads for the action, the value and prediction.

A :class:`Policy` holds no parameters. ``bind`` puts a dictionary of them in place, shared by all
tasks (``[...]``) or one set per task (``[K, ...]``), and everything then works on arrays
``[K, E, ...]`` (acting, by ``step``) or ``[T, K, E, ...]`` (training, by ``scan``).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from ssm_metarl.core.activations import silu
from ssm_metarl.core.cells import CELLS
from ssm_metarl.core.config import PolicyConfig
from ssm_metarl.core.distributions import Categorical, DiagonalGaussian, NoiseKind
from ssm_metarl.core.encoders import ENCODERS
from ssm_metarl.core.linear import constant, linear, per_lane, random_matrix
from ssm_metarl.core.parameters import Group, Leaf, Params, combine
from ssm_metarl.core.protocols import BoundCell, BoundEncoder, Cell, Encoder
from ssm_metarl.core.spaces import Spaces

State = tuple[Tensor, ...]
"""The memory of each block, ``[K, E, N]``."""

HEAD_GAIN = 0.01  # near-uniform actions at first: a fresh policy must still have gradients
CONTEXT, LOG_STD = "context.value", "action.log_std"
LOG_STD_RANGE = (-4.0, 1.0)  # a large inner step may not switch exploration off, or blow it up


@dataclass(frozen=True)
class Policy:
    """The network's structure; see the module's first lines for how parameters meet it."""

    config: PolicyConfig
    spaces: Spaces

    @property
    def noise_kind(self) -> NoiseKind:
        """The noise its distributions sample from."""
        return "gumbel" if self.spaces.discrete else "normal"

    @cached_property
    def encoder(self) -> Encoder:
        """What turns inputs into features."""
        extras = self.spaces.actions + 2 if self.config.trial_inputs else 0
        scale = self.spaces.observation_scale + (1.0,) * (extras + self.config.context_size)
        return ENCODERS[self.config.encoder].load()(self.config, scale, self.spaces.image)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The cell of each block."""
        cell = CELLS[self.config.cell].load()
        return tuple(cell(f"block{i}", self.config) for i in range(self.config.blocks))

    @cached_property
    def leaves(self) -> dict[str, Leaf]:
        """Every parameter's group and shape, by name."""
        with torch.device("meta"):  # shapes alone, which take no memory
            parts = list(self._parts(torch.Generator()))
        return {
            name: Leaf(name, group, tuple(value.shape))
            for group, part in parts
            for name, value in part.items()
        }

    def init(self, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw initial parameters, float32 on the CPU."""
        return combine(*(part for _, part in self._parts(rng)))

    def _parts(self, rng: torch.Generator) -> Iterator[tuple[Group, dict[str, Tensor]]]:
        """Draw initial parameters part by part; a seed's draws depend on the order."""
        width, seen = self.config.width, self.spaces.condensed_size
        actions = self.spaces.actions
        yield "encoder", self.encoder.init(rng)
        if self.config.context_size:
            yield "context", {CONTEXT: constant(0.0, self.config.context_size)}
        yield "action", _head("action", rng, width, actions)
        yield "value", _head("value", rng, width, 1)
        yield "prediction", _head("prediction", rng, width + actions, seen)
        if not self.spaces.discrete:
            yield "action", {LOG_STD: constant(self.config.initial_log_std, actions)}
        for cell in self.cells:
            yield "cell", cell.init(rng)
            if self.config.norm:
                yield "cell", {f"{cell.name}.norm": constant(1.0, width)}

    def initial_state(self, tasks: int, lanes: int, like: Tensor) -> State:
        """Return the empty memory, with the dtype and device of a tensor."""
        return tuple(cell.initial_state(tasks, lanes, like) for cell in self.cells)

    def bind(self, params: Params) -> "BoundPolicy":
        """Put parameters in place, to be used for many steps."""
        cells = tuple(cell.bind(params) for cell in self.cells)
        return BoundPolicy(self, params, self.encoder.bind(params), cells)

    def inputs(
        self,
        observation: Float[Tensor, "*batch O"],
        previous_action: Shaped[Tensor, "..."],
        previous_reward: Float[Tensor, "*batch"],
        episode_start: Bool[Tensor, "*batch"],
    ) -> Float[Tensor, "*batch I"]:
        """Centre the observation; append, if trial inputs are on, what happened just before it.

        The previous reward is in units of its typical magnitude, whatever those of the environment
        are, and bounded: one huge reward does not drown all the others in a memory.

        Args:
            observation: In the environment's units.
            previous_action: As :meth:`action_features` takes it; -1 or zeros when there is none.
            previous_reward: Reward of the step before, in the environment's units.
            episode_start: Whether the observation is the first of an episode.
        """
        seen = self.spaces.centred(observation)
        if self.config.clip_obs:
            bound = self.config.clip_obs * seen.new_tensor(self.spaces.observation_scale)
            seen = seen.clamp(-bound, bound)
        if not self.config.trial_inputs:
            return seen
        reward, bound = previous_reward / self.spaces.reward_scale, self.config.clip_reward
        reward = reward.clamp(-bound, bound)
        extras = torch.stack([reward, episode_start.to(reward.dtype)], -1)
        acted = self.action_features(previous_action, observation)
        return torch.cat([seen, acted, extras], -1)

    def action_features(self, action: Tensor, like: Tensor) -> Float[Tensor, "*batch A"]:
        """Return choices as one-hot vectors side by side (zeros for -1).

        Real numbers are returned as they are: a continuous action, or such vectors themselves.
        """
        if not self.spaces.discrete or action.is_floating_point():
            return action.to(like.dtype)
        several = self.spaces.choices
        chosen = action.unbind(-1) if several else (action,)
        parts = [
            one.unsqueeze(-1) == torch.arange(size, device=action.device)
            for one, size in zip(chosen, several or (self.spaces.actions,), strict=True)
        ]
        return torch.cat(parts, -1).to(like.dtype)


@dataclass(frozen=True)
class BoundPolicy:
    """A :class:`Policy` with its parameters in place."""

    policy: Policy
    params: Params
    encoder: BoundEncoder
    cells: tuple[BoundCell, ...]

    def step(
        self,
        inputs: Float[Tensor, "K E I"],
        state: State,
        keep: Bool[Tensor, "K E"] | None = None,
    ) -> tuple[Float[Tensor, "K E D"], State]:
        """Run the network for one step.

        Args:
            inputs: From :meth:`Policy.inputs`.
            state: The memory carried in.
            keep: False where the memory is wiped before the step; None keeps it.

        Returns:
            Features for the heads, and the memory after the step.
        """
        return self._run([cell.step for cell in self.cells], inputs, state, keep)

    def scan(
        self,
        inputs: Float[Tensor, "T K E I"],
        state: State,
        keep: Bool[Tensor, "T K E"] | None = None,
    ) -> tuple[Float[Tensor, "T K E D"], State]:
        """Run the network over a sequence, with the result of :meth:`step` after :meth:`step`."""
        return self._run([cell.scan for cell in self.cells], inputs, state, keep)

    def _run(
        self,
        advances: Sequence[Callable[..., tuple[Tensor, Tensor]]],
        inputs: Float[Tensor, "*time K E I"],
        state: State,
        keep: Bool[Tensor, "*time K E"] | None,
    ) -> tuple[Float[Tensor, "*time K E D"], State]:
        x, after = self.encoder(self._with_context(inputs)), []
        for block, (advance, memory) in enumerate(zip(advances, state, strict=True)):
            y, memory = advance(self._normed(x, block), memory, keep)
            x = x + silu(y)
            after.append(memory)
        return x, tuple(after)

    def _with_context(self, inputs: Float[Tensor, "*time K E I"]) -> Float[Tensor, "*time K E J"]:
        """Append the context, if the policy has one, which is the same at every step."""
        if not self.policy.config.context_size:
            return inputs
        context = per_lane(self.params[CONTEXT])
        return torch.cat([inputs, context.expand(*inputs.shape[:-1], context.shape[-1])], -1)

    def _normed(self, x: Float[Tensor, "*time K E D"], block: int) -> Float[Tensor, "*time K E D"]:
        """Return the input of a block, normalised if the policy says so."""
        if not self.policy.config.norm:
            return x
        weight = per_lane(self.params[f"{self.policy.cells[block].name}.norm"])
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * weight

    def distribution(
        self, features: Float[Tensor, "*time K E D"]
    ) -> Categorical | DiagonalGaussian:
        """Return the distribution over actions."""
        p = self.params
        return self.distribution_of(linear(features, p["action.weight"], p["action.bias"]))

    def distribution_of(
        self, outputs: Float[Tensor, "*time K E A"]
    ) -> Categorical | DiagonalGaussian:
        """Return the distribution over actions that outputs of the action head stand for."""
        if self.policy.spaces.discrete:
            return Categorical(outputs, self.policy.spaces.choices)
        return DiagonalGaussian(outputs, self.log_std())

    def log_std(self) -> Float[Tensor, "..."]:
        """Return the log standard deviation of a continuous action, kept in a sane range."""
        return per_lane(self.params[LOG_STD]).clamp(*LOG_STD_RANGE)

    def value(self, features: Float[Tensor, "*time K E D"]) -> Float[Tensor, "*time K E"]:
        """Return the value of each step, in the units the value head was trained in."""
        return linear(features, self.params["value.weight"], self.params["value.bias"]).squeeze(-1)

    def prediction(
        self, features: Float[Tensor, "*time K E D"], action: Tensor
    ) -> Float[Tensor, "*time K E O"]:
        """Predict how an action will change the observation, in units of its typical magnitude."""
        acted = torch.cat([features, self.policy.action_features(action, features)], -1)
        return linear(acted, self.params["prediction.weight"], self.params["prediction.bias"])


def _head(name: str, rng: torch.Generator, inputs: int, outputs: int) -> dict[str, Tensor]:
    return {
        f"{name}.weight": random_matrix(rng, inputs, outputs, gain=HEAD_GAIN),
        f"{name}.bias": constant(0.0, outputs),
    }
