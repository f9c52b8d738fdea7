"""Trackers get the numbers of metrics.jsonl, or say what they need."""

import io
import json
import os
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssm_metarl.errors import UserError
from ssm_metarl.training.tracking import how_to_look, make_tracker, tagged
from ssm_metarl.video.writer import encoded


def test_no_tracker_takes_everything(tmp_path: Path) -> None:
    tracker = make_tracker("none", tmp_path, {})
    tracker.log(1, {"return": 1.0})
    tracker.close()
    assert os.listdir(tmp_path) == []


def test_an_unknown_tracker_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--track tensorbord: .* did you mean 'tensorboard'"):
        make_tracker("tensorbord", tmp_path, {})


@pytest.mark.parametrize(
    ("name", "module"),
    [("tensorboard", "torch.utils.tensorboard"), ("trackio", "trackio"), ("wandb", "wandb")],
)
def test_a_missing_package_names_its_extra(
    name: str,
    module: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError) as caught:
        make_tracker(name, tmp_path, {})
    assert str(caught.value) == (
        f"--track {name} needs the extra: pip install 'ssm-metarl[{name}]'"
    )
    assert os.listdir(tmp_path) == []


def test_tensorboard_shows_the_numbers_and_a_resumed_run_goes_on(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for resume, iterations in [(False, range(1, 6)), (True, range(4, 8))]:
        tracker = make_tracker("tensorboard", tmp_path, {"lr": 0.1}, resume=resume)
        for iteration in iterations:
            tracker.log(iteration, {"return/after": iteration / 4, "loss": -1.0})
        tracker.close()

    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    shown = [(event.step, event.value) for event in events.Scalars("return/after")]
    assert shown == [(iteration, iteration / 4) for iteration in range(1, 8)]
    assert len(events.Scalars("loss")) == 7
    assert b'"lr": 0.1' in events.Tensors("config/text_summary")[0].tensor_proto.string_val[0]


def test_numbers_have_the_names_of_cleanrl() -> None:
    record = {"iteration": 2.0, "iterations": 9.0, "environment_steps": 60.0, "seconds": 2.0}
    record |= {"return_before": 1.0, "approx_kl": 0.5, "horizon": 7.0}
    assert tagged(record) == {
        "charts/environment_steps": 60,
        "charts/seconds": 2.0,
        "charts/SPS": 30.0,
        "charts/episodic_return": 1.0,
        "losses/approx_kl": 0.5,
        "charts/horizon": 7,
    }


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A figure of 6 x 4 pixels, and a video of ten frames of 1,280 x 20."""
    folder = tmp_path_factory.mktemp("pictures")
    figure, video = folder / "one.png", folder / "one.mp4"
    Image.new("RGB", (6, 4)).save(figure)
    frames = np.arange(0, 250, 25, np.uint8)[:, None, None, None] + np.zeros(
        (20, 1280, 3), np.uint8
    )
    video.write_bytes(encoded(frames, 20))
    return figure, video


def test_tensorboard_shows_figures_and_videos_beside_the_numbers(
    tmp_path: Path, pictures: tuple[Path, Path]
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = make_tracker("tensorboard", tmp_path, {})
    tracker.log(3, {"loss": 1.0})
    tracker.close()
    tracker = make_tracker("tensorboard", tmp_path, {}, resume=True)
    for path in pictures:
        tracker.log_file(3, f"files/{path.suffix}", path)
    tracker.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert len(events.Scalars("loss")) == 1  # which taking up the run again did not hide
    figure, video = (events.Images(f"files/{kind}")[0] for kind in (".png", ".mp4"))
    assert (figure.step, figure.width, figure.height) == (3, 6, 4)
    gif = Image.open(io.BytesIO(video.encoded_image_string))
    assert (gif.format, gif.size, gif.info["duration"]) == ("GIF", (640, 10), 100)


def run_trackio(run_dir: Path, home: Path, body: str) -> str:
    """Run code where trackio is not yet imported, since it fixes its folder at its import."""
    code = (
        "import pathlib, socket, threading, webbrowser\n"
        "def refuse(*a, **k): raise AssertionError('the network or a browser was asked for')\n"
        "socket.socket.connect = webbrowser.open = refuse\n"
        "from ssm_metarl.training.tracking import make_tracker\n"
        f"run_dir = pathlib.Path({str(run_dir)!r})\n{body}"
    )
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("TRACKIO", "HF_"))
    }
    environment |= {"TRACKIO_DIR": str(home), "HF_HOME": str(home / "hub")}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_trackio_keeps_the_numbers_offline_and_in_silence(tmp_path: Path) -> None:
    run_dir = tmp_path / "runs" / "demo"
    body = (
        "for place, resume, iterations in [\n"
        "    ('', False, (1, 2)), ('x', False, (1,)), ('', True, (3,)), ('', False, (1,))\n"
        "]:\n"
        "    at = run_dir.parent / place / run_dir.name\n"
        "    tracker = make_tracker('trackio', at, {'lr': 0.1}, resume=resume)\n"
        "    for i in iterations: tracker.log(i, {'return': i / 4, 'loss': float('nan')})\n"
        "    tracker.close()\n"
    )
    assert run_trackio(run_dir, tmp_path / "home", body) == ""
    with sqlite3.connect(tmp_path / "home" / "ssm-metarl.db") as database:
        rows = database.execute("SELECT run_id, run_name, step, metrics FROM metrics").fetchall()
        configs = database.execute("SELECT config FROM configs").fetchall()
    database.close()
    assert {name.rpartition("-")[0] for _, name, _, _ in rows} == {"demo"}
    runs: dict[str, list[tuple[int, float]]] = {}
    for run, _, step, metrics in rows:
        runs.setdefault(run, []).append((step, json.loads(metrics)["return"]))
    # Of the same name are: a run that was resumed, one elsewhere, and a new one in the same place.
    assert [*runs.values()] == [[(1, 0.25), (2, 0.5), (3, 0.75)], [(1, 0.25)], [(1, 0.25)]]
    assert all(json.loads(config)["lr"] == 0.1 for (config,) in configs)


def test_trackio_keeps_figures_and_videos(tmp_path: Path, pictures: tuple[Path, Path]) -> None:
    body = "tracker = make_tracker('trackio', run_dir, {})\n"
    for path in pictures:
        body += f"tracker.log_file(1, 'a', pathlib.Path({str(path)!r}))\n"
    assert run_trackio(tmp_path / "demo", tmp_path / "home", body + "tracker.close()") == ""
    kept = [path for path in (tmp_path / "home" / "media").rglob("*") if path.is_file()]
    assert {path.read_bytes() for path in kept} == {path.read_bytes() for path in pictures}


class FakeWandb(ModuleType):
    """What wandb 0.31 offers, as far as it is used: it is too large an install for a test."""

    class Error(Exception):
        pass

    def __init__(self) -> None:
        super().__init__("wandb")
        self.started: list[dict[str, Any]] = []
        self.logged: list[tuple[int | None, dict[str, Any]]] = []
        self.fail = ""
        self.Image = self.Video = lambda path: path

    def init(self, **settings: Any) -> SimpleNamespace:  # noqa: ANN401
        if self.fail:
            raise self.Error(self.fail)
        self.started.append(settings)
        return SimpleNamespace(
            id=settings["id"] or f"id{len(self.started)}",
            log=lambda values, step=None: self.logged.append((step, values)),
            finish=lambda: self.logged.append((0, {})),
        )


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> FakeWandb:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_wandb_gets_the_numbers_and_resumes_its_own_run(tmp_path: Path, wandb: FakeWandb) -> None:
    run_dir = tmp_path / "demo"
    run_dir.mkdir()
    for resume in (False, True, False):
        tracker = make_tracker("wandb", run_dir, {}, resume=resume)
        tracker.log(3, {"return": 0.5})
        tracker.close()
    assert [(start["id"], start["resume"]) for start in wandb.started] == [
        (None, None),
        ("id1", "allow"),
        (None, None),
    ]
    assert all(
        (start["project"], start["name"]) == ("ssm-metarl", "demo") for start in wandb.started
    )
    assert wandb.logged == [(3, {"return": 0.5}), (0, {})] * 3


def test_wandb_gets_figures_at_a_step_of_their_own(tmp_path: Path, wandb: FakeWandb) -> None:
    """It drops what comes at a step that a run which is taken up again has left."""
    make_tracker("wandb", tmp_path, {}).log_file(3, "a", tmp_path / "a.png")
    assert wandb.logged == [(None, {"a": str(tmp_path / "a.png")})]


def test_wandb_starts_anew_where_a_resumed_run_had_none(tmp_path: Path, wandb: FakeWandb) -> None:
    make_tracker("wandb", tmp_path, {}, resume=True)
    assert wandb.started[0]["id"] is None


def test_wandb_that_is_not_set_up_is_one_line(tmp_path: Path, wandb: FakeWandb) -> None:
    wandb.fail = "api_key not configured.\nUse wandb login."
    with pytest.raises(UserError, match=r"^--track wandb: api_key not .* Use wandb login\.$"):
        make_tracker("wandb", tmp_path, {})


def test_where_to_look_is_a_command_that_can_be_pasted(tmp_path: Path) -> None:
    command = how_to_look("tensorboard", tmp_path / "my run")
    assert shlex.split(command) == [
        "tensorboard",
        "--logdir",
        str(tmp_path / "my run" / "tensorboard"),
    ]
    assert how_to_look("trackio", tmp_path) == "trackio show --project ssm-metarl"
    assert how_to_look("none", tmp_path) == how_to_look("wandb", tmp_path) == ""
