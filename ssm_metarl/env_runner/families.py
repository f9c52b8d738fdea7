"""The families of this package: what varies, in which ranges, and how far a user may go."""

from dataclasses import replace

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.simulators.acrobot import Acrobot
from ssm_metarl.env_runner.simulators.cartpole import CartPole
from ssm_metarl.env_runner.simulators.cartpole_hard import CartPoleHard
from ssm_metarl.env_runner.simulators.mountain_car import MountainCarContinuous
from ssm_metarl.env_runner.simulators.navigation import EPISODE_STEPS, Navigation2D
from ssm_metarl.env_runner.simulators.pendulum import Pendulum
from ssm_metarl.env_runner.tasks import Parameter


# On half of the tasks something is reversed, which nobody can know before acting.
def _sign(name: str, what: str) -> Parameter:
    return Parameter(name, 1.0, "", f"-1 reverses the {what}", choices=(-1.0, 1.0))


_CARTPOLE_PARAMETERS = (
    Parameter(
        "gravity",
        9.8,
        "m/s^2",
        "gravity",
        low=5.0,
        high=15.0,
        bounds=(0.0, 50.0),
        shifted=((1.0, 5.0), (15.0, 25.0)),
    ),
    Parameter(
        "cart_mass",
        1.0,
        "kg",
        "mass of the cart",
        low=0.5,
        high=2.0,
        bounds=(0.01, 20.0),
        shifted=((2.0, 4.0),),
    ),
    Parameter(
        "pole_mass",
        0.1,
        "kg",
        "mass of the pole",
        low=0.05,
        high=0.5,
        bounds=(0.001, 10.0),
        shifted=((0.5, 1.0),),
    ),
    Parameter(
        "length",
        0.5,
        "m",
        "half the length of the pole",
        low=0.25,
        high=1.5,
        bounds=(0.05, 10.0),
        shifted=((1.5, 2.5),),
    ),
    Parameter(
        "force",
        10.0,
        "N",
        "push on the cart, to one side or the other",
        low=5.0,
        high=15.0,
        bounds=(0.1, 100.0),
        shifted=((15.0, 25.0),),
    ),
    Parameter("swap", 0.0, "", "1 swaps left and right", choices=(0.0, 1.0)),
)

CARTPOLE = TaskFamily(
    name="CartPole-v1",
    description="balance poles of different physics; half of the tasks swap left and right",
    env_id="CartPole-v1",
    max_episode_steps=500,
    simulator=CartPole(),
    parameters=_CARTPOLE_PARAMETERS,
    support_steps=100,
    discount=0.99,
    adaptation_discount=0.9,
)

CARTPOLE_NO_VELOCITY = replace(
    CARTPOLE,
    name="CartPoleNoVelocity-v1",
    description="balance poles without seeing speeds; half of the tasks swap left and right",
    observed=(0, 2),
)

CARTPOLE_HARD = replace(
    CARTPOLE,
    name="CartPoleHard-v1",
    description="balance in wind and gusts; cart or pole may be seen reversed",
    simulator=CartPoleHard(),
    parameters=(
        *_CARTPOLE_PARAMETERS,
        Parameter(
            "wind",
            0.0,
            "N",
            "constant force on the cart",
            low=-2.0,
            high=2.0,
            bounds=(-100.0, 100.0),
            shifted=((-4.0, -2.0), (2.0, 4.0)),
        ),
        Parameter(
            "force_noise",
            0.0,
            "N",
            "standard deviation of the gust at each step",
            low=0.0,
            high=2.0,
            bounds=(0.0, 100.0),
            shifted=((2.0, 4.0),),
        ),
        _sign("flip_position", "cart as seen"),
        _sign("flip_angle", "pole as seen"),
    ),
)

