"""Memory allocation: the largest cost of long sequences on a CPU is not arithmetic."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # malloc.h
NEVER_TRIM = 2**31 - 1


def keep_large_blocks() -> None:
    """Tell glibc to reuse large blocks instead of returning them to the kernel.

    Every tensor of more than 128 KiB is otherwise mapped afresh and its pages are faulted in one
    by one. Threads that have not allocated yet share the heap of the program from now on: those of
    their own, of 64 MiB, are unmapped as soon as they are empty, whatever else is asked. Elsewhere
    than on Linux with glibc this does nothing.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, NEVER_TRIM)
        libc.mallopt(M_ARENA_MAX, 1)


def give_back() -> None:
    """Return to the kernel what has been freed, which :func:`keep_large_blocks` keeps.

    For programs that live on when their training has ended. It takes some milliseconds, and
    what is allocated next has to be faulted in again. Elsewhere this does nothing, likewise.
    """
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
