"""The model card says what is known of an agent, to people and to the Hub."""

import json
import os
import re
from pathlib import Path

import pytest
from cli_runner import fails

import ssm_metarl as sm
from ssm_metarl.cli import main
from ssm_metarl.commands.train import Train
from ssm_metarl.errors import UserError
from ssm_metarl.parsing import parse
from ssm_metarl.training.publish import gathered

huggingface_hub = pytest.importorskip("huggingface_hub")
NAME = "somebody/cartpole"
OPTIONS = {"with_experience": False, "license": "mit", "trust_env_code": False}
RESULTS = [
    {"mode": "zero_shot", "shots": 0, "steps": 0, "mean": 33.25, "ci95": [30.0, 36.5],
     "adaptation_env_steps": 0.0, "deterministic_mean": 20.0, "iqm": 33.0, "per_task": [33.25]},
    {"mode": "standard", "shots": 5, "steps": 1, "mean": 494.0, "ci95": [480.5, 500.0],
     "adaptation_env_steps": 160.4, "deterministic_mean": 500.0, "iqm": 499.0, "per_task": [494.0]},
]  # fmt: skip


def evaluate(folder: Path, split: str = "held_out", **changes: object) -> None:
    """Write what ``ssm-metarl evaluate`` writes."""
    folder.mkdir(exist_ok=True)
    results = [{**row, "mean": row["mean"] - 10 * (split == "shifted")} for row in RESULTS]
    about = {"family": "CartPole-v1", "tasks": 100, "seed": 0, "split": split, "results": results}
    text = json.dumps({**about, "differences": [], "software": {"torch": "2.13.0"}, **changes})
    (folder / "evaluation.json").write_text(text)


def card_of(folder: Path) -> str:
    with gathered(folder, NAME, **OPTIONS) as files:
        return bytes(files["README.md"]).decode()


