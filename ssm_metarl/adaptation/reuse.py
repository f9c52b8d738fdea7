"""Learn again from a task's own earlier episodes, which other parameters have played."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.core.parameters import Params, expand_tasks
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.meta_rl.batch import Batch, make_batch
from ssm_metarl.meta_rl.inner_loop import adaptable, is_shared
from ssm_metarl.meta_rl.losses import per_episode


def join_earlier(
    agent: Agent, theta: Params, own: Params, fresh: int, earlier: Sequence[Trajectory]
) -> dict[str, Tensor]:
    """Mix the gradients of the newest episodes with those of earlier ones.

    Earlier episodes are never taken for the current policy's: every step is weighed by the ratio
    of its probabilities, truncated at 1, advantages are V-trace's, and an episode counts in the mix
    as much as the mean of these weights.

    Args:
        agent: The meta-trained agent.
        theta: Current parameters, per task.
        own: Gradients of the newest episodes, per task.
        fresh: How many these are.
        earlier: What was played before, ``[T, K, E]`` each.
    """
    total = {name: fresh * gradient for name, gradient in own.items()}
    counted = own["encoder.bias"].new_full((len(own["encoder.bias"]),), float(fresh))
    for played in earlier:
        gradients, alike = _off_policy(agent, theta, played)
        weight = alike * played.valid.shape[2]
        counted = counted + weight
        for name, gradient in gradients.items():
            total[name] = total[name] + _rows(weight, gradient) * gradient
    return {name: gradient / _rows(counted, gradient) for name, gradient in total.items()}


def _off_policy(
    agent: Agent, theta: Params, played: Trajectory
) -> tuple[dict[str, Tensor], Float[Tensor, "K"]]:
    """Return each task's policy gradient at other parameters, and how alike the policies are."""
    policy, config = agent.policy, agent.config
    free = {name: value for name, value in theta.items() if adaptable(name)}
    if is_shared(theta):
        free = expand_tasks(free, played.valid.shape[1])
    free = {name: value.detach().requires_grad_() for name, value in free.items()}
    data = make_batch(played, policy, config.adaptation_discount, config.gae_lambda)
    with torch.enable_grad():
        distribution = data.distribution(policy.bind({**theta, **free}))
        log_prob = distribution.log_prob(data.action)
        ratio = (log_prob.detach() - data.behaviour).exp()
        batch = make_batch(played, policy, config.adaptation_discount, config.gae_lambda, ratio)
        loss = -per_episode(ratio.clamp_max(1.0) * log_prob * batch.advantage) / batch.episodes
        gradients = torch.autograd.grad(loss.sum(), list(free.values()))
    return dict(zip(free, gradients, strict=True)), _likeness(batch, ratio)


def _likeness(batch: Batch, ratio: Tensor) -> Float[Tensor, "K"]:
    weight = ratio.clamp_max(1.0) * batch.valid
    return weight.sum((0, 2)) / batch.valid.sum((0, 2)).clamp_min(1)


def _rows(weight: Float[Tensor, "K"], like: Tensor) -> Tensor:
    """Make a number per task broadcast against ``[K, ...]``."""
    return weight.view(-1, *[1] * (like.ndim - 1))
