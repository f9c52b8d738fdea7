"""Videos: two clips of one task side by side, playing in step."""

import contextlib
import functools
import itertools
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from ssm_metarl.checkpoint.files import replacing
from ssm_metarl.errors import SsmMetaRLError, UserError

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

Frame = UInt8[np.ndarray, "H W 3"]  # as an environment renders it
Picture = UInt8[np.ndarray, "height width 3"]  # with what is drawn around it

PAPER = (15, 23, 42)
INK = (241, 245, 249)
FAINT = (148, 163, 184)
DIVIDER = (51, 65, 85)
ACCENTS = ((230, 159, 0), (86, 180, 233))  # orange and sky blue: apart for colour-blind eyes too
DIMMED = 0.35  # of the light of an ended clip that stays
MINIMUM_WIDTH = 400  # pixels; smaller clips are enlarged by whole factors, for the captions' sake
HOLD_SECONDS = 1.5


def write_side_by_side(
    left: Iterable[Frame], right: Iterable[Frame], captions: tuple[str, str], path: Path, fps: int
) -> None:
    """Write an H.264 video in which two clips play in step, each under its caption and a counter.

    A clip that ends first holds its last frame, dimmed; at the end of the longer one the picture
    stands still for a moment. Frames are taken as they are needed, one of each clip at a time.

    Args:
        left: RGB frames, one `[H, W, 3]` array per step; frame i is the picture after i steps.
        right: The same, of the same size.
        captions: Text above the left and above the right clip.
        path: The `.mp4` to create or replace; an error leaves it as it was.
        fps: Steps shown per second.

    Raises:
        UserError: The packages for videos are not installed, or pictures differ in size.
        ValueError: A clip without frames.
        SsmMetaRLError: ffmpeg failed, for instance because the disk is full; its own reason.
        OSError: The video's folder cannot be written.
    """
    ffmpeg = _find_ffmpeg()
    pictures = _pictures(left, right, captions, round(HOLD_SECONDS * fps))
    first = next(pictures)
    with replacing(path) as temporary:
        _encode(ffmpeg, first, pictures, temporary, path, fps)


def encoded(frames: Iterable[Frame], fps: float | int) -> bytes:
    """Return one clip as an H.264 video; its frames have one size, which is even.

    Raises:
        UserError: The packages for videos are not installed.
        SsmMetaRLError: ffmpeg failed; its own reason.
    """
    ffmpeg, pictures = _find_ffmpeg(), iter(frames)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        _encode(ffmpeg, next(pictures), pictures, path, Path(path.name), fps)
        return path.read_bytes()


def _pictures(
    left: Iterable[Frame], right: Iterable[Frame], captions: tuple[str, str], hold: int = 0
) -> Iterator[Picture]:
    """Yield whole pictures of even width and height, as H.264 needs, and then hold the last."""
    panels = [_Panel(caption, accent) for caption, accent in zip(captions, ACCENTS, strict=True)]
    shape = canvas = None
    for step, frames in enumerate(itertools.zip_longest(left, right)):
        sizes = [None if frame is None else frame.shape for frame in frames]
        shape = shape or sizes[0]
        if {*sizes} - ({None} if step else set()) != {shape}:
            raise UserError(
                f"both clips need pictures of one size; at step {step} they are {sizes}"
            )
        one, other = (panel.show(frame, step) for panel, frame in zip(panels, frames, strict=True))
        height, width, _ = one.shape
        if canvas is None:
            gap = 2 * (width // 200 + 1)
            canvas = np.full((height + height % 2, 2 * width + gap, 3), DIVIDER, np.uint8)
        canvas[:height, :width] = one
        canvas[:height, -width:] = other
        yield canvas.copy()
    if canvas is None:
        raise ValueError("a clip without frames cannot be shown")
    yield from itertools.repeat(canvas, hold)


class _Panel:
    """One side of the picture: a bar with the caption and the counter, and the clip below it."""

    def __init__(self, caption: str, accent: tuple[int, int, int]) -> None:
        self._caption, self._accent, self._ended = caption, accent, False

    def show(self, frame: Frame | None, step: int) -> Picture:
        """Return the panel at a step; None means that the clip has ended."""
        if frame is not None:
            self._frame, self._step = frame, step
            self._picture = self._draw(frame, "")
        elif not self._ended:
            self._ended = True
            dimmed = DIMMED * self._frame + (1 - DIMMED) * np.array(PAPER)
            self._picture = self._draw(dimmed.astype(np.uint8), f"ended at step {self._step}")
        return self._picture

    def _draw(self, frame: Frame, message: str) -> Picture:
        from PIL import Image, ImageDraw

        clip = Image.fromarray(frame)
        factor = -(-MINIMUM_WIDTH // clip.width)
        width, height = factor * clip.width, factor * clip.height
        bar = width // 11
        margin, rule = bar // 3, max(2, bar // 14)
        middle = (bar - rule) / 2
        canvas = Image.new("RGB", (width, bar + height), PAPER)
        canvas.paste(clip.resize((width, height), Image.Resampling.NEAREST), (0, bar))
        draw = ImageDraw.Draw(canvas)
        draw.rectangle((0, bar - rule, width, bar - 1), self._accent)
        small, large = _font(0.45 * bar), _font(0.7 * bar)
        counter = f"step {self._step}"
        room = width - 3 * margin - draw.textlength(counter, small)
        caption = self._caption
        while draw.textlength(caption, small) > room:
            caption = caption.removesuffix("…")[:-1] + "…"
        draw.text((margin, middle), caption, INK, small, anchor="lm")
        draw.text((width - margin, middle), counter, FAINT, small, anchor="rm")
        draw.text((width / 2, bar + height / 4), message, INK, large, anchor="mm")
        return np.asarray(canvas)


@functools.cache  # Pillow unpacks its font anew each time it is asked for it
def _font(size: float) -> "FreeTypeFont | ImageFont":
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _encode(
    ffmpeg: str,
    first: Picture,
    pictures: Iterator[Picture],
    temporary: Path,
    path: Path,
    fps: float | int,
) -> None:
    """Have ffmpeg write pictures to a temporary file; `path` is the name for messages."""
    height, width, _ = first.shape
    source = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {fps} -i -"
    # yuv420p and the index at the front are what browsers and phones play.
    target = "-c:v libx264 -preset veryfast -crf 20 -pix_fmt yuv420p -movflags +faststart -f mp4"
    command = [ffmpeg, "-v", "error", *source.split(), *target.split(), str(temporary)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us to handle
    ) as process:
        assert process.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # ffmpeg gave up, and says why below
                for picture in itertools.chain([first], pictures):
                    process.stdin.write(picture.tobytes())
        except BaseException:
            process.kill()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            raise
        _, errors = process.communicate()
    if process.returncode:
        reason = " ".join(errors.decode(errors="replace").split()) or f"exit {process.returncode}"
        raise SsmMetaRLError(f"{path}: ffmpeg could not write the video: {reason}")


def _find_ffmpeg() -> str:
    try:
        import imageio_ffmpeg
        import PIL  # noqa: F401  (looked for here, before any work is done)

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise UserError("videos need the extra: pip install 'ssm-metarl[video]'") from error
