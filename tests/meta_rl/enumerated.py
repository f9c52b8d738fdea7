"""Problems so small that every trajectory can be enumerated.

Each lane is one trajectory and its advantage is weighted by the trajectory's probability, so the
average over lanes is the exact expectation and nothing here is sampled.
"""

import itertools

import torch
from torch import Tensor

from ssm_metarl.core.parameters import partition
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.meta_rl.batch import Batch
from ssm_metarl.meta_rl.inner_rule import ACTING

K, ALPHA = 2, 0.3
POLICY = Policy(PolicyConfig(width=2, state_size=1), Spaces((1.0, 1.0), 2, discrete=True))
FIRST_REWARD = torch.tensor([[1.0, -0.5], [-2.0, 0.7]], dtype=torch.float64)  # [K, a0]
SECOND_REWARD = torch.tensor(  # [K, s1, a1]
    [[[0.3, 2.0], [-1.0, 0.4]], [[1.1, -0.2], [0.5, 3.0]]], dtype=torch.float64
)
NEXT_STATE = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3]], dtype=torch.float64)  # last: the end
OBSERVATIONS = torch.tensor([[1.0, 0.5], [-0.7, 1.2], [0.4, -1.5]], dtype=torch.float64)


class Enumerated:
    """Every trajectory of a problem of one or two steps, as lanes."""

    def __init__(self, steps: int) -> None:
        paths = list(itertools.product(range(2), range(3), range(2)))
        if steps == 1:
            paths = [(a0, 2, 0) for a0 in range(2)]
        else:  # after the end (state 2) there is one way to go on, and it is a dead step
            paths = [p for p in paths if p[1] < 2 or p[2] == 0]
        a0, s1, a1 = (torch.tensor(column) for column in zip(*paths, strict=True))
        lanes = len(paths)
        going = s1 < 2
        chance = NEXT_STATE[a0, s1] if steps == 2 else torch.ones(lanes, dtype=torch.float64)
        second = torch.where(going, SECOND_REWARD[:, s1.clamp(max=1), a1], 0.0)
        self.reward = torch.stack([FIRST_REWARD[:, a0], second])[:steps]  # [T, K, E]
        self.chance = chance.expand(K, lanes)
        self.valid = torch.stack([torch.ones_like(going), going])[:steps]
        self.valid = self.valid.unsqueeze(1).expand(steps, K, lanes)
        self.action = torch.stack([a0, a1])[:steps].unsqueeze(1).expand(steps, K, lanes)
        first = OBSERVATIONS[0].expand(lanes, 2)
        observation = torch.stack([first, OBSERVATIONS[1:][s1.clamp(max=1)]])[:steps]
        self.inputs = observation.unsqueeze(1).expand(steps, K, lanes, 2)

    def log_prob(self, params: dict[str, Tensor]) -> Tensor:
        features, _ = POLICY.bind(params).scan(
            self.inputs, POLICY.initial_state(K, self.chance.shape[1], self.inputs)
        )
        return POLICY.bind(params).distribution(features).log_prob(self.action) * self.valid

    def probability(self, params: dict[str, Tensor]) -> Tensor:
        return self.log_prob(params).sum(0).exp() * self.chance

    def expected_return(self, params: dict[str, Tensor]) -> Tensor:
        return (self.probability(params) * self.reward.sum(0)).sum(-1)

    def weighted_return_to_go(self, params: dict[str, Tensor]) -> Tensor:
        to_go = self.reward.flip(0).cumsum(0).flip(0) * self.valid
        return to_go * self.probability(params).detach() * self.chance.shape[1]

    def batch(self, params: dict[str, Tensor]) -> Batch:
        return Batch(
            inputs=self.inputs,
            keep=None,
            action=self.action,
            log_prob=self.log_prob(params).detach(),
            advantage=self.weighted_return_to_go(params),
            valid=self.valid,
            change=torch.zeros(*self.valid.shape, 1, dtype=torch.float64),
            scale=torch.ones(K, dtype=torch.float64),
            value=torch.zeros_like(self.reward),
            target=torch.zeros_like(self.reward),
        )


def make_params() -> dict[str, Tensor]:
    params = POLICY.init(torch.Generator().manual_seed(3))
    params["action.weight"] = params["action.weight"] * 100  # far from uniform
    acting, _ = partition(params, POLICY.leaves, ACTING)
    return {name: value.double() for name, value in acting.items()}


def flatten(params: dict[str, Tensor]) -> Tensor:
    return torch.cat([v.flatten() for v in params.values()])


def unflatten(vector: Tensor, like: dict[str, Tensor]) -> dict[str, Tensor]:
    parts = vector.split([v.numel() for v in like.values()])
    return {n: p.view_as(v) for (n, v), p in zip(like.items(), parts, strict=True)}
