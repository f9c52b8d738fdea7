"""What our own contestants do; runs in a worker, on this checkout or on another revision."""

import math
import sys
from typing import Any

import numpy as np
import torch
from numpy.random import SeedSequence
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure.worker import Work
from ssm_metarl.core.memory import keep_large_blocks
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import collect_trials
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.meta_rl.batch import Batch
from ssm_metarl.meta_rl.inner_losses import lvc
from ssm_metarl.meta_rl.inner_rule import InnerRule
from ssm_metarl.meta_rl.maml import MAML
from ssm_metarl.meta_rl.objective import ClippedObjective

FAMILY = get_family("CartPole-v1")
SEED = SeedSequence(0)
LR, CLIP, EPISODES = 1e-3, 0.2, 5


def make_policy(width: int = 64, cell: str = "ssm") -> tuple[Policy, dict[str, torch.Tensor]]:
    """Return a policy for CartPole and fresh parameters."""
    config = PolicyConfig(width=width, state_size=width // 2, cell=cell)
    policy = Policy(config, policy_spaces(FAMILY))
    return policy, policy.init(torch.Generator().manual_seed(0))


def task_count(lanes: int) -> int:
    """Return the tasks that lanes are spread over: 20, or 1 where there are fewer lanes."""
    return 20 if lanes >= 20 else 1


def rollout(lanes: int, shared: bool, engine: str = "native", compiled: bool = False) -> Work:
    """Play trials in every lane; lanes that are through play on until the last one is."""
    keep_large_blocks()
    policy, params = make_policy()
    tasks = task_count(lanes)
    if not shared:
        params = {name: value.expand(tasks, *value.shape).clone() for name, value in params.items()}
    family = FAMILY
    if engine == "gymnasium":
        family = TaskFamily("CartPoleInLanes", make=make_gymnasium_cartpole, parameters=[])
    env = family.make_vec(family.sample(tasks, SEED), lanes // tasks, autoreset=True)
    bound = policy.bind(params)
    more = {"compiled": True} if compiled else {}  # revisions before had no such argument
    return lambda: collect_trials(bound, env, SEED, EPISODES, **more).reward.numel()


def make_gymnasium_cartpole(_: Any) -> Any:  # noqa: ANN401
    """Build Gymnasium's own environment."""
    import gymnasium

    return gymnasium.make("CartPole-v1")


def gymnasium_rollout(lanes: int, steps: int = 200, **_: Any) -> Work:  # noqa: ANN401
    """Act with our policy in Gymnasium's own vectorised CartPole."""
    import gymnasium

    policy, params = make_policy()
    env = gymnasium.make_vec("CartPole-v1", lanes, vectorization_mode="vector_entry_point")
    bound = policy.bind(params)

    @torch.inference_mode()
    def work() -> float:
        seen, _ = env.reset(seed=0)
        start, nothing = np.ones(lanes, bool), torch.zeros(1, lanes)
        state = policy.initial_state(1, lanes, nothing)
        for _ in range(steps):
            begins = torch.from_numpy(start)[None]
            inputs = policy.inputs(torch.from_numpy(seen)[None], nothing, nothing, begins)
            features, state = bound.step(inputs, state, ~begins)
            chosen = bound.distribution(features)
            noise = -torch.rand(1, lanes, 2).log().neg().log()
            action = chosen.sample(noise)
            chosen.log_prob(action)
            seen, _, ended, cut, _ = env.step(action[0].numpy())
            start = ended | cut
        return steps * lanes

    return work


def random_batch(length: int, tasks: int, lanes: int, seed: int = 1) -> Batch:
    """Return data of whole episodes of a length, all steps valid."""
    rng, shape = torch.Generator().manual_seed(seed), (length, tasks, lanes)
    return Batch(
        inputs=torch.randn(*shape, 4, generator=rng),
        keep=None,
        action=torch.randint(2, shape, generator=rng),
        log_prob=torch.full(shape, -math.log(2.0)),
        advantage=torch.randn(shape, generator=rng),
        valid=torch.ones(shape, dtype=torch.bool),
        change=torch.zeros(*shape, 4),
        scale=torch.ones(tasks),
        value=torch.zeros(shape),
        target=torch.zeros(shape),
    )


def meta_step(
    length: int = 100,
    tasks: int = 20,
    lanes: int = 20,
    width: int = 64,
    cell: str = "ssm",
    inner_steps: int = 1,
    first_order: bool = False,
) -> Work:
    """Take one meta-gradient as MAML does; units are env steps, support and query."""
    keep_large_blocks()
    policy, params = make_policy(width, cell)
    for value in params.values():
        value.requires_grad_()
    supports = [random_batch(length, tasks, lanes, 1 + k) for k in range(inner_steps)]
    query = random_batch(length, tasks, lanes, 0)
    rule = InnerRule(policy, lvc, LR, first_order=first_order)
    objective = ClippedObjective(rule, CLIP)
    chunk = chunk_of(length, lanes)

    def work() -> float:
        for value in params.values():
            value.grad = None
        for first in range(0, tasks, chunk):
            part = slice(first, min(first + chunk, tasks))
            outer = objective([each.tasks(part) for each in supports], query.tasks(part), params)
            outer.loss.sum().backward()
        return (inner_steps + 1) * length * tasks * lanes

    return work


def chunk_of(length: int, lanes: int) -> int:
    """Return how many tasks MAML differentiates at once."""
    most = getattr(MAML, "chunk_steps", sys.maxsize)  # revisions before had no such bound
    return max(1, min(MAML.chunk, most // (length * lanes)))


def flops(**settings: Any) -> int:  # noqa: ANN401
    """Count the operations of the matrix products of a meta-step."""
    work = meta_step(**settings)
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def make_agent() -> Any:  # noqa: ANN401
    """Return an agent for CartPole with fresh parameters."""
    from ssm_metarl.adaptation.agent import Agent
    from ssm_metarl.adaptation.config import AdaptationConfig

    return Agent(*make_policy(), LR, AdaptationConfig(), FAMILY.name)


def acting(lanes: int) -> Work:
    """Call ``predict`` on a batch of observations, its state carried along."""
    agent = make_agent()
    seen = np.zeros((lanes, 4), np.float32)
    state = agent.predict(seen)[1]

    def work() -> float:
        nonlocal state
        _, state = agent.predict(seen, state)
        return 1

    return work
