"""Capacity, and going back to a tag as if nothing had happened."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ssm_metarl.errors import StoreError
from ssm_metarl.experience.buffer import ExperienceStore

MakeStore = Callable[..., ExperienceStore]

ADDITIONS = st.lists(st.lists(st.integers(1, 9), min_size=2, max_size=2), min_size=1, max_size=12)


def contents(store: ExperienceStore) -> dict[int, list]:
    """Everything that can be asked of a store."""
    return {
        task.id: [task, *(v.tolist() for v in store.trajectory(task.id).tensors().values())]
        for task in store.tasks()
    }


def rows_in_file(store: ExperienceStore) -> list[int]:
    tables = ("tasks", "records", "chunks")
    query = "SELECT count(*) FROM {}"
    return [store._database.execute(query.format(table)).fetchone()[0] for table in tables]


def test_the_newest_are_kept(make_store: MakeStore, kit: SimpleNamespace) -> None:
    store = make_store(capacity=10)
    for steps in (4, 3, 5, 2):
        kit.add(store, [[[steps]]])
    assert [task.transitions for task in store.tasks()] == [3, 5, 2]
    assert [task.id for task in store.tasks()] == [1, 2, 3]
    assert rows_in_file(store) == [3, 3, 3]


def test_an_addition_larger_than_the_capacity_leaves_what_fits(
    make_store: MakeStore, kit: SimpleNamespace
) -> None:
    store = make_store(capacity=10)
    ids, _ = kit.add(store, [[[4]], [[4]], [[4]], [[4]]])
    assert ids == [0, 1, 2, 3]
    assert store.transitions == 8
    assert rows_in_file(store) == [2, 2, 2]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15
)
@given(
    additions=ADDITIONS,
    tagged=st.integers(0, 11),
    older=st.booleans(),
)
def test_going_back_to_a_tag_is_as_if_nothing_had_happened(
    additions: list[list[int]],
    tagged: int,
    older: bool,
    tmp_path_factory: pytest.TempPathFactory,
    kit: SimpleNamespace,
) -> None:
    """A store that is cut back and one that never was hold the same, now and later."""
    folder, tagged = tmp_path_factory.mktemp("tags"), min(tagged, len(additions))
    options = {"capacity": 20}
    with (
        ExperienceStore.create(folder / "cut", kit.cartpole, **options) as cut,
        ExperienceStore.create(folder / "straight", kit.cartpole, **options) as straight,
    ):

        def add(store: ExperienceStore, i: int) -> None:
            kit.add(store, [[[steps] for steps in additions[i]]], label=i + 1, seed=i)

        for i in range(tagged):
            add(cut, i)
            add(straight, i)
        cut.tag(tagged)
        for i in range(tagged, len(additions)):
            add(cut, i)
        if older:
            cut.tag(len(additions) + 1)
        cut.truncate_after(tagged)
        assert contents(cut) == contents(straight)
        for i in range(tagged, len(additions)):
            add(cut, i)
            add(straight, i)
            assert contents(cut) == contents(straight)
            assert cut.transitions <= 20


def test_the_tag_before_the_last_can_be_gone_back_to(
    make_store: MakeStore, kit: SimpleNamespace
) -> None:
    """A kill may come after a tag and before the checkpoint that it was for."""
    store = make_store(capacity=10)
    kit.add(store, [[[4], [5]]], 1)
    store.tag(1)
    before = contents(store)
    kit.add(store, [[[6]]], 2)
    store.tag(2)
    store.tag(2)  # as a resumed run does
    kit.add(store, [[[10]]], 3)
    store.truncate_after(1)
    assert contents(store) == before


def test_what_no_tag_can_ask_for_leaves_the_file(
    make_store: MakeStore, kit: SimpleNamespace
) -> None:
    store = make_store(capacity=10)
    sizes = []
    for label in range(1, 12):
        kit.add(store, [[[5]]], label)
        if label % 3 == 0:
            store.tag(label)
        sizes.append(rows_in_file(store)[1])
    assert max(sizes) == 6  # two for each tag, and two that are held
    store.tag(12)
    store.tag(13)
    assert rows_in_file(store) == [2, 2, 2]


def test_going_back_to_what_is_not_tagged_drops_what_is_newer(
    make_store: MakeStore, kit: SimpleNamespace
) -> None:
    store = make_store(capacity=10)
    for label in range(1, 5):
        kit.add(store, [[[4]]], label)
    store.truncate_after(3)
    assert [task.label for task in store.tasks()] == [3]  # number 2 had made room for number 4
    assert kit.add(store, [[[4]]], 4)[0] == [4]


def test_labels_after_a_tag(make_store: MakeStore, kit: SimpleNamespace) -> None:
    store = make_store()
    kit.add(store, [[[4]]])
    store.tag(0)
    kit.add(store, [[[4]]])
    assert [task.label for task in store.tasks()] == [0, 1]
    with pytest.raises(StoreError, match="label 0 is lower than 1"):
        store.tag(0)
    with pytest.raises(StoreError, match="label 0 is lower than 1"):
        kit.add(store, [[[4]]], 0)
    store.truncate_after(0)
    assert [task.label for task in store.tasks()] == [0]


def test_closing_and_opening_makes_no_difference(path: Path, kit: SimpleNamespace) -> None:
    other = path.with_name("other")
    options = {"capacity": 20}
    ExperienceStore.create(path, kit.cartpole, **options).close()
    with ExperienceStore.create(other, kit.cartpole, **options) as straight:
        for label in range(8):
            kit.add(straight, [[[5], [4]]], label, seed=label)
            with ExperienceStore.open(path, kit.cartpole, writable=True) as store:
                kit.add(store, [[[5], [4]]], label, seed=label)
                assert contents(store) == contents(straight)


def test_two_objects_see_what_the_other_has_written(
    make_store: MakeStore, path: Path, kit: SimpleNamespace
) -> None:
    one = make_store()
    with ExperienceStore.open(path, writable=True) as two:
        for i, store in enumerate((one, two, two, one)):
            assert kit.add(store, [[[4]]])[0] == [i]
            assert contents(one) == contents(two)
