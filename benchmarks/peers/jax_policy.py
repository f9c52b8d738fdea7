"""The SSM policy and its meta-gradient in JAX: the same arithmetic, jitted as one program.

Parameters have our names and shapes, so that both programs can be run on the same numbers. Complex
numbers are pairs of real ones, which XLA compiles to faster code than complex ones on a CPU.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Params = Mapping[str, jax.Array]
ACTING = ("encoder.weight", "encoder.bias", "action.weight", "action.bias")
CELL = ("block0.nu", "block0.theta", "block0.B", "block0.C", "block0.D")


class Bound(NamedTuple):
    """The parameters of one task as a step needs them; complex ones as (real, imaginary)."""

    encoder: tuple[jax.Array, jax.Array]
    decay: tuple[jax.Array, jax.Array]
    B: jax.Array
    """``[D, 2 N]``, all real parts before all imaginary ones, normalised."""
    C: jax.Array
    """``[2 N, D]``, likewise."""
    D: jax.Array
    head: tuple[jax.Array, jax.Array]


def bind(params: Params, scale: jax.Array) -> Bound:
    """Compute once what does not change with time, from parameters without a task axis."""
    rate, phase = jnp.exp(params["block0.nu"]), jnp.exp(params["block0.theta"])
    modulus, gamma = jnp.exp(-rate), jnp.sqrt(1.0 - jnp.exp(-2.0 * rate))
    B, C = params["block0.B"], params["block0.C"]
    return Bound(
        encoder=(params["encoder.weight"] / scale[:, None], params["encoder.bias"]),
        decay=(modulus * jnp.cos(phase), modulus * jnp.sin(phase)),
        B=jnp.concatenate([B[:, 0::2] * gamma, B[:, 1::2] * gamma], 1),
        C=jnp.concatenate([C[0::2], C[1::2]], 0),
        D=params["block0.D"],
        head=(params["action.weight"], params["action.bias"]),
    )


def advance(
    decay: tuple[jax.Array, jax.Array], real: jax.Array, imaginary: jax.Array, drive: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return ``lambda h + drive``."""
    n, (a, b) = real.shape[-1], decay
    return (
        a * real - b * imaginary + drive[..., :n],
        a * imaginary + b * real + drive[..., n:],
    )


def logits_of(bound: Bound, x: jax.Array, states: jax.Array) -> jax.Array:
    """Return the action head's outputs from features ``[..., D]`` and states ``[..., 2 N]``."""
    features = x + jax.nn.silu(states @ bound.C + bound.D * x)
    return features @ bound.head[0] + bound.head[1]


def encode(bound: Bound, observation: jax.Array) -> jax.Array:
    """Return the features of observations."""
    return jnp.tanh(observation @ bound.encoder[0] + bound.encoder[1])


def logits_along(bound: Bound, observation: jax.Array) -> jax.Array:
    """Return logits ``[T, E, A]`` of one task's whole episodes ``[T, E, O]``."""
    x = encode(bound, observation)
    drive = x @ bound.B
    zero = jnp.zeros((x.shape[1], bound.decay[0].shape[-1]))

    def step(state: tuple[jax.Array, jax.Array], drive: jax.Array) -> Any:  # noqa: ANN401
        state = advance(bound.decay, *state, drive)
        return state, jnp.concatenate(state, -1)

    _, states = jax.lax.scan(step, (zero, zero), drive)
    return logits_of(bound, x, states)


class Data(NamedTuple):
    """Episodes of one task, ``[T, E, ...]``, all steps valid."""

    inputs: jax.Array
    action: jax.Array
    log_prob: jax.Array
    advantage: jax.Array


def ratio(params: Params, scale: jax.Array, data: Data) -> jax.Array:
    """Return the probability ratio to the behaviour, ``[T, E]``."""
    log_p = jax.nn.log_softmax(logits_along(bind(params, scale), data.inputs))
    chosen = jnp.take_along_axis(log_p, data.action[..., None], -1)[..., 0]
    return jnp.exp(chosen - data.log_prob)


def support_loss(params: Params, scale: jax.Array, data: Data) -> jax.Array:
    """Return the low-variance-curvature surrogate of one task."""
    return -(ratio(params, scale, data) * data.advantage).sum(0).mean()


def query_loss(params: Params, scale: jax.Array, data: Data, clip: float) -> jax.Array:
    """Return PPO's clipped surrogate of one task."""
    r = ratio(params, scale, data)
    return -jnp.minimum(r * data.advantage, jnp.clip(r, 1 - clip, 1 + clip) * data.advantage).mean()


def meta_loss(
    params: Params,
    supports: Data,
    query: Data,
    scale: jax.Array,
    *,
    lr: float,
    clip: float,
    first_order: bool = False,
) -> jax.Array:
    """Return the sum over tasks of the query loss after one inner step for each support batch.

    ``supports`` has axes ``[S, K, T, E]``, ``query`` has ``[K, T, E]``.
    """

    def task(supports: Data, query: Data) -> jax.Array:
        adapted = {name: params[name] for name in (*ACTING, *CELL)}
        for k in range(supports.action.shape[0]):
            gradient = jax.grad(support_loss)(adapted, scale, Data(*(x[k] for x in supports)))
            if first_order:
                gradient = jax.lax.stop_gradient(gradient)
            adapted = jax.tree.map(lambda p, g: p - lr * g, adapted, gradient)
        return query_loss(adapted, scale, query, clip)

    return jax.vmap(task, in_axes=(1, 0))(supports, query).sum()
