"""The benchmarks of speed still run, and what they compare with computes the same."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.measure import ours
from benchmarks.measure.figures import exponent
from benchmarks.measure.race import row_of
from benchmarks.measure.worker import Worker
from ssm_metarl.meta_rl.batch import Batch
from ssm_metarl.meta_rl.inner_losses import lvc
from ssm_metarl.meta_rl.inner_rule import InnerRule
from ssm_metarl.meta_rl.objective import ClippedObjective

LR, CLIP = 0.1, 0.2


def test_a_quick_measurement_is_recorded(tmp_path: Path) -> None:
    main(only=("rollout",), quick=True, out=tmp_path)
    found = json.loads((tmp_path / "rollout.json").read_text())
    first = found["rows"][0]
    assert (first["contestant"], first["ours_is"], first["cell"]["lanes"]) == ("ours", 1.0, 1)
    assert 0.0 < first["processor_seconds"] < 0.1
    assert (tmp_path / "rollout.png").stat().st_size > 0


def test_an_error_in_a_worker_is_raised_here() -> None:
    worker = Worker()
    with pytest.raises(RuntimeError, match="ValueError"):
        worker.call("builtins:int", "a")
    assert worker.call("builtins:abs", -2) == 2
    worker.close()


def test_ratios_are_of_medians_and_more_than_1_where_ours_is_faster() -> None:
    own, theirs = np.array([[1.0, 2.0], [1.1, 2.0], [9.0, 2.0]]), np.array([[2.2, 3.0]] * 3)
    row = row_of("theirs", theirs, own, {})
    assert (row.ours_is, row.ours_is_by_processor) == (pytest.approx(2.0), 1.5)
    assert row.interval == (pytest.approx(2.2 / 9), pytest.approx(2.2))


def test_fitted_exponents() -> None:
    assert exponent([1, 2, 4, 8], [3, 12, 48, 192]) == pytest.approx(2.0)


def jax_batch(batch: Batch) -> "tuple[np.ndarray, ...]":
    """Return what JAX needs of a batch, with the tasks first."""
    parts = (batch.inputs, batch.action, batch.log_prob, batch.advantage)
    return tuple(part.transpose(0, 1).numpy() for part in parts)


@pytest.mark.parametrize("first_order", [False, True])
def test_the_jax_program_computes_our_losses_and_meta_gradient(first_order: bool) -> None:
    jax = pytest.importorskip("jax")
    from benchmarks.peers import jax_policy
    from benchmarks.peers.jax_work import SCALE

    policy, params = ours.make_policy(width=16)
    params["action.weight"] = 10 * params["action.weight"]  # or gradients are tiny
    for value in params.values():
        value.requires_grad_()
    supports = [ours.random_batch(9, 3, 4, seed) for seed in (1, 2)]
    query = ours.random_batch(9, 3, 4, 3)
    arrays = {name: value.detach().numpy() for name, value in params.items()}
    data = [jax_policy.Data(*jax_batch(batch)) for batch in (*supports, query)]
    scale = np.array(SCALE, np.float32)

    along = jax.jit(jax.vmap(jax_policy.logits_along, (None, 0)))(
        jax_policy.bind(arrays, scale), data[0].inputs
    )
    logits = supports[0].distribution(policy.bind(params)).logits.transpose(0, 1).detach()
    np.testing.assert_allclose(along, logits, atol=1e-5)
    each = jax.jit(jax.vmap(jax_policy.support_loss, (None, None, 0)))
    loss = each(arrays, scale, data[0])
    np.testing.assert_allclose(loss, lvc(policy.bind(params), supports[0]).detach(), rtol=1e-4)

    rule = InnerRule(policy, lvc, LR, first_order=first_order)
    outer = ClippedObjective(rule, CLIP)(supports, query, params).loss.sum()
    outer.backward()
    stacked = jax_policy.Data(*(np.stack(pair) for pair in zip(*data[:2], strict=True)))
    meta = partial(jax_policy.meta_loss, lr=LR, clip=CLIP, first_order=first_order)
    value, gradient = jax.jit(jax.value_and_grad(meta))(arrays, stacked, data[2], scale)
    assert float(value) == pytest.approx(outer.item(), abs=1e-5)
    for name in (*jax_policy.ACTING, *jax_policy.CELL):
        own = params[name].grad
        assert own is not None
        assert own.abs().max() > 1e-5
        np.testing.assert_allclose(gradient[name], own, rtol=1e-4, atol=1e-4 * own.abs().max())


def test_the_jax_cartpole_moves_like_ours() -> None:
    jax = pytest.importorskip("jax")
    from benchmarks.peers.jax_cartpole import physics

    tasks, lanes = ours.FAMILY.sample(6, ours.SEED), 5
    values = {
        name: torch.tensor(np.asarray(column), dtype=torch.float32)[:, None]
        for name, column in tasks.values.items()
    }
    world = ours.FAMILY.simulator
    rng = torch.Generator().manual_seed(0)
    state, action = (
        torch.randn(4, 6, lanes, generator=rng) * 0.2,
        torch.randint(2, (6, lanes), generator=rng),
    )
    moved, _, over = world.step(world.derive(values), state, action)
    theirs, ended = jax.jit(physics)(
        {name: value.numpy() for name, value in values.items()}, state.numpy(), action.numpy()
    )
    np.testing.assert_allclose(theirs, moved, atol=1e-6)
    np.testing.assert_array_equal(ended, over)
