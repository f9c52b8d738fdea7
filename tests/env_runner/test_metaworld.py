"""Meta-World's benchmarks as families; what needs the library is skipped where it is missing."""

import importlib.metadata
import pickle
import sys
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from numpy.random import SeedSequence

import ssm_metarl as sm
from ssm_metarl.env_runner import metaworld
from ssm_metarl.env_runner.registry import get_family, is_known

NAME = "ML1-reach-v3"


@pytest.fixture
def library() -> Any:  # noqa: ANN401
    return pytest.importorskip("metaworld")


def goals(tasks: list[Any]) -> set[bytes]:
    """The places of object and goal of Meta-World's tasks."""
    return {pickle.loads(task.data)["rand_vec"].tobytes() for task in tasks}


def test_without_the_library_an_error_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "metaworld", None)
    metaworld.load_metaworld.cache_clear()
    metaworld.metaworld_family.cache_clear()
    for name in (NAME, "ML10", "ML45"):
        assert is_known(name)
        with pytest.raises(sm.UserError, match=r"ssm-metarl\[metaworld\]"):
            get_family(name)


def test_its_registered_ids_are_refused() -> None:
    with pytest.raises(sm.UserError, match=r"mix up training and test tasks; valid: ML1-reach-v3"):
        get_family("metaworld:Meta-World/ML1-train", trust_env_code=True)


def test_a_name_of_its_benchmarks_is_taken() -> None:
    family = sm.TaskFamily("ML10", env_id="CartPole-v1")
    with pytest.raises(sm.UserError, match="is a family of this package"):
        sm.register(family)


def test_another_mujoco_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: ["numpy>=1", "mujoco==3.3.0"])
    here = {"metaworld": "3.1.1", "mujoco": "3.3.0"}
    monkeypatch.setattr(importlib.metadata, "version", here.__getitem__)
    metaworld._check_mujoco()
    here["mujoco"] = "4.0.0"
    with pytest.raises(sm.UserError, match=r"needs mujoco 3\.3\.0, and 4\.0\.0 is installed"):
        metaworld._check_mujoco()


def test_another_process_gets_the_tasks_with_what_builds_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: dict[str, Any] = {NAME: [(int, ["a task", "another"])]}
    monkeypatch.setattr(metaworld, "_made", made)
    sent = pickle.dumps(metaworld.MakeMetaWorld(NAME))
    made.clear()
    assert pickle.loads(sent) == metaworld.MakeMetaWorld(NAME)
    assert made == {NAME: [(int, ["a task", "another"])]}


def test_an_unknown_task_names_the_nearest(library: Any) -> None:  # noqa: ANN401
    with pytest.raises(sm.UserError, match="did you mean 'ML1-reach-v3'"):
        get_family("ML1-reach")


def test_no_goal_is_in_two_sets(library: Any) -> None:  # noqa: ANN401
    family = get_family(NAME)
    training, held_out = family.sample(40, SeedSequence(0)), family.held_out()
    validation = family.validation()
    assert [len(each) for each in (training, validation, held_out)] == [40, 10, 50]
    ((_, tasks),) = metaworld._classes(NAME)
    sets = [
        goals([tasks[int(value)] for value in each.values["variation"]])
        for each in (training, validation, held_out)
    ]
    assert len(set.union(*sets)) == 100
    # Those of the benchmark itself, whose test tasks have a seed that nobody would train with.
    own = library.ML1("reach-v3", seed=metaworld.SEED)
    assert sets[2] == goals(own.test_tasks)
    assert sets[0] | sets[1] == goals(own.train_tasks)


def test_an_environment_has_the_goal_of_its_task_and_hides_it(library: Any) -> None:  # noqa: ANN401
    family = get_family(NAME)
    ((_, tasks),) = metaworld._classes(NAME)
    env = sm.make(family, {"variation": 63})
    first, _ = env.reset(seed=1)
    goal: Any = env.unwrapped
    assert np.array_equal(goal._target_pos, pickle.loads(tasks[63].data)["rand_vec"][3:])
    assert first.shape == (39,)
    assert not first[36:].any()
    assert np.allclose(env.reset(seed=2)[0], first)  # frozen: the seed changes nothing
    env.close()


@pytest.mark.filterwarnings("ignore:.*WARN")
def test_gymnasiums_own_check_passes(library: Any) -> None:  # noqa: ANN401
    env = sm.make(NAME)
    check_env(env, skip_render_check=True)
    env.close()


def test_what_is_put_back_is_the_same_to_the_bit(library: Any) -> None:  # noqa: ANN401
    del library
    ((kind, tasks),) = metaworld._classes(NAME)

    def play(env: Any, seed: int) -> np.ndarray:  # noqa: ANN401
        rng = np.random.default_rng(seed)
        seen = [env.reset()[0]]
        for _ in range(10):
            seen.append(env.step(rng.uniform(-1, 1, 4).astype(np.float32))[0])
        return np.stack(seen)

    plain = kind()
    plain.set_task(tasks[0])
    expected = play(plain, 0)
    env = metaworld.FrozenTask(kind, tasks[0])
    assert np.array_equal(play(env, 0), expected)
    play(env, 1)
    assert np.array_equal(play(env, 0), expected)
    env.close()
    other = metaworld.FrozenTask(kind, tasks[1])
    assert other.unwrapped is env.unwrapped
    assert not np.array_equal(play(other, 1), expected)
    other.close()
    other.close()  # kept once
    again, another = (metaworld.FrozenTask(kind, tasks[0]) for _ in range(2))
    assert again.unwrapped is not another.unwrapped
    assert np.array_equal(play(again, 0), expected)


def test_lanes_are_cut_after_500_steps_and_tell_of_success(library: Any) -> None:  # noqa: ANN401
    family = get_family(NAME)
    environment = family.make_vec(family.held_out(2), 1, autoreset=True, horizon=3)
    environment.reset(SeedSequence(0))
    action = torch.zeros(2, 1, 4)
    steps = [environment.step(action) for _ in range(4)]
    assert [bool(step.truncated.all()) for step in steps] == [False, False, True, False]
    assert steps[0].success is not None
    environment.close()
    assert family.max_episode_steps == 500


def test_several_classes_are_named_and_disjoint(library: Any) -> None:  # noqa: ANN401
    for name, train, test in (("ML10", 10, 5), ("ML45", 45, 5)):
        family = get_family(name)
        sets = family.sample(10_000, SeedSequence(0)), family.validation(999), family.held_out(999)
        taught, chosen, tested = ({each.text("task", k) for k in range(len(each))} for each in sets)
        assert taught == chosen
        assert len(taught) == train
        assert len(tested) == test
        assert taught.isdisjoint(tested)
        assert len(sets[1]) == 10 * train
        assert len(sets[2]) == 50 * test
        assert not set(sets[0].values["variation"]) & set(sets[1].values["variation"])
        few = family.held_out(test)
        assert len({few.text("task", k) for k in range(test)}) == test
        own = few.text("task", 0)
        assert family.task(task=own, variation=3).describe(0) == f"task={own}, variation=3"
    with pytest.raises(sm.UserError, match="did you mean 'door-close-v3'"):
        get_family("ML10").task(task="door-close")
    with pytest.raises(sm.UserError, match="no shifted tasks; valid: held_out, training"):
        get_family("ML10").shifted()
