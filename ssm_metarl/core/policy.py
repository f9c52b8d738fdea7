"""A policy: an encoder, blocks with memory, and heads for the action, the value and prediction.

A :class:`Policy` holds no parameters. ``bind`` puts a dictionary of them in place, shared by all
tasks (``[...]``) or one set per task (``[K, ...]``), and everything then works on arrays
``[K, E, ...]`` (acting) or ``[T, K, E, ...]`` (training) by the same code.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from ssm_metarl.core.controls import GRU, MLP, BoundGRU, BoundMLP
from ssm_metarl.core.distributions import Categorical, DiagonalGaussian, NoiseKind
from ssm_metarl.core.parameters import Params, linear, per_lane, random_matrix
from ssm_metarl.core.ssm import BoundDiagonalSSM, BoundGatedSSM, DiagonalSSM, GatedSSM

CellName = Literal["ssm", "gated", "gru", "mlp"]
State = tuple[Tensor, ...]
"""The memory of each block, ``[K, E, N]``."""

ACTION_GAIN = 0.01  # near-uniform actions at first: a fresh policy must still have gradients
LOG_STD = "action.log_std"
LOG_STD_RANGE = (-4.0, 1.0)  # a large inner step may not switch exploration off, or blow it up
REWARD_CLIP = 10.0


@dataclass(frozen=True)
class Spaces:
    """What a policy sees and does, in plain numbers.

    Attributes:
        observation_scale: Typical magnitude of each observation entry; its length is ``O``.
        actions: Number of discrete actions, or of action dimensions; ``A``.
        discrete: Which of the two.
        action_low: Lower bounds of a continuous action in the environment's units; empty if it
            has none, or is discrete.
        action_high: Upper bounds, likewise.
    """

    observation_scale: tuple[float, ...]
    actions: int
    discrete: bool
    action_low: tuple[float, ...] = ()
    action_high: tuple[float, ...] = ()

    def describe(self) -> str:
        """Say it in words: ``4 numbers and takes 2 discrete actions``."""
        kind = f"{self.actions} discrete actions" if self.discrete else f"{self.actions} numbers"
        bounds = f" from {list(self.action_low)} to {list(self.action_high)}"
        return f"{len(self.observation_scale)} numbers and takes {kind}" + (
            bounds if self.action_low else ""
        )


@dataclass(frozen=True)
class PolicyConfig:
    """The network.

    Attributes:
        cell: Kind of memory: diagonal complex ssm, gated (input-dependent) ssm, gru, or mlp (none).
        width: Features per block, ``D``.
        state_size: State size of each block, ``N`` (complex for ssm).
        blocks: Number of blocks.
        max_time_constant: Longest initial time constant of the memory, in steps.
        norm: Normalise the input of each block (RMS).
        trial_inputs: Also see the previous action, previous reward and episode start.
        memory: What the hidden state lasts for: one episode, or a trial of several.
        initial_log_std: Of continuous actions, whose bounds are -1 and 1.
    """

    cell: CellName = "ssm"
    width: int = 32
    state_size: int = 16
    blocks: int = 1
    max_time_constant: float = 100.0
    norm: bool = False
    trial_inputs: bool = False
    memory: Literal["episode", "trial"] = "episode"
    initial_log_std: float = -0.5


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
    def cells(self) -> tuple[DiagonalSSM | GatedSSM | GRU | MLP, ...]:
        """The layer of each block."""
        return tuple(_make_cell(f"block{i}", self.config) for i in range(self.config.blocks))

    def init(self, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw initial parameters, float32 on the CPU."""
        width, seen = self.config.width, len(self.spaces.observation_scale)
        actions = self.spaces.actions
        inputs = seen + (actions + 2 if self.config.trial_inputs else 0)
        params = {
            "encoder.weight": random_matrix(rng, inputs, width),
            "encoder.bias": torch.zeros(width),
            "action.weight": random_matrix(rng, width, actions, gain=ACTION_GAIN),
            "action.bias": torch.zeros(actions),
            "value.weight": random_matrix(rng, width, 1, gain=ACTION_GAIN),
            "value.bias": torch.zeros(1),
            "prediction.weight": random_matrix(rng, width + actions, seen, gain=ACTION_GAIN),
            "prediction.bias": torch.zeros(seen),
        }
        if not self.spaces.discrete:
            params[LOG_STD] = torch.full((actions,), self.config.initial_log_std)
        for cell in self.cells:
            params |= cell.init(rng)
            if self.config.norm:
                params[f"{cell.name}.norm"] = torch.ones(width)
        return params

    def initial_state(self, tasks: int, lanes: int, like: Tensor) -> State:
        """Return the empty memory, with the dtype and device of a tensor."""
        return tuple(cell.initial_state(tasks, lanes, like) for cell in self.cells)

    def bind(self, params: Params) -> "BoundPolicy":
        """Put parameters in place; the scaling of the inputs goes into the encoder's weights."""
        weight = params["encoder.weight"]
        scale = weight.new_ones(weight.shape[-2], 1)
        scale[: len(self.spaces.observation_scale), 0] = self._scale(weight)
        cells = tuple(cell.bind(params) for cell in self.cells)
        return BoundPolicy(self, params, weight / scale, cells)

    def _scale(self, like: Tensor) -> Float[Tensor, "O"]:
        return like.new_tensor(self.spaces.observation_scale)

    def inputs(
        self,
        observation: Float[Tensor, "*batch O"],
        previous_action: Shaped[Tensor, "..."],
        previous_reward: Float[Tensor, "*batch"],
        episode_start: Bool[Tensor, "*batch"],
    ) -> Float[Tensor, "*batch I"]:
        """Append to the observation, if trial inputs are on, what happened just before it.

        Args:
            observation: In the environment's units.
            previous_action: As :meth:`action_features` takes it; -1 or zeros when there is none.
            previous_reward: Reward of the step before, in the environment's units.
            episode_start: Whether the observation is the first of an episode.
        """
        if not self.config.trial_inputs:
            return observation
        reward = previous_reward.clamp(-REWARD_CLIP, REWARD_CLIP)
        extras = torch.stack([reward, episode_start.to(reward.dtype)], -1)
        acted = self.action_features(previous_action, observation)
        return torch.cat([observation, acted, extras], -1)

    def action_features(self, action: Tensor, like: Tensor) -> Float[Tensor, "*batch A"]:
        """Return a discrete action as a one-hot vector (all zero for -1), others as they are."""
        if not self.spaces.discrete:
            return action.to(like.dtype)
        choices = torch.arange(self.spaces.actions, device=action.device)
        return (action.unsqueeze(-1) == choices).to(like.dtype)

    def to_environment(self, action: Tensor) -> Tensor:
        """Map a policy's action to the environment's units: [-1, 1] to [low, high], clipped."""
        if not self.spaces.action_low:
            return action
        low, high = action.new_tensor([self.spaces.action_low, self.spaces.action_high])
        return low + (high - low) * 0.5 * (action.clamp(-1.0, 1.0) + 1.0)


