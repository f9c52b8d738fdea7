"""Cells, encoder and network against their equations, with every parameter away from its start."""

import math

import pytest
import torch
from torch import Tensor

from ssm_metarl.core.cells import CELLS
from ssm_metarl.core.config import PolicyConfig
from ssm_metarl.core.distributions import Categorical, DiagonalGaussian
from ssm_metarl.core.policy import Policy
from ssm_metarl.core.spaces import Spaces

T, K, E, D, N = 5, 2, 3, 3, 4
CONFIG = PolicyConfig(width=D, state_size=N)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def moved(params: dict[str, Tensor]) -> dict[str, Tensor]:
    """Shift every parameter, so that a bias of zero or a weight of one cannot hide its absence."""
    torch.manual_seed(1)
    return {name: v.double() + 0.3 * torch.randn_like(v.double()) for name, v in params.items()}


def check(name: str, expected: list[Tensor], last: Tensor, x: Tensor, h: Tensor) -> None:
    cell = CELLS[name].load()("a", CONFIG)
    bound = cell.bind(moved(cell.init(rng())))
    outputs, state = bound.scan(x, h, None)
    torch.testing.assert_close(outputs, torch.stack(expected))
    torch.testing.assert_close(state, last)
    for row, y in zip(x, expected, strict=True):
        found, h = bound.step(row, h, None)
        torch.testing.assert_close(found, y)


def drawn(name: str) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Return the cell's parameters, without the prefix, a sequence and a state."""
    params = moved(CELLS[name].load()("a", CONFIG).init(rng()))
    x, h = torch.randn(T, K, E, D).double(), torch.randn(K, E, N).double()
    return {key.removeprefix("a."): value for key, value in params.items()}, x, h


def test_gated_equals_the_equations_of_the_paper() -> None:
    p, x, h = drawn("gated")
    start, expected = h, []
    B, W_r, W_i = p["B"].split(N, -1)
    b_r, b_i = p["gate_bias"].split(N)
    for row in x:
        r, i = torch.sigmoid(row @ W_r + b_r), torch.sigmoid(row @ W_i + b_i)
        a = torch.exp(-8.0 * torch.log1p(p["nu"].exp()) * r)
        h = a * h + torch.sqrt(1 - a**2) * (i * (row @ B))
        expected.append(h @ p["C"] + p["D"] * row)
    check("gated", expected, h, x, start)


def test_gru_equals_torch() -> None:
    p, x, h = drawn("gru")
    theirs = torch.nn.GRUCell(D, N, dtype=torch.float64)
    theirs.weight_ih.data, theirs.weight_hh.data = p["W"].mT, p["U"].mT
    theirs.bias_ih.data, theirs.bias_hh.data = p["input_bias"], p["state_bias"]
    start, expected = h, []
    with torch.no_grad():
        for row in x:
            h = theirs(row.flatten(0, 1), h.flatten(0, 1)).view(K, E, N)
            expected.append(h @ p["C"])
    check("gru", expected, h, x, start)


def test_mlp_equals_its_equation() -> None:
    p, x, _ = drawn("mlp")
    expected = [torch.tanh(row @ p["W"] + p["bias"]) @ p["C"] + p["D"] * row for row in x]
    empty = torch.zeros(K, E, 0).double()
    check("mlp", expected, empty, x, empty)


