"""One acting step of an agent as a module whose state is an input and an output.

Everything is batched over ``E`` lanes. The state is one array ``[E, S]``, all zeros when nothing
has been seen or done yet: the memory of each block, complex numbers as neighbouring real ones, and,
where the policy sees it, its previous action: one-hot for choices, in [-1, 1] for numbers.
"""

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.deployment.actions import ActionMapping

EXAMPLE_LANES = 2  # exporters take an axis of length 1 for one that is always so
OUTPUTS = ("action", "next_state")


class ActingStep(torch.nn.Module):
    """Observation and state in, action in the environment's units and next state out.

    It gives what :meth:`Agent.predict` gives.

    Args:
        agent: Whose step it is.
        sample: Whether actions are drawn, from noise that is another input: ``[E, A]`` standard
            Gumbel numbers for choices, standard normal ones for numbers.
    """

    def __init__(self, agent: Agent, *, sample: bool) -> None:
        super().__init__()
        self.policy, self.sample = agent.policy, sample
        self.bound = agent.policy.bind(agent.params)
        self.to_environment = ActionMapping(agent.policy.spaces)
        empty = agent.policy.initial_state(1, 1, torch.zeros(()))
        self.sizes = [memory.shape[-1] for memory in empty]
        if self.policy.config.trial_inputs:
            self.sizes.append(self.policy.spaces.actions)

    def forward(
        self,
        observation: Float[Tensor, "E O"],
        reward: Float[Tensor, "E"],
        episode_start: Bool[Tensor, "E"],
        state: Float[Tensor, "E S"],
        noise: Float[Tensor, "E A"] | None = None,
    ) -> tuple[Shaped[Tensor, "E ..."], Float[Tensor, "E S"]]:
        """Act once.

        Args:
            observation: In the environment's units.
            reward: Of the previous action.
            episode_start: Whether the observation is the first of an episode.
            state: What the step before returned; zeros at the very start.
            noise: As the class says.

        Returns:
            The action and the state for the next step.
        """
        if self.policy.config.memory == "episode":  # nothing from before its start
            state = state.masked_fill(episode_start.unsqueeze(-1), 0.0)
            reward = reward.masked_fill(episode_start, 0.0)
        state = state.unsqueeze(0)  # one task
        parts = state.split(self.sizes, -1) if self.sizes[1:] else (state,)
        seen, earned, start = (x.unsqueeze(0) for x in (observation, reward, episode_start))
        inputs = self.policy.inputs(seen, parts[-1], earned, start)
        features, memory = self.bound.step(inputs, parts[: len(self.bound.cells)])
        distribution = self.bound.distribution(features)
        action = distribution.mode() if noise is None else distribution.sample(noise.unsqueeze(0))
        after = list(memory)
        if self.policy.config.trial_inputs:
            after.append(self.policy.action_features(action, observation))
        return self.to_environment(action.squeeze(0)), torch.cat(after, -1).squeeze(0)

    def example(self) -> dict[str, Tensor]:
        """Return inputs of the right shapes, by name, in the order of :meth:`forward`."""
        lanes, spaces = EXAMPLE_LANES, self.policy.spaces
        inputs = {
            "observation": torch.zeros(lanes, len(spaces.observation_scale)),
            "reward": torch.zeros(lanes),
            "episode_start": torch.ones(lanes, dtype=torch.bool),
            "state": torch.zeros(lanes, sum(self.sizes)),
        }
        return inputs | ({"noise": torch.zeros(lanes, spaces.actions)} if self.sample else {})

    @property
    def noise_scale(self) -> Float[Tensor, "A"]:
        """What the noise is multiplied by."""
        spaces = self.policy.spaces
        return torch.ones(spaces.actions) if spaces.discrete else self.bound.log_std().exp()
