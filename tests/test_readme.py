"""The Python blocks of the README and the docs run as they stand."""

import re
import shutil
from pathlib import Path

import gymnasium
import pytest

import ssm_metarl as sm

ROOT = Path(__file__).parent.parent
PRETRAINED = Path(sm.__file__).parent / "pretrained" / "cartpole"


def python_blocks(name: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", ["README.md", "docs/adaptation.md"])
def test_python_blocks_run(
    document: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(PRETRAINED, tmp_path / "runs" / "demo")
    monkeypatch.chdir(tmp_path)
    env = gymnasium.make("CartPole-v1")
    observation, _ = env.reset(seed=0)
    # What the text around the blocks calls these.
    names = {
        "env": env,
        "observation": observation,
        "next_observation": observation,
        "reward": 1.0,
        "terminated": False,
        "truncated": False,
    }
    blocks = python_blocks(document)
    assert blocks
    for block in blocks:
        exec(compile(block, document, "exec"), names)
    assert "10 [" in capsys.readouterr().out  # ten episodes were played, and their returns printed
    assert isinstance(sm.load("runs/mine"), sm.Agent)
