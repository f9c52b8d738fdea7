"""The Inside tab shows the agent's own state space, and what is really in its memory."""

import dataclasses
import math
from html import unescape

import numpy as np
import pytest
import torch

pytest.importorskip("gradio")

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.core.policy import Policy, PolicyConfig, Spaces
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.ui.charts import Axis, Line, chart
from ssm_metarl.ui.clips import agent_after
from ssm_metarl.ui.eigenvalue_plot import discs
from ssm_metarl.ui.inside_shown import CELLS, HALF_OPEN, spectrum_shown
from ssm_metarl.ui.lazy_tab import query_of
from ssm_metarl.ui.linear_probe import hidden_states, learn_to_read, moment
from ssm_metarl.ui.query import Query, Subject
from ssm_metarl.ui.spectrum import changes, effects, eigenvalues
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.tabs.inside import shown, way_of
from ssm_metarl.ui.traces import Trace, Watched, principal

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


def test_the_eigenvalues_are_those_of_the_state_space(agent: Agent) -> None:
    found = eigenvalues(agent)
    nu, theta = agent.params["block0.nu"].double(), agent.params["block0.theta"].double()
    expected = torch.polar((-nu.exp()).exp(), theta.exp())
    np.testing.assert_allclose([one.value for one in found], expected.numpy(), rtol=1e-5)
    np.testing.assert_allclose([one.time_constant for one in found], (-nu).exp(), rtol=1e-4)
    np.testing.assert_allclose([one.period for one in found], 2 * math.pi / theta.exp(), rtol=1e-4)


def test_the_disc_has_a_ring_and_a_dot_for_each(agent: Agent) -> None:
    found = eigenvalues(agent)
    html = discs(found, found)
    assert html.count('class="after mark-new"') == html.count('class="before"') == 2 * len(found)
    assert "nan" not in html


def test_what_adaptation_changed_adds_up(store: RunStore, agent: Agent) -> None:
    subject = Subject.of(store, SWAPPED)
    after = agent_after(subject, SWAPPED, "hybrid")
    found = changes(agent, after)
    assert sum(change.share for change in found) == pytest.approx(1.0)
    before = torch.cat([agent.params[f"action.{part}"].flatten() for part in ("weight", "bias")])
    moved = torch.cat([after.params[f"action.{part}"].flatten() for part in ("weight", "bias")])
    action = next(change for change in found if change.part == "action")
    assert action.relative == pytest.approx(float((moved - before).norm() / before.norm()), 1e-4)
    assert changes(agent, agent) == []


def test_the_effect_of_a_change_is_measured(store: RunStore) -> None:
    subject = Subject.of(store, SWAPPED)
    agent = subject.agent
    one_side = torch.tensor([0.0, 2.0])  # both alike would change nothing
    only = {**agent.params, "action.bias": agent.params["action.bias"] + one_side}
    moved = dataclasses.replace(agent, params=only)
    found = effects(subject, moved, seed=0)
    assert found["action"] == found["after"] != found["before"]
    assert found["A"] == found["B"] == found["C"] == found["before"]
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


def test_who_is_watched_acts_as_ever(agent: Agent) -> None:
    rng = np.random.default_rng(0)
    watched = Watched.of(agent)
    mine, theirs = agent.session("zero_shot", seed=3), watched.session("zero_shot", seed=3)
    for step in range(6):
        observation = rng.normal(size=4).astype(np.float32)
        assert mine.act(observation) == theirs.act(observation)
        for session in (mine, theirs):
            session.observe(1.0, step == 2, False, observation)
    assert [look.start for look in watched.looks] == [True, False, False, True, False, False]
    trace = watched.last_episode(2)
    assert trace.state.shape == (2, 2 * agent.policy.config.state_size)
    np.testing.assert_allclose(trace.action.sum(1), 1.0, rtol=1e-5)
    assert np.array_equal(trace.size, np.linalg.norm(trace.state, axis=1))


def test_principal_components_are_common_axes() -> None:
    rng = np.random.default_rng(0)
    line = rng.normal(size=(20, 1)) * np.array([[3.0, 4.0, 0.0]])
    parts, share = principal([Trace(line[:8], line[:8]), Trace(line[8:], line[8:])])
    assert share[0] == pytest.approx(1.0)
    both = np.concatenate([part[:, 0] for part in parts])
    expected = line @ np.array([0.6, 0.8, 0.0])
    np.testing.assert_allclose(both, expected - expected.mean(), atol=1e-9)


def test_the_reader_finds_the_moment_of_understanding(store: RunStore) -> None:
    """The agent that adapts in context learns of the swap within its first steps, and keeps it."""
    agent, family = store.agent("cartpole-in-context")
    reader = learn_to_read(agent, family)
    assert reader is not None
    assert 0.8 < reader.accuracy <= 1.0
    assert reader.surprise == "swaps left and right"
    for swap in (0.0, 1.0):
        watched = Watched.of(agent)
        session = watched.session("in_context", seed=1)
        env = family.gymnasium(family.task(swap=swap))
        for seed in range(2):
            observation, _ = env.reset(seed=seed)
            for step in range(40):
                observation, reward, ended, _, _ = env.step(session.act(observation))
                session.observe(float(reward), bool(ended), step == 39, observation)
                assert not ended
        env.close()
        starts = [place for place, look in enumerate(watched.looks) if look.start]
        states = np.stack([look.state for look in watched.looks])
        first, second = (reader.belief(states[start : start + 40]) for start in starts)
        understood = moment(first, surprise=swap == 1.0)
        assert understood is not None
        assert 0 < understood < 30
        assert moment(second, surprise=swap == 1.0) == 0


def test_the_reader_reads_the_states_that_were_acted_with(store: RunStore) -> None:
    from numpy.random import SeedSequence

    from ssm_metarl.env_runner.rollout import collect_trials

    agent, family = store.agent("cartpole-in-context")
    env = family.make(family.nominal(), 2, autoreset=True, horizon=10)
    bound = agent.policy.bind(agent.params)
    played = collect_trials(bound, env, SeedSequence(0), 2)
    states = hidden_states(bound, played)
    _, last = bound.scan(
        played.inputs(agent.policy)[:-1],
        agent.policy.initial_state(1, 2, played.observation),
        None,
    )
    flat = torch.cat([torch.view_as_real(block).flatten(-2) for block in last], -1)
    torch.testing.assert_close(states[-1], flat, rtol=1e-3, atol=1e-3)


def test_a_belief_has_to_last() -> None:
    belief = np.array([0.5, 0.95, 0.5, *[0.95] * 20])
    assert moment(belief, surprise=True) == 3
    assert moment(1.0 - belief, surprise=False) == 3
    assert moment(belief, surprise=False) is None


def test_families_without_a_surprise_have_nothing_to_read(agent: Agent) -> None:
    assert learn_to_read(agent, get_family("Navigation2D-v0")) is None


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


def test_who_remembers_nothing_has_nothing_to_read(agent: Agent) -> None:
    assert learn_to_read(with_cell(agent, "mlp"), get_family("CartPole-v1")) is None
