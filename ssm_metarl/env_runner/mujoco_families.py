"""The MuJoCo families of the meta-RL literature, and of physics, on Gymnasium's -v5 robots.

Ranges and rewards are those of the code cited at each. Physics and observations are Gymnasium's:
the -v5 robots differ from those of the cited code (rllab's with MuJoCo 1.31, Gym's -v2), and so do
returns. Episodes have 200 steps there, and here.

- MAML: Finn et al. 2017, github.com/cbfinn/maml_rl, ``rllab/envs/mujoco/``
- ProMP: Rothfuss et al. 2019, github.com/jonasrothfuss/ProMP, ``meta_policy_search/envs/``
- PEARL: Rakelly et al. 2019, github.com/katerakelly/oyster, ``rlkit/envs/``
- rand_param_envs: github.com/dennisl88/rand_param_envs, which ProMP and PEARL use
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.mujoco_world import Break, Edit, MuJoCoWorld, Scale
from ssm_metarl.env_runner.tasks import Interval, Parameter

EPISODE_STEPS = 200


def _target_speed(high: float, shifted: Interval) -> Parameter:
    return Parameter(
        "velocity",
        high / 2.0,
        "m/s",
        "speed to run at, forward",
        low=0.0,
        high=high,
        bounds=(-10.0, 10.0),
        shifted=(shifted,),
    )


_SIGN = Parameter("direction", 1.0, "", "1 is forward, -1 backward", choices=(-1.0, 1.0))


def cheetah_speed_reward(terms: Mapping[str, Any], task: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """MAML, ``half_cheetah_env_rand.py``; ProMP and PEARL pay the same."""
    return -np.abs(terms["x_velocity"] - task["velocity"]) + terms["reward_ctrl"]


def direction_reward(terms: Mapping[str, Any], task: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """MAML, ``half_cheetah_env_rand_direc.py``; ProMP and PEARL pay the same."""
    return task["direction"] * terms["x_velocity"] + terms["reward_ctrl"]


def ant_speed_reward(terms: Mapping[str, Any], task: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """MAML, ``ant_env_rand.py``: 1 for the speed ("make it happy, not suicidal"), 0.05 to live."""
    miss = np.abs(terms["x_velocity"] - task["velocity"])
    return 1.0 - miss + terms["reward_ctrl"] + terms["reward_contact"] + 0.05


def ant_direction_reward(terms: Mapping[str, Any], task: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """MAML, ``ant_env_rand_direc.py``."""
    speed = task["direction"] * terms["x_velocity"]
    return speed + terms["reward_ctrl"] + terms["reward_contact"] + 0.05


def humanoid_direction_reward(terms: Mapping[str, Any], task: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """PEARL, ``humanoid_dir.py``: 0.25 per metre and time step of 0.003 s is 1.25 per m/s."""
    angle = task["angle"]
    speed = np.cos(angle) * terms["x_velocity"] + np.sin(angle) * terms["y_velocity"]
    return 1.25 * speed + terms["reward_ctrl"] + terms["reward_contact"] + 5.0


# 0.5 * 0.1 per squared action in all three; Gymnasium's -v5 takes 0.1.
_CHEETAH_COST = {"ctrl_cost_weight": 0.05}
# 0.5 * 1e-2 per squared action and 0.5 * 1e-3 per squared contact force, clipped to [-1, 1].
_ANT_COSTS = {"ctrl_cost_weight": 0.005, "contact_cost_weight": 5e-4}


# Chosen on HalfCheetah's returns in training of seed 0, and on validation tasks of HopperPhysics;
# benchmarks/cheetah.py and benchmarks/physics.py have what they reach.
def _settings(steps: int = EPISODE_STEPS, rl2_epochs: int = 150) -> dict[str, dict[str, Any]]:
    return {
        "meta_rl": {"num_epochs": 60, "tasks_per_epoch": 8, "outer_epochs": 5, "outer_lr": 0.005},
        "rl2": {
            **{"num_epochs": rl2_epochs, "tasks_per_epoch": 16, "outer_epochs": 8},
            **{"minibatches": 8, "outer_lr": 0.002, "discount": 0.97, "first_steps": steps},
        },
    }


def _goal(
    name: str,
    description: str,
    world: MuJoCoWorld,
    parameter: Parameter,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> TaskFamily:
    return TaskFamily(
        name=name,
        description=f"{description} that only the reward tells",
        max_episode_steps=EPISODE_STEPS,
        world=world,
        parameters=(parameter,),
        settings=settings or {},
    )


GOAL_FAMILIES = (
    # MAML draws from [0, 2] m/s, ProMP and PEARL from [0, 3].
    _goal(
        "HalfCheetahVel",
        "run at a speed",
        MuJoCoWorld("HalfCheetah-v5", (), cheetah_speed_reward, _CHEETAH_COST),
        _target_speed(2.0, shifted=(2.0, 3.0)),
        settings=_settings(rl2_epochs=200),
    ),
    # MAML, ProMP and PEARL.
    _goal(
        "HalfCheetahDir",
        "run in a direction, forward or backward,",
        MuJoCoWorld("HalfCheetah-v5", (), direction_reward, _CHEETAH_COST),
        _SIGN,
        settings=_settings(),
    ),
    # MAML.
    _goal(
        "AntVel",
        "walk at a speed",
        MuJoCoWorld("Ant-v5", (), ant_speed_reward, _ANT_COSTS),
        _target_speed(3.0, shifted=(3.0, 4.0)),
    ),
    # MAML and ProMP (PEARL: any direction of the plane).
    _goal(
        "AntDir",
        "walk in a direction, forward or backward,",
        MuJoCoWorld("Ant-v5", (), ant_direction_reward, _ANT_COSTS),
        _SIGN,
    ),
    # PEARL, and ProMP's humanoid_rand_direc_2d.py.
    _goal(
        "HumanoidDir",
        "walk in a direction",
        MuJoCoWorld("Humanoid-v5", (), humanoid_direction_reward),
        Parameter("angle", 0.0, "rad", "where to walk, from the x axis", 0.0, 2.0 * math.pi),
    ),
)


def _factor(
    name: str, what: str, low: float, high: float, shifted: tuple[Interval, ...] | None
) -> Parameter:
    """Return a factor whose logarithm is uniform, and that a user may set between 0.05 and 20."""
    return Parameter(
        name,
        1.0,
        "",
        f"times the {what}",
        low=low,
        high=high,
        bounds=(0.05, 20.0),
        shifted=shifted,
        distribution="log-uniform",
    )


def _rand_params(robot: str, bodies: Sequence[str], joints: Sequence[str]) -> TaskFamily:
    """Draw every mass, moment of inertia, damping and friction by itself.

    As ``rand_param_envs/base.py`` with its ``log_scale_limit`` of 3: factors 1.5^u, for damping
    1.3^u, with u uniform on [-3, 3]. It also draws what a robot in a plane does not feel (the other
    moments of inertia, torsional and rolling friction, of the bodies and geoms; the damping of the
    root, which is 0) and leaves constants stale that MuJoCo derives.
    """
    quantities: list[tuple[str, str, str, float]] = []
    for body in bodies:
        quantities.append((f"mass_{body}", f"mass of {body}", f"body_mass[{body}]", 1.5))
        inertia = f"body_inertia[{body}].1"
        quantities.append((f"inertia_{body}", f"moment of inertia of {body}", inertia, 1.5))
    for joint in joints:
        damping = f"dof_damping[{joint}_joint]"
        quantities.append((f"damping_{joint}", f"damping of the joint at {joint}", damping, 1.3))
    for geom in ("floor", *(f"{body}_geom" for body in bodies)):
        name = geom.removesuffix("_geom")
        friction = f"geom_friction[{geom}].0"
        quantities.append((f"friction_{name}", f"friction of {name}", friction, 1.5))
    return TaskFamily(
        name=f"{robot}RandParams",
        description="run with other masses, inertias, damping and friction of every part",
        max_episode_steps=EPISODE_STEPS,
        world=MuJoCoWorld(
            f"{robot}-v5",
            [Scale(name, field, with_inertia=False) for name, _, field, _ in quantities],
        ),
        parameters=[
            _factor(name, what, base**-3.0, base**3.0, None) for name, what, _, base in quantities
        ],
    )


_LEG = ("thigh", "leg", "foot")
_LEGS = (*_LEG, *(f"{part}_left" for part in _LEG))
RANDOM_FAMILIES = (
    # walker_rand_params.py and hopper_rand_params.py pay what Gymnasium's robots are paid.
    _rand_params("Walker2d", ("torso", *_LEGS), _LEGS),
    _rand_params("Hopper", ("torso", *_LEG), _LEG),
)


def _physics(
    robot: str, actuators: int, steps: int, scales: Sequence[tuple[str, ...]]
) -> TaskFamily:
    """Vary a robot's physics, and take the force from one of its actuators on most tasks.

    Args:
        robot: Gymnasium's id without the version.
        actuators: How many it has.
        steps: Of an episode.
        scales: Name of a parameter, what it is, and the fields that it scales.
    """
    edits: list[Edit] = [Scale(name, field) for name, _, *fields in scales for field in fields]
    return TaskFamily(
        name=f"{robot}Physics",
        description="other physics, and on most tasks one actuator without force",
        max_episode_steps=steps,
        world=MuJoCoWorld(f"{robot}-v5", [*edits, Break("broken")]),
        parameters=[
            *(_factor(name, what, 0.5, 2.0, ((0.3, 0.5), (2.0, 3.0))) for name, what, *_ in scales),
            Parameter(
                "broken",
                -1.0,
                "",
                "index of the actuator without force; -1 for none",
                choices=tuple(float(index) for index in range(-1, actuators)),
            ),
        ],
        settings=_settings(steps),
    )


_WALKING = (
    ("mass", "mass of every body", "body_mass"),
    ("friction", "friction of all geoms and the floor", "geom_friction"),
    ("damping", "damping of every joint", "dof_damping"),
    ("gravity", "gravity", "opt.gravity"),
)
# In a plane without gravity, where nothing has friction: what slides is braked by damping.
_SLIDES = ("dof_damping[obj_slidex]", "dof_damping[obj_slidey]")
_PUSHING = (
    ("object_mass", "mass of the object", "body_mass[object]"),
    ("object_damping", "braking of the object", *_SLIDES),
    ("arm_damping", "damping of the arm", *(f"dof_damping[{joint}]" for joint in range(7))),
)
PHYSICS_FAMILIES = (
    _physics("HalfCheetah", 6, EPISODE_STEPS, _WALKING),
    _physics("Ant", 8, EPISODE_STEPS, _WALKING),
    _physics("Hopper", 3, EPISODE_STEPS, _WALKING),
    _physics("Walker2d", 6, EPISODE_STEPS, _WALKING),
    _physics("Pusher", 7, 100, _PUSHING),
)

FAMILIES = (*GOAL_FAMILIES, *RANDOM_FAMILIES, *PHYSICS_FAMILIES)
"""Nothing of MuJoCo is imported before one of them is asked for an environment."""
