"""Trackers, such as TensorBoard, that show the metrics of a run besides `metrics.jsonl`."""

import contextlib
import contextvars
import importlib
import io
import json
import os
import secrets
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssm_metarl.checkpoint.files import write_text_atomically
from ssm_metarl.errors import UserError, nearest

PROJECT = "ssm-metarl"  # what trackio and wandb group runs by
GIF = "-t 20 -vf fps=10,scale='min(640,iw)':-1 -f gif"  # of a video in TensorBoard, for ffmpeg
TAGS = {
    "return_before": "charts/episodic_return",
    "return_after": "charts/episodic_return_adapted",
    "best_return": "charts/best_episodic_return",
    "loss": "losses/loss",
    "meta_loss": "losses/meta_loss",
    "gradient_norm": "losses/grad_norm",
    "approx_kl": "losses/approx_kl",
    "clip_fraction": "losses/clipfrac",
    "entropy": "losses/entropy",
    "explained_variance": "losses/explained_variance",
}
"""What trackers call numbers of ``metrics.jsonl``, by CleanRL's name where it has one; others are
``charts/NAME``."""


def tagged(record: Mapping[str, float]) -> dict[str, float]:
    """Return an iteration's numbers by their names in trackers, and steps per second."""
    tags = {
        TAGS.get(name, f"charts/{name}"): value
        for name, value in record.items()
        if name not in ("iteration", "iterations")
    }
    return tags | {"charts/SPS": record["environment_steps"] / max(record["seconds"], 1e-9)}


class Tracker:
    """Where the numbers of a run are shown besides `metrics.jsonl`; this one shows nothing.

    Resuming is bit-exact, so iterations that a tracker has seen before the interruption come again
    with the values they had.

    Args:
        run_dir: The run's folder, by whose name the run is called. TensorBoard and wandb write into
            it; trackio writes where its `TRACKIO_DIR` says.
        config: The run's settings, plain JSON, shown beside the curves.
        resume: Continue the curves that this folder's run has drawn so far.
    """

    def __init__(self, run_dir: Path, config: Mapping[str, Any], resume: bool) -> None: ...

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        """Record the named numbers of one iteration; iterations only go up."""

    def log_file(self, iteration: int, name: str, path: Path) -> None:
        """Show a figure (``.png``) or a video (``.mp4``)."""

    def close(self) -> None:
        """Write what is still pending and end the tracking."""


class _TensorBoard(Tracker):
    """Event files in the run's folder `tensorboard/`."""

    def __init__(self, run_dir: Path, config: Mapping[str, Any], resume: bool) -> None:
        self._module = _import_extra("torch.utils.tensorboard", "tensorboard")
        self._folder, self._config = run_dir / "tensorboard", config
        self._writer: Any = None

    def log_file(self, iteration: int, name: str, path: Path) -> None:
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import (
            Summary,  # pyright: ignore[reportAttributeAccessIssue]
        )

        content = _gif(path) if path.suffix == ".mp4" else path.read_bytes()
        width, height = Image.open(io.BytesIO(content)).size
        image = Summary.Image(height=height, width=width, encoded_image_string=content)
        with self._module.SummaryWriter(str(self._folder)) as writer:
            summary = Summary(value=[Summary.Value(tag=name, image=image)])
            writer.file_writer.add_summary(summary, iteration)

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        if self._writer is None:
            # purge_step hides what an interrupted run had written from this iteration on.
            self._writer = self._module.SummaryWriter(str(self._folder), purge_step=iteration)
            text = json.dumps(dict(self._config), indent=2)
            self._writer.add_text("config", f"```json\n{text}\n```", iteration)
        for name, value in values.items():
            self._writer.add_scalar(name, value, iteration)
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _gif(path: Path) -> bytes:
    """Return a video as a small GIF."""
    from imageio_ffmpeg import get_ffmpeg_exe

    command = [get_ffmpeg_exe(), "-v", "error", "-i", str(path), *GIF.split(), "-"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout


class _Trackio(Tracker):
    """trackio, which keeps everything in a local database until told otherwise.

    It writes to standard output, which belongs to our progress bar, and keeps a current run per
    context, which is not ours to change in a host such as the web page: both are kept apart.
    """

    def __init__(self, run_dir: Path, config: Mapping[str, Any], resume: bool) -> None:
        self._module = trackio = _import_extra("trackio", "trackio")
        # It finds a run to resume by its name alone, and folders elsewhere may have the same.
        stored = run_dir / "trackio_name.txt"
        name = run_dir.resolve().name
        if not resume:
            name = f"{name}-{secrets.token_hex(3)}"
        elif stored.exists():
            name = stored.read_text(encoding="utf-8").strip()
        with contextlib.redirect_stdout(io.StringIO()):
            self._run = contextvars.copy_context().run(
                trackio.init,
                project=PROJECT,
                name=name,
                config=dict(config),
                resume="allow" if resume else "never",
                embed=False,
            )
        write_text_atomically(stored, f"{name}\n")

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=iteration)  # queued, and written within a second

    def log_file(self, iteration: int, name: str, path: Path) -> None:
        kind = self._module.Video if path.suffix == ".mp4" else self._module.Image
        self._run.log({name: kind(str(path))}, step=iteration)

    def close(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self._run.finish()


class _Wandb(Tracker):
    """Weights & Biases; what it syncs, and where to, is set up with its own tools."""

    def __init__(self, run_dir: Path, config: Mapping[str, Any], resume: bool) -> None:
        self._module = wandb = _import_extra("wandb", "wandb")
        identity = run_dir / "wandb_id.txt"
        known = identity.read_text().strip() if resume and identity.exists() else None
        try:
            self._run = wandb.init(
                project=PROJECT,
                name=run_dir.resolve().name,
                dir=os.fspath(run_dir),
                config=dict(config),
                id=known,
                resume="allow" if known else None,
            )
        except wandb.Error as error:
            raise UserError(f"--track wandb: {' '.join(str(error).split())}") from error
        write_text_atomically(identity, f"{self._run.id}\n")

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=iteration)  # it ignores iterations it already has

    def log_file(self, iteration: int, name: str, path: Path) -> None:
        kind = self._module.Video if path.suffix == ".mp4" else self._module.Image
        self._run.log({name: kind(str(path))})  # a run taken up again has left its last step

    def close(self) -> None:
        self._run.finish()  # syncs what is pending


TRACKERS = {"none": Tracker, "tensorboard": _TensorBoard, "trackio": _Trackio, "wandb": _Wandb}


def make_tracker(
    name: str, run_dir: Path, config: Mapping[str, Any], *, resume: bool = False
) -> Tracker:
    """Start a tracker of :data:`TRACKERS`; its package is imported only now.

    Raises:
        UserError: An unknown name, a package that is not installed, or wandb not set up.
    """
    if name not in TRACKERS:
        raise UserError(f"--track {name}: unknown tracker; {nearest(name, TRACKERS)}")
    return TRACKERS[name](run_dir, config, resume)


def how_to_look(name: str, run_dir: Path) -> str:
    """Return the command that shows what a tracker took of the run in a folder.

    Empty where there is nothing to look at, and for wandb, which says by itself where the run is.
    """
    commands = {
        "tensorboard": ["tensorboard", "--logdir", str(run_dir / "tensorboard")],
        "trackio": ["trackio", "show", "--project", PROJECT],
    }
    return shlex.join(commands.get(name, []))


def _import_extra(module: str, extra: str) -> Any:  # noqa: ANN401 (a module without types)
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"--track {extra} needs the extra: pip install 'ssm-metarl[{extra}]'"
        ) from error
