"""The families of robots: rewards of the cited code, lanes equal to Gymnasium's, sane ranges."""

import copy
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from numpy.random import SeedSequence
from sync_lanes import sync_lanes

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.adaptation.online import adapt
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner import mujoco_families
from ssm_metarl.env_runner.failures import SIMULATION_FAILED
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.gymnasium import GymnasiumEnvironment
from ssm_metarl.env_runner.mujoco import MuJoCoEnvironment
from ssm_metarl.env_runner.mujoco_world import Break, MuJoCoWorld, Scale
from ssm_metarl.env_runner.probe import probe
from ssm_metarl.env_runner.registry import get_family, list_families, make, register
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.env_runner.tasks import Parameter, Tasks
from ssm_metarl.errors import UserError

FAMILIES = pytest.mark.parametrize(
    "family", mujoco_families.FAMILIES, ids=[family.name for family in mujoco_families.FAMILIES]
)
SEED = SeedSequence(8)


def world_of(family: TaskFamily) -> MuJoCoWorld:
    assert isinstance(family.world, MuJoCoWorld)
    return family.world


def test_without_the_extra_it_is_named_in_one_line_and_importing_needs_none() -> None:
    code = (
        "import sys; sys.modules['imageio'] = None\n"  # which Gymnasium's robots need, too
        "from ssm_metarl.env_runner.registry import get_family, list_families\n"
        "assert 'AntDir' in {family.name for family in list_families(extras=True)}\n"
        "assert 'mujoco' not in sys.modules\n"
        "for module in ('imageio', 'mujoco'):\n"
        "  sys.modules[module] = None\n"
        "  get_family.__globals__['load_mujoco'].cache_clear()\n"
        "  try: get_family('AntDir').action_space\n"
        "  except ValueError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.count("\n") == 2
    assert told.stdout.count("pip install 'ssm-metarl[mujoco]'\n") == 2


def test_robots_are_known_by_name_and_their_names_are_taken() -> None:
    assert {family.name for family in mujoco_families.FAMILIES}.isdisjoint(
        family.name for family in list_families()
    )
    with pytest.raises(UserError, match="'AntDir', which is a family of this package"):
        register(TaskFamily("AntDir", env_id="CartPole-v1"))


def numbers(model: Any) -> list[bytes]:  # noqa: ANN401
    arrays = [value for name in dir(model) for value in [getattr(model, name)]]
    arrays = [value for value in arrays if isinstance(value, np.ndarray)]
    return [value.tobytes() for value in (*arrays, model.opt.gravity)]


def speeds(velocity: float, task: float, action: np.ndarray) -> float:
    return -abs(velocity - task) - 0.5 * 1e-1 * np.sum(np.square(action))


def test_the_cheetahs_are_paid_as_in_the_cited_code() -> None:
    pytest.importorskip("mujoco")
    for name, task, paid in (
        ("HalfCheetahVel", {"velocity": 1.5}, speeds),
        (
            "HalfCheetahDir",
            {"direction": -1.0},
            lambda velocity, task, action: task * velocity - 0.05 * np.sum(np.square(action)),
        ),
    ):
        env, bare = make(name, task), gymnasium.make("HalfCheetah-v5").unwrapped
        env.reset(seed=3)
        bare.reset(seed=3)
        for _ in range(5):
            action = env.action_space.sample()
            before = bare.data.qpos[0]  # pyright: ignore
            _, reward, *_ = env.step(action)
            bare.step(action)
            velocity = (bare.data.qpos[0] - before) / 0.05  # pyright: ignore
            assert reward == pytest.approx(paid(velocity, *task.values(), action), abs=1e-6)


def test_ants_and_humanoids_are_paid_as_in_the_cited_code() -> None:
    pytest.importorskip("mujoco")
    terms = {"x_velocity": 2.0, "y_velocity": 1.0, "reward_ctrl": -0.1, "reward_contact": -0.2}
    family = mujoco_families
    assert family.ant_speed_reward(terms, {"velocity": 2.5}) == pytest.approx(0.25)
    assert family.ant_direction_reward(terms, {"direction": -1.0}) == pytest.approx(-2.25)
    paid = family.humanoid_direction_reward(terms, {"angle": np.pi / 2.0})
    assert paid == pytest.approx(0.25 * 1.0 * 0.015 / 0.003 - 0.3 + 5.0)
    for name, control, contact in (("AntVel", 0.5e-2, 0.5e-3), ("HumanoidDir", 0.1, 0.5e-6)):
        robot = make(name).unwrapped
        assert robot._ctrl_cost_weight == pytest.approx(control)  # pyright: ignore
        assert robot._contact_cost_weight == pytest.approx(contact)  # pyright: ignore


@FAMILIES
def test_lanes_are_the_single_environments_to_the_bit(family: TaskFamily) -> None:
    pytest.importorskip("mujoco")
    tasks, horizon = family.sample(2, SEED), 25
    mine = family.make_vec(tasks, 2, autoreset=True, horizon=horizon, dtype=torch.float64)
    assert isinstance(mine, MuJoCoEnvironment)
    makers = [lambda task=task: family.gymnasium(task) for task in tasks]
    theirs = GymnasiumEnvironment(
        sync_lanes(makers, 2, horizon), tasks, max_episode_steps=horizon, dtype=torch.float64
    )
    assert torch.equal(mine.reset(SEED), theirs.reset(SEED))
    space = family.action_space
    assert isinstance(space, gymnasium.spaces.Box)
    drawn = torch.rand(40, 2, 2, *space.shape, generator=torch.Generator().manual_seed(0))
    for action in (2.0 * drawn - 1.0) * torch.from_numpy(space.high):
        one, other = mine.step(action), theirs.step(action)
        for mine_part, their_part in zip(one[:4], other[:4], strict=True):
            assert torch.equal(mine_part, their_part)


@FAMILIES
def test_no_task_at_the_end_of_a_range_is_unstable_and_all_parameters_matter(
    family: TaskFamily,
) -> None:
    pytest.importorskip("mujoco")
    probe(family)  # a warning would fail the test


@pytest.mark.parametrize(
    "family",
    [*mujoco_families.RANDOM_FAMILIES, *mujoco_families.PHYSICS_FAMILIES],
    ids=lambda family: family.name,
)
def test_every_parameter_changes_the_model_in_its_own_way(family: TaskFamily) -> None:
    pytest.importorskip("mujoco")
    world = world_of(family)
    found = [numbers(world.models(family.nominal())[0])]
    for parameter in family.parameters:
        task = family.task(**{parameter.name: max(parameter.choices, default=1.7)})
        found.append(numbers(world.models(task)[0]))
        assert found[-1] not in found[:-1]


@FAMILIES
@pytest.mark.filterwarnings("ignore:.*WARN")
def test_environments_pass_gymnasiums_checks(family: TaskFamily) -> None:
    pytest.importorskip("mujoco")
    check_env(make(family), skip_render_check=True)


def test_random_parameters_are_independent_factors_as_in_the_cited_code() -> None:
    pytest.importorskip("mujoco")
    family = get_family("HopperRandParams")
    tasks, world = family.sample(3, SEED), world_of(get_family("HopperRandParams"))
    nominal, model = world.models(family.nominal())[0], world.models(tasks)[2]
    values = tasks.parameters(2)
    mass = model.body("leg").mass / nominal.body("leg").mass
    inertia = model.body("leg").inertia / nominal.body("leg").inertia
    assert mass == pytest.approx(values["mass_leg"])
    assert inertia.tolist() == pytest.approx([1.0, values["inertia_leg"], 1.0])
    assert model.geom("floor").friction[0] == pytest.approx(values["friction_floor"])
    assert model.dof_damping[4] == pytest.approx(values["damping_leg"])
    ranges = {parameter.name: parameter for parameter in family.parameters}
    assert ranges["mass_torso"].high == pytest.approx(1.5**3)
    assert ranges["damping_foot"].low == pytest.approx(1.3**-3)
    assert len(ranges) == 16


def test_a_broken_actuator_does_nothing_and_costs_as_much() -> None:
    pytest.importorskip("mujoco")
    env, action = make("HalfCheetahPhysics", {"broken": 2.0}), np.zeros(6, dtype=np.float32)
    broken, idle = action.copy(), action
    broken[2] = 1.0
    env.reset(seed=0)
    seen, paid, *_ = env.step(broken)
    env.reset(seed=0)
    same, more, *_ = env.step(idle)
    assert np.array_equal(seen, same)
    assert float(paid) == pytest.approx(float(more) - 0.1)


def agent_for(family: TaskFamily) -> Agent:
    policy = Policy(PolicyConfig(width=4, state_size=2), policy_spaces(family))
    params = policy.init(torch.Generator().manual_seed(0))
    return Agent(policy, params, 0.1, AdaptationConfig(horizon=200), family.name)


def test_an_unstable_episode_ends_in_a_single_environment_too() -> None:
    pytest.importorskip("mujoco")
    wild = Parameter("gear", 1.0, low=20.0, high=40.0)
    world = MuJoCoWorld("HalfCheetah-v5", [Scale("gear", "actuator_gear")])
    family = TaskFamily("Wild", max_episode_steps=200, world=world, parameters=(wild,))
    env = family.gymnasium(family.task(gear=30.0))
    env.action_space.seed(0)
    env.reset(seed=0)
    for _ in range(200):
        _, reward, terminated, _, info = env.step(env.action_space.sample())
        if terminated:
            break
    assert terminated
    assert info[SIMULATION_FAILED]
    assert reward == 0.0
    (played,) = adapt(agent_for(family), env, "zero_shot", episodes=1)
    assert np.isnan(played.returns).all()
    with pytest.raises(UserError, match="Wild with gear=20: the simulation became unstable"):
        probe(family)


def test_a_copy_has_the_physics_of_its_task() -> None:
    pytest.importorskip("mujoco")
    env = make("HopperPhysics", {"mass": 2.0})
    env.reset(seed=0)
    env.step(env.action_space.sample())
    twin: Any = copy.deepcopy(env).unwrapped
    own: Any = env.unwrapped
    np.testing.assert_array_equal(twin.model.body_mass, own.model.body_mass)
    assert twin.data.time == 0.0  # of Gymnasium's copies: begun anew, not continued
    assert own.data.time > 0.0  # and not moved back by the changes


def test_one_task_of_a_robot_runs_in_lanes_too() -> None:
    pytest.importorskip("mujoco")
    with pytest.warns(UserWarning, match="a family of one task"):
        family = get_family("Swimmer-v5")
    assert family.max_episode_steps == 1000
    env = family.make_vec(family.nominal(), 2, autoreset=False, horizon=10)
    assert isinstance(env, MuJoCoEnvironment)
    assert env.max_episode_steps == 10


def test_names_in_edits_are_checked_before_any_work() -> None:
    pytest.importorskip("mujoco")
    tasks = Tasks({"broken": np.array([9.0])}, np.array([0]))
    with pytest.raises(UserError, match="no actuator '9'"):
        MuJoCoWorld("HalfCheetah-v5", [Break("broken")]).models(tasks)
    with pytest.raises(UserError, match="did you mean 'Hopper-v5'"):
        _ = MuJoCoWorld("Hooper-v5").action_space


@pytest.mark.parametrize("name", ["HalfCheetahVel", "AntDir", "HopperPhysics"])
def test_the_camera_follows_the_robot(name: str) -> None:
    pytest.importorskip("mujoco")
    family = get_family(name)
    env = family.gymnasium(family.nominal(), render_mode="rgb_array")
    renderer = env.unwrapped.mujoco_renderer  # pyright: ignore[reportAttributeAccessIssue]
    tracked = (renderer.default_cam_config or {}).get("trackbodyid", -1) > 0
    assert tracked or renderer.camera_id == 0  # Gymnasium's own: -1, a camera that stays
    env.close()
