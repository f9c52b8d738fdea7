"""Robots on the page: listed where MuJoCo is installed, with inputs for their tasks, and filmed."""

import base64
import os
from dataclasses import replace
from importlib.util import find_spec

import gradio as gr
import pytest
import torch

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.config import AdaptationConfig
from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.env_runner import mujoco_drawing
from ssm_metarl.env_runner.mujoco_families import FAMILIES
from ssm_metarl.env_runner.registry import get_family, list_families
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.errors import UserError
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.ui import store
from ssm_metarl.ui.clips import record_clip
from ssm_metarl.ui.form import expect
from ssm_metarl.ui.monitor import Monitor
from ssm_metarl.ui.query import Subject
from ssm_metarl.ui.sliders import Sliders, _input, range_marks
from ssm_metarl.ui.store import page_families

ROBOTS = {family.name for family in FAMILIES}


@pytest.mark.parametrize("installed", [True, False])
def test_robots_are_listed_where_mujoco_is_installed(
    installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "find_spec", lambda name: installed or None)
    names = {family.name for family in page_families()}
    assert names >= {family.name for family in list_families()}
    assert names & ROBOTS == (ROBOTS if installed else set())


def test_a_choice_of_several_is_a_list_and_comes_back_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "find_spec", lambda name: True)
    family = next(one for one in FAMILIES if one.name == "HalfCheetahPhysics")
    sliders = object.__new__(Sliders)  # without a page around it
    sliders.parameters = [(one.name, p) for one in page_families() for p in one.parameters]
    task = {parameter.name: parameter.default for parameter in family.parameters}
    task |= {"broken": 4.0, "mass": 1.7}
    broken = _input(family, family.parameters[-1])
    assert isinstance(broken, gr.Radio)
    assert [value for _, value in broken.choices] == [-1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert sliders.task(family.name, sliders.values(family.name, task)) == task
    assert "task-halfcheetahphysics-mass" in range_marks()


def test_how_long_a_robot_takes_is_not_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mujoco")
    config = TrainConfig(env_name="HalfCheetahVel", num_epochs=3)
    assert "Time left</dt><dd>…" in Monitor(config).status()
    usual = (None,) * 5
    assert "How long it takes shows once it has begun" in expect(
        "HalfCheetahVel", "meta_rl", 3, 200, *usual
    )


def test_a_robot_is_filmed() -> None:
    pytest.importorskip("mujoco")
    try:
        mujoco_drawing.prepare_drawing()
    except UserError as error:
        pytest.skip(str(error))
    family = replace(get_family("HalfCheetahVel"), max_episode_steps=20)
    policy = Policy(PolicyConfig(width=4, state_size=2), policy_spaces(family))
    params = policy.init(torch.Generator().manual_seed(0))
    agent = Agent(policy, params, 0.1, AdaptationConfig(horizon=10), family.name)
    subject = Subject(agent, family, family.task(velocity=1.0))
    clip = record_clip(subject, agent, "before", "zero_shot", 0, 0)
    assert clip.steps == 20
    assert len(base64.b64decode(clip.mp4)) > 2000


def test_where_nothing_draws_a_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mujoco")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(mujoco_drawing, "WITHOUT_SCREEN", ("nothing",))
    family = get_family("HalfCheetahVel")
    with pytest.raises(UserError, match="cannot draw here: there is no screen, and neither EGL"):
        family.gymnasium(family.nominal(), "rgb_array")
    monkeypatch.setenv("MUJOCO_GL", "egl")  # as its user says
    mujoco_drawing.prepare_drawing()
    assert find_spec("mujoco")
    assert os.environ["MUJOCO_GL"] == "egl"
