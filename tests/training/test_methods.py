"""Every way to meta-train gradient steps, from its run to agents that adapted and were saved."""

from collections.abc import Callable
from pathlib import Path

import gymnasium
import pytest
import torch

import ssm_metarl as sm
from ssm_metarl.adaptation.hybrid import Memory
from ssm_metarl.cli import main
from ssm_metarl.training.loading import load, save

MOVES = {"cavia": ("context.",), "promp": (), "maml_trpo": (), "reptile": ()}


@pytest.mark.parametrize("name", MOVES)
def test_its_agents_adapt_and_are_saved(
    name: str, whole: Callable[[str], Path], tmp_path: Path
) -> None:
    agent = load(whole(name))
    env = gymnasium.make("CartPole-v1")
    for mode, memory in (("standard", None), ("hybrid", Memory.of(agent))):
        *_, last = sm.adapt(agent, env, mode, episodes=2, steps=2, memory=memory)
        moved = {n for n, v in last.agent.params.items() if not torch.equal(v, agent.params[n])}
        assert moved
        assert all(n.startswith(MOVES[name] or ("encoder", "block", "action")) for n in moved)
    read = load(save(last.agent, tmp_path / "adapted"))
    assert (read.policy, read.config) == (last.agent.policy, last.agent.config)
    assert all(torch.equal(value, last.agent.params[n]) for n, value in read.params.items())


def test_it_is_evaluated_in_all_modes(whole: Callable[[str], Path]) -> None:
    modes = "--modes=zero_shot,standard,hybrid,from_scratch"
    assert main(["evaluate", str(whole("cavia")), "--tasks=2", "--episodes=1", modes]) == 0
