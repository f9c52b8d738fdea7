"""The Inside tab shows the agent's own state space, and what is really in its memory."""

import dataclasses
from html import unescape

import pytest
import torch

pytest.importorskip("gradio")

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.analysis.spectrum import ablated_returns, eigenvalues
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.ui.charts import Axis, Line, chart
from ssm_metarl.ui.eigenvalue_plot import discs
from ssm_metarl.ui.inside_shown import CELLS, HALF_OPEN, spectrum_shown
from ssm_metarl.ui.lazy_tab import query_of
from ssm_metarl.ui.query import Query, Subject
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.tabs.inside import shown, way_of

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


def test_the_disc_has_a_ring_and_a_dot_for_each(agent: Agent) -> None:
    found = eigenvalues(agent)
    html = discs(found, found)
    assert html.count('class="after mark-new"') == html.count('class="before"') == 2 * len(found)
    assert "nan" not in html


def test_the_effect_of_a_change_is_shown(store: RunStore) -> None:
    subject = Subject.of(store, SWAPPED)
    agent = subject.agent
    one_side = torch.tensor([0.0, 2.0])  # both alike would change nothing
    only = {**agent.params, "action.bias": agent.params["action.bias"] + one_side}
    moved = dataclasses.replace(agent, params=only)
    found = ablated_returns(agent, moved, subject.family, subject.task, seed=0)
    html = spectrum_shown(agent, moved, "standard", found)
    assert f"The return before was {found['before']:.4g}, after {found['after']:.4g}." in html


@pytest.mark.parametrize("cell", ["gru", "mlp", "gated"])
def test_other_cells_say_what_is_shown_instead(agent: Agent, cell: str) -> None:
    other = with_cell(agent, cell)
    html = unescape(spectrum_shown(other, other, "standard"))
    if cell == "gated":
        assert HALF_OPEN in html
        assert all(0.0 < one.value.real < 1.0 for one in eigenvalues(other))
        assert "never turns" in html
    else:
        assert CELLS[cell] in html
        assert eigenvalues(other) == []


def test_the_tab_fills_in_context(store: RunStore) -> None:
    query = query_of(store, "cartpole-in-context", {})
    assert way_of(Subject.of(store, query), query) == "in_context"
    first, last = shown(store, query, mine=False)
    assert "Filming" in first[0]
    sentence, clips, traces, spectrum = last
    assert "has understood" in sentence
    assert [clip["name"] for clip in clips] == ["the first episode", "after 3 others of the task"]
    assert 'data-rate="50"' in traces
    assert traces.count('class="cursor"') == 2 * traces.count('class="chart"')
    assert "nothing in the network changes" in spectrum


def test_a_cursor_knows_its_axis() -> None:
    html = chart(
        [Line("a", "hybrid", [(0.0, 1.0), (40.0, 2.0)])],
        Axis("x", 0.0, 40.0),
        Axis("y"),
        "alt",
        cursor=True,
    )
    assert html.count('data-from="0" data-to="40" data-left="') == 2
