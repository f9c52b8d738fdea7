"""A worker process: how it is started and spoken to, and what it does.

It is a new interpreter. Nothing is forked, and the main program is not imported again, so that
scripts need no guard and notebooks will do; what builds the environments is sent by cloudpickle.
It ends when the process that started it does, in whatever way.
"""

import contextlib
import mmap
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle
import gymnasium
import numpy as np

from ssm_metarl.env_runner.failures import failure_text
from ssm_metarl.env_runner.lane_records import Records, block_type, records_of
from ssm_metarl.env_runner.lanes import LocalLanes
from ssm_metarl.env_runner.pool import Builder, EnvironmentPool, Values
from ssm_metarl.errors import EnvironmentFailure, SsmMetaRLError, UserError

PATIENCE = 5.0  # seconds for environments to be closed


class CannotBeShared(UserError):
    """Environments that other processes cannot build."""


class Died(str):
    """How a worker ended, to follow "a worker process" in a sentence."""


class Worker:
    """A worker process, and this end of the pipe to it.

    Args:
        setup: What :func:`packed` returns.
        memory: The file that :func:`mapped` maps.
    """

    def __init__(self, setup: bytes, memory: int) -> None:
        self._pipe, theirs = Pipe()
        ends = f"{theirs.fileno()}, {memory}"
        code = f"import sys; sys.path[:] = {sys.path!r}; import {__name__} as w; w.serve({ends})"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), memory),
            start_new_session=True,  # so that Ctrl-C is for the main process alone
            env={"OMP_NUM_THREADS": "1", **os.environ},
        )
        theirs.close()
        self.tell(setup)

    @property
    def process_id(self) -> int:
        """The number that the system knows the process by."""
        return self._process.pid

    def tell(self, message: Any) -> None:  # noqa: ANN401
        """Send a message; that nobody is there shows when there is no answer."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._pipe.send(message)

    def answer(self) -> Any:  # noqa: ANN401
        """Return the answer to a message; :class:`Died` if the process did.

        Raises:
            SsmMetaRLError: One that was raised there.
        """
        try:
            answer = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            return Died(self._end())
        if isinstance(answer, SsmMetaRLError):
            raise answer
        return answer

    def hang_up(self) -> None:
        """Let it close its environments and end."""
        self._pipe.close()

    def wait(self, until: float) -> None:
        """Wait for its end until some time of the monotonic clock, and then kill it."""
        try:
            self._process.wait(max(until - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._pipe.close()
        self._process.kill()
        self._process.wait()

    def _end(self) -> str:
        self._pipe.close()
        code = self._process.wait()
        if code >= 0:
            return f"exited with code {code}"
        names = {each.value: each.name for each in signal.Signals}
        return f"was killed by {names.get(-code, f'signal {-code}')}"


def packed(builder: Builder) -> bytes:
    """Return what a worker needs to build environments.

    Raises:
        CannotBeShared: Part of that cannot be sent.
    """
    try:
        return cloudpickle.dumps((_own_specs(), cloudpickle.dumps(builder)))
    except Exception as error:  # what somebody's objects raise is their own business
        raise CannotBeShared(_not_sent(error)) from error


def shared_memory() -> int:
    """Open a file without a name: in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("ssm-metarl-lanes")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def mapped(memory: int, kind: np.dtype) -> Records:
    """Map the records of lanes, in a block at the beginning of a file."""
    return records_of(np.ndarray((), kind, mmap.mmap(memory, kind.itemsize)))


def _own_specs() -> list[bytes]:
    """Return what was registered with Gymnasium beside its own environments."""
    found = []
    for spec in gymnasium.registry.values():
        if not str(spec.entry_point).startswith("gymnasium."):
            with contextlib.suppress(Exception):  # if it is asked for, the worker will say so
                found.append(cloudpickle.dumps(spec))
    return found


def _not_sent(error: Exception) -> str:
    return f"make cannot be sent to worker processes: {type(error).__name__}: {error}"


def serve(pipe: int, memory: int) -> None:
    """Answer messages, in the worker, until nobody is there to send any."""
    threading.Thread(target=_end_after, args=(os.getppid(),), daemon=True).start()
    # Packages register their environments, which are known already, when they are imported.
    warnings.filterwarnings("ignore", ".*Overriding environment")
    connection, served = Connection(pipe), None
    with contextlib.suppress(EOFError, OSError):
        try:
            served = _Served(memory, *pickle.loads(connection.recv()))
            connection.send(None)
        except Exception as error:
            connection.send(CannotBeShared(_not_sent(error)))
        while served:
            connection.send(served.answer(*connection.recv()))
    if served:
        served.pool.close()
    sys.stdout.flush()
    os._exit(0)  # whatever threads the environments have left


def _end_after(parent: int) -> None:
    """End this process after another one, even in the middle of a step."""
    while os.getppid() == parent:
        time.sleep(1.0)
    time.sleep(PATIENCE)
    os._exit(1)


class _Served:
    """The environments of a worker."""

    def __init__(self, memory: int, specs: Sequence[bytes], builder: bytes) -> None:
        for packed_spec in specs:
            with contextlib.suppress(Exception):  # it needs what is not here: nobody may ask for it
                spec = pickle.loads(packed_spec)
                gymnasium.registry[spec.id] = spec
        self._memory = memory
        self._lanes: LocalLanes | None = None
        self.pool = EnvironmentPool(pickle.loads(builder))

    def answer(self, name: str, *arguments: Any) -> Any:  # noqa: ANN401
        """Do what a message asks for: "build", or a method of the lanes that were built."""
        try:
            if name == "build":
                return self._build(*arguments)
            return getattr(self._lanes, name)(*arguments)
        except SsmMetaRLError as error:
            return error
        except Exception as error:
            return EnvironmentFailure(failure_text(f"{name} in a worker process", error))

    def _build(
        self, lanes: int, first: int, tasks: Sequence[Values], settings: Mapping[str, Any]
    ) -> None:
        """Build some lanes of all, the first of which has the number given."""
        if self._lanes:
            self._lanes.close()
        builder = self.pool.builder
        kind = block_type(builder.observation_space, builder.action_space, lanes)
        mine = mapped(self._memory, kind).part(slice(first, first + len(tasks)))
        self.pool.keep_only(tasks)
        self._lanes = LocalLanes(self.pool, tasks, mine, **settings)
