"""What a full store lets go of: three laws, as pure functions of what it holds.

Sizes are in transitions (valid steps), records in the order in which they were added.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Int64

KEEP_ALL = 2**63 - 1  # above every priority

Retention = Callable[
    [Int64[np.ndarray, "N"], Int64[np.ndarray, "N"], Int64[np.ndarray, "N"], int],
    Bool[np.ndarray, "N"],
]


def fifo(
    size: Int64[np.ndarray, "N"],
    task: Int64[np.ndarray, "N"],
    priority: Int64[np.ndarray, "N"],
    capacity: int,
) -> Bool[np.ndarray, "N"]:
    """Keep the newest records that fit."""
    return size[::-1].cumsum()[::-1] <= capacity


def reservoir(
    size: Int64[np.ndarray, "N"],
    task: Int64[np.ndarray, "N"],
    priority: Int64[np.ndarray, "N"],
    capacity: int,
) -> Bool[np.ndarray, "N"]:
    """Keep the records of the lowest priorities that fit.

    With priorities drawn at random, this is a shuffle of all records of which the first ones that
    fit stay, so all are equally likely to; if their sizes differ, all but the one at the edge.
    Only what lies below everything ever dropped may be given: then it makes no difference when the
    others were dropped, and late records have no advantage over early ones (priority sampling, as
    in Efraimidis and Spirakis 2006, with equal weights).
    """
    kept = np.ones(len(size), dtype=bool)
    if size.sum() <= capacity:
        return kept
    order = priority.argsort()
    kept[order] = size[order].cumsum() <= capacity
    return kept


def balanced(
    size: Int64[np.ndarray, "N"],
    task: Int64[np.ndarray, "N"],
    priority: Int64[np.ndarray, "N"],
    capacity: int,
) -> Bool[np.ndarray, "N"]:
    """Drop the oldest record of the task with the most transitions, until the rest fits.

    Of tasks with equally many, the oldest loses first.
    """
    kept = np.ones(len(size), dtype=bool)
    excess = int(size.sum()) - capacity
    if excess <= 0:
        return kept
    tasks, which = np.unique(task, return_inverse=True)
    held = np.bincount(which, size, len(tasks)).astype(np.int64)
    by_task = which.argsort(kind="stable")
    oldest = np.searchsorted(which[by_task], np.arange(len(tasks)))
    while excess > 0:
        loser = held.argmax()
        record = by_task[oldest[loser]]
        kept[record] = False
        oldest[loser] += 1
        held[loser] -= size[record]
        excess -= int(size[record])
    return kept


RETENTIONS: dict[str, Retention] = {"fifo": fifo, "reservoir": reservoir, "balanced": balanced}