PENDULUM = TaskFamily(
    name="Pendulum-v1",
    description="swing up rods of different physics; half of the tasks reverse the motor",
    env_id="Pendulum-v1",
    max_episode_steps=200,
    simulator=Pendulum(),
    parameters=(
        Parameter(
            "gravity",
            10.0,
            "m/s^2",
            "gravity",
            low=6.0,
            high=11.0,
            bounds=(0.0, 50.0),
            shifted=((3.0, 6.0), (11.0, 14.0)),
        ),
        Parameter(
            "mass",
            1.0,
            "kg",
            "mass of the rod",
            low=0.6,
            high=1.4,
            bounds=(0.05, 10.0),
            shifted=((0.4, 0.6), (1.4, 1.7)),
        ),
        Parameter(
            "length",
            1.0,
            "m",
            "length of the rod",
            low=0.8,
            high=1.2,
            bounds=(0.1, 10.0),
            shifted=((0.65, 0.8), (1.2, 1.4)),
        ),
        Parameter(
            "max_torque",
            2.0,
            "N m",
            "torque of the motor at full action",
            low=1.5,
            high=2.5,
            bounds=(0.1, 20.0),
            shifted=((2.5, 3.5),),
        ),
        _sign("torque_sign", "motor"),
    ),
    support_steps=200,
    discount=0.95,
    picture="The rod is to stand upright. Round its joint: how the motor turns.",
)

ACROBOT = TaskFamily(
    name="Acrobot-v1",
    description="swing up two links of different physics; half of the tasks reverse the motor",
    env_id="Acrobot-v1",
    max_episode_steps=500,
    simulator=Acrobot(),
    parameters=(
        *(
            Parameter(
                f"link_{what}_{number}",
                1.0,
                unit,
                f"{what} of the {'upper' if number == 1 else 'lower'} link",
                low=0.75,
                high=1.25,
                bounds=bounds,
                shifted=((0.6, 0.75), (1.25, 1.5)),
            )
            for what, unit, bounds in (("length", "m", (0.1, 5.0)), ("mass", "kg", (0.05, 10.0)))
            for number in (1, 2)
        ),
        Parameter(
            "torque",
            1.0,
            "N m",
            "torque of the motor at the elbow",
            low=0.75,
            high=1.5,
            bounds=(0.05, 20.0),
            shifted=((1.5, 2.0),),
        ),
        _sign("torque_sign", "motor"),
    ),
    support_steps=500,
    discount=0.99,
    picture="The lower end is to swing above the line.",
)

MOUNTAIN_CAR = TaskFamily(
    name="MountainCarContinuous-v0",
    description="drive weak cars out of a valley; half of the tasks reverse the pedals",
    env_id="MountainCarContinuous-v0",
    max_episode_steps=999,
    simulator=MountainCarContinuous(),
    parameters=(
        Parameter(
            "power",
            0.0015,
            "/step^2",
            "acceleration at full action",
            low=0.001,
            high=0.002,
            bounds=(0.0001, 0.01),
            shifted=((0.0008, 0.001), (0.002, 0.0025)),
        ),
        Parameter(
            "goal_position",
            0.45,
            "",
            "where the episode ends, on the right slope",
            low=0.3,
            high=0.5,
            bounds=(-0.3, 0.6),
            shifted=((0.5, 0.58),),
        ),
        _sign("action_sign", "pedals"),
    ),
    support_steps=400,
    discount=0.99,
    picture="The car is to reach the flag, and its engine is too weak to climb at once.",
)

NAVIGATION_2D = TaskFamily(
    name="Navigation2D-v0",
    description="walk to a goal on the plane that is not seen; the MAML paper's point task",
    env_id="Navigation2D-v0",
    max_episode_steps=EPISODE_STEPS,
    simulator=Navigation2D(),
    parameters=tuple(
        Parameter(
            name,
            0.25,
            "",
            f"{name[-1]} coordinate of the goal",
            low=-0.5,
            high=0.5,
            bounds=(-1.0, 1.0),
            shifted=((-0.8, -0.5), (0.5, 0.8)),
        )
        for name in ("goal_x", "goal_y")
    ),
    support_steps=EPISODE_STEPS,
    # Whoever gets nearer now is nearer later: far sight adds little but the noise of later actions.
    # The inner step moves the mean by several standard deviations; with a narrow spread at first
    # meta-training soon overshoots.
    discount=0.8,
    inner_lr=0.002,
    outer_lr=0.002,
    initial_log_std=0.0,
    # Else the shared policy may wander off, from where every goal looks the same.
    support_weight=0.3,
    # The goal is 0.02 wide and a step up to 0.1: a spread to learn from cannot stay on it.
    adapted_std=0.35,
    trust=0.45,
    picture="Green: the goal, which the agent does not see. The smaller point: the agent.",
)
