"""Meta-World's own evaluation: its function drives our agents by the interface that it calls.

Of each held-out task an agent plays 10 episodes to adapt from, and then 3 that count, which end at
success. One environment per class is evaluated at a time, since Meta-World's function counts the
first 3 episodes that end among all environments of a class: of several, those that succeed.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.random import SeedSequence

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.adaptation.session import Session, check_mode
from ssm_metarl.core.torch_state import in_usual_torch
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.metaworld import SEED, VARIATIONS, is_metaworld, load_metaworld
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.errors import UserError, check_whole

ADAPTATION_EPISODES, EVALUATION_EPISODES = 10, 3


@dataclass(frozen=True)
class MetaWorldResult:
    """What Meta-World's evaluation says of one mode.

    Attributes:
        mode: One of :data:`ssm_metarl.adaptation.session.MODES`.
        success_rate: Share of the episodes that count in which the task was solved, mean over
            classes.
        mean_return: Of these episodes, which end at success.
        per_class: Success rate of each class.
    """

    mode: str
    success_rate: float
    mean_return: float
    per_class: Mapping[str, float]


class MetaWorldAgent:
    """An agent as ``metaworld.evaluation.metalearning_evaluation`` calls it.

    Every environment has a session of its own, whose agent learns at the end of the last episode
    to adapt from; the episodes that count are played by most likely actions. Rewards of these are
    read from the observations, where :func:`held_out_environments` puts them.

    Args:
        agent: Where to start from on every task.
        mode: One of :data:`ssm_metarl.adaptation.session.MODES`.
        episodes: Episodes per gradient step.
        memory: Earlier tasks, for hybrid.
        seed: Of the sampling.

    Raises:
        UserError: A mode that the agent cannot do.
    """

    def __init__(
        self,
        agent: Agent,
        mode: str,
        *,
        episodes: int = ADAPTATION_EPISODES,
        memory: Memory | None = None,
        seed: int = 0,
    ) -> None:
        check_mode(agent, mode)
        self._agent, self._mode, self._episodes = agent, mode, episodes
        self._memory, self._seed = memory, SeedSequence(check_whole("seed", seed, 0))
        self._size = len(agent.policy.spaces.observation_scale)
        self._round = 0
        self._learners: list[Session] = []
        self._players: list[Session] = []
        self._acted = np.zeros(0, dtype=bool)

    def init(self) -> None:
        """Forget the tasks so far: new ones begin."""
        self._round += 1
        self._learners, self._players = [], []

    def adapt_action(self, observations: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return the actions ``[E, A]`` to learn from, and nothing besides."""
        self._begin(len(observations))
        seen = observations[:, : self._size]
        acted = [one.act(own) for one, own in zip(self._learners, seen, strict=True)]
        return np.stack(acted), {}

    def step(self, timestep: Any) -> None:  # noqa: ANN401 (Meta-World's Timestep)
        """Take in what the actions brought; sessions learn when their episodes are enough."""
        brought = timestep.reward, timestep.terminated, timestep.truncated
        for session, reward, terminated, truncated in zip(self._learners, *brought, strict=True):
            session.observe(reward, bool(terminated), bool(truncated))

    def adapt(self) -> None:
        """Do nothing: the sessions have learned."""

    def reset(self, env_mask: np.ndarray) -> None:
        """Begin episodes that count where the mask is true."""
        if not self._players:
            self._begin(len(env_mask))  # where nothing was played to adapt from
            self._players = [self._player(session) for session in self._learners]
            self._acted = np.zeros(len(self._players), dtype=bool)
        for lane in np.flatnonzero(env_mask):
            self._players[lane].drop_episode()
        self._acted &= ~env_mask

    def eval_action(self, observations: np.ndarray) -> np.ndarray:
        """Return the most likely actions ``[E, A]``."""
        actions = []
        for lane, (player, seen) in enumerate(zip(self._players, observations, strict=True)):
            if self._acted[lane]:
                player.observe(float(seen[-2]), False, False)
            actions.append(player.act(seen[: self._size]))
        self._acted[:] = True
        return np.stack(actions)

    def _begin(self, lanes: int) -> None:
        if not self._learners:
            self._learners = [self._session(lane) for lane in range(lanes)]

    def _session(self, lane: int) -> Session:
        seed = int(substream(self._seed, self._round, lane).generate_state(1)[0])
        memory = self._memory if self._mode == "hybrid" else None
        return Session(self._agent, self._mode, episodes=self._episodes, memory=memory, seed=seed)

    def _player(self, session: Session) -> Session:
        """Return a session that learns no more; a memory of the trial goes on."""
        if self._mode != "in_context":
            return Session(session.agent, "zero_shot", deterministic=True)
        session.deterministic = True
        return session


def check_family(family: TaskFamily) -> None:
    """Refuse a family that is none of Meta-World's.

    Raises:
        UserError: Naming it.
    """
    if not is_metaworld(family.name):
        raise UserError(
            f"{family.name} is none of Meta-World's families; valid: ML1-reach-v3 or another of "
            "its tasks, ML10, ML45"
        )


def held_out_environments(
    family: TaskFamily, variations: int = VARIATIONS
) -> gymnasium.vector.VectorEnv:
    """Return Meta-World's own environments of the held-out tasks of a family, one per class.

    Observations have the last action, its reward and whether it ended the episode at their end.
    """
    classes = len(np.unique(family.held_out(10_000).values.get("task", [0.0])))
    return load_metaworld().make_ml_envs_test(
        family.name.removeprefix("ML1-"),
        seed=SEED,
        meta_batch_size=classes,
        total_tasks_per_cls=variations,
        recurrent_info_in_obs=True,
        normalize_reward_in_recurrent_info=False,
    )


@in_usual_torch
def evaluate_metaworld(
    agent: Agent,
    family: TaskFamily,
    modes: Sequence[str],
    *,
    variations: int = VARIATIONS,
    steps: int = 1,
    seed: int = 0,
) -> Iterator[MetaWorldResult]:
    """Measure modes by Meta-World's ``metalearning_evaluation``, and yield a result for each.

    Args:
        agent: What is measured.
        family: ``ML1-...``, ``ML10`` or ``ML45``.
        modes: Of :data:`ssm_metarl.adaptation.session.MODES`.
        variations: How many of the held-out variations of each class.
        steps: Gradient steps, each on 10 episodes.
        seed: Of the sampling.

    Raises:
        UserError: The family is none of Meta-World's, or the agent cannot do a mode.
    """
    check_family(family)
    check_whole("variations", variations, 1, VARIATIONS)
    measure = importlib.import_module("metaworld.evaluation").metalearning_evaluation
    memory = Memory.of(agent) if "hybrid" in modes else None
    for mode in modes:
        driver = MetaWorldAgent(agent, mode, memory=memory, seed=seed)
        envs = held_out_environments(family, variations)
        learns = mode != "zero_shot"
        rate, mean, per_class = measure(
            driver,
            envs,
            num_evals=variations,
            adaptation_steps=steps if mode in ("standard", "hybrid") else 1,
            adaptation_episodes=ADAPTATION_EPISODES if learns else 0,
            evaluation_episodes=EVALUATION_EPISODES,
        )
        envs.close()
        yield MetaWorldResult(mode, rate, mean, {k: float(v) for k, v in per_class.items()})
