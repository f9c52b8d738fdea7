"""Eigenvalues against the dense transition matrix, and changes that add up."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from with_cells import with_cell

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.analysis.spectrum import (
    PARTS,
    Eigenvalue,
    ablated_returns,
    as_numbers,
    eigenvalues,
    parameter_changes,
)
from ssm_metarl.core.policy import BoundPolicy
from ssm_metarl.env_runner.family import TaskFamily


def transition_matrix(bound: BoundPolicy, block: int) -> torch.Tensor:
    """The derivative of a block's next state by its state, as a dense real matrix."""
    policy = bound.policy
    observation = torch.zeros(1, 1, len(policy.spaces.observation_scale))
    inputs = policy.inputs(
        observation, torch.full((1, 1), -1), torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.bool)
    )
    state = policy.initial_state(1, 1, observation)

    def step(flat: torch.Tensor) -> torch.Tensor:
        own = flat[None, None]
        _, after = bound.step(inputs, (*state[:block], own, *state[block + 1 :]))
        return after[block].flatten()

    jacobian = torch.autograd.functional.jacobian(step, state[block].flatten())
    assert isinstance(jacobian, torch.Tensor)
    return jacobian


def test_eigenvalues_are_those_of_the_dense_transition_matrix(in_context_agent: Agent) -> None:
    agent = in_context_agent
    found = eigenvalues(agent)
    blocks = agent.policy.config.blocks
    assert blocks == 2
    bound = agent.policy.bind(agent.params)
    for block in range(blocks):
        dense = torch.linalg.eigvals(transition_matrix(bound, block)).numpy()
        own = np.array([one.value for one in found if one.block == block])
        both = np.concatenate([own, own.conj()])  # a real matrix has them in pairs
        np.testing.assert_allclose(np.sort_complex(both), np.sort_complex(dense), atol=1e-5)
        assert [one.number for one in found if one.block == block] == list(range(len(own)))


def test_a_gated_cell_has_the_eigenvalues_of_its_half_open_gates(agent: Agent) -> None:
    gated = with_cell(agent, "gated")
    params = dict(gated.params)
    for name in params:  # the gates of an input of zero are half open where the encoder gives zero
        if name.startswith("encoder"):
            params[name] = torch.zeros_like(params[name])
    gated = dataclasses.replace(gated, params=params)
    dense = torch.linalg.eigvals(transition_matrix(gated.policy.bind(params), 0)).numpy()
    found = [one.value for one in eigenvalues(gated)]
    np.testing.assert_allclose(np.sort_complex(found), np.sort_complex(dense), atol=1e-6)


@pytest.mark.parametrize("cell", ["gru", "mlp"])
def test_other_cells_have_none(agent: Agent, cell: str) -> None:
    assert eigenvalues(with_cell(agent, cell)) == []


def test_time_constant_and_period_are_those_of_powers() -> None:
    one = Eigenvalue(0, 0, 0.9 * np.exp(2j * math.pi / 12))
    assert abs(one.value) ** one.time_constant == pytest.approx(1 / math.e)
    assert np.angle(one.value**one.period) == pytest.approx(0.0, abs=1e-9)
    assert one.period == pytest.approx(12.0)
    assert Eigenvalue(0, 0, one.value.conjugate()).period == pytest.approx(12.0)
    assert Eigenvalue(0, 0, 0.5 + 0j).period == math.inf


Edit = Callable[[torch.Tensor], torch.Tensor]


def edited(agent: Agent, name: str, edit: Edit) -> Agent:
    return dataclasses.replace(agent, params={**agent.params, name: edit(agent.params[name])})


OWN_PARTS = [part for part in PARTS if part not in ("gates", "context")]  # of this agent


def test_changes_are_told_by_part(agent: Agent) -> None:
    assert parameter_changes(agent, agent) == []
    after = edited(agent, "action.bias", lambda x: x + 3.0)
    after = edited(after, "block0.nu", lambda x: 2.0 * x)
    after = edited(after, "value.weight", lambda x: x + 100.0)  # adaptation leaves it alone
    found = {change.part: change for change in parameter_changes(agent, after)}
    assert list(found) == OWN_PARTS
    params = agent.params
    moved = {
        "action": 9.0 * len(params["action.bias"]),
        "A": float(params["block0.nu"].norm()) ** 2,
    }
    total = sum(moved.values())
    for part, change in found.items():
        assert change.share == pytest.approx(moved.get(part, 0.0) / total, rel=1e-5)
    size = sum(float(params[f"block0.{name}"].norm()) ** 2 for name in ("nu", "theta"))
    assert found["A"].relative == pytest.approx(math.sqrt(moved["A"] / size), rel=1e-5)
    assert found["B"].relative == 0.0


def test_every_parameter_that_adapts_belongs_to_a_part(agent: Agent) -> None:
    for cell in ("ssm", "gated", "gru", "mlp"):
        before = with_cell(agent, cell, norm=True)
        after = dataclasses.replace(before, params={k: v + 1.0 for k, v in before.params.items()})
        assert sum(one.share for one in parameter_changes(before, after)) == pytest.approx(1.0)


def test_a_context_is_a_part_that_was_nothing_before(agent: Agent) -> None:
    policy = dataclasses.replace(
        agent.policy, config=dataclasses.replace(agent.policy.config, context_size=3)
    )
    before = dataclasses.replace(
        agent, policy=policy, params=policy.init(torch.Generator().manual_seed(0))
    )
    after = edited(before, "context.value", lambda x: x + 1.0)
    changes = {change.part: change for change in parameter_changes(before, after)}
    assert (changes["context"].share, changes["context"].relative) == (1.0, None)


def test_the_return_with_one_change_alone_is_measured(agent: Agent, cartpole: TaskFamily) -> None:
    after = edited(agent, "action.bias", lambda x: x + torch.tensor([0.0, 2.0]))
    task = cartpole.task(swap=1.0)
    found = ablated_returns(agent, after, cartpole, task, seed=0)
    assert list(found) == ["before", "after", *OWN_PARTS]
    assert found["action"] == found["after"] != found["before"]
    assert {found[part] for part in OWN_PARTS if part != "action"} == {found["before"]}
    assert ablated_returns(agent, after, cartpole, task, seed=1)["before"] != found["before"]


def test_numbers_are_those_of_both_agents(agent: Agent) -> None:
    after = edited(agent, "block0.nu", lambda x: x + 0.1)
    numbers = as_numbers(agent, after)
    old, new = eigenvalues(agent)[1], eigenvalues(after)[1]
    assert numbers["eigenvalues"][1] == {
        "block": 0,
        "before": [old.value.real, old.value.imag],
        "after": [new.value.real, new.value.imag],
        "time_constant_before": old.time_constant,
        "time_constant_after": new.time_constant,
        "period_after": new.period,
    }
    assert [row["part"] for row in numbers["changes"]] == [
        change.part for change in parameter_changes(agent, after)
    ]
    gated = with_cell(agent, "gated")
    assert as_numbers(gated, gated)["eigenvalues"][0]["period_after"] is None
