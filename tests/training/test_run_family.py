"""Runs and saved agents of families that somebody declared: they load where nothing is known."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import ssm_metarl as sm
from ssm_metarl.cli import main
from ssm_metarl.env_runner import registry

ROOT = Path(__file__).parents[2]
TINY = [
    *("--num_epochs=1", "--tasks_per_epoch=2", "--episodes_per_task=2", "--support_steps=8"),
    *("--query_steps=8", "--validation_tasks=1", "--width=8", "--state_size=4"),
]
FILE = str(ROOT / "examples/families/cartpole.toml")


@pytest.fixture(autouse=True)
def nothing_registered() -> Iterator[None]:
    registry._REGISTERED.clear()
    yield
    registry._REGISTERED.clear()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("family") / "run"
    assert main(["train", f"--family={FILE}", f"--run_dir={run}", *TINY]) == 0
    return run


def test_a_run_keeps_its_family_and_so_does_an_agent(run: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    agent = sm.load(run)
    sm.save(agent, saved)
    assert (run / "family.toml").read_text() == Path(FILE).read_text()
    assert sm.load(saved).family_source == agent.family_source == Path(FILE).read_text()
    flags = ["--mode=zero_shot", "--episodes=1", "--no-video", "--task=cart_mass=1.2"]
    assert main(["adapt", str(saved), *flags]) == 0


def test_a_family_that_is_not_here_is_named(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(run, tmp_path / "run"))
    (run / "family.toml").unlink()
    assert main(["evaluate", str(run)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "'CartPoleAttributes', which is not registered here; valid: --family FILE" in error
    other = str(ROOT / "examples/families/pendulum.toml")
    assert main(["evaluate", str(run), f"--family={other}"]) == 2


def test_code_is_run_only_if_that_is_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = tmp_path / "family.py"
    code.write_text("raise RuntimeError('it ran')")
    assert main(["envs", f"--family={code}"]) == 2
    assert "--trust-env-code" in capsys.readouterr().err
    assert main(["envs", f"--family={code}", "--trust_env_code"]) == 2
    assert "failed: RuntimeError: it ran" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["minigrid", "somebody"])
def test_a_family_file_imports_no_module_by_itself(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{module}.py").write_text("raise RuntimeError('it ran')")
    file = tmp_path / "family.toml"
    file.write_text(f'name = "Mine"\nenv_id = "{module}:Mine-v0"\n')
    assert main(["envs", f"--family={file}"]) == 2
    assert "would import and run code" in capsys.readouterr().err


def test_the_example_for_newcomers_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "examples/own_environment.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks[1].splitlines()) <= 11
    monkeypatch.chdir(tmp_path)
    names: dict = {"EPOCHS": 1}
    for block in blocks:
        exec(compile(block, "own_environment.md", "exec"), names)
    assert names["adapted"].family == "Tank"
