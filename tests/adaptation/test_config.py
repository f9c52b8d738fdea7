"""What an agent needs to adapt, read from what today's and a former version saved."""

import dataclasses

import pytest

from ssm_metarl.adaptation.config import AdaptationConfig, saved_adaptation


def test_a_former_version_had_other_names_and_more_settings() -> None:
    today = AdaptationConfig(inner_lr=0.3, horizon=70, discount=0.8, trust=0.1)
    former = {**dataclasses.asdict(today), "discount": 0.99, "outer_lr": 1e-3}
    del former["horizon"]
    former |= {"support_horizon": 70, "adaptation_discount": 0.8}
    assert saved_adaptation(former) == dataclasses.asdict(today)
    del former["adaptation_discount"]
    with pytest.raises(KeyError, match="adaptation_discount"):
        saved_adaptation(former)


@pytest.mark.parametrize("saved", [None, [1], {}, {"horizon": 3, "unknown": 1}], ids=repr)
def test_all_else_is_left_for_others_to_judge(saved: object) -> None:
    assert saved_adaptation(saved) is saved
