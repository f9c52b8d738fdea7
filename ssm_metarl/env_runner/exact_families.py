"""Families in which the best possible return is computed: bandits, tabular MDPs, a grid.

``BernoulliBandit-k5-n100`` has 5 arms and 100 pulls, ``TabularMDP-n25`` 25 episodes of 10 steps;
any other numbers will do. A task is one instance, a number from which all its tables are drawn:
they are too many to be parameters, and so short a name can be told, typed and compared.
"""

import functools
import re
from typing import Any

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.simulators.bandit import ARMS, PULLS, BernoulliBandit
from ssm_metarl.env_runner.simulators.grid_world import EPISODE_STEPS, GOALS, GridWorld
from ssm_metarl.env_runner.simulators.instance import INSTANCES
from ssm_metarl.env_runner.simulators.tabular_mdp import EPISODES, HORIZON, TabularMDP
from ssm_metarl.env_runner.tasks import Parameter

LARGEST = 1000  # arms, pulls or episodes
_BANDIT = re.compile(r"BernoulliBandit-k([1-9]\d*)-n([1-9]\d*)")
_MDP = re.compile(r"TabularMDP-n([1-9]\d*)")


def _instance(what: str) -> Parameter:
    return Parameter(
        "instance",
        0.0,
        "",
        f"number from which {what} are drawn",
        low=0.0,
        high=float(INSTANCES),
        bounds=(0.0, float(INSTANCES)),
        distribution="integer",
    )


def exact_family(name: str) -> TaskFamily | None:
    """Return the bandits or MDPs of a name; None if it is not that of any."""
    sizes: Any = _BANDIT.fullmatch(name) or _MDP.fullmatch(name)
    numbers = [int(size) for size in sizes.groups()] if sizes else []
    if not numbers or max(numbers) > LARGEST or (len(numbers) == 2 and numbers[0] < 2):
        return None
    return bandit(*numbers) if len(numbers) == 2 else tabular_mdp(*numbers)


@functools.cache
def bandit(arms: int = ARMS, pulls: int = PULLS) -> TaskFamily:
    """Return the family of Bernoulli bandits with so many arms and pulls."""
    return TaskFamily(
        name=f"BernoulliBandit-k{arms}-n{pulls}",
        description=f"pull {arms} arms {pulls} times; the chances to be paid are not seen",
        env_id="BernoulliBandit-v0",
        max_episode_steps=pulls,
        simulator=BernoulliBandit(arms, pulls),
        parameters=(
            _instance("the arms' chances"),
            Parameter(
                "best",
                1.0,
                "",
                "upper end of the chances, which are uniform from 0 on",
                bounds=(0.0, 1.0),
                shifted=((0.3, 0.7),),
            ),
        ),
        support_steps=pulls,
        discount=1.0,
    )


@functools.cache
def tabular_mdp(episodes: int = EPISODES) -> TaskFamily:
    """Return the family of random MDPs that are played for so many episodes of 10 steps."""
    return TaskFamily(
        name=f"TabularMDP-n{episodes}",
        description=f"{episodes} times 10 steps in a random MDP; its rewards are not known",
        env_id="TabularMDP-v0",
        max_episode_steps=HORIZON * episodes,
        simulator=TabularMDP(episodes),
        parameters=(
            _instance("rewards and transitions"),
            Parameter(
                "reward_noise",
                1.0,
                "",
                "standard deviation of a reward",
                bounds=(0.0, 100.0),
                shifted=((1.5, 2.5),),
            ),
        ),
        support_steps=HORIZON * episodes,
        discount=1.0,
    )


GRID_WORLD = TaskFamily(
    name="GridWorld-v0",
    description="search a goal on 5 x 5 cells that is not seen; the VariBAD paper's grid",
    env_id="GridWorld-v0",
    max_episode_steps=EPISODE_STEPS,
    simulator=GridWorld(),
    parameters=(
        Parameter(
            "goal",
            0.0,
            "",
            "cell of the goal, x-y",
            choices=tuple(map(float, range(len(GOALS)))),
            labels=tuple(f"{x}-{y}" for x, y in GOALS),
        ),
    ),
    support_steps=EPISODE_STEPS,
    discount=1.0,
    picture="Green: the goal, which the agent does not see. The smaller square: the agent.",
)

FAMILIES = (bandit(), tabular_mdp(), GRID_WORLD)
"""One of each."""
