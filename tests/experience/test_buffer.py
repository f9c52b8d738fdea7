"""What goes into a store comes out of it, and nothing else."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.random import SeedSequence

from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.rollout import Trajectory, collect_episodes, collect_trials
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.errors import StoreError, UserError
from ssm_metarl.experience.buffer import ExperienceStore

MakeStore = Callable[..., ExperienceStore]

LANES = st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=3), min_size=1, max_size=3)


def one_task(trajectory: Trajectory, k: int) -> Trajectory:
    return Trajectory(**{name: value[:, k : k + 1] for name, value in trajectory.tensors().items()})


@pytest.mark.parametrize("autoreset", [False, True])
@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
def test_a_rollout_comes_back_bit_by_bit(
    name: str, autoreset: bool, path: Path, kit: SimpleNamespace
) -> None:
    family = get_family(name)
    policy = Policy(PolicyConfig(), policy_spaces(family))
    bound = policy.bind(policy.init(torch.Generator().manual_seed(0)))
    tasks = family.sample(3, SeedSequence(0))
    environment = family.make_vec(tasks, 2, autoreset=autoreset)
    if autoreset:
        rollout = collect_trials(bound, environment, SeedSequence(1), 2)
    else:
        rollout = collect_episodes(bound, environment, SeedSequence(1))
    with ExperienceStore.create(path, family) as store:
        ids = store.add(rollout, tasks)
    with ExperienceStore.open(path, family) as store:
        assert store.transitions == rollout.environment_steps
        for k, task in enumerate(ids):
            kit.assert_same(store.trajectory(task), one_task(rollout, k))
            assert store.tasks()[k].parameters == tasks.parameters(k)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25
)
@given(first=LANES, second=LANES)
def test_any_mixture_of_episodes_comes_back(
    first: list, second: list, kit: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("mix") / "store.sqlite"
    with ExperienceStore.create(path, kit.cartpole) as store:
        added = [kit.add(store, [lanes], seed=i) for i, lanes in enumerate((first, second))]
        for (task,), trajectory in added:
            kit.assert_same(store.trajectory(task), trajectory)


@pytest.mark.parametrize("never", [False, True])
def test_what_was_solved_is_kept_with_every_step(
    never: bool, make_store: MakeStore, kit: SimpleNamespace
) -> None:
    store, trajectory = make_store(), kit.trajectory([[[4], [9]], [[2, 3], [1]]])
    success = kit.solved(trajectory) & (not never)
    trajectory = dataclasses.replace(trajectory, success=success)
    for k, task in enumerate(store.add(trajectory, kit.tasks(2))):
        kit.assert_same(store.trajectory(task), one_task(trajectory, k))
        assert store.trajectory(task).success is not None
    (untold,), without = kit.add(store, [[[3]]])
    kit.assert_same(store.trajectory(untold), without)


def test_long_trajectories_span_chunks(make_store: MakeStore, kit: SimpleNamespace) -> None:
    store = make_store()
    for lengths in ([[[127], [128]]], [[[129], [60, 300]]], [[[1000]]]):
        (task,), trajectory = kit.add(store, lengths)
        kit.assert_same(store.trajectory(task), trajectory)


def test_summaries_of_the_tasks(make_store: MakeStore, kit: SimpleNamespace) -> None:
    store = make_store()
    tasks = kit.tasks(2)
    trajectory = kit.trajectory([[[4], [2, 3]], [[5], [1]]])
    trajectory.terminated[:, 1] = False  # the second task's episodes go on,
    trajectory.truncated[:, 0, 1] = False  # and so does one of the first
    assert store.add(trajectory, tasks, 3) == [0, 1]
    assert kit.add(store, [[[2]]], 5)[0] == [2]
    first, second, third = store.tasks()
    complete = trajectory.reward[:4, 0, 0].sum() + trajectory.reward[:2, 0, 1].sum()
    assert (first.trajectories, first.transitions, first.label) == (2, 9, 3)
    assert (first.episodes, second.episodes, third.episodes) == (2, 0, 1)  # complete ones
    assert first.mean_return == pytest.approx(complete.item() / 2)
    assert (second.transitions, second.mean_return) == (6, None)
    assert (third.id, third.label) == (2, 5)
    for k, stored in enumerate((first, second)):
        assert stored.parameters == tasks.parameters(k)
        assert stored.identity == tasks.index[k]
        assert stored.behaviour_known
    assert store.trajectories == 5


def test_an_empty_store(make_store: MakeStore) -> None:
    store = make_store()
    assert store.tasks() == []
    assert store.transitions == 0
    with pytest.raises(StoreError, match="holds no task 0"):
        store.trajectory(0)


def test_a_store_of_another_environment_is_refused(
    make_store: MakeStore, path: Path, kit: SimpleNamespace
) -> None:
    make_store().close()
    message = (
        r"holds experience of CartPole-v1 \(4 observations, 2 discrete actions\), "
        r"not of Pendulum-v1 \(3 observations, 1 action dimensions\)"
    )
    with pytest.raises(StoreError, match=message):
        ExperienceStore.open(path, kit.pendulum)


def test_nothing_can_be_added_to_what_is_open_for_reading(
    make_store: MakeStore, path: Path, kit: SimpleNamespace
) -> None:
    kit.add(make_store(), [[[3]]])
    with ExperienceStore.open(path) as reader:
        with pytest.raises(StoreError, match="open for reading only"):
            kit.add(reader, [[[3]]])
        assert reader.transitions == 3


def test_bad_arguments(path: Path, make_store: MakeStore, kit: SimpleNamespace) -> None:
    with pytest.raises(UserError, match="capacity is 0; it must be at least 1"):
        ExperienceStore.create(path, kit.cartpole, capacity=0)
    store = make_store(capacity=10)
    with pytest.raises(StoreError, match="exists"):
        ExperienceStore.create(path, kit.cartpole)
    with pytest.raises(StoreError, match="11 transitions is more than the capacity of 10"):
        kit.add(store, [[[3], [11]]])
    with pytest.raises(StoreError, match="2 tasks do not fit a trajectory of 1"):
        store.add(kit.trajectory([[[3]]]), kit.tasks(2))
    kit.add(store, [[[3]]], 4)
    with pytest.raises(StoreError, match="label 3 is lower than 4"):
        kit.add(store, [[[3]]], 3)
    assert store.transitions == 3


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("reward", torch.nan, "not finite"),
        ("log_prob", -torch.inf, "not finite"),
        ("observation", torch.inf, "not finite"),
        ("action", 2, "not one of the 2"),
        ("action", -1, "not one of the 2"),
        ("episode_start", False, "must start"),
    ],
)
def test_values_that_cannot_be(
    field: str, value: float, message: str, make_store: MakeStore, kit: SimpleNamespace
) -> None:
    store, trajectory = make_store(), kit.trajectory([[[3, 2], [4]]])
    getattr(trajectory, field)[0] = value
    with pytest.raises(StoreError, match=message):
        store.add(trajectory, kit.tasks(1))
    assert store.trajectories == 0


def test_shapes_and_dtypes_that_do_not_fit(make_store: MakeStore, kit: SimpleNamespace) -> None:
    store, trajectory = make_store(), kit.trajectory([[[3, 2], [4]]])
    with pytest.raises(StoreError, match="does not fit a store of 4 observations"):
        store.add(kit.trajectory([[[3]]], kit.pendulum), kit.tasks(1))
    doubles = {
        n: v.double() if v.is_floating_point() else v for n, v in trajectory.tensors().items()
    }
    with pytest.raises(StoreError, match=r"torch.float64 are not stored; valid: torch.float32"):
        store.add(Trajectory(**doubles), kit.tasks(1))


def test_imported_behaviour_is_refused_unless_asked_for(
    make_store: MakeStore, kit: SimpleNamespace
) -> None:
    store = make_store()
    trajectory = kit.trajectory([[[3, 2]]])
    (known,), _ = kit.add(store, [[[5]]])
    (unknown,) = store.add(trajectory, kit.tasks(1), behaviour_known=False)
    assert [task.behaviour_known for task in store.tasks()] == [True, False]
    store.trajectory(known)
    with pytest.raises(StoreError, match="allow_unknown_behaviour=True"):
        store.trajectory(unknown)
    found = store.trajectory(unknown, allow_unknown_behaviour=True)
    assert found.log_prob.isnan().all()
    assert torch.equal(found.reward, trajectory.reward)


def test_lanes_in_which_an_episode_failed_are_left_out(
    make_store: MakeStore, kit: SimpleNamespace
) -> None:
    store, trajectory = make_store(), kit.trajectory([[[5, 4], [7, 3]], [[6, 2], [3, 3]]])
    valid = trajectory.valid.clone()
    valid[:5, 0, 0] = False  # the first episode of one lane
    valid[:, 1] = False  # and all of the other task's
    first, second = store.add(dataclasses.replace(trajectory, valid=valid), kit.tasks(2))
    (held,) = store.tasks()
    assert (held.id, held.trajectories, held.episodes) == (first, 1, 2)
    sound = trajectory.tasks(torch.tensor([0])).lanes(torch.tensor([1]))
    kit.assert_same(store.trajectory(first), sound)
    assert second not in {task.id for task in store.tasks()}
    everything = dataclasses.replace(trajectory, valid=torch.zeros_like(valid))
    assert store.add(everything, kit.tasks(2)) == [second + 1, second + 2]
    (third, _), _ = kit.add(store, [[[4]], [[5]]])
    assert [task.id for task in store.tasks()] == [first, third, third + 1]
