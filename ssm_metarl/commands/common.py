"""What several commands do alike."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from ssm_metarl.errors import SsmMetaRLError, UserError

if TYPE_CHECKING:  # it imports torch
    from ssm_metarl.env_runner.family import TaskFamily


def use_one_thread() -> None:
    """Leave the other cores alone, unless the user has said how many threads there should be.

    The tensors are small: threads that wait for each other at every operation gain little on an
    idle machine, and on a busy one were seen to take a hundred times as long.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def refuse_unused(names: Sequence[str], mode: str) -> None:
    """Refuse flags that the mode would ignore.

    Raises:
        UserError: There are some.
    """
    if names:
        flags, them = ", ".join(f"--{name}" for name in names), "them" if names[1:] else "it"
        raise UserError(f"--mode {mode} has no use for {flags}; leave {them} out")


@contextlib.contextmanager
def naming_flag(name: str) -> Iterator[None]:
    """Say which flag a mistake is about, of what knows nothing of flags."""
    try:
        yield
    except UserError as error:
        raise UserError(f"--{name}: {error}") from error


def attempt(what: str, make: Callable[[], object]) -> None:
    """Make something beside the results; if that fails, say why: the results stay."""
    try:
        made(what, make())
    except SsmMetaRLError as error:
        made(what, f"skipped: {error}")


def made(what: str, where: object) -> None:
    """Say where something is."""
    print(f"  {what:<15} {where}")


def best_return(family: "TaskFamily") -> float | None:
    """Return the best possible return, where it is known: CartPole gives 1 per step."""
    return float(family.max_episode_steps) if family.env_id == "CartPole-v1" else None
