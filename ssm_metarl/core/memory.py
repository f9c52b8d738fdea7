"""Memory allocation: the largest cost of long sequences on a CPU is not arithmetic."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h
NEVER_TRIM = 2**31 - 1


def keep_large_blocks() -> None:
    """Tell glibc to reuse large blocks instead of returning them to the kernel.

    Every tensor of more than 128 KiB is otherwise mapped afresh and its pages are faulted in one
    by one. Elsewhere than on Linux with glibc this does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, NEVER_TRIM)
