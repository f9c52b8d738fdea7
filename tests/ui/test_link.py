"""Links to an agent and a task: what is valid in one is shown, and the rest is said."""

from pathlib import Path
from urllib.parse import parse_qsl

import pytest

pytest.importorskip("gradio")

import gradio as gr
import gymnasium

from ssm_metarl.env_runner.family import Parameter, TaskFamily
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.errors import UserError
from ssm_metarl.ui.jobs import Jobs
from ssm_metarl.ui.link import LONGEST, follow, link
from ssm_metarl.ui.query import Query
from ssm_metarl.ui.sliders import settable
from ssm_metarl.ui.store import RunStore

CARTPOLE = get_family("CartPole-v1")


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path)


def test_a_link_leads_back_to_its_agent_and_task(store: RunStore) -> None:
    task = {"gravity": 12.34, "length": 0.5, "swap": 1.0}
    query = Query.asked("cartpole-in-context", task, ["in_context"], 20, 2, 7)
    made = link("https://a.b/c/", query, CARTPOLE)
    page, _, given = made.partition("?")
    assert page == "https://a.b/c/"
    assert given == "agent=cartpole-in-context&steps=2&seed=7&gravity=12.34&swap=1"
    found = follow(store, "cartpole", dict(parse_qsl(given)))
    assert (found.run, found.family, found.faults) == (query.run, "CartPole-v1", [])
    assert found.task == {"gravity": 12.34, "swap": 1.0}  # the length is the usual one
    assert found.numbers == {"steps": 2, "seed": 7}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("agent", "../../etc", "there is no agent '../../etc', so this is cartpole"),
        ("agent", "x" * 10_000, "there is no agent 'xxx"),
        ("gravty", "12", "CartPole-v1 has no 'gravty'; did you mean 'gravity'?"),
        ("AGENT", "cartpole", "CartPole-v1 has no 'AGENT'; did you mean 'agent'?"),
        ("gravity", "99", "gravity must be from 0 to 50"),
        ("gravity", "30", "gravity goes from 1 to 25 here, not to 30"),
        ("gravity", "nan", "gravity must be from"),
        ("gravity", "heavy" * 1000, "gravity must be a number"),
        ("swap", "2", "swap must be one of 0, 1"),
        ("seed", "-1", "seed must be a whole number from 0"),
        ("episodes", "1e9", "episodes must be a whole number from 1 to 50"),
        ("steps", "", "steps must be a whole number"),
    ],
)
def test_what_is_not_valid_is_said_and_the_rest_is_shown(
    store: RunStore, name: str, text: str, says: str
) -> None:
    found = follow(store, "cartpole", {name: text, "length": "1.2"})
    (fault,) = found.faults
    assert says in fault
    assert len(fault) < 4 * LONGEST
    assert (found.run, found.task, found.numbers) == ("cartpole", {"length": 1.2}, {})


def test_faults_that_are_not_said_are_counted(store: RunStore) -> None:
    given = {"swap": "a", "gravity": "b", "force": "c", "seed": "-1", "steps": ""}
    assert follow(store, "cartpole", given).said().endswith("got 'c'; and 2 more")
    (fault,) = (found := follow(store, "cartpole", {"swap": "a"})).faults
    assert found.said() == fault


def test_what_is_gradios_own_is_not_ours(store: RunStore) -> None:
    given = {"__theme": "dark", "view": "api", "agent": ""}
    assert follow(store, "cartpole", given).faults == []
    many = {f"p{n}": "1" for n in range(10_000)}
    assert len(follow(store, "cartpole", many).faults) == 100


def test_a_parameter_comes_before_a_setting_and_an_agent_before_both() -> None:
    parameters = [Parameter("seed", low=0.0, high=1.0), Parameter("agent", low=0.0, high=1.0)]
    family = TaskFamily(
        "Lamps",
        make=lambda _: gymnasium.make("CartPole-v1"),
        parameters=parameters,
        max_episode_steps=1,
    )
    query = Query.asked("mine", {"seed": 0.25, "agent": 0.75}, [], 20, 1, 5)
    assert link("", query, family) == "?agent=mine&seed=0.25"


def test_fixed_parameters_are_settable_where_they_are_on_the_page() -> None:
    assert settable(Parameter("colour", 3.0), 3.0) == 3.0
    with pytest.raises(UserError, match="colour goes from 3 to 3 here, not to 4"):
        settable(Parameter("colour", 3.0), 4.0)
    assert settable(Parameter("colour", 3.0, shifted=((4.0, 5.0),)), 4.0) == 4.0


def test_a_job_knows_the_address_of_the_page() -> None:
    headers = {"referer": "http://me:7860/?agent=x"}
    with Jobs().run(gr.Request(session_hash="a", headers=headers), "adapting", 1.0) as job:
        assert job.page == "http://me:7860/"
    with Jobs().run(gr.Request(session_hash="a"), "adapting", 1.0) as job:
        assert job.page == ""
