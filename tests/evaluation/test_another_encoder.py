"""What is added to the registry of encoders may name its parameters as it likes."""

import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.adaptation.standard import play_tasks
from ssm_metarl.core.encoders import ENCODERS
from ssm_metarl.core.linear_encoder import BoundLinearEncoder, LinearEncoder
from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.core.registry import Entry
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.evaluation.evaluate import EvaluationPlan, evaluate

MODES = ("zero_shot", "standard", "hybrid", "from_scratch")


class Unbiased(LinearEncoder):
    """Has a parameter of one name only."""

    def init(self, rng: torch.Generator) -> dict[str, torch.Tensor]:
        return {"encoder.kernel": super().init(rng)["encoder.weight"]}

    def bind(self, params: Params) -> BoundLinearEncoder:
        kernel = params["encoder.kernel"]
        return BoundLinearEncoder(kernel, torch.zeros_like(kernel[..., 0, :]))


def test_an_agent_with_it_is_evaluated_in_every_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENCODERS, "unbiased", Entry("", __name__, "Unbiased"))
    family = get_family("CartPole-v1")
    config = PolicyConfig(width=8, state_size=4, encoder="unbiased")
    policy = Policy(config, policy_spaces(family))
    params = policy.init(torch.Generator().manual_seed(0))
    agent = Agent(policy, params, 0.1, AdaptationConfig(horizon=20), family.name)
    played = [
        play_tasks(agent, params, family, task, 2, SeedSequence(0)) for task in family.validation(3)
    ]
    plan = EvaluationPlan(MODES, budgets=(2,), steps=2, return_episodes=2)
    memory = Memory(agent, dict(enumerate(played)))
    found = list(evaluate(agent, family, family.held_out(2), plan, memory))
    modes = [one.result.mode for one in found]
    assert modes == ["zero_shot", *["standard"] * 2, *["hybrid"] * 2, *["from_scratch"] * 3]
