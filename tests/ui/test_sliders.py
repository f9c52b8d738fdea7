"""The values that the inputs of a task show and send."""

from typing import Any

import pytest

pytest.importorskip("gradio")

import gradio as gr

from ssm_metarl.analysis.linear_probe import probed_parameter
from ssm_metarl.env_runner.family_file import parse_family
from ssm_metarl.env_runner.tasks import Parameter
from ssm_metarl.ui.sliders import _input, reach, rounded

FILE = """
name = "MyPole"
env_id = "CartPole-v1"

[parameters.mass]
attribute = "masscart"
choices = [1.0]

[parameters.gravity]
attribute = "gravity"
low = 5.0
high = 15.678
bounds = [5.0, 15.678]

[parameters.force]
attribute = "force_mag"
choices = [5.0, 10.0, 20.12345]

[parameters.length]
attribute = "length"
default = 0.51234
"""


def test_a_task_as_a_visitor_would_choose_it_is_one_of_the_family() -> None:
    family = parse_family(FILE, "my.toml", trust_env_code=False)
    task = {"mass": 1.0, "gravity": 15.6779, "force": 20.12345, "length": 0.51234}
    chosen = {p.name: rounded(p, task[p.name]) for p in family.parameters}
    assert chosen == {**task, "gravity": 15.678}
    assert family.task(**chosen).parameters(0) == chosen


@pytest.mark.parametrize(("shifted", "editable"), [("", False), ("shifted = [[0.6, 0.9]]", True)])
def test_what_is_the_same_in_every_task_is_shown_and_not_edited(
    shifted: str, editable: bool
) -> None:
    family = parse_family(FILE + shifted, "my.toml", trust_env_code=False)
    shown: Any = _input(family, family.parameters[-1])
    assert isinstance(shown, gr.Number)
    assert (shown.value, shown.interactive) == (0.51234, editable)


def test_a_single_choice_is_nothing_to_recognise() -> None:
    probed = probed_parameter(parse_family(FILE, "my.toml", trust_env_code=False))
    assert probed is not None
    assert probed.name == "force"


def test_the_ends_of_a_slider_are_numbers_that_one_can_read() -> None:
    assert reach(Parameter("length", low=0.8, high=1.2)) == (0.7, 1.3)
    assert reach(Parameter("length", 1.2345678, low=0.8, high=1.0)) == (0.75, 1.2345678)
