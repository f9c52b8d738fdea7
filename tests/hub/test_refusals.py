"""What cannot be pushed or loaded is said in one line, and leaves everything as it was."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_runner import fails
from fake_hub import FakeHub

import ssm_metarl as sm
from ssm_metarl.errors import CheckpointError, SsmMetaRLError, UserError
from ssm_metarl.hub import download
from ssm_metarl.hub.client import read_address

NAME = "somebody/cartpole"


@pytest.mark.parametrize(
    ("address", "name", "revision"),
    [
        ("hf://a/b", "a/b", None),
        ("hf:/a/b", "a/b", None),  # what Path makes of it
        ("hf://a/b@v1.0", "a/b", "v1.0"),
        ("hf://a/b@refs/pr/1", "a/b", "refs/pr/1"),
    ],
)
def test_addresses(address: str, name: str, revision: str | None) -> None:
    assert read_address(address) == (name, revision)


@pytest.mark.parametrize(
    "address",
    ["hf://a", "hf://a/b/c", "hf://a/b@", "hf://../x", "hf://a/..", "hf://a b/c", "hf://"],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(UserError, match=r"is not valid; a run on the .* is hf://owner/name"):
        sm.load(address)


def test_two_revisions_or_one_of_a_folder(run_dir: Path) -> None:
    with pytest.raises(UserError, match="names a revision already"):
        sm.load("hf://a/b@v1", revision="v2")
    with pytest.raises(UserError, match="is a folder, which has no revision 'v1'"):
        sm.load(run_dir, revision="v1")


@pytest.mark.parametrize("call", ["load", "push"])
def test_the_extra_is_missing(call: str, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'ssm-metarl\[hub\]'"):
        sm.load("hf://a/b") if call == "load" else sm.push_to_hub(run_dir, "a/b")


def test_nobody_is_logged_in(
    hub: FakeHub, run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert "you are not logged in" in fails(capsys, ["push", str(run_dir), NAME])
    assert hub.asked == []


def test_a_right_is_missing(
    hub: FakeHub, run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    assert "does not allow you to do this (403)" in fails(capsys, ["push", str(run_dir), NAME])
    assert hub.repositories == {}


def test_what_does_not_exist(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.put("somebody/there", {"config.json": b"{}"})
    hub.put("other/private", {"config.json": b"{}"}, private=True)
    for name in ("somebody/gone", "other/private"):
        assert f"hf://{name} does not exist, or" in fails(capsys, ["evaluate", f"hf://{name}"])
    with pytest.raises(UserError, match="hf://somebody/there has no revision 'v9'"):
        sm.load("hf://somebody/there@v9")


def test_what_is_no_run_of_ours(hub: FakeHub, run_dir: Path) -> None:
    theirs = {"README.md": b"", "config.json": b"{}", "model.safetensors": b"", "x.pkl": b""}
    hub.put("somebody/bert", theirs)
    with pytest.raises(UserError, match="holds no run or agent of ssm-metarl"):
        sm.load("hf://somebody/bert")
    with pytest.raises(UserError, match=r"holds something else, such as config\.json"):
        sm.push_to_hub(run_dir, "somebody/bert", private=False)
    assert hub.repositories["somebody/bert"].files == theirs


def test_a_public_repository_is_not_taken_for_a_private_one(hub: FakeHub, run_dir: Path) -> None:
    hub.put(NAME, {})
    with pytest.raises(UserError, match="exists and is public; --public"):
        sm.push_to_hub(run_dir, NAME)
    assert hub.repositories[NAME].files == {}
    said: list[str] = []
    sm.push_to_hub(run_dir, NAME, private=False, say=said.append)
    assert said[0] == f"hf://{NAME}: public, the repository that is there"


def test_somebody_else_pushes_meanwhile(hub: FakeHub, run_dir: Path) -> None:
    sm.push_to_hub(run_dir, NAME)

    def meanwhile(_: str) -> None:
        hub.repositories[NAME].commit({"config.json": b"theirs"})

    with pytest.raises(SsmMetaRLError, match="412"):
        sm.push_to_hub(run_dir, NAME, say=meanwhile)
    assert hub.repositories[NAME].files == {"config.json": b"theirs"}


def test_the_hub_cannot_be_reached(
    hub: FakeHub, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.close()
    for argv in (["push", str(run_dir), NAME], ["export", f"hf://{NAME}"]):
        assert "the Hub cannot be reached" in fails(capsys, argv, code=1)


@pytest.mark.parametrize("name", ["cartpole", "a/b/c", "../b", "a/", ""])
def test_what_is_no_name(name: str, run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, ["push", str(run_dir), name])


def test_a_name_is_needed(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "needs NAME: the repository" in fails(capsys, ["push", str(run_dir)])
    assert "is on the Hub already" in fails(capsys, ["push", "hf://a/b", "a/c"])


def test_no_folder_or_experience(tmp_path: Path, run_dir: Path) -> None:
    with pytest.raises(UserError, match="is not a run"):
        sm.push_to_hub(tmp_path / "none", NAME)
    (run_dir / "experience" / "store.sqlite").unlink()
    with pytest.raises(UserError, match="has no experience to upload"):
        sm.push_to_hub(run_dir, NAME, with_experience=True)


def test_links_are_not_uploaded(hub: FakeHub, run_dir: Path, tmp_path: Path) -> None:
    """A run from somebody else may hold a link to what is not theirs to see."""
    (tmp_path / "secret").write_text("my key")
    (run_dir / "metrics.jsonl").unlink()
    (run_dir / "metrics.jsonl").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match=r"metrics\.jsonl is a link"):
        sm.push_to_hub(run_dir, NAME)
    (run_dir / "metrics.jsonl").unlink()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "in-context.png").write_text("my key")
    (run_dir / "figures").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="figures is a link"):
        sm.push_to_hub(run_dir, NAME)
    assert hub.repositories == {}


def pushed(hub: FakeHub, run_dir: Path) -> dict[str, bytes]:
    sm.push_to_hub(run_dir, NAME)
    return dict(hub.repositories[NAME].files)


def test_only_the_files_of_a_run_are_downloaded(hub: FakeHub, run_dir: Path) -> None:
    more = {"checkpoint/state.pkl": b"", "code.py": b"", "checkpoint/../../x": b""}
    hub.put(NAME, {**pushed(hub, run_dir), **more})
    sm.load(f"hf://{NAME}")
    asked = {line.partition("resolve/")[2][41:] for line in hub.asked if "resolve" in line}
    assert asked == {
        "config.json",
        "checkpoint/checkpoint.json",
        "checkpoint/state-2.safetensors",
    }


def pickled(files: dict[str, bytes]) -> None:
    files["checkpoint/state-2.safetensors"] = b"\x80\x04N."


def cut(files: dict[str, bytes]) -> None:
    files["checkpoint/state-2.safetensors"] = files["checkpoint/state-2.safetensors"][:-1]


def without_tensors(files: dict[str, bytes]) -> None:
    del files["checkpoint/state-2.safetensors"]


@pytest.mark.parametrize("change", [pickled, cut, without_tensors])
def test_what_comes_from_the_hub_is_checked_as_a_folder_is(
    change: Callable[[dict[str, bytes]], None], hub: FakeHub, run_dir: Path
) -> None:
    files = pushed(hub, run_dir)
    change(files)
    hub.put(NAME, files)
    with pytest.raises(CheckpointError, match=r"state-2\.safetensors"):
        sm.load(f"hf://{NAME}")


def test_a_run_of_the_hub_imports_no_module(hub: FakeHub, run_dir: Path) -> None:
    files = pushed(hub, run_dir)
    files["config.json"] = files["config.json"].replace(b"CartPole-v1", b"evil:CartPole-v1")
    hub.put(NAME, files)
    with pytest.raises(UserError, match="--trust-env-code"):
        sm.load(f"hf://{NAME}")


def test_sizes_are_bounded_before_anything_is_downloaded(hub: FakeHub, run_dir: Path) -> None:
    pushed(hub, run_dir)
    hub.sizes["checkpoint/state-2.safetensors"] = download.MAX_BYTES
    hub.asked.clear()
    with pytest.raises(UserError, match="at most 4,294,967,296 are downloaded"):
        sm.load(f"hf://{NAME}")
    assert not any("resolve" in line for line in hub.asked)


def test_what_broke_off_leaves_nothing(
    hub: FakeHub, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = sm.push_to_hub(run_dir, NAME)
    monkeypatch.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(SsmMetaRLError, match="cannot be written"):
        sm.load(address)
    assert [*(Path.home() / ".cache" / "ssm-metarl" / "somebody--cartpole").iterdir()] == []
