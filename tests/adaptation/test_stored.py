"""Memories are read from the experience that comes with an agent."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.adaptation.standard import Adaptation, play_tasks
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.errors import StoreError
from ssm_metarl.experience.buffer import ExperienceStore

FAMILY = get_family("CartPole-v1")
TASKS = FAMILY.sample(4, SeedSequence(7))


def with_experience(agent: Agent, path: Path, tasks: int = 4) -> Agent:
    with ExperienceStore.create(path, FAMILY, run="mine") as store:
        for n in range(tasks):
            own = TASKS[n]
            store.add(play_tasks(agent, agent.params, FAMILY, own, 3, SeedSequence(n)), own)
    return dataclasses.replace(agent, experience=path, run="mine")


def test_the_newest_tasks_are_read(agent: Agent, tmp_path: Path) -> None:
    stored = with_experience(agent, tmp_path / "store")
    memory, newest = Memory.of(stored), Memory.of(stored, 2)
    assert memory is not None
    assert newest is not None
    assert len(memory.tasks) == 4
    assert newest.ids.tolist() == memory.ids.tolist()[-2:]
    played = play_tasks(agent, agent.params, FAMILY, TASKS[3], 3, SeedSequence(3))
    for name, value in played.tensors().items():
        assert torch.equal(vars(memory.tasks[int(memory.ids[3])])[name], value)


def test_gradients_of_stored_tasks_are_those_of_their_episodes(
    agent: Agent, tmp_path: Path
) -> None:
    memory = Memory.of(with_experience(agent, tmp_path / "store"))
    assert memory is not None
    task = int(memory.ids[1])
    expected = agent.rule().gradients(agent.params, agent.batch(memory.tasks[task]))
    for name, value in memory.gradient(task).items():
        torch.testing.assert_close(value, expected[name][0])
    assert memory.gradient(task) is memory.gradient(task)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"family": "Pendulum-v1"}, "holds experience of CartPole-v1, but the agent is for Pend"),
        ({"run": "theirs"}, "run"),
    ],
)
def test_experience_of_others_is_refused(
    changes: dict, words: str, agent: Agent, tmp_path: Path
) -> None:
    stored = dataclasses.replace(with_experience(agent, tmp_path / "store"), **changes)
    with pytest.raises(StoreError, match=words):
        Memory.of(stored)


def test_without_experience_there_is_a_warning_and_no_memory(agent: Agent, tmp_path: Path) -> None:
    one = with_experience(agent, tmp_path / "one", tasks=1)
    gone = dataclasses.replace(agent, experience=tmp_path / "gone")
    for without, why in (
        (agent, "this agent came with no experience (adapted ones keep none)"),
        (gone, "this agent came with no experience (adapted ones keep none)"),
        (one, "the experience that came with this agent is empty"),
    ):
        with pytest.warns(UserWarning, match="hybrid") as said:
            assert Memory.of(without) is None
        expected = f"{why}: hybrid adapts from the current task alone, as standard"
        assert [str(one.message) for one in said] == [expected]


def test_an_adaptation_learns_from_every_episode_unless_told_otherwise(
    make_agent: Callable[..., Agent],
) -> None:
    agent = make_agent()
    adaptation = Adaptation(agent, 1, seed=SeedSequence(0))
    played = play_tasks(agent, agent.params, FAMILY, TASKS[0], 1, SeedSequence(0))
    assert adaptation.add(played)
    assert adaptation.now.steps == 1
