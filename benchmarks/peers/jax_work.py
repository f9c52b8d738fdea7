"""What the JAX contestant does; runs in a worker."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.measure.worker import Work
from benchmarks.peers import jax_cartpole, jax_policy

SCALE = (1.0, 1.0, 0.1, 1.0)
STEPS = 200
RANGES = {
    "gravity": (5.0, 15.0),
    "cart_mass": (0.5, 2.0),
    "pole_mass": (0.05, 0.5),
    "length": (0.25, 1.5),
    "force": (5.0, 15.0),
}


def make_params(rng: np.random.Generator, d: int = 64, n: int = 32) -> dict[str, jax.Array]:
    """Draw parameters like ours."""
    drawn = {
        "encoder.weight": rng.normal(size=(4, d)) / 2,
        "encoder.bias": np.zeros(d),
        "action.weight": rng.normal(size=(d, 2)) * 0.01 / d**0.5,
        "action.bias": np.zeros(2),
        "block0.nu": -np.log(2.0 * 50.0 ** rng.random(n)),
        "block0.theta": np.log(np.pi / 10 * rng.random(n) + 1e-3),
        "block0.B": rng.normal(size=(d, 2 * n)) * (0.5 / d) ** 0.5,
        "block0.C": rng.normal(size=(2 * n, d)) / (2 * n) ** 0.5,
        "block0.D": rng.normal(size=d),
    }
    return {name: jnp.asarray(value, jnp.float32) for name, value in drawn.items()}


def rollout(lanes: int, shared: bool, **_: object) -> Work:
    """Play a fixed number of steps in every lane, lanes spread over tasks as ours."""
    rng, count = np.random.default_rng(0), 20 if lanes >= 20 else 1
    params = make_params(rng)
    if not shared:
        params = {name: jnp.array(jnp.stack([value] * count)) for name, value in params.items()}
    tasks = {name: jnp.asarray(rng.uniform(*ends, (count, 1))) for name, ends in RANGES.items()}
    tasks["swap"] = jnp.asarray(rng.integers(0, 2, (count, 1)))
    program = jax.jit(partial(jax_cartpole.rollout, steps=STEPS, lanes=lanes // count))
    scale, key = jnp.asarray(SCALE), jax.random.key(0)

    def work() -> float:
        jax.block_until_ready(program(params, tasks, scale, key))
        return STEPS * lanes

    return work


def meta_step(
    length: int = 100,
    tasks: int = 20,
    lanes: int = 20,
    inner_steps: int = 1,
    first_order: bool = False,
    **_: object,
) -> Work:
    """Take one meta-gradient of all tasks; units are env steps, support and query."""
    rng = np.random.default_rng(0)

    def data(*lead: int) -> jax_policy.Data:
        shape = (*lead, tasks, length, lanes)
        return jax_policy.Data(
            jnp.asarray(rng.normal(size=(*shape, 4)), jnp.float32),
            jnp.asarray(rng.integers(0, 2, shape)),
            jnp.full(shape, -np.log(2.0)),
            jnp.asarray(rng.normal(size=shape), jnp.float32),
        )

    loss = partial(jax_policy.meta_loss, lr=1e-3, clip=0.2, first_order=first_order)
    program, params = jax.jit(jax.grad(loss)), make_params(rng)
    supports, query, scale = data(inner_steps), data(), jnp.asarray(SCALE)

    def work() -> float:
        jax.block_until_ready(program(params, supports, query, scale))
        return (inner_steps + 1) * length * tasks * lanes

    return work
