"""A lock that lets one process at a time write to a run.

The lock is the operating system's, on a file of the run that stays empty: it ends with its process,
however that ends.
"""

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


class RunLock:
    """The right to write a run, until it is released or nothing refers to it any more.

    Nothing is held, and nobody refused, where the folder or its file system allow no locks.

    Raises:
        UserError: Somebody holds it, in this process or another.
    """

    def __init__(self, run_dir: Path) -> None:
        self.release: Callable[[], object] = lambda: None
        try:
            descriptor = os.open(run_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return
        self.release = weakref.finalize(self, os.close, descriptor)
        if fcntl is None:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.release()
            if error.errno in TAKEN:
                raise UserError(
                    f"{run_dir} is being trained by another process; wait until that ends, or "
                    "stop it there"
                ) from None

    def __enter__(self) -> None:
        """Hold it for a block."""

    def __exit__(self, *_: object) -> None:
        self.release()
