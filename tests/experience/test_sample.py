"""Sequences: equal to a slow reference, and each valid step equally likely."""

import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from ssm_metarl.errors import StoreError
from ssm_metarl.experience.buffer import ExperienceStore
from ssm_metarl.experience.layout import VALID
from ssm_metarl.experience.records import Record, checksum_of
from ssm_metarl.experience.sequences import Sequences

MakeStore = Callable[..., ExperienceStore]

LENGTHS = [[[9], [2, 3, 1]], [[1], [14]], [[150], [200, 90]]]


def slow_sample(
    store: ExperienceStore, count: int, length: int, rng: np.random.Generator
) -> list[dict[str, np.ndarray]]:
    """Do what `sample` says it does, one step at a time, on whole trajectories."""
    trajectories = []
    for task in store.tasks():
        whole = store.trajectory(task.id)
        for lane in range(whole.reward.shape[2]):
            fields = {name: value[:, 0, lane].numpy() for name, value in vars(whole).items()}
            steps = int(fields["valid"].nonzero()[0].max()) + 1
            trajectories.append((task, steps, fields))
    sequences = []
    while len(sequences) < count:
        missing = count - len(sequences)
        drawn = rng.integers(sum(steps for _, steps, _ in trajectories), size=missing)
        places = rng.integers(length, size=missing)
        for step, place in zip(drawn.tolist(), places.tolist(), strict=True):
            which = 0
            while step >= trajectories[which][1]:
                step -= trajectories[which][1]
                which += 1
            task, steps, fields = trajectories[which]
            if not fields["valid"][step]:
                continue
            first = max(min(step - place, steps - length), 0)
            n = min(length, steps - first)
            sequence = {"task": task.id, "label": task.label}
            for name, values in fields.items():
                rows = n + 1 if name in ("observation", "episode_start") else n
                rows_of_all = length + 1 if name in ("observation", "episode_start") else length
                sequence[name] = np.zeros((rows_of_all, *values.shape[1:]), values.dtype)
                sequence[name][:rows] = values[first : first + rows]
            if first + n == steps and n < length + 1:
                sequence["episode_start"][n] = False
            sequence["trial_start"] = np.arange(length + 1) + first == 0
            sequences.append(sequence)
    return sequences


@pytest.mark.parametrize("length", [1, 5, 40, 200, 300])
def test_sequences_equal_a_slow_reference(
    length: int, make_store: MakeStore, kit: SimpleNamespace
) -> None:
    store = make_store()
    for i, lengths in enumerate(LENGTHS):
        kit.add(store, [lengths], label=i, seed=i)
    batch = store.sample(50, length, np.random.default_rng(length))
    slow = slow_sample(store, 50, length, np.random.default_rng(length))
    for i, sequence in enumerate(slow):
        for name, expected in sequence.items():
            values = getattr(batch, name)
            found = (values[i] if values.ndim == 1 else values[:, i]).numpy()
            np.testing.assert_array_equal(found, expected, err_msg=name)


def test_continuous_actions(path: Path, kit: SimpleNamespace) -> None:
    with ExperienceStore.create(path, kit.pendulum) as store:
        trajectory = kit.trajectory([[[7]]], kit.pendulum)
        store.add(trajectory, kit.tasks(1, kit.pendulum))
        batch = store.sample(3, 7, np.random.default_rng(0))
    for lane in range(3):
        assert torch.equal(batch.action[:, lane], trajectory.action[:, 0, 0])
        assert torch.equal(batch.observation[:, lane], trajectory.observation[:, 0, 0])


def test_every_valid_step_is_equally_likely(make_store: MakeStore, kit: SimpleNamespace) -> None:
    store = make_store()
    (_, _), trajectory = kit.add(store, [[[5, 2, 1], [3]], [[1, 1, 1, 1], [7]]])
    batch = store.sample(5_000, 1, np.random.default_rng(0))
    assert batch.valid.all()
    rewards, counts = batch.reward.unique(return_counts=True)
    assert set(rewards.tolist()) == set(trajectory.reward[trajectory.valid].tolist())
    assert stats.chisquare(counts.numpy()).pvalue > 0.01


def test_windows_hold_the_drawn_step_anywhere(make_store: MakeStore, kit: SimpleNamespace) -> None:
    """In a long trajectory, all windows are about equally likely, but for its two ends."""
    store = make_store()
    _, trajectory = kit.add(store, [[[60]]])
    batch = store.sample(5_000, 10, np.random.default_rng(0))
    assert batch.valid.all()
    first = {reward: i for i, reward in enumerate(trajectory.reward[:, 0, 0].tolist())}
    starts = np.bincount([first[reward] for reward in batch.reward[0].tolist()], minlength=51)
    expected = np.full(51, 1 / 60)
    expected[[0, -1]] = sum(range(1, 11)) / 10 / 60  # of these, all that would reach beyond
    assert stats.chisquare(starts, expected * 5_000).pvalue > 0.01


def test_a_rejected_step_is_drawn_again_from_the_same_stream(
    make_store: MakeStore, kit: SimpleNamespace
) -> None:
    store = make_store()
    kit.add(store, [[[1, 1, 1, 1, 1, 1]]])
    one, two = (store.sample(64, 3, np.random.default_rng(1)) for _ in range(2))
    assert isinstance(one, Sequences)
    for name, value in vars(one).items():
        assert torch.equal(value, getattr(two, name))


def test_steps_that_are_all_dead_are_no_endless_search(
    make_store: MakeStore, kit: SimpleNamespace
) -> None:
    store = make_store()
    kit.add(store, [[[3]]])
    database = store._database
    ((content,),) = database.execute("SELECT content FROM chunks").fetchall()
    rows = np.frombuffer(content, "<i4").reshape(-1, store.identity.layout.row_words).copy()
    rows[:, -1] &= ~VALID
    about = checksum_of(Record(*store._index.held()[0].item()))
    database.execute(
        "UPDATE chunks SET content = ?, crc = ?", (rows.tobytes(), zlib.crc32(rows, about))
    )
    with pytest.raises(StoreError, match="have no valid steps"):
        store.sample(2, 2, np.random.default_rng(0))
