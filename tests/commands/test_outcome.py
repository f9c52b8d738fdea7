"""The table of what adapting was worth."""

import numpy as np
from lamp import lamps
from rich.console import Console

from ssm_metarl.commands.outcome import MEASURED_EPISODES, Measured, measured, outcome_table
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.recipes import initial_params, make_agent, make_policy


def text_of(before: Measured, after: Measured) -> str:
    console = Console(width=80, record=True)
    console.print(outcome_table("Lamps", "standard", [], before, after))
    return console.export_text()


def test_success_has_a_column_where_there_is_any() -> None:
    returns = np.array([1.0, 2.0, 3.0, 4.0])
    silent, some = Measured(returns, None), Measured(returns, np.array([1.0, 0.0, 1.0, 1.0]))
    assert "Success" not in text_of(silent, silent)
    shown = text_of(silent, some)  # one that says it only where there is one
    assert "Success" in shown
    assert shown.index(" 0%") < shown.index("75%")


def test_success_is_of_the_episodes_that_the_returns_are_of() -> None:
    family = lamps()
    config = TrainConfig(env_name="Lamps", width=4, state_size=2).resolve(family)
    policy = make_policy(config, policy_spaces(family))
    tensors = {f"params/{name}": value for name, value in initial_params(policy, 0).items()}
    agent = make_agent(tensors, policy, config, family)
    found = measured(agent, family, family.task(right=1), 0, 0)
    again = measured(agent, family, family.task(right=1), 0, 0)
    assert found.success is not None
    assert found.returns.shape == found.success.shape == (MEASURED_EPISODES,)
    assert set(found.success) == {0.0, 1.0}
    np.testing.assert_array_equal(found.returns, again.returns)
    assert (found.returns[found.success > 0] >= 1.0).all()  # the button was pressed rightly once
