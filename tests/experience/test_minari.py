"""To Minari and back; nothing here touches the network."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch

pytest.importorskip("h5py", reason="Minari needs Python 3.11")
minari = pytest.importorskip("minari")

from ssm_metarl.env_runner.registry import get_family  # noqa: E402
from ssm_metarl.errors import StoreError, UserError  # noqa: E402
from ssm_metarl.experience.buffer import ExperienceStore  # noqa: E402
from ssm_metarl.experience.minari import export_minari, import_minari  # noqa: E402

ID = "test/experience-v0"


@pytest.fixture(autouse=True)
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


@pytest.fixture
def stores(tmp_path: Path, kit: SimpleNamespace) -> Iterator[dict[str, list[ExperienceStore]]]:
    """Two empty stores for each of two families."""
    families = {"cartpole": kit.cartpole, "pendulum": kit.pendulum}
    stores = {
        name: [ExperienceStore.create(tmp_path / f"{name}{i}", family) for i in range(2)]
        for name, family in families.items()
    }
    yield stores
    for pair in stores.values():
        for store in pair:
            store.close()


@pytest.mark.parametrize(("name", "solves"), [("cartpole", True), ("pendulum", False)])
def test_there_and_back_again(name: str, solves: bool, stores: dict, kit: SimpleNamespace) -> None:
    family, (store, other) = getattr(kit, name), stores[name]
    lengths = [[[4], [9]], [[1], [3]]]
    trajectory = kit.trajectory(lengths, family)
    trajectory.terminated[8, 0, 1] = False  # an episode that the rollout has cut
    solved = kit.solved(trajectory) if solves else None
    tasks = kit.tasks(2, family)
    store.add(dataclasses.replace(trajectory, success=solved), tasks)
    assert export_minari(store, ID, family) == 4
    assert import_minari(other, ID, family) == [0, 1]
    for one, two in zip(store.tasks(), other.tasks(), strict=True):
        assert one.parameters == two.parameters
        assert two.behaviour_known
        kit.assert_same(other.trajectory(two.id), store.trajectory(one.id))
        assert (other.trajectory(two.id).success is not None) == solves


def test_what_minari_sees(stores: dict, kit: SimpleNamespace) -> None:
    store = stores["pendulum"][0]
    trajectory = kit.trajectory([[[4, 2]]], kit.pendulum)
    store.add(trajectory, kit.tasks(1, kit.pendulum))
    export_minari(store, ID, kit.pendulum)
    dataset = minari.load_dataset(ID)
    assert dataset.action_space == kit.pendulum.action_space
    assert dataset.observation_space == kit.pendulum.observation_space
    first, second = dataset
    assert (len(first), len(second)) == (4, 2)
    torque = trajectory.action[:4, 0, 0].clamp(-1, 1) * 2  # in Nm
    np.testing.assert_allclose(first.actions, torque.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(first.observations, trajectory.observation[:5, 0, 0].numpy())
    np.testing.assert_array_equal(second.observations, trajectory.observation[5:8, 0, 0].numpy())
    np.testing.assert_array_equal(second.rewards, trajectory.reward[5:7, 0, 0].numpy())
    assert first.terminations.tolist() == [False, False, False, True]
    assert second.truncations.tolist() == [False, True]
    np.testing.assert_array_equal(first.infos["log_prob"][1:], trajectory.log_prob[:4, 0, 0])


def foreign(space: gymnasium.Space, actions: list, kit: SimpleNamespace, **fields: object) -> None:
    """Create a data set as another program would: no infos, no options, float64."""
    size = len(actions)
    family = kit.cartpole if space.shape == () else kit.pendulum
    observations = np.random.default_rng(0).random((size + 1, *family.observation_space.shape))
    episode = {
        "observations": observations,
        "actions": np.array(actions),
        "rewards": np.arange(size, dtype=float),
        "terminations": np.arange(size) == size - 1,
        "truncations": np.zeros(size, dtype=bool),
        **fields,
    }
    buffer = minari.data_collector.episode_buffer.EpisodeBuffer
    with pytest.warns(UserWarning):  # noqa: PT030  (that it does not say who made it)
        minari.create_dataset_from_buffers(
            ID,
            [buffer(**episode), buffer(**episode)],
            observation_space=family.observation_space,
            action_space=space,
        )


def test_a_foreign_data_set_has_no_known_behaviour(stores: dict, kit: SimpleNamespace) -> None:
    foreign(kit.pendulum.action_space, [[2.0], [-1.0], [0.0]], kit)
    store, task = stores["pendulum"][0], kit.tasks(1, kit.pendulum)
    assert import_minari(store, ID, kit.pendulum, task) == [0]
    (stored,) = store.tasks()
    assert stored.parameters == task.parameters(0)
    assert (stored.trajectories, stored.mean_return, stored.behaviour_known) == (2, 3.0, False)
    with pytest.raises(StoreError, match="log-probabilities of some of the actions are not"):
        store.trajectory(0)
    found = store.trajectory(0, allow_unknown_behaviour=True)
    assert found.log_prob.isnan().all()
    assert torch.equal(found.action[:, 0, 0, 0], torch.tensor([1.0, -0.5, 0.0]))


@pytest.mark.parametrize(
    ("key", "said", "expected"),
    [
        ("success", [0.0, 0.0, 1.0, 0.0], [False, True, False]),
        ("is_success", [[False], [False], [False], [True]], [False, False, True]),
        ("there", [False, True, True, False], [True, True, False]),
        ("elsewhere", [True] * 4, None),
    ],
)
def test_what_foreign_data_say_of_success(
    key: str, said: list, expected: list | None, tmp_path: Path, kit: SimpleNamespace
) -> None:
    family = dataclasses.replace(kit.pendulum, success_key="there")
    foreign(family.action_space, [[2.0], [-1.0], [0.0]], kit, infos={key: np.array(said)})
    with ExperienceStore.create(tmp_path / "store", family) as store:
        import_minari(store, ID, family)
        found = store.trajectory(0, allow_unknown_behaviour=True).success
    assert (None if found is None else found[:, 0, 0].tolist()) == expected


def test_a_nominal_task_is_assumed(stores: dict, kit: SimpleNamespace) -> None:
    foreign(kit.cartpole.action_space, [0, 1, 1], kit)
    store = stores["cartpole"][0]
    import_minari(store, ID, kit.cartpole)
    assert store.tasks()[0].parameters == kit.cartpole.nominal().parameters(0)
    found = store.trajectory(0, allow_unknown_behaviour=True)
    assert found.action[:, 0, 1].tolist() == [0, 1, 1]


def test_data_sets_that_do_not_fit(stores: dict, kit: SimpleNamespace) -> None:
    foreign(kit.cartpole.action_space, [0, 1, 1], kit, truncations=np.array([True, False, False]))
    with pytest.raises(UserError, match="goes on after its end"):
        import_minari(stores["cartpole"][0], ID, kit.cartpole)
    with pytest.raises(UserError, match="no such Minari data set"):
        import_minari(stores["cartpole"][0], "test/missing-v0", kit.cartpole)
    with pytest.raises(UserError, match="is no Minari id"):
        import_minari(stores["cartpole"][0], "../missing-v0", kit.cartpole)


def test_an_observation_that_is_missing(stores: dict, kit: SimpleNamespace) -> None:
    foreign(kit.cartpole.action_space, [0, 1, 1], kit, observations=np.zeros((3, 4)))
    with pytest.raises(
        UserError, match="episode 0 cannot be imported: it has 3 observations for 3"
    ):
        import_minari(stores["cartpole"][0], ID, kit.cartpole)


def test_another_environment_is_refused(stores: dict, kit: SimpleNamespace) -> None:
    foreign(kit.cartpole.action_space, [0, 1, 1], kit)
    with pytest.raises(UserError, match="its actions have the shape"):
        import_minari(stores["pendulum"][0], ID, kit.pendulum)
    assert stores["pendulum"][0].trajectories == 0


OBSERVED = {
    "number": gymnasium.spaces.Discrete(4, start=1),
    "pair": gymnasium.spaces.Tuple(
        [gymnasium.spaces.Box(0, 1, (2,)), gymnasium.spaces.Discrete(3)]
    ),
    "grid": gymnasium.spaces.Box(0, 1, (2, 2)),
    # unsorted: Minari sorts the keys
    "parts": gymnasium.spaces.Dict(
        [("b", gymnasium.spaces.Box(0, 1)), ("a", gymnasium.spaces.Box(2, 3))]
    ),
}


@pytest.mark.parametrize("name", OBSERVED)
@pytest.mark.filterwarnings("ignore")
def test_observations_come_back_as_an_agent_sees_them(name: str, tmp_path: Path) -> None:
    space = OBSERVED[name]

    class Shows(gymnasium.Env):
        observation_space, action_space = space, gymnasium.spaces.Discrete(2, start=1)

        def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
            return space.sample(), {}

        def step(self, action: int) -> tuple:
            return space.sample(), 1.0, False, False, {}

    gymnasium.register(f"Shows{name}-v0", lambda **_: Shows(), max_episode_steps=3)
    seen = [space.sample() for _ in range(4)]
    out = gymnasium.vector.utils.create_empty_array(space, 4)
    episode = minari.data_collector.episode_buffer.EpisodeBuffer(
        observations=gymnasium.vector.utils.concatenate(space, seen, out),
        actions=np.array([1, 2, 2]),
        rewards=np.ones(3),
        terminations=np.array([False, False, True]),
        truncations=np.zeros(3, bool),
    )
    minari.create_dataset_from_buffers(
        ID, [episode], observation_space=space, action_space=Shows.action_space
    )
    family = get_family(f"Shows{name}-v0")
    flat = [gymnasium.spaces.flatten(space, one) for one in seen]
    with ExperienceStore.create(tmp_path / "store", family) as store:
        import_minari(store, ID, family)
        found = store.trajectory(0, allow_unknown_behaviour=True)
    assert found.observation[:, 0, 0].tolist() == np.array(flat, np.float32).tolist()
    assert found.action[:, 0, 0].tolist() == [0, 1, 1]


@pytest.mark.parametrize("name", ["a/x-v0", "-/x-v0"])
def test_a_namespace_of_one_letter_is_no_id(stores: dict, kit: SimpleNamespace, name: str) -> None:
    with pytest.raises(UserError, match="is no Minari id"):
        export_minari(stores["cartpole"][0], name, kit.cartpole)


@pytest.mark.parametrize("parameters", ["[1]", "x", '{"gravity": "x"}', '{"colour": 1}', "1"])
def test_a_task_that_is_none_is_refused(
    parameters: str, stores: dict, kit: SimpleNamespace
) -> None:
    options = {"task": 0, "parameters": parameters}
    foreign(kit.cartpole.action_space, [0, 1, 1], kit, options=options)
    with pytest.raises(UserError, match="says a task that is none"):
        import_minari(stores["cartpole"][0], ID, kit.cartpole)


def test_a_store_of_another_family_is_not_exported(
    stores: dict, kit: SimpleNamespace, datasets: Path
) -> None:
    kit.add(stores["cartpole"][0], [[[4]]])
    with pytest.raises(StoreError, match="holds experience of CartPole-v1"):
        export_minari(stores["cartpole"][0], ID, kit.pendulum)
    assert not (datasets / ID).exists()


def test_a_failed_export_leaves_nothing_behind(
    stores: dict, kit: SimpleNamespace, datasets: Path
) -> None:
    store = stores["cartpole"][0]
    kit.add(store, [[[4]]])
    kit.add(store, [[[4]]])
    store._database.execute("UPDATE chunks SET crc = 0 WHERE key = 1 << 20")
    with (
        pytest.warns(UserWarning, match="damaged"),
        pytest.raises(StoreError, match="holds no task 1"),
    ):
        export_minari(store, ID, kit.cartpole)
    assert not (datasets / ID).exists()
    assert export_minari(store, ID, kit.cartpole) == 1
    with pytest.raises(UserError, match="already exists"):
        export_minari(store, ID, kit.cartpole)