@pytest.mark.parametrize("per_task", [False, True])
@pytest.mark.parametrize("discrete", [False, True])
def test_network_and_heads_equal_their_equations(discrete: bool, per_task: bool) -> None:
    spaces = Spaces((1.0, 2.0), 2, True)
    if not discrete:
        spaces = Spaces((1.0, 2.0), 2, False, (-1.0, -1.0), (1.0, 1.0))
    config = PolicyConfig(cell="mlp", width=D, state_size=N, blocks=2, norm=True)
    policy = Policy(config, spaces)
    one = moved(policy.init(rng()))
    params = {n: torch.stack([v, 1.5 * v]) if per_task else v for n, v in one.items()}
    # [.., I, O] for a matrix, [.., 1, O] for a vector: both then meet x [K, E, I].
    p = {n: v if one[n].ndim == 2 else v.unsqueeze(-2) for n, v in params.items()}
    x, bound = torch.randn(K, E, 2).double(), policy.bind(params)
    features, _ = bound.step(x, policy.initial_state(K, E, x))
    f = torch.tanh(x / torch.tensor([1.0, 2.0]) @ p["encoder.weight"] + p["encoder.bias"])
    for b in ("block0", "block1"):
        normed = f / torch.sqrt((f**2).mean(-1, keepdim=True) + 1e-6) * p[f"{b}.norm"]
        y = torch.tanh(normed @ p[f"{b}.W"] + p[f"{b}.bias"]) @ p[f"{b}.C"] + p[f"{b}.D"] * normed
        f = f + y * torch.sigmoid(y)
    torch.testing.assert_close(features, f)

    outputs = f @ p["action.weight"] + p["action.bias"]
    distribution = bound.distribution(features)
    if isinstance(distribution, Categorical):
        action = distribution.mode()
        acted = torch.nn.functional.one_hot(action, 2).double()
        torch.testing.assert_close(distribution.logits, outputs)
    else:
        action = acted = distribution.mode()
        torch.testing.assert_close(distribution.mean, outputs)
    value = (f @ p["value.weight"] + p["value.bias"]).squeeze(-1)
    torch.testing.assert_close(bound.value(features), value)
    change = torch.cat([f, acted], -1) @ p["prediction.weight"] + p["prediction.bias"]
    torch.testing.assert_close(bound.prediction(features, action), change)


def test_gates_start_half_open_with_log_uniform_time_constants() -> None:
    cell = CELLS["gated"].load()("a", PolicyConfig(state_size=4000, max_time_constant=200.0))
    params = cell.init(rng())
    assert not params["a.gate_bias"].any()
    tau = 2.0 / (8.0 * torch.nn.functional.softplus(params["a.nu"]))
    assert 2.0 <= tau.min() < 2.02
    assert 198.0 < tau.max() <= 200.1
    assert float(tau.median()) == pytest.approx(20.0, rel=0.1)  # the geometric middle


@pytest.mark.parametrize("name", [*CELLS])
def test_initial_values_have_unit_gain_no_bias_and_the_dtype_of_float32(name: str) -> None:
    policy = Policy(
        PolicyConfig(cell=name, width=200, state_size=300), Spaces((1.0,) * 150, 90, True)
    )
    params = policy.init(rng())
    again = policy.init(rng())
    for key, value in params.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, again[key])  # a seed decides everything
        if "bias" in key:
            assert not value.any()
        elif value.ndim == 2 and value.shape[1] > 1:
            head = key.startswith(("action", "value", "prediction"))
            gain = 0.01 if head else math.sqrt(0.5) if (name, key[-1]) == ("ssm", "B") else 1.0
            assert float(value.std()) == pytest.approx(gain / math.sqrt(len(value)), rel=0.03)


def test_numbers_of_another_default_type_do_not_change_what_is_drawn() -> None:
    policy = Policy(CONFIG, Spaces((1.0,), 2, True))
    expected = policy.init(rng())
    torch.set_default_dtype(torch.float64)
    try:
        found = policy.init(rng())
    finally:
        torch.set_default_dtype(torch.float32)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0.0, atol=0.0)  # and the same type


def test_samples_add_the_noise_and_choose_along_the_last_axis() -> None:
    mean, log_std, noise = torch.zeros(2, 1, 3), torch.zeros(3), torch.rand(2, 1, 3)
    assert torch.equal(DiagonalGaussian(mean, log_std).sample(noise), noise)
    logits = torch.tensor([[[0.0, 1.0, 5.0]], [[3.0, 1.0, 2.0]]])
    assert Categorical(logits).sample(torch.zeros(2, 1, 3)).tolist() == [[2], [0]]


def test_actions_as_features_have_the_dtype_of_what_they_join() -> None:
    policy = Policy(PolicyConfig(), Spaces((1.0,), 1, False, (-1.0,), (1.0,)))
    action, like = torch.zeros(2, 1), torch.zeros(2, 1, dtype=torch.float64)
    assert policy.action_features(action, like).dtype == torch.float64
