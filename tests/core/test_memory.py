"""What has been freed goes back to the kernel only when that is asked for."""

import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from ssm_metarl.core import memory

PROGRAM = """
from pathlib import Path
import torch
from ssm_metarl.core.memory import give_back, keep_large_blocks

def megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

keep_large_blocks()
blocks = [torch.ones(2**18) for _ in range(100)]
last = torch.ones(2**18)  # above all others, so that none of them is at the end
held = megabytes()
del blocks
kept = megabytes()
give_back()
print(held - kept, kept - megabytes())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_large_blocks_are_kept_until_they_are_given_back() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    at_once, asked = map(float, ran.stdout.split())
    assert at_once < 10
    assert asked > 80
    assert memory._glibc() is not None


def test_malloc_is_asked_for_what_malloc_h_calls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[int, int] = {}
    libc = SimpleNamespace(mallopt=asked.__setitem__, malloc_trim=lambda pad: asked.update(pad=pad))
    monkeypatch.setattr(memory, "_glibc", lambda: libc)
    memory.keep_large_blocks()
    assert asked == {-4: 0, -1: 2**31 - 1, -8: 1}  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_ARENA_MAX
    memory.give_back()
    assert asked.pop("pad") == 0  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("functions", [(), ("mallopt",), ("malloc_trim",)])
def test_without_glibc_nothing_happens(
    functions: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = SimpleNamespace(**dict.fromkeys(functions))
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: other)
    memory.keep_large_blocks()
    memory.give_back()


def test_other_systems_are_not_even_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    monkeypatch.delattr(memory.ctypes, "CDLL")
    memory.keep_large_blocks()
    memory.give_back()
