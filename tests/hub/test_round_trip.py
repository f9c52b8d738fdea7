"""What is pushed to the Hub is what is loaded from it, by huggingface_hub's own client."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_hub import FakeHub
from small_runs import ONE

import ssm_metarl as sm
from ssm_metarl.cli import main

NAME = "somebody/cartpole"
SEEN = np.array([[0.1, -0.2, 0.03, 0.4], [-1.0, 0.5, 0.1, -0.3]], np.float32)


def actions(agent: sm.Agent) -> list[list[int]]:
    """What it does in two environments over a few steps, sampled."""
    state, chosen = None, []
    for step in range(8):
        action, state = agent.predict(SEEN * step, state, deterministic=False)
        chosen.append(np.asarray(action).tolist())
    return chosen


def test_a_run_acts_the_same_from_the_hub(
    hub: FakeHub, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(run_dir), NAME]) == 0
    first, *files, total, address = capsys.readouterr().out.splitlines()
    assert first == f"hf://{NAME}: private, a new repository"
    pushed = hub.repositories[NAME]
    assert pushed.private
    assert [line.split()[1] for line in files] == list(pushed.files)
    assert total.split()[0] == f"{sum(map(len, pushed.files.values())):,}"
    assert [*pushed.files] == [
        "README.md",
        "checkpoint/checkpoint.json",
        "checkpoint/state-2.safetensors",
        "config.json",
        "metrics.jsonl",
    ]
    here, there = sm.load(run_dir), sm.load(f"hf://{NAME}")
    assert actions(here) == actions(there)
    assert all(torch.equal(value, there.params[name]) for name, value in here.params.items())
    assert address == f"hf://{NAME}@{pushed.refs['main']}"
    assert actions(sm.load(address)) == actions(here)


def test_nothing_is_changed_before_it_is_said(hub: FakeHub, run_dir: Path) -> None:
    asked: list[str] = []

    def say(line: str) -> None:
        asked[:] = [request for request in hub.asked if not request.startswith("GET")]
        assert line

    sm.push_to_hub(run_dir, NAME, say=say)
    assert asked == []
    assert any(request.startswith("POST") for request in hub.asked)


def test_experience_goes_only_where_it_is_asked_for(hub: FakeHub, run_dir: Path) -> None:
    name = "experience/store.sqlite"
    assert (run_dir / name).exists()
    sm.push_to_hub(run_dir, NAME)
    assert name not in hub.repositories[NAME].files
    without = sm.load(f"hf://{NAME}").experience
    assert without is not None
    assert not without.exists()
    sm.push_to_hub(run_dir, NAME, with_experience=True)
    with_it = sm.load(f"hf://{NAME}").experience
    assert with_it is not None
    with sm.ExperienceStore.open(with_it) as there, sm.ExperienceStore.open(run_dir / name) as here:
        assert [*there.tasks()] == [*here.tasks()] != []


def test_an_agent_goes_by_itself(
    hub: FakeHub, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = sm.load(run_dir)
    address = agent.push_to_hub("somebody/agent")
    assert "agent/checkpoint.json" in capsys.readouterr().out
    assert set(hub.repositories["somebody/agent"].files) == {
        "README.md",
        "agent/checkpoint.json",
        "agent/state-1.safetensors",
    }
    assert actions(sm.load(address)) == actions(agent)


def test_revisions_never_mix(hub: FakeHub, run_dir: Path, tmp_path: Path) -> None:
    """What one commit has and the next one has not is not found with the next one's files."""
    first = sm.push_to_hub(run_dir, NAME, with_experience=True)
    hub.repositories[NAME].refs["v1"] = hub.repositories[NAME].refs["main"]
    list(sm.train(dataclasses.replace(ONE, seed=7), tmp_path / "other"))
    said: list[str] = []
    sm.push_to_hub(tmp_path / "other", NAME, say=said.append)
    assert said[-1].split() == ["removed", "experience/store.sqlite"]
    newest, tagged = sm.load(f"hf://{NAME}"), sm.load(f"hf://{NAME}", revision="v1")
    assert actions(tagged) == actions(sm.load(run_dir)) == actions(sm.load(first))
    assert actions(newest) == actions(sm.load(tmp_path / "other")) != actions(tagged)
    for agent, exists in ((newest, False), (tagged, True)):
        assert agent.experience is not None
        assert agent.experience.exists() == exists


def test_a_commit_that_is_here_needs_no_hub(hub: FakeHub, run_dir: Path) -> None:
    address = sm.push_to_hub(run_dir, NAME)
    agent = sm.load(address)
    hub.asked.clear()
    assert actions(sm.load(address)) == actions(agent)
    assert hub.asked == []


def test_commands_take_addresses(
    hub: FakeHub, run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = sm.push_to_hub(run_dir, NAME)
    to = tmp_path / "policy.c"
    assert main(["export", address, "--to", str(to)]) == 0
    assert to.exists()
    assert main(["export", f"hf://{NAME}@main", "--to", str(to)]) == 0
    capsys.readouterr()


def test_a_family_of_a_file_travels_along(hub: FakeHub, run_dir: Path) -> None:
    source = (Path(__file__).parents[2] / "examples" / "families" / "cartpole.toml").read_text()
    name = re.findall(r'^name = "(.*)"', source, re.MULTILINE)[0]
    (run_dir / "family.toml").write_text(source)
    config = (run_dir / "config.json").read_text()
    (run_dir / "config.json").write_text(config.replace("CartPole-v1", name))
    sm.push_to_hub(run_dir, "somebody/own")
    card = hub.repositories["somebody/own"].files["README.md"].decode()
    assert "--family family.toml" in card
    assert sm.load("hf://somebody/own").family == name