@dataclass(frozen=True)
class BoundPolicy:
    """A :class:`Policy` with its parameters in place."""

    policy: Policy
    params: Params
    encoder: Float[Tensor, "*tasks I D"]
    cells: tuple[BoundDiagonalSSM | BoundGatedSSM | BoundGRU | BoundMLP, ...]

    def features(
        self,
        inputs: Float[Tensor, "*time K E I"],
        state: State,
        keep: Bool[Tensor, "*time K E"] | None = None,
    ) -> tuple[Float[Tensor, "*time K E D"], State]:
        """Run the network: one step for ``[K, E, I]``, a sequence for ``[T, K, E, I]``.

        Args:
            inputs: From :meth:`Policy.inputs`.
            state: The memory carried in.
            keep: False where the memory is wiped before the step; None keeps it.

        Returns:
            Features for the heads, and the memory after the last step.
        """
        p = self.params
        x = linear(inputs, self.encoder, p["encoder.bias"]).tanh()
        after = []
        for spec, cell, memory in zip(self.policy.cells, self.cells, state, strict=True):
            seen = _rms_norm(x) * per_lane(p[f"{spec.name}.norm"]) if self.policy.config.norm else x
            y, memory = cell(seen, memory, keep)
            x = x + torch.nn.functional.silu(y)
            after.append(memory)
        return x, tuple(after)

    def distribution(
        self, features: Float[Tensor, "*time K E D"]
    ) -> Categorical | DiagonalGaussian:
        """Return the distribution over actions."""
        p = self.params
        outputs = linear(features, p["action.weight"], p["action.bias"])
        if self.policy.spaces.discrete:
            return Categorical(outputs)
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


def _make_cell(name: str, config: PolicyConfig) -> DiagonalSSM | GatedSSM | GRU | MLP:
    width, size = config.width, config.state_size
    if config.cell == "ssm":
        return DiagonalSSM(name, width, size, config.max_time_constant)
    if config.cell == "gated":
        return GatedSSM(name, width, size, config.max_time_constant)
    return (GRU if config.cell == "gru" else MLP)(name, width, size)


def _rms_norm(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
