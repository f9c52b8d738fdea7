"""Three laws, each against a slow version of its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssm_metarl.experience.retention import RETENTIONS

RECORDS = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3)), max_size=30)


def slow_fifo(size: list[int], task: list[int], priority: list[int], capacity: int) -> set[int]:
    held = list(range(len(size)))
    while sum(size[i] for i in held) > capacity:
        held.pop(0)
    return set(held)


def slow_reservoir(
    size: list[int], task: list[int], priority: list[int], capacity: int
) -> set[int]:
    held = sorted(range(len(size)), key=priority.__getitem__)
    while sum(size[i] for i in held) > capacity:
        held.pop()
    return set(held)


def slow_balanced(size: list[int], task: list[int], priority: list[int], capacity: int) -> set[int]:
    held = list(range(len(size)))
    while sum(size[i] for i in held) > capacity:
        of = {t: sum(size[i] for i in held if task[i] == t) for t in sorted(set(task))}
        largest = max(of, key=of.__getitem__)  # the first of equals
        held.remove(next(i for i in held if task[i] == largest))
    return set(held)


SLOW = {"fifo": slow_fifo, "reservoir": slow_reservoir, "balanced": slow_balanced}


@pytest.mark.parametrize("name", sorted(RETENTIONS))
@given(records=RECORDS, capacity=st.integers(1, 80), seed=st.integers(0, 9))
def test_a_law_equals_its_definition(
    name: str, records: list[tuple[int, int]], capacity: int, seed: int
) -> None:
    size = [size for size, _ in records]
    task = [task for _, task in records]
    priority = np.random.default_rng(seed).permutation(len(records)).tolist()
    columns = (np.array(column, dtype=np.int64) for column in (size, task, priority))
    kept = RETENTIONS[name](*columns, capacity)
    assert set(kept.nonzero()[0].tolist()) == SLOW[name](size, task, priority, capacity)
