"""What the first screen says of what happened."""

import pytest

from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.evaluation.report import ModeResult
from ssm_metarl.ui.adapt_shown import best_of, summary, summary_text

CARTPOLE = get_family("CartPole-v1")


def row(mode: str, shots: int, mean: float) -> ModeResult:
    return ModeResult(mode, shots, 1, mean, mean, (mean, mean), 0.0, mean, (mean,))


@pytest.mark.parametrize(
    ("means", "shots"), [((10.0, 480.0, 500.0), 5), ((90.0, 80.0, 70.0), 1), ((100.0,) * 3, 1)]
)
def test_enough_is_the_first_that_comes_near_the_best_also_where_all_lose(
    means: tuple[float, ...], shots: int
) -> None:
    rows = [row("zero_shot", 0, 100.0)]
    rows += [row("standard", n, mean) for n, mean in zip((1, 5, 20), means, strict=True)]
    assert best_of(rows, "standard").shots == shots


def test_ways_that_do_equally_well_are_named_together() -> None:
    rows = [row("zero_shot", 0, 30.0)]
    rows += [row(mode, 1, 500.0) for mode in ("standard", "hybrid")]
    scratch = [row("from_scratch", 0, 20.0), row("from_scratch", 1, 90.0)]
    assert summary_text([*rows, *scratch], CARTPOLE) == [
        "After 1 episode, the standard agent balances for 500 of 500 steps, and so does the hybrid "
        "one; before, 30.",
        "from scratch: 90 after 1 episode",
    ]
    (lead,) = summary_text(rows, CARTPOLE)
    assert "so does the hybrid one" in lead


def test_who_needs_no_episode_is_good_in_the_first() -> None:
    rows = [row("zero_shot", 0, 500.0), row("in_context", 0, 500.0), row("in_context", 1, 499.0)]
    (lead,) = summary_text(rows, CARTPOLE)
    assert lead.startswith("Already in its first episode, while it works the task out, the in-cont")
    assert "balances for 500 of 500 steps; more episodes add little" in lead


def test_from_scratch_leads_only_alone_and_begins_as_it_was() -> None:
    rows = [row("from_scratch", 0, 20.0), row("from_scratch", 1, 90.0)]
    (lead,) = summary_text([row("zero_shot", 0, 30.0), *rows], CARTPOLE)
    assert lead == (
        "After 1 episode, the from scratch agent balances for 90 of 500 steps; before, 20."
    )
    rows = [row("zero_shot", 0, 30.0), *rows, row("standard", 1, 50.0)]
    lead, others = summary_text(rows, CARTPOLE)
    assert "the standard agent balances for 50" in lead
    assert others == "from scratch: 90 after 1 episode"


def test_a_loss_can_be_told() -> None:
    rows = [row("zero_shot", 0, 100.0), row("standard", 1, 90.0)]
    rows += [row("from_scratch", 0, 10.0), row("from_scratch", 1, 20.0)]
    lead, others = summary_text(rows, CARTPOLE)
    assert "balances for 90 of 500 steps; before, 100" in lead
    assert "from scratch: 20" in others
    assert "outcome" in summary(rows, CARTPOLE)
