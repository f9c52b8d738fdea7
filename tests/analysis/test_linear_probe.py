"""The probe against Newton's method, and on agents that have something to be read."""

import numpy as np
import pytest
import torch
from numpy.random import SeedSequence
from with_cells import with_cell

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.session import Session
from ssm_metarl.analysis.linear_probe import (
    L2,
    first_confident_step,
    fit_probe,
    hidden_states,
    probed_parameter,
    train_probe,
)
from ssm_metarl.analysis.traces import RecordedAgent
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import collect_trials


def newton(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The weights, and last the bias, at the minimum of the same loss, to machine precision."""
    x = np.concatenate([x, np.ones((len(x), 1))], 1)
    pull = 2.0 * L2 * np.diag([1.0] * (x.shape[1] - 1) + [0.0])
    weight = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1.0 / (1.0 + np.exp(-x @ weight))
        gradient = x.T @ (p - labels) / len(x) + pull @ weight
        hessian = (x.T * (p * (1.0 - p))) @ x / len(x) + pull
        weight = weight - np.linalg.solve(hessian, gradient)
    return weight


def test_the_fit_is_the_minimum_that_newtons_method_finds(cartpole: TaskFamily) -> None:
    rng = np.random.default_rng(0)
    states = (5.0 + 3.0 * rng.normal(size=(400, 3))).astype(np.float32)
    labels = states[:, 0] + rng.normal(size=400) > 6.0  # noise: no perfect separation
    parameter = probed_parameter(cartpole)
    assert parameter is not None
    assert parameter.name == "swap"
    probe = fit_probe(parameter, torch.from_numpy(states), torch.from_numpy(labels))
    exact = states.astype(np.float64)
    scaled = (exact - exact.mean(0)) / exact.std(0, ddof=1)
    expected = newton(scaled, labels)
    np.testing.assert_allclose(probe.weight, expected[:-1], atol=1e-4)
    assert probe.bias == pytest.approx(expected[-1], abs=1e-4)
    logits = scaled @ expected[:-1] + expected[-1]
    np.testing.assert_allclose(probe.probability(states), 1 / (1 + np.exp(-logits)), atol=1e-4)


def test_an_entry_that_never_varies_does_no_harm(cartpole: TaskFamily) -> None:
    parameter = probed_parameter(cartpole)
    assert parameter is not None
    states = torch.tensor([[1.0, 0.0], [1.0, 1.0]] * 5)
    probe = fit_probe(parameter, states, states[:, 1] > 0.5)
    assert np.isfinite(probe.probability(states.numpy())).all()


def test_hidden_states_are_those_that_were_acted_with(
    in_context_agent: Agent, cartpole: TaskFamily
) -> None:
    agent = in_context_agent
    env = cartpole.make_vec(cartpole.nominal(), 2, autoreset=True, horizon=10)
    bound = agent.policy.bind(agent.params)
    played = collect_trials(bound, env, SeedSequence(0), 2)
    states = hidden_states(bound, played)
    blocks = agent.policy.config.blocks
    assert states.shape == (*played.valid.shape, 2 * blocks * agent.policy.config.state_size)
    _, last = bound.scan(
        played.inputs(agent.policy)[:-1],
        agent.policy.initial_state(1, 2, played.observation),
        None,
    )
    flat = torch.cat(last, -1)
    torch.testing.assert_close(states[-1], flat, rtol=1e-3, atol=1e-3)


def test_a_memory_of_an_episode_is_empty_at_its_start(agent: Agent, cartpole: TaskFamily) -> None:
    env = cartpole.make_vec(cartpole.nominal(), 1, autoreset=True, horizon=10)
    bound = agent.policy.bind(agent.params)
    played = collect_trials(bound, env, SeedSequence(0), 2)
    states = hidden_states(bound, played)
    start = int(played.episode_start[1:, 0, 0].nonzero()[0]) + 1
    _, fresh = bound.step(
        played.inputs(agent.policy)[start], agent.policy.initial_state(1, 1, played.observation)
    )
    torch.testing.assert_close(states[start], fresh[0])


def test_the_swap_is_read_from_the_state_within_the_first_steps(
    in_context_agent: Agent, cartpole: TaskFamily
) -> None:
    """And remembered from the start of the next episode."""
    agent = in_context_agent
    probe = train_probe(agent, cartpole)
    assert probe is not None
    assert 0.8 < probe.accuracy <= 1.0
    for swap in (0.0, 1.0):
        recorded = RecordedAgent.of(agent)
        session = Session(recorded, "in_context", seed=1)
        env = cartpole.gymnasium(cartpole.task(swap=swap))
        traces = []
        for seed in range(2):
            observation, _ = env.reset(seed=seed)
            for step in range(40):
                observation, reward, ended, _, _ = env.step(session.act(observation))
                if step == 39:
                    traces.append(recorded.last_episode(40))
                session.observe(float(reward), bool(ended), step == 39, observation)
                assert not ended
        env.close()
        first, second = (
            first_confident_step(probe.probability(trace.state), label=swap == 1.0)
            for trace in traces
        )
        assert first is not None
        assert 0 < first < 30
        assert second == 0


def test_confidence_has_to_last() -> None:
    probability = np.array([0.5, 0.95, 0.5, *[0.95] * 9, 0.5, *[0.95] * 20])
    assert first_confident_step(probability, label=True) == 13
    assert first_confident_step(1.0 - probability, label=False) == 13
    assert first_confident_step(probability, label=False) is None
    assert first_confident_step(np.full(10, 0.9), label=True) == 0
    assert first_confident_step(np.full(10, 0.89), label=True) is None


def test_there_is_no_probe_without_a_categorical_parameter_or_a_memory(
    agent: Agent, cartpole: TaskFamily
) -> None:
    assert train_probe(agent, get_family("Navigation2D-v0")) is None
    assert train_probe(with_cell(agent, "mlp"), cartpole) is None
