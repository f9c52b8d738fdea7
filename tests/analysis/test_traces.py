"""Recording changes nothing, and principal axes are common to all episodes."""

import numpy as np
import pytest
import torch
from with_cells import with_cell

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.session import Session
from ssm_metarl.analysis.traces import RecordedAgent, Trace, principal_components


def test_an_agent_that_is_recorded_acts_as_ever(agent: Agent) -> None:
    rng = np.random.default_rng(0)
    recorded = RecordedAgent.of(agent)
    mine, theirs = Session(agent, "zero_shot", seed=3), Session(recorded, "zero_shot", seed=3)
    observations = rng.normal(size=(6, 4)).astype(np.float32)
    for step, observation in enumerate(observations):
        assert mine.act(observation) == theirs.act(observation)
        for session in (mine, theirs):
            session.observe(1.0, step == 2, False, observation)
    assert [start for start, _, _ in recorded.steps] == [True, False, False, True, False, False]
    trace = recorded.last_episode(2)
    bound = agent.policy.bind(agent.params)
    state = agent.policy.initial_state(1, 1, torch.zeros(()))
    for step in range(2):
        inputs = torch.from_numpy(observations[3 + step]).view(1, 1, 4)
        features, state = bound.step(inputs, state)
        flat = state[0].flatten()
        np.testing.assert_allclose(trace.state[step], flat, rtol=1e-5, atol=1e-7)
        chances = bound.distribution(features).logits.softmax(-1)[0, 0]
        np.testing.assert_allclose(trace.action[step], chances.detach(), rtol=1e-5, atol=1e-7)
    assert trace.state.shape == (2, 2 * agent.policy.config.state_size)
    assert recorded.last_episode(10).state.shape[0] == 3
    assert np.array_equal(trace.norm, np.linalg.norm(trace.state, axis=1))


def test_a_cell_without_memory_has_empty_states(agent: Agent) -> None:
    recorded = RecordedAgent.of(with_cell(agent, "mlp"))
    recorded.predict(np.zeros(4, np.float32))
    assert recorded.last_episode(1).state.shape == (1, 0)


def test_principal_components_are_common_axes() -> None:
    rng = np.random.default_rng(0)
    long, short = rng.normal(size=(2, 20, 1))
    states = long * np.array([[-3.0, -4.0, 0.0]]) + 0.1 * short * np.array([[0.0, 0.0, 1.0]])
    traces = [Trace(part, part) for part in (states[:8], states[8:])]
    parts, share = principal_components(traces)
    both, centred = np.concatenate(parts), states - states.mean(0)
    assert both.shape == (20, 2)
    covariance = centred.T @ centred
    values, vectors = np.linalg.eigh(covariance)
    np.testing.assert_allclose(share, values[::-1][:2] / values.sum())
    assert share[0] > 0.99
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.sign([axes[np.abs(axis).argmax(), i] for i, axis in enumerate(axes.T)])
    np.testing.assert_allclose(both, centred @ axes, atol=1e-9)
    assert principal_components(traces, 1)[0][0].shape == (8, 1)


def test_a_state_that_never_moves_has_no_variance_to_share() -> None:
    still = Trace(np.ones((4, 3)), np.ones((4, 1)))
    _, share = principal_components([still])
    assert share == pytest.approx([0.0, 0.0])
