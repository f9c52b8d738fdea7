"""What the Adapt tab says of the measurements."""

import re

import pytest

pytest.importorskip("gradio")

from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.evaluation.comparison import leading, summary
from ssm_metarl.evaluation.report import ModeResult
from ssm_metarl.ui.tabs.adapt import headline, means_table

CARTPOLE = get_family("CartPole-v1")


def row(mode: str, shots: int, mean: float) -> ModeResult:
    return ModeResult(mode, shots, 1, mean, mean, (mean, mean), 0.0, mean, (mean,))


@pytest.mark.parametrize(
    ("means", "shots"), [((10.0, 480.0, 500.0), 5), ((90.0, 80.0, 70.0), 1), ((100.0,) * 3, 1)]
)
def test_the_headline_takes_the_least_data_that_comes_near_the_best(
    means: tuple[float, ...], shots: int
) -> None:
    rows = [row("zero_shot", 0, 100.0)]
    rows += [row("standard", n, mean) for n, mean in zip((1, 5, 20), means, strict=True)]
    assert leading(rows).shots == shots


def test_from_scratch_leads_only_alone() -> None:
    rows = [row("zero_shot", 0, 30.0), row("from_scratch", 1, 90.0)]
    assert leading(rows).mode == "from_scratch"
    assert leading([*rows, row("standard", 1, 50.0)]).mode == "standard"


def test_the_numbers_are_shown_and_all_of_them_in_a_table() -> None:
    rows = [row("zero_shot", 0, 16.2), row("standard", 1, 500.0), row("hybrid", 1, 400.0)]
    told = "Mean return 16.2 before and 500 after 1 episode (standard)."
    assert summary(rows[0], rows[1]) == told
    assert "16.2 → 500 of 500" in headline(rows, CARTPOLE)
    assert "16.2 → 500<" in headline(rows, get_family("Pendulum-v1"))
    head, *body = means_table(rows).split("<tr>")[1:]
    assert re.findall(r">([^<]*)</th>", head)[1:] == ["zero-shot", "standard", "hybrid"]
    cells = [re.findall(r">([^<]*)</t[hd]>", one) for one in body if "<td" in one]
    assert cells == [["0", "16.2", "", ""], ["1", "", "500", "400"]]


def test_nothing_but_zero_shot_can_be_shown() -> None:
    told = headline([row("zero_shot", 0, 16.2)], CARTPOLE)
    assert "16.2 of 500<" in told
    assert "Mean return 16.2 without adapting." in told
