"""What the page gives to copy makes the page's own numbers again, all their digits."""

import contextlib
import io
import json
import re
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
from visiting import ROOT, TINY

pytest.importorskip("gradio")

import ssm_metarl as sm
from ssm_metarl.analysis import retrieval, spectrum
from ssm_metarl.cli import main
from ssm_metarl.core.config import from_settings
from ssm_metarl.env_runner import registry
from ssm_metarl.evaluation.comparison import Measured
from ssm_metarl.evaluation.evaluate import EvaluationPlan
from ssm_metarl.evaluation.report import ModeResult
from ssm_metarl.training.loop import train
from ssm_metarl.ui.clips import agent_after
from ssm_metarl.ui.comparison import measure
from ssm_metarl.ui.query import Query, Subject, able_modes, answers
from ssm_metarl.ui.reproduce import (
    NOTHING,
    of_evaluation,
    of_retrieval,
    of_spectrum,
    of_training,
)
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.tabs.memory import retrieved

pytestmark = pytest.mark.slow
FILE = ROOT / "examples" / "families" / "pendulum.toml"


@pytest.fixture
def store(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    monkeypatch.chdir(tmp_path)
    for drawn in ("evaluate.draw_evaluation", "train.attempt"):
        monkeypatch.setattr(f"ssm_metarl.commands.{drawn}", lambda *_: None)
    shutil.copytree(tiny_run, tmp_path / "runs" / "mine")
    return RunStore(tmp_path / "runs", tmp_path / "pretrained")


def blocks(text: str) -> dict[str, str]:
    return dict(re.findall(r"```(\w+)\n(.*?)\n```", text, re.DOTALL))


def printed(python: str) -> list[str]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(python, {})
    return out.getvalue().splitlines()


def commanded(command: str, *more: str) -> None:
    program, *flags = shlex.split(command)
    assert program == "ssm-metarl"
    assert main([*flags, *more]) == 0


def as_lines(rows: Iterable[ModeResult]) -> set[str]:
    return {f"{row.mode} {row.steps} {row.shots} {row.mean:.4g}" for row in rows}


def met(store: RunStore, run: str, task: dict[str, float]) -> tuple[Subject, Query]:
    agent, _ = store.agent(run)
    query = Query.asked(run, task, able_modes(agent), 2, 1, 3)
    return Subject.of(store, query), query


def same_again(store: RunStore, run: str, task: dict[str, float]) -> str:
    """Adapt as the page does, then as it says; return what it says."""
    subject, query = met(store, run, task)
    rows = [one.result for one in answers(subject, query)]
    text = of_evaluation(store, [subject.measured(run, query.plan())])
    given = blocks(text)
    commanded(given["bash"], "--no_video")
    saved = store.folder(run) / "evaluate" / "task" / "evaluation.json"
    again = {
        (row["mode"], row["steps"], row["shots"]): (row["mean"], row["ci95"], row["per_task"])
        for row in json.loads(saved.read_text())["results"]
    }
    for row in rows:
        numbers = row.mean, list(row.ci95), list(row.per_task)
        assert again[row.mode, row.steps, row.shots] == numbers
    assert as_lines(rows) <= set(printed(given["python"]))
    return text


def test_adapting_is_repeated(store: RunStore, tmp_path: Path) -> None:
    text = same_again(store, "mine", {"gravity": 12.34, "length": 0.5, "swap": 1.0})
    assert "evaluate runs/mine --task gravity=12.34,swap=1 --modes zero_shot,standard" in text
    trial = from_settings(
        type(TINY), {**vars(TINY), "memory": "trial", "episodes_per_trial": 2, "num_epochs": 1}
    )
    list(train(trial, tmp_path / "runs" / "trial"))
    assert "--task nominal" in same_again(store, "trial", {})


def test_comparing_is_repeated(store: RunStore, tiny_run: Path) -> None:
    shutil.copytree(tiny_run, store.runs / "other")
    asked = (["standard"], "shifted", 2, 2, 1, 3)
    *_, found = measure(store, ["mine", "other"], *asked)
    given = blocks(of_evaluation(store, found))
    first, second = given["bash"].splitlines()
    assert second == first.replace("runs/mine", "runs/other")
    commanded(first, "--no_video")
    saved = json.loads((store.folder("mine") / "evaluation.json").read_text())
    assert [row["mean"] for row in saved["results"]] == [row.mean for row in found[0].rows]
    lines = printed(given["python"])
    assert len(lines) == 2 * len(found[0].rows)
    assert set(lines) == as_lines(found[0].rows)


def learned(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{**json.loads(line), "seconds": 0, "collect_seconds": 0} for line in lines]


def test_training_is_repeated(store: RunStore) -> None:
    given = blocks(of_training(store, "mine"))
    commanded(given["bash"], "--run_dir=runs/commanded")
    printed(given["python"])
    first = learned(store.folder("mine"))
    assert learned(store.folder("commanded")) == first
    assert learned(store.folder("again")) == first
    assert of_training(store, None) == NOTHING


def test_what_the_tabs_that_look_closer_show_is_repeated(store: RunStore) -> None:
    subject, query = met(store, "mine", {"swap": 1.0})
    found = subject.measured("mine", query.plan())
    (said,) = printed(blocks(of_retrieval(store, found, 1))["python"])
    stored = retrieval.stored_tasks(subject.agent)
    assert said == str(retrieval.as_numbers(retrieved(subject, 1, query.seed), stored))
    looked = subject.measured("mine", query.plan_of("hybrid"))
    (said,) = printed(blocks(of_spectrum(store, looked))["python"])
    after = agent_after(subject, query, "hybrid")
    assert said == str(spectrum.as_numbers(subject.agent, after))


def test_a_family_of_ones_own_is_declared_again(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {})
    family = sm.register(sm.read_family(FILE))
    own = from_settings(type(TINY), {**vars(TINY), "env_name": family.name, "num_epochs": 1})
    list(train(own, store.runs / "own"))
    text = of_training(store, "own")
    monkeypatch.setattr(registry, "_REGISTERED", {})  # as in a program that knows nothing of it
    commanded(blocks(text)["bash"], "--run_dir=runs/commanded")
    assert learned(store.runs / "commanded") == learned(store.runs / "own")
    declared = "sm.register(sm.read_family('runs/own/family.toml'))\n"
    assert declared in blocks(text)["python"]
    code = sm.TaskFamily(family.name, env_id="Pendulum-v1")
    monkeypatch.setattr(registry, "_REGISTERED", {code.name: code})
    measured = Measured("own", code, code.task(), "chosen", EvaluationPlan(("zero_shot",)))
    assert "`--family FILE.py --trust_env_code`" in of_evaluation(store, [measured])


def test_an_address_is_no_absolute_path(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.address("mine") == "runs/mine"
    monkeypatch.chdir("/")
    elsewhere = RunStore(store.runs, store.pretrained)
    assert not elsewhere.address("mine").startswith("/")
