"""The programs of docs/deployment.md run as they stand, on files of a shipped agent."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_follow import needs_compiler

import ssm_metarl as sm

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "deployment.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def export(path: Path) -> None:
    sm.export(sm.load(ROOT / "ssm_metarl" / "pretrained" / "cartpole-in-context"), path)


def test_onnx_runtime_with_numpy_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    export(tmp_path / "policy.onnx")
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks("python")[0], "docs/deployment.md", "exec"), {})
    assert capsys.readouterr().out == "return 500\n" * 4


def test_torch_export_without_this_package(tmp_path: Path) -> None:
    export(tmp_path / "policy.pt2")
    block = blocks("python")[1]
    code = (
        f"import sys\nsys.modules['ssm_metarl'] = None\n{block}\nprint(*action.shape, *state.shape)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "3 3 130\n"


@needs_compiler
def test_c(tmp_path: Path) -> None:
    export(tmp_path / "policy.c")
    (tmp_path / "main.c").write_text(blocks("c")[0])
    command = "cc -std=c99 -Wall -Werror -O2 main.c -lm -o act && ./act"
    ran = subprocess.run(
        command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert set(ran.stdout.split()) <= {"0", "1"}
    assert len(ran.stdout.split()) == 3
