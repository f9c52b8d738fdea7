"""The Inside tab shows the agent's own state space, and what its hidden state does."""

import dataclasses

import pytest
import torch

pytest.importorskip("gradio")

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.analysis.spectrum import ablated_returns, eigenvalues
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.ui.lazy_tab import query_of
from ssm_metarl.ui.query import Query, Subject
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.tabs.inside import (
    HALF_OPEN,
    UNCHANGED,
    WITHOUT,
    changes_shown,
    mode_shown,
    shown,
    spectrum_shown,
)

SWAPPED = Query.asked("cartpole", {"swap": 1.0}, ["hybrid"], 2, 1, 0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return RunStore(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def agent(store: RunStore) -> Agent:
    return store.agent("cartpole")[0]


def with_cell(agent: Agent, cell: str) -> Agent:
    spaces = Spaces((1.0,) * 4, 2, discrete=True)
    policy = Policy(PolicyConfig(cell=cell, width=4, state_size=3), spaces)
    params = policy.init(torch.Generator().manual_seed(0))
    return dataclasses.replace(agent, policy=policy, params=params, experience=None)


def test_every_eigenvalue_has_a_row_and_the_figure_says_the_range(agent: Agent) -> None:
    drawn, visible, table = spectrum_shown(agent, agent)
    found = sorted(one.time_constant for one in eigenvalues(agent))
    assert list(table["after (steps)"]) == [f"{one:.4g}" for one in found]
    assert visible["visible"] is True
    assert "<svg" in drawn
    assert f"Time constants from {found[0]:.3g} to {found[-1]:.3g} steps" in drawn


def test_the_effect_of_each_change_is_shown(store: RunStore) -> None:
    subject = Subject.of(store, SWAPPED)
    agent = subject.agent
    one_side = torch.tensor([0.0, 2.0])  # both alike would change nothing
    only = {**agent.params, "action.bias": agent.params["action.bias"] + one_side}
    moved = dataclasses.replace(agent, params=only)
    returns = ablated_returns(agent, moved, subject.family, subject.task, seed=0)
    line, parts = changes_shown(agent, moved, "standard", returns)
    assert f"{returns['before']:.4g} before, {returns['after']:.4g} after" in line
    first = parts["value"].data.iloc[0]
    assert list(first)[:2] == ["action head", 1.0]
    assert first["Alone"] == returns["after"]
    assert UNCHANGED in changes_shown(agent, agent, "in_context", {})[0]


@pytest.mark.parametrize("cell", ["gru", "mlp", "gated"])
def test_other_cells_say_what_is_shown_instead(agent: Agent, cell: str) -> None:
    other = with_cell(agent, cell)
    drawn, visible, table = spectrum_shown(other, other)
    assert visible["visible"] is (cell == "gated")
    if cell == "gated":
        assert HALF_OPEN in drawn
        assert set(table["Period (steps)"]) == {"inf"}
    else:
        assert WITHOUT[cell] in drawn


def test_the_tab_fills_in_context(store: RunStore) -> None:
    query, mine = query_of(store, "cartpole-in-context", {})
    subject = Subject.of(store, query)
    assert mode_shown(subject, query) == "in_context"
    first, (outcome, clips, traces, _, _, _, changed, _) = shown(subject, query, mine=mine)
    assert "Recording" in first[0]
    assert "The hidden state tells whether the task swaps left and right: from step" in outcome
    assert [clip["name"] for clip in clips] == ["episode 1", "episode 4"]
    assert 'data-rate="50"' in traces
    assert traces.count("data-steps=") == traces.count("<svg") == 5
    assert UNCHANGED in changed
