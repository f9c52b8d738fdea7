"""``compare``: seeds of one method are pooled, and other tasks refused."""

import dataclasses
import json
from pathlib import Path

import pytest
from cli_runner import fails

from ssm_metarl.cli import main
from ssm_metarl.evaluation.report import Evaluation, ModeResult
from ssm_metarl.training.config import TrainConfig


def evaluated(folder: Path, returns: tuple[float, ...], split: str = "held_out") -> Path:
    """Write what `evaluate` writes."""
    mean = sum(returns) / len(returns)
    row = ModeResult("standard", 5, 1, mean, mean, (mean, mean), 100.0, mean, returns)
    folder.mkdir(exist_ok=True)
    evaluation = Evaluation("CartPole-v1", len(returns), 0, split, (row,))
    (folder / "evaluation.json").write_text(evaluation.to_json())
    return folder


def run_of(folder: Path, returns: tuple[float, ...], **settings: object) -> str:
    evaluated(folder, returns)
    config = dataclasses.replace(TrainConfig(), **settings)
    (folder / "config.json").write_text(config.to_json())
    return str(folder)


def test_runs_that_differ_by_the_seed_are_one_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [
        run_of(tmp_path / "maml-seed-0", (10.0, 20.0, 30.0), seed=0),
        run_of(tmp_path / "maml-seed-1", (30.0, 40.0, 50.0), seed=1),
        run_of(tmp_path / "first-order", (11.0, 21.0, 31.0), first_order=True),
    ]
    assert main(["compare", *runs]) == 0
    told = json.loads(Path("comparison/comparison.json").read_text())
    names = [(one["name"], len(one["runs"]), one["mean"]) for one in told["methods"]]
    assert names == [("maml", 2, 30.0), ("first-order", 1, 21.0)]
    (pair,) = told["comparisons"]
    assert pair["difference"]["mean"] == pytest.approx(-9.0)
    assert pair["probability_of_improvement"]["mean"] == pytest.approx(0.5)
    out = capsys.readouterr().out
    assert "first-order minus maml" in out
    assert Path("comparison/comparison.png").is_file()


def test_a_saved_agent_stands_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [evaluated(tmp_path / name, (1.0, 2.0)) for name in ("mine-0", "mine-1")]
    assert main(["compare", *map(str, runs), f"--out={tmp_path / 'out'}"]) == 0
    told = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [one["name"] for one in told["methods"]] == ["mine-0", "mine-1"]


def test_what_cannot_be_compared_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = evaluated(tmp_path / "one", (1.0, 2.0))
    other = evaluated(tmp_path / "other", (1.0, 2.0), split="shifted")
    message = fails(capsys, ["compare", str(one), str(other)])
    assert "not evaluated on the same tasks: split is held_out and shifted" in message
    assert "named twice" in fails(capsys, ["compare", str(one), str(one)])
    empty = tmp_path / "empty"
    empty.mkdir()
    assert f"ssm-metarl evaluate {empty} writes it" in fails(capsys, ["compare", str(empty)])
    assert "needs RUN..." in fails(capsys, ["compare"])
    (one / "evaluation.json").write_text("{")
    assert "evaluation.json" in fails(capsys, ["compare", str(one)])
    assert not Path("comparison").exists()


def test_adastop_says_when_seeds_suffice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [
        run_of(tmp_path / f"{name}-{seed}", (level + 0.1 * seed, level), seed=seed, inner_lr=rate)
        for name, level, rate in (("good", 9.0, 0.1), ("bad", 1.0, 0.2), ("same", 1.01, 0.3))
        for seed in range(5)
    ]
    asked = ["compare", *runs, "--adastop=5", f"--out={tmp_path / 'out'}"]
    assert main(asked) == 0
    out = capsys.readouterr().out
    assert "AdaStop, 5 seeds each: good better than bad" in out
    assert "bad not told apart yet from (train more seeds) same" in out
    told = json.loads((tmp_path / "out" / "comparison.json").read_text())["adastop"]
    assert told[0] == {"first": "good", "second": "bad", "sign": 1, "seeds": 5}
    assert main([*asked, "--adastop_groups=1"]) == 0
    assert "bad equal to, as far as it can tell, same" in capsys.readouterr().out
    message = fails(capsys, ["compare", *runs[:8], "--adastop=5", f"--out={tmp_path / 'out'}"])
    assert "--adastop: the test needs two methods of at least 5 seeds each" in message
