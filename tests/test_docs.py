"""Every block of Python, console and TOML in the README, the docs and the examples works."""

import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from doc_blocks import NAMES, ROOT, SHELLS, blocks, check, commands

import ssm_metarl as sm
from ssm_metarl.core.cells import CELLS
from ssm_metarl.env_runner import registry
from ssm_metarl.meta_rl.registry import LEARNERS
from ssm_metarl.training.config import TrainConfig

PRETRAINED = Path(sm.__file__).parent / "pretrained"
ELSEWHERE = {  # with a Hub on this machine, with exported files, in a kernel, with an extra
    "docs/hub.md": "tests/hub/test_docs.py",
    "docs/deployment.md": "tests/deployment/test_docs.py",
    "examples/quickstart.ipynb": "tests/test_notebook.py",
    "examples/own_environment.md": "tests/training/test_run_family.py",
    "examples/metaworld.md": "tests/evaluation/test_metaworld.py",
}
SMALL = {
    **{"num_epochs": 1, "tasks_per_epoch": 2, "episodes_per_task": 4, "validation_tasks": 2},
    **{"support_steps": 20, "query_steps": 20, "width": 8, "state_size": 4},
}
MODULES = {"class Reinforce": "reinforce", "class Leaky": "leaky"}
"""Files that a page has its reader write, by what is in them."""
PAGES = [name for name in NAMES if blocks(name, "python") and name not in ELSEWHERE]


def unsteady(agent: sm.Agent) -> sm.Agent:
    """Return an agent whose returns show whether its memory was led as it should be."""
    rng = torch.Generator().manual_seed(0)
    params = agent.params.items()
    return agent.with_params(
        {name: value + 0.1 * torch.randn(value.shape, generator=rng) for name, value in params}
    )


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What the texts around the blocks speak of, in a folder with runs; trainings are short."""
    shutil.copytree(PRETRAINED / "cartpole", tmp_path / "runs" / "demo")
    sm.save(unsteady(sm.load(PRETRAINED / "cartpole-in-context")), tmp_path / "runs" / "in-context")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sm, "TrainConfig", lambda **own: TrainConfig(**{**SMALL, **own}))
    before = {*LEARNERS, *CELLS}
    env = gymnasium.make("CartPole-v1")
    observation, _ = env.reset(seed=0)
    yield {
        **{"sm": sm, "np": np, "gymnasium": gymnasium, "agent": sm.load("runs/demo"), "EPOCHS": 1},
        **{"env": env, "observation": observation, "next_observation": observation},
        **{"reward": 1.0, "terminated": False, "truncated": False},
    }
    registry._REGISTERED.clear()
    for entries in (LEARNERS, CELLS):
        for name in {*entries} - before:
            del entries[name]


@pytest.mark.parametrize("page", PAGES)
def test_python(
    page: str, names: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if page == "docs/families.md":
        exec(blocks("examples/own_environment.md", "python")[0], names)  # its tank
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), names)
        for sign, module in MODULES.items():
            if sign in block:
                (tmp_path / f"{module}.py").write_text(block)
    said = capsys.readouterr().out
    if page in ("README.md", "docs/adaptation.md"):
        assert "10 [" in said  # ten episodes were played
        assert isinstance(sm.load("runs/mine"), sm.Agent)


@pytest.mark.parametrize("page", [name for name in NAMES if blocks(name, *SHELLS)])
def test_commands(page: str) -> None:
    for words in commands(page):
        check(words)


def test_wrong_commands_are_noticed() -> None:
    for words in (["ssm-metarl", "train", "--no_such=1"], ["make", "nothing"], ["unheard-of"]):
        with pytest.raises((AssertionError, sm.UserError)):
            check(words)


@pytest.mark.parametrize("page", [name for name in NAMES if blocks(name, "toml")])
def test_toml(page: str, tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    for block in blocks(page, "toml"):
        (tmp_path / "family.toml").write_text(block)
        assert sm.read_family(tmp_path / "family.toml").parameters


def test_pages_that_are_run_elsewhere_are() -> None:
    for page, test in ELSEWHERE.items():
        assert Path(page).stem in (ROOT / test).read_text(), test


def test_the_table_of_learners_is_up_to_date() -> None:
    script = ROOT / "docs" / "learners.py"
    assert runpy.run_path(str(script))["page"]() == script.with_suffix(".md").read_text()
