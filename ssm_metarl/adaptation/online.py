"""Adapt to any Gymnasium environment, with one lane or many."""

from collections.abc import Iterator
from dataclasses import dataclass

import gymnasium
import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.random import SeedSequence

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.hybrid import Memory, Recalled
from ssm_metarl.adaptation.session import check_mode
from ssm_metarl.adaptation.source import EnvironmentSource
from ssm_metarl.adaptation.standard import Adaptation
from ssm_metarl.core.torch_state import in_usual_torch
from ssm_metarl.env_runner.rollout import episode_returns
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.errors import check_whole

EPISODE_STREAM, ADAPTATION_STREAM = 0, 1


@dataclass(frozen=True)
class AdaptProgress:
    """The result of one more episode in each lane, available as soon as all of them have ended.

    Attributes:
        mode: One of :data:`ssm_metarl.adaptation.session.MODES`.
        episodes: Episodes of the task played so far.
        total: Episodes there will be.
        environment_steps: Steps of the task used so far.
        returns: Sums of rewards of the episodes of this record, within the horizon of adaptation;
            NaN for one in which the environment broke down, from which nothing is learned.
        success: Whether each of them solved the task; None where the environment says nothing of
            it.
        agent: As it is now.
        steps: Gradient steps taken so far.
        rolled_back: Whether these episodes showed the last step to do harm, so that it was undone.
        recalled: Which earlier tasks the step used (hybrid), with their weights.
    """

    mode: str
    episodes: int
    total: int
    environment_steps: int
    returns: Float[np.ndarray, "episodes"]
    agent: Agent
    success: Bool[np.ndarray, "episodes"] | None = None
    steps: int = 0
    rolled_back: bool = False
    recalled: Recalled | None = None


@in_usual_torch
def adapt(
    agent: Agent,
    env: gymnasium.Env | gymnasium.vector.VectorEnv,
    mode: str = "standard",
    *,
    episodes: int = 20,
    steps: int = 1,
    memory: Memory | None = None,
    guarded: bool = True,
    seed: int = 0,
) -> Iterator[AdaptProgress]:
    """Adapt an agent to an environment, as a stream of progress; ``agent`` stays as it is.

    Closing the stream stops; the last record's agent is what was learned so far. Nothing happens
    before the first record is asked for, but wrong arguments are refused at once.

    Args:
        agent: Where to start from.
        env: The task. Episodes are cut at the horizon of adaptation, so the environment needs no
            time limit. It is not closed.
        mode: ``zero_shot`` (plays as it is), ``in_context`` (its memory goes on across episodes),
            ``standard`` (gradient steps on the episodes played) or ``hybrid`` (the same, with the
            gradients of similar earlier tasks).
        episodes: Episodes per gradient step; for the modes without, in all (``zero_shot``) or of
            the trial in every lane (``in_context``).
        steps: Gradient steps.
        memory: Earlier tasks, for hybrid; None reads those that came with the agent.
        guarded: Whether to roll back where the episodes played show that a step did harm.
        seed: Of the episodes.

    Raises:
        UserError: An unknown mode, a number that is too small or not whole, spaces that are not
            the agent's, or a memory of another agent.
        EnvironmentFailure: While playing: the environment raised an error.
        DivergenceError: While playing: something is not finite. As for every error, the agent of
            the last record is whole.
    """
    check_mode(agent, mode)
    episodes, steps = check_whole("episodes", episodes, 1), check_whole("steps", steps, 1)
    seed = check_whole("seed", seed, 0)
    source = EnvironmentSource(agent, env)
    agent = source.agent
    if mode == "in_context":
        return _in_context(agent, source, episodes, seed)
    if mode == "zero_shot":
        return _play_and_learn(mode, agent, None, source, episodes, 1, seed)
    recalled = (memory or Memory.of(agent)) if mode == "hybrid" else None
    adaptation = Adaptation(
        agent,
        1,
        seed=substream(SeedSequence(seed), ADAPTATION_STREAM),
        episodes=episodes,
        memory=recalled,
        guarded=guarded,
    )
    return _play_and_learn(mode, agent, adaptation, source, episodes, steps, seed)


@in_usual_torch
def _play_and_learn(
    mode: str,
    agent: Agent,
    adaptation: Adaptation | None,
    source: EnvironmentSource,
    episodes: int,
    steps: int,
    seed: int,
) -> Iterator[AdaptProgress]:
    """Play the episodes of each step, a record for each round of the lanes, and learn from them."""
    start, done, used = agent, 0, 0
    for step in range(steps):
        for first in range(0, episodes, source.lanes):
            own = substream(SeedSequence(seed), EPISODE_STREAM, step, first)
            played = source.play_round(agent.policy.bind(agent.params), own)
            played = played.lanes(torch.arange(min(source.lanes, episodes - first)))
            done, used = done + played.valid.shape[2], used + played.environment_steps
            stage = adaptation.now if adaptation and adaptation.add(played) else None
            if stage:
                agent = start.with_params(stage.params)
            yield AdaptProgress(
                mode=mode,
                episodes=done,
                total=episodes * steps,
                environment_steps=used,
                returns=episode_returns(played)[0].numpy(),
                agent=agent,
                success=None if played.success is None else played.success.any(0)[0].numpy(),
                steps=adaptation.now.steps if adaptation else 0,
                rolled_back=bool(stage and stage.rolled_back is not None and stage.rolled_back[0]),
                recalled=stage.recalled if stage else None,
            )


@in_usual_torch
def _in_context(
    agent: Agent, source: EnvironmentSource, episodes: int, seed: int
) -> Iterator[AdaptProgress]:
    """Play one trial in every lane; a record of the lanes' n-th episodes when all have ended."""
    own = substream(SeedSequence(seed), EPISODE_STREAM)
    trial = source.play_trial(agent.policy.bind(agent.params), episodes, own)
    used = 0
    for number, ended in enumerate(trial, start=1):
        used += int(ended.lengths.sum())
        done, total = number * source.lanes, episodes * source.lanes
        returns, success = ended.returns[0].numpy(), ended.success
        success = None if success is None else success[0].numpy()
        yield AdaptProgress("in_context", done, total, used, returns, agent, success)
