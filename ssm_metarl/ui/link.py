"""Links to an agent and a task, such as ``?agent=cartpole&gravity=12&swap=1``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.errors import UserError, nearest
from ssm_metarl.training.command import number_text
from ssm_metarl.ui.limits import EPISODES, SEED, STEPS
from ssm_metarl.ui.query import Query
from ssm_metarl.ui.sliders import settable
from ssm_metarl.ui.store import RunStore

LIMITS = {"episodes": EPISODES, "steps": STEPS, "seed": SEED}
MOST, LONGEST = 100, 60  # parameters, and characters of each, that are looked at
SAID = 3  # faults that are said
GRADIOS = ("view", "deep_link", "logs")  # parameters of its own, besides __theme and its like


def link(page: str, query: Query, family: TaskFamily) -> str:
    """Return the link to the agent and the task of a query; what is usual is left out."""
    asked = {name: getattr(query, name) for name in LIMITS}
    given: dict[str, object] = {"agent": query.run}
    given |= {name: value for name, value in asked.items() if value != LIMITS[name].default}
    for parameter in family.parameters:
        value = query.task.get(parameter.name, parameter.default)
        if value != parameter.default and parameter.name != "agent":
            given[parameter.name] = number_text(float(value))
    return f"{page}?{urlencode(given)}"


@dataclass
class Followed:
    """What is valid in a link, and what is not.

    Attributes:
        run: The agent.
        task: Values of its family's parameters.
        numbers: Of :data:`LIMITS`.
        faults: What was not valid, in words; anybody may have written them.
    """

    run: str
    family: str
    task: dict[str, float] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def said(self) -> str:
        """Return the first faults in a line, and how many more there are."""
        more = len(self.faults) - SAID
        return "; ".join(self.faults[:SAID]) + (f"; and {more} more" if more > 0 else "")


def follow(store: RunStore, run: str, given: Mapping[str, str]) -> Followed:
    """Read the parameters of a link, whatever they are; ``run`` is shown if they name no agent."""
    asked = {name[:LONGEST]: text[:LONGEST] for name, text in islice(given.items(), MOST)}
    wanted, faults = asked.pop("agent", "") or run, []
    if wanted not in store.trained():
        faults.append(f"there is no agent {wanted!r}, so this is {run}")
        wanted = run
    family = get_family(store.config(wanted).env_name)
    found = Followed(wanted, family.name, faults=faults)
    parameters = {parameter.name: parameter for parameter in family.parameters}
    for name, text in asked.items():
        try:
            if name in parameters:
                found.task[name] = settable(parameters[name], _number(text))
            elif name in LIMITS:
                found.numbers[name] = LIMITS[name].check(_number(text))
            elif not name.startswith("__") and name not in GRADIOS:
                hint = nearest(name, ["agent", *parameters, *LIMITS])
                raise UserError(f"{family.name} has no {name!r}; {hint}")
        except UserError as error:
            found.faults.append(str(error))
    return found


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
