"""What has been freed goes back to the kernel only when that is asked for."""

import platform
import subprocess
import sys

import pytest

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
