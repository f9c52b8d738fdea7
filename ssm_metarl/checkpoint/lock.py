"""A lock that lets one at a time write to a run.

The lock is the operating system's, on a file of the run that stays empty: it ends with its process,
however that ends.
"""

import contextlib
import errno
import os
import weakref
from collections.abc import Callable
from pathlib import Path

from ssm_metarl.errors import UserError

try:
    import fcntl
except ImportError:  # Windows, where runs are not locked
    fcntl = None

LOCK = ".lock"
TAKEN = (errno.EAGAIN, errno.EACCES)  # other errors: this file system has no locks


_HELD: dict[str, object] = {}  # by this process, also where there are no locks


class RunLock:
    """The right to write a run, until it is released or nothing refers to it any more.

    Other processes are not kept out where the folder or its file system allow no locks.

    Raises:
        UserError: Somebody holds it, in this process or another.
    """

    def __init__(self, run_dir: Path) -> None:
        place, token = os.path.realpath(run_dir), object()
        if _HELD.setdefault(place, token) is not token:
            raise _taken(run_dir)
        held = contextlib.ExitStack()
        held.callback(_HELD.pop, place)
        self.release: Callable[[], object] = weakref.finalize(self, held.close)
        try:
            descriptor = os.open(run_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return
        held.callback(os.close, descriptor)
        if fcntl is None:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in TAKEN:
                self.release()
                raise _taken(run_dir) from None

    def __enter__(self) -> None:
        """Hold it for a block."""

    def __exit__(self, *_: object) -> None:
        self.release()


def _taken(run_dir: Path) -> UserError:
    return UserError(
        f"{run_dir} is being trained or changed elsewhere; wait until that ends, or stop it there"
    )
