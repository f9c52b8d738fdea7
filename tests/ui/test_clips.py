"""Clips of families other than that of the pretrained agents."""

import dataclasses
from pathlib import Path

import pytest
import torch

pytest.importorskip("gradio")

from ssm_metarl.core.policy import Policy, PolicyConfig
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.ui.clips import Clip, record_clip
from ssm_metarl.ui.query import Subject
from ssm_metarl.ui.store import RunStore


def recorded(name: str, folder: Path) -> Clip:
    """Record an untrained agent that sees two numbers, on the usual task of a family."""
    family = get_family(name)
    spaces = Spaces((1.0, 1.0), family.action_space.shape[0], discrete=False)
    policy = Policy(PolicyConfig(cell="mlp", width=4), spaces)
    params = policy.init(torch.Generator().manual_seed(0))
    agent, _ = RunStore(folder).agent("cartpole")
    agent = dataclasses.replace(agent, policy=policy, params=params, family=name, experience=None)
    return record_clip(Subject(agent, family, family.nominal()), agent, "before", "zero_shot", 0, 0)


def test_pictures_that_are_not_plain_are_explained(tmp_path: Path) -> None:
    clip = recorded("Navigation2D-v0", tmp_path)
    assert "Green: the goal" in clip.picture
    assert clip.ending.endswith("after 100 steps")


@pytest.mark.slow
def test_a_clip_that_is_cut_says_so(tmp_path: Path) -> None:
    clip = recorded("MountainCarContinuous-v0", tmp_path)
    assert clip.steps == 500
    assert clip.ending.endswith("after the first 500 steps")
