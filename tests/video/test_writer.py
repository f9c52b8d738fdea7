"""Videos are what browsers play, show both clips in step, and are written whole or not at all."""

import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from ssm_metarl.errors import SsmMetaRLError, UserError
from ssm_metarl.video import writer as recording
from ssm_metarl.video.writer import write_side_by_side

CAPTIONS = ("before", "after")
WIDTH, HEIGHT, BAR = 400, 301, 36  # BAR follows from WIDTH


def clip(
    length: int, grey: int = 255, width: int = WIDTH, height: int = HEIGHT
) -> Iterator[np.ndarray]:
    for _ in range(length):
        yield np.full((height, width, 3), grey, np.uint8)


def read(path: Path) -> tuple[str, np.ndarray]:
    """Return ffmpeg's description of the picture stream, and its frames, [T, H, W, 3].

    Not by `imageio_ffmpeg.read_frames`: it leaves pipes open, which is a warning, so an error.
    """
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path)]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    about = next(line for line in done.stderr.decode().splitlines() if "Video:" in line)
    width, height = map(int, re.findall(r" ([1-9]\d*)x([1-9]\d*)", about)[0])
    return about, np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


def sides(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower halves of the two clips in one frame, where nothing is written on them."""
    rows = slice(BAR + HEIGHT // 2, BAR + HEIGHT - 2)
    return frame[rows, 2 : WIDTH - 2], frame[rows, -WIDTH + 2 : -2]


def test_the_video_is_what_browsers_play(tmp_path: Path) -> None:
    path = tmp_path / "videos" / "swap.mp4"
    write_side_by_side(clip(7), clip(10), CAPTIONS, path, 20)
    about, video = read(path)
    assert "Video: h264" in about
    assert "yuv420p" in about
    assert "20 fps" in about
    assert video.shape == (10 + 30, BAR + HEIGHT + 1, 2 * WIDTH + 6, 3)  # even, and held for 1.5 s
    assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat")  # plays at once
    assert os.listdir(path.parent) == ["swap.mp4"]


def test_clips_play_in_step_and_the_shorter_one_is_dimmed(tmp_path: Path) -> None:
    def ramp() -> Iterator[np.ndarray]:
        for step in range(8):
            yield from clip(1, grey=20 * step)

    write_side_by_side(clip(4, grey=200), ramp(), CAPTIONS, tmp_path / "a.mp4", 10)
    _, video = read(tmp_path / "a.mp4")
    for step, frame in enumerate(video):
        left, right = sides(frame)
        dimmed = 0.35 * 200 + 0.65 * np.array(recording.PAPER)
        assert np.abs(left - (200.0 if step < 4 else dimmed)).max() < 12
        assert np.abs(right - 20.0 * min(step, 7)).max() < 12


def test_the_longer_clip_and_clips_of_one_length_are_not_dimmed(tmp_path: Path) -> None:
    write_side_by_side(clip(3, grey=200), clip(3, grey=200), CAPTIONS, tmp_path / "a.mp4", 10)
    _, video = read(tmp_path / "a.mp4")
    assert all(np.abs(side - 200.0).max() < 12 for frame in video for side in sides(frame))


def test_captions_counters_and_ending_are_written_where_they_belong() -> None:
    pictures = [picture.astype(int) for picture in recording._pictures(clip(3), clip(5), CAPTIONS)]

    def ink(picture: np.ndarray, columns: slice, rows: slice = slice(0, BAR - 4)) -> bool:
        return bool((picture[rows, columns].min(axis=-1) > 100).any())

    caption, counter, right = slice(0, 80), slice(340, 395), WIDTH + 6
    assert ink(pictures[0], caption)
    assert ink(pictures[0], counter)
    assert not ink(pictures[0], slice(120, 300))
    assert ink(pictures[0], slice(right, right + 80))

    def changed(one: int, other: int, columns: slice, rows: slice) -> bool:
        return bool((pictures[one][rows, columns] != pictures[other][rows, columns]).any())

    bar, upper = slice(0, BAR - 4), slice(BAR, BAR + HEIGHT // 2)
    assert changed(1, 2, counter, bar)  # counts
    assert not changed(2, 4, counter, bar)  # stops at the last step of its clip
    assert changed(2, 4, slice(right + 340, None), bar)  # goes on
    assert not changed(0, 4, caption, bar)
    message = pictures[4][upper, :WIDTH].reshape(-1, 3)
    assert (np.abs(message - recording.INK).max(axis=-1) < 8).sum() > 100
    assert len(np.unique(pictures[2][upper, :WIDTH])) == 1  # nothing before it has ended


def test_the_step_of_the_ending_is_that_of_the_last_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[str] = []
    draw = recording._Panel._draw

    def listen(panel: recording._Panel, frame: np.ndarray, message: str) -> np.ndarray:
        messages.append(message)
        return draw(panel, frame, message)

    monkeypatch.setattr(recording._Panel, "_draw", listen)
    list(recording._pictures(clip(32), clip(40), CAPTIONS))
    assert [message for message in messages if message] == ["ended at step 31"]  # and drawn once


def test_small_clips_are_enlarged_and_long_captions_cut() -> None:
    picture = next(recording._pictures(clip(1, 9, 64, 48), clip(1, 9, 64, 48), ("long " * 40, "")))
    assert picture.shape[1] >= 2 * recording.MINIMUM_WIDTH
    assert picture.shape[0] % 2 == picture.shape[1] % 2 == 0
    assert (picture[-7 * 48 :, : 7 * 64] == 9).all()


def test_frames_are_taken_as_they_are_needed() -> None:
    taken = [0, 0]

    def counting(side: int) -> Iterator[np.ndarray]:
        for frame in clip(50):
            taken[side] += 1
            yield frame

    for step, _ in enumerate(recording._pictures(counting(0), counting(1), CAPTIONS)):
        assert taken == [step + 1, step + 1]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([], [10]),
        ([10], []),
        ([], []),
        ([10, 10], [10, 12]),
        ([10, 12], [10]),
        ([10], [12]),
    ],
)
def test_missing_frames_and_other_sizes_are_refused(
    left: list[int], right: list[int], tmp_path: Path
) -> None:
    one, other = (
        (frame for width in widths for frame in clip(1, width=width)) for widths in (left, right)
    )
    with pytest.raises(ValueError, match="clip"):
        write_side_by_side(one, other, CAPTIONS, tmp_path / "a.mp4", 10)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_while_rendering_leaves_the_old_video(
    error: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")

    def fails() -> Iterator[np.ndarray]:
        yield from clip(5)
        raise error

    with pytest.raises(error):
        write_side_by_side(fails(), clip(10), CAPTIONS, path, 10)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.mp4"]


def fake_ffmpeg(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(program))


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'No space left\non device' >&2; exit 1", "No space left on device"),
        ("cat > /dev/null; exit 3", "exit 3"),
        ("cat > /dev/null; kill -9 $$", "exit -9"),
    ],
    ids=["refuses at once", "fails in silence", "killed"],
)
def test_ffmpegs_own_reason_is_given(
    script: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_ffmpeg(script, tmp_path, monkeypatch)
    with pytest.raises(SsmMetaRLError, match=f"a.mp4: ffmpeg could not write .*: {reason}$"):
        write_side_by_side(clip(9), clip(9), CAPTIONS, tmp_path / "videos" / "a.mp4", 10)
    assert os.listdir(tmp_path / "videos") == []


def test_an_error_while_rendering_does_not_wait_for_ffmpeg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_ffmpeg("head -c 9999999 > /dev/null; exec sleep 20", tmp_path, monkeypatch)

    def fails() -> Iterator[np.ndarray]:
        yield from clip(2)
        raise RuntimeError

    start = time.monotonic()
    with pytest.raises(RuntimeError):
        write_side_by_side(fails(), clip(3), CAPTIONS, tmp_path / "a.mp4", 10)
    assert time.monotonic() - start < 15


@pytest.mark.parametrize("module", ["imageio_ffmpeg", "PIL"])
def test_a_missing_package_names_the_extra_before_anything_is_rendered(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    frames = clip(3)
    with pytest.raises(UserError, match=r"pip install 'ssm-metarl\[video\]'"):
        write_side_by_side(frames, clip(3), CAPTIONS, tmp_path / "a.mp4", 10)
    assert len(list(frames)) == 3
