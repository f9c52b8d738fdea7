"""Several processes that train one agent, as torchrun starts them: who does which part.

All have the same parameters, play, prepare and differentiate for a part of the tasks each, and
exchange what they played and the sums of their gradients. In a process by itself everything here
does nothing.

``DistributedDataParallel`` is of no use: it averages gradients of its own forward pass only, and
not those that ``torch.autograd.grad`` or functional parameters lead to.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor

from ssm_metarl.errors import SsmMetaRLError, UserError

Part = TypeVar("Part")
MEETING = "SSM_METARL_MEETING_SECONDS"
"""The environment variable that says how long processes wait for each other at the start."""
MEETING_SECONDS = 120
PATIENCE = timedelta(hours=1)  # with an iteration that takes longer elsewhere

_group: list[dist.ProcessGroup] = []


def world_size() -> int:
    """Return how many processes torchrun has started.

    Raises:
        UserError: Its variable is not a number, or torchrun did not set it.
    """
    count = _whole_number("WORLD_SIZE", 1)
    if count > 1 and "MASTER_ADDR" not in os.environ:
        raise UserError(
            f"WORLD_SIZE is {count}, but MASTER_ADDR is not set; valid: to start the processes "
            "with torchrun, which sets both (docs/scaling.md), or to set neither"
        )
    return count


def _whole_number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default)).strip()
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"{name} is {text!r}; valid: a whole number from 1 on")
    return int(text)


def join(device: str) -> None:
    """Meet the other processes, if torchrun has started any.

    Args:
        device: ``cpu`` or ``cuda``; then each process takes the GPU of its number on the machine.

    Raises:
        UserError: They do not come.
    """
    count, seconds = world_size(), _whole_number(MEETING, MEETING_SECONDS)
    if count == 1 or _group:
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    try:
        backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(seconds=seconds))
        dist.barrier()
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{count} processes were to meet at {os.environ['MASTER_ADDR']}:"
            f"{os.environ.get('MASTER_PORT')} within {seconds} s, which failed: {reason}"
        ) from error
    _group.append(dist.new_group(timeout=PATIENCE))  # pyright: ignore[reportArgumentType]


def leave() -> None:
    """Part from the other processes."""
    if _group:
        _group.clear()
        dist.destroy_process_group()


def size() -> int:
    """Return how many processes work together."""
    return dist.get_world_size() if _group else 1


def rank() -> int:
    """Return the number of this process; 0 is the one that writes."""
    return dist.get_rank() if _group else 0


def my_part(count: int) -> slice:
    """Return which of some tasks are this process's, neighbours together."""
    return slice(count * rank() // size(), count * (rank() + 1) // size())


def gathered(part: Part) -> list[Part]:
    """Return what each process has, in the order of their numbers; all must ask."""
    if not _group:
        return [part]
    parts: list[Part] = [part] * size()
    with _reaching_all():
        dist.all_gather_object(parts, part, group=_group[0])
    return parts


def of_all(mine: Shaped[Tensor, "mine *rest"]) -> Shaped[Tensor, "all *rest"]:
    """Return what all processes have, one after the other; all must ask."""
    return torch.cat([part.to(mine.device) for part in gathered(mine.cpu())])


def sum_gradients(tensors: Iterable[Tensor], loss: float) -> float:
    """Make every gradient the sum of those of all processes, and return the sum of their losses.

    A tensor without a gradient anywhere is left without one.
    """
    if not _group:
        return loss
    tensors = list(tensors)
    # One dense message: gloo reduces views with gaps wrongly.
    grads = [torch.zeros_like(one) if one.grad is None else one.grad for one in tensors]
    head = torch.tensor([loss, *(float(one.grad is not None) for one in tensors)])
    message = torch.cat([head.to(grads[0]), *(grad.flatten() for grad in grads)])
    with _reaching_all():
        dist.all_reduce(message, group=_group[0])
    total, there, sums = message[0], message[1 : len(head)].tolist(), message[len(head) :]
    sizes = [grad.numel() for grad in grads]
    for one, has_one, values in zip(tensors, there, sums.split(sizes), strict=True):
        one.grad = values.view_as(one).clone() if has_one else None
    return total.item()


@contextlib.contextmanager
def _reaching_all() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise SsmMetaRLError(f"another process has ended or is out of reach: {reason}") from error