def section(card: str, title: str) -> str:
    found = re.search(rf"^## {title}\n\n(.*?)(?=^## |\Z)", card, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def test_people_read_what_it_is_and_what_it_is_worth(run_dir: Path) -> None:
    evaluate(run_dir)
    (run_dir / "figures").mkdir()
    (run_dir / "figures" / "adaptation.png").write_bytes(b"a picture")
    (run_dir / "videos").mkdir()
    (run_dir / "videos" / "before-after.mp4").write_bytes(b"a video")
    card = card_of(run_dir)
    assert "| `gravity` | 5 to 15 |" in section(card, "Tasks")
    results = section(card, "Results")
    assert "**100 held-out tasks** (seed 0):" in results
    assert "| standard, 1 step | 5 | 160 | 494.0 [480.5, 500.0] | 500.0 |" in results
    assert "![figures/adaptation.png](figures/adaptation.png)" in results
    assert f"huggingface.co/{NAME}/resolve/main/replay.mp4" in card
    assert "- seed: 0" in section(card, "Training")
    assert "not measured on tasks outside the ranges" in section(card, "Limits")
    assert section(card, "Licence") == "`mit`\n"


def test_its_command_trains_the_same_settings(run_dir: Path) -> None:
    command = section(card_of(run_dir), "Training").splitlines()[1]
    asked, _ = parse(Train, "train", command.split()[2:])
    family = sm.get_family("CartPole-v1")
    assert asked.config.resolve(family).to_json() == (run_dir / "config.json").read_text()


def test_the_hub_reads_results_of_each_split_in_plain_numbers(run_dir: Path) -> None:
    evaluate(run_dir)
    evaluate(run_dir / "shifted", "shifted")
    card = huggingface_hub.ModelCard(card_of(run_dir))
    data = card.data.to_dict()
    assert data["library_name"] == "ssm-metarl"
    assert data["license"] == "mit"
    assert data["pipeline_tag"] == "reinforcement-learning"
    assert {"ssm-metarl", "CartPole-v1"} <= set(data["tags"])
    held_out, shifted = data["model-index"][0]["results"]
    assert held_out["dataset"] == {
        "name": "CartPole-v1, 100 held-out tasks",
        "type": "CartPole-v1",
        "split": "held_out",
    }
    assert shifted["dataset"]["split"] == "shifted"
    assert shifted["dataset"]["name"] == "CartPole-v1, 100 shifted tasks"
    assert held_out["metrics"][1] == {
        "type": "mean_reward",
        "value": 494.0,
        "name": "mean return: standard, 1 step, 5 episodes",
        "args": {"ci95": [480.5, 500.0], "adaptation_env_steps": 160.4},
    }
    assert shifted["metrics"][1]["value"] == 484.0
    assert "!!python" not in card.content
    assert "not measured" not in card.text


def test_success_rates_are_metrics_too(run_dir: Path) -> None:
    success = {"mean": 0.85, "ci95": [0.8, 0.9], "deterministic_mean": 1.0, "per_task": [0.85]}
    evaluate(run_dir, results=[RESULTS[0], {**RESULTS[1], "success": success}])
    card = card_of(run_dir)
    assert "| 500.0 | 0.85 [0.80, 0.90] |" in card
    metrics = huggingface_hub.ModelCard(card).data.to_dict()["model-index"][0]["results"][0]
    assert [each["type"] for each in metrics["metrics"]] == ["mean_reward"] * 2 + ["success_rate"]


def test_without_an_evaluation_it_says_so(run_dir: Path) -> None:
    card = card_of(run_dir)
    assert section(card, "Results") == (
        "It has not been evaluated: nothing is known of what it is worth.\n\n"
    )
    assert "model-index" not in card


def test_an_agent_by_itself_has_no_command(run_dir: Path, tmp_path: Path) -> None:
    card = card_of(sm.save(sm.load(run_dir), tmp_path / "agent"))
    assert "is not known" in section(card, "Training")
    assert "```bash" not in section(card, "Training")


def test_numbers_of_an_earlier_checkpoint_are_noticed(run_dir: Path) -> None:
    evaluate(run_dir)
    os.utime(run_dir / "evaluation.json", (1e9, 1e9))
    with pytest.warns(UserWarning, match="older than the checkpoint"):
        card_of(run_dir)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"family": "Pendulum-v1"}, "is of 'Pendulum-v1', and the agent of 'CartPole-v1'"),
        ({"results": [{**RESULTS[0], "mode": "magic"}]}, "unknown mode 'magic'"),
        ({"results": [{**RESULTS[0], "ci95": [1.0]}]}, "ci95 cannot be"),
        ({"results": [{**RESULTS[0], "mean": "much"}]}, "mean cannot be 'much'"),
        ({"results": [{"mode": "standard"}]}, "does not say shots and"),
        ({"tasks": 1.5}, "tasks cannot be 1.5"),
    ],
)
def test_an_evaluation_that_is_none(changes: dict, reason: str, run_dir: Path) -> None:
    evaluate(run_dir, **changes)
    with pytest.raises(UserError, match=re.escape(reason)):
        card_of(run_dir)


def test_a_dry_run_shows_it_without_the_hub(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    evaluate(run_dir)
    assert main(["push", str(run_dir), NAME, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("---\nlibrary_name: ssm-metarl\nlicense: mit\n")
    assert "evaluation.json" in said
    (run_dir / "evaluation.json").write_text("{")
    assert "evaluation.json cannot be read" in fails(
        capsys, ["push", str(run_dir), NAME, "--dry-run"]
    )


def test_it_says_what_hybrid_needs(run_dir: Path) -> None:
    hybrid, fresh = {**RESULTS[1], "mode": "hybrid"}, {**RESULTS[1], "mode": "from_scratch"}
    evaluate(run_dir, results=[hybrid, fresh])
    card = card_of(run_dir)
    assert "which are not here" in section(card, "Limits")
    assert "| from scratch, 1 step |" in card
    assert "from scratch" not in card.partition("# cartpole")[0]  # it is not this agent's
    with gathered(run_dir, NAME, **{**OPTIONS, "with_experience": True}) as files:
        assert "which are not here" not in bytes(files["README.md"]).decode()


def test_an_agent_of_the_package_has_a_card() -> None:
    with gathered("pretrained/cartpole-in-context", NAME, **OPTIONS) as files:
        card = bytes(files["README.md"]).decode()
    assert "--mode in_context" in section(card, "Use")
    assert "environment steps: 5,339,185" in section(card, "Training")
    assert "rewards, which it has to be given" in section(card, "Limits")


def test_what_gradient_steps_change_is_said_where_it_is_not_all(run_dir: Path) -> None:
    assert "gradient steps change" not in card_of(run_dir)
    path = run_dir / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "adapts": "heads"}))
    assert "the action head alone, as in ANIL" in card_of(run_dir)
