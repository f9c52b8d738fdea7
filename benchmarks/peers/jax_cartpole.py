"""CartPole of many tasks and a whole rollout of the policy in it, as one jitted JAX program."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.peers.jax_policy import Bound, Params, advance, bind, encode, logits_of

TIME_STEP, POSITION_LIMIT, ANGLE_LIMIT = 0.02, 2.4, 0.20943951
HORIZON = 500


class Lanes(NamedTuple):
    """What is carried from step to step, of one task's lanes ``[E, ...]``."""

    world: jax.Array
    """``[4, E]``"""
    real: jax.Array
    imaginary: jax.Array
    age: jax.Array
    done: jax.Array
    start: jax.Array


class Record(NamedTuple):
    """What a step leaves behind."""

    observation: jax.Array
    action: jax.Array
    reward: jax.Array
    log_prob: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    start: jax.Array


def physics(
    task: Mapping[str, jax.Array], state: jax.Array, action: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Advance states ``[4, E]`` by 0.02 s as Gymnasium does; return them and termination."""
    _, velocity, angle, spin = state
    mass = task["cart_mass"] + task["pole_mass"]
    pole = task["pole_mass"] * task["length"] / mass
    force = (2 * action - 1) * (1 - 2 * task["swap"]) * task["force"] / mass
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    drive = force + pole * spin * spin * sin
    lean = task["gravity"] * sin - cos * drive
    angular = lean / (task["length"] * (4.0 / 3.0) - pole * cos * cos)
    linear = drive - pole * angular * cos
    moved = state + TIME_STEP * jnp.stack([velocity, linear, spin, angular])
    over = (jnp.abs(moved[0]) > POSITION_LIMIT) | (jnp.abs(moved[2]) > ANGLE_LIMIT)
    return moved, over


def step(
    bound: Bound, task: Mapping[str, jax.Array], lanes: Lanes, noise: tuple[jax.Array, jax.Array]
) -> tuple[Lanes, Record]:
    """Act once in every lane of a task; an ended episode costs one step, as in Gymnasium."""
    keep = ~lanes.start[:, None]
    observation = lanes.world.T
    x = encode(bound, observation)
    real, imaginary = advance(bound.decay, lanes.real * keep, lanes.imaginary * keep, x @ bound.B)
    logits = logits_of(bound, x, jnp.concatenate([real, imaginary], -1))
    gumbel, first = noise
    action = jnp.argmax(logits + gumbel, -1)
    log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), action[:, None], -1)[:, 0]
    moved, over = physics(task, lanes.world, action)
    age = jnp.where(lanes.done, 0, lanes.age + 1)
    terminated, truncated = over & ~lanes.done, age >= HORIZON
    record = Record(
        observation,
        action,
        jnp.where(lanes.done, 0.0, 1.0),
        log_prob,
        terminated,
        truncated,
        lanes.start,
    )
    world = jnp.where(lanes.done, first, moved)
    return Lanes(world, real, imaginary, age, terminated | truncated, lanes.done), record


def rollout(
    params: Params,
    tasks: Mapping[str, jax.Array],
    scale: jax.Array,
    key: jax.Array,
    **size: Any,  # noqa: ANN401
) -> Record:
    """Play ``steps`` in every lane of every task; parameters are shared, or have a task axis."""
    steps, lanes, shared = size["steps"], size["lanes"], params["block0.nu"].ndim == 1
    count, states = len(tasks["gravity"]), params["block0.nu"].shape[-1]
    for_actions, for_starts = jax.random.split(key)
    gumbel = jax.random.gumbel(for_actions, (steps, count, lanes, 2))
    first = jax.random.uniform(for_starts, (steps, count, 4, lanes), minval=-0.05, maxval=0.05)
    axis = None if shared else 0
    bound = jax.vmap(bind, (axis, None), axis_size=count, out_axes=axis)(params, scale)
    zero = jnp.zeros((count, lanes, states))
    never = jnp.zeros((count, lanes), bool)
    begin = Lanes(first[0], zero, zero, jnp.zeros((count, lanes), int), never, ~never)
    all_tasks = jax.vmap(step, (axis, 0, 0, 0))
    return jax.lax.scan(lambda c, n: all_tasks(bound, tasks, c, n), begin, (gumbel, first))[1]
