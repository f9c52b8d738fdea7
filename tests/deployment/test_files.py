"""What exported files say of themselves, and what is said where one cannot be made."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from following import BOX, make_agent, onnx_session

import ssm_metarl as sm
from ssm_metarl.cli import main

CARTPOLE = str(Path(sm.__file__).parent / "pretrained" / "cartpole")
FACTS = {
    "family": "Toy-v0",
    "cell": "ssm",
    "memory": "trial",
    "sees_reward_and_action": "true",
    "samples": "false",
}
INPUTS = {
    "observation": ["batch", 3],
    "reward": ["batch"],
    "episode_start": ["batch"],
    "state": ["batch", 22],
}
OUTPUTS = {"action": ["batch", 2], "next_state": ["batch", 22]}
ACTION = {"space": "Box", "dtype": "float32", "shape": [2], "low": [-2.0, 0.0], "high": [2.0, 5.0]}


def test_an_onnx_file_tells_what_it_takes_and_gives(exported: Callable[[str, str], Path]) -> None:
    pytest.importorskip("onnxruntime")
    path = exported("ssm", ".onnx")
    session = onnx_session(path)
    facts = session.get_modelmeta().custom_metadata_map
    assert FACTS.items() <= facts.items()
    assert json.loads(facts["inputs"]) == INPUTS
    assert {each.name: each.shape for each in session.get_inputs()} == INPUTS
    assert json.loads(facts["outputs"]) == OUTPUTS
    assert {each.name: each.shape for each in session.get_outputs()} == OUTPUTS
    assert json.loads(facts["action"]) == ACTION
    assert int(facts["opset"]) >= 18
    assert [each.name for each in path.parent.glob("*.onnx*")] == ["policy.onnx"]


def test_a_program_tells_it_too(exported: Callable[[str, str], Path]) -> None:
    files = {"policy.json": ""}
    torch.export.load(exported("ssm", ".pt2"), extra_files=files)
    assert json.loads(json.loads(files["policy.json"])["action"]) == ACTION


def test_the_command_exports_and_says_how_it_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "policy.c"
    assert main(["export", CARTPOLE, "--to", str(path)]) == 0
    said = capsys.readouterr().out
    assert f"policy          {path}" in said
    assert '"observation": ["batch", 4]' in said
    assert '"space": "Discrete"' in said
    assert "family: CartPole-v1" in path.read_text()


def test_help_says_what_is_not_exported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Adaptation by gradient steps is not exported" in said


def without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("policy.onx", "--to: {path} ends in no known suffix; did you mean '.onnx'? valid: .c, "),
        ("policy", "--to: {path} ends in no known suffix; valid: .c, .onnx, .pt2"),
        ("file/policy.c", "--to: {folder}/file cannot be written: Not a directory"),
        ("folder.c", "--to: {path} is a folder; name a file"),
        ("policy.onnx", "--to: ONNX needs an extra (onnxscript is missing): pip install 'ssm-meta"),
    ],
)
def test_a_place_that_cannot_be_is_one_line(
    name: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    without_onnx(monkeypatch)
    (tmp_path / "folder.c").mkdir()
    (tmp_path / "file").write_text("")
    path = tmp_path / name
    assert main(["export", CARTPOLE, "--to", str(path)]) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: " + words.format(path=path, folder=tmp_path))
    assert line.count("\n") == 1
    assert {each.name for each in tmp_path.iterdir()} == {"folder.c", "file"}


def test_what_has_no_c_code_is_named(tmp_path: Path) -> None:
    agent = make_agent(BOX, encoder="cnn", image=(4, 4, 1))
    with pytest.raises(sm.UserError, match=r"no C code for the encoder 'cnn'; valid here: \.onnx"):
        sm.export(agent, tmp_path / "policy.c")
    assert not list(tmp_path.iterdir())


def test_a_failed_export_leaves_the_file_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_onnx(monkeypatch)
    path = tmp_path / "policy.onnx"
    path.write_text("old")
    with pytest.raises(sm.UserError, match="onnxscript is missing"):
        sm.export(make_agent(BOX), path)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["policy.onnx"]
