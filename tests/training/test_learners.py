"""What the trainer does for every learner: validate, keep the best, describe what may diverge."""

from collections.abc import Iterable, Iterator

import pytest
import torch
from numpy.random import SeedSequence

from ssm_metarl.env_runner.registry import get_family
from ssm_metarl.env_runner.spaces import policy_spaces
from ssm_metarl.meta_rl.learner import Report
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.learners import Trainer, make_trainer
from ssm_metarl.training.validation import VALIDATIONS, Validated

FAMILY = get_family("CartPole-v1")
SMALL = TrainConfig(num_epochs=5, validate_every=2, validation_tasks=2, width=4, state_size=2)


def trainer_of(config: TrainConfig) -> Trainer:
    return make_trainer(config.resolve(FAMILY), FAMILY, policy_spaces(FAMILY))


def counting_trainer(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch, returns: Iterable[float] = ()
) -> Trainer:
    """A trainer whose learner writes the number of the iteration into its parameters."""
    trainer = trainer_of(config)
    played: Iterator[float] = iter(returns)

    def iterate(seed: SeedSequence, iteration: int) -> Report:
        with torch.no_grad():
            trainer.learner.params["encoder.bias"].fill_(iteration)
        return Report(7, {"loss": 0.5}, mean_return=next(played, None))

    with torch.no_grad():
        trainer.learner.params["encoder.bias"].fill_(0)
    monkeypatch.setattr(trainer.learner, "iterate", iterate)
    return trainer


def best(trainer: Trainer) -> int:
    """Return the iteration whose parameters are kept."""
    return int(trainer.snapshot().tensors["best/params/encoder.bias"][0])


def test_validation_is_now_and_then_and_at_the_end_and_keeps_the_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores, seeds = iter([1.0, 3.0, 2.0]), []

    def scripted(agent, family, tasks, episodes, seed) -> Validated:  # noqa: ANN001
        seeds.append(seed.spawn_key)
        assert (len(tasks), episodes) == (2, 5)
        assert agent.params["encoder.bias"].requires_grad is False
        score = next(scores)
        return Validated(score - 10.0, score + 10.0, score)

    monkeypatch.setitem(VALIDATIONS, "adaptation", scripted)
    trainer = counting_trainer(SMALL, monkeypatch)
    phases: list[str] = []
    trainer.learner.on_phase = phases.append
    rows = [trainer.iterate() for _ in range(5)]
    assert [row.return_before for row in rows] == [None, -9.0, None, -7.0, -8.0]
    assert [row.return_after for row in rows] == [None, 11.0, None, 13.0, 12.0]
    assert [row.environment_steps for row in rows] == [7, 14, 21, 28, 35]
    assert rows[0].metrics == {"loss": 0.5, "failed_episodes": 0}
    assert (trainer.best_return, best(trainer)) == (3.0, 4)
    assert phases == ["validation"] * 3
    assert len(set(seeds)) == 1  # the same episodes each time: differences are of the parameters
    tensors = trainer.snapshot().tensors
    assert (tensors["last/params/encoder.bias"] == 5).all()


def test_of_equals_the_newest_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted = lambda *_: Validated(0.0, 1.0, 1.0)  # noqa: E731
    monkeypatch.setitem(VALIDATIONS, "adaptation", scripted)
    trainer = counting_trainer(SMALL, monkeypatch)
    for _ in range(5):
        trainer.iterate()
    assert best(trainer) == 5


def test_returns_of_training_are_of_the_parameters_that_the_iteration_began_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = TrainConfig(mode="policy_gradient", num_episodes=30, width=4, state_size=2)
    trainer = counting_trainer(config, monkeypatch, returns=[5.0, 9.0, 8.0])
    rows = [trainer.iterate() for _ in range(3)]
    assert [row.return_before for row in rows] == [5.0, 9.0, 8.0]
    assert [row.return_after for row in rows] == [None] * 3
    assert (trainer.best_return, best(trainer)) == (9.0, 1)


def test_what_is_restored_is_compared_with_from_there_on(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainConfig(mode="policy_gradient", num_episodes=30, width=4, state_size=2)
    trainer = counting_trainer(config, monkeypatch, returns=[5.0, 9.0])
    for _ in range(2):
        trainer.iterate()
    saved = trainer.snapshot()
    other = counting_trainer(config, monkeypatch, returns=[8.0])
    other.restore(saved)
    assert (other.learner.params["encoder.bias"] == 2).all()
    assert other.iterate().iteration == 3
    assert (other.best_return, best(other)) == (9.0, 1)


def test_the_rates_to_lower_are_named_with_their_values() -> None:
    assert trainer_of(SMALL).rates == "--outer_lr (now 0.005) or --inner_lr (now 0.03)"
    for mode, rate in (("rl2", "0.003"), ("policy_gradient", "0.01")):
        assert trainer_of(TrainConfig(mode=mode)).rates == f"--outer_lr (now {rate})"


@pytest.mark.parametrize("mode", ["meta_rl", "rl2", "policy_gradient"])
def test_every_learner_logs_what_everybody_looks_for(mode: str) -> None:
    config = TrainConfig(
        mode=mode,
        num_epochs=4,
        num_episodes=8,
        tasks_per_epoch=2,
        episodes_per_task=2,
        support_steps=20,
        query_steps=20,
        episodes_per_trial=2,
        outer_epochs=2,
        width=4,
        state_size=2,
    )
    trainer = trainer_of(config)
    initial = trainer.learner.optimizer.learning_rate
    metrics = trainer.learner.iterate(SeedSequence(0), 1).metrics
    assert metrics["learning_rate"] == initial
    for name in ("approx_kl", "clip_fraction", "gradient_norm"):
        assert metrics[name] is not None
        assert metrics[name] >= 0.0
    assert 0.6 < metrics["entropy"] < 0.7  # near that of two equal chances, log 2
    assert -1.0 < metrics["explained_variance"] < 1.0
    assert metrics["approx_kl"] > 0.0  # of the last epoch, when the policy has moved


@pytest.mark.parametrize("mode", ["meta_rl", "rl2"])
def test_the_rate_falls_over_the_training(mode: str) -> None:
    small = {"tasks_per_epoch": 2, "episodes_per_task": 2, "episodes_per_trial": 2}
    config = TrainConfig(
        mode=mode, num_epochs=4, outer_lr=0.4, support_steps=5, query_steps=5, **small
    )
    trainer = trainer_of(config)
    rates = [
        trainer.learner.iterate(SeedSequence(0), i).metrics["learning_rate"] for i in (1, 2, 4)
    ]
    assert rates == pytest.approx([0.4, 0.3, 0.1])


def test_a_policy_gradient_keeps_its_rate() -> None:
    config = TrainConfig(mode="policy_gradient", num_episodes=20, outer_lr=0.02)
    trainer = trainer_of(config)
    metrics = trainer.learner.iterate(SeedSequence(0), 2).metrics
    assert metrics["learning_rate"] == 0.02
