"""The Runs tab: its list, and the details of one run."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio")

from ssm_metarl.training.loop import METRICS
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.tabs.runs import ago, headline, row, settings_of, shown


@pytest.fixture
def store(tiny_run: Path, tmp_path: Path) -> RunStore:
    for name in ("mine", "other"):
        shutil.copytree(tiny_run, tmp_path / "runs" / name)
    return RunStore(tmp_path / "runs", tmp_path / "pretrained")


def test_the_details_are_of_the_choice_or_the_agent_or_the_first(store: RunStore) -> None:
    first = store.ids()[0]
    for choice, agent, name in (
        ("mine", "other", "mine"),
        ("gone", "other", "other"),
        (["x"], None, first),
    ):
        rows, chosen, title, curve, differ, every, *_ = shown(store, choice, agent)
        assert {one[0] for one in rows} == {"mine", "other"}
        assert chosen == name
        assert name in title
        assert "2 of 2 iterations" in title
        assert "<svg" in curve
        assert f"{name}: return during training" in curve
        assert len(differ) < len(every)
    assert "There are no runs" in shown(RunStore(store.pretrained, store.pretrained), None)[2]


def changed(file: Path, line: int, **changes: Any) -> None:
    lines = file.read_text().splitlines()
    lines[line] = json.dumps({**json.loads(lines[line]), **changes})
    file.write_text("\n".join([*lines, ""]))


def test_what_cannot_be_read_is_said(store: RunStore) -> None:
    changed(store.folder("mine") / METRICS, 0, return_after=10**400)  # the list reads the last
    assert shown(store, "mine")[3] == ""
    (store.folder("other") / "config.json").write_text("{")
    run = store.summary("other")
    assert row(run)[1] == "cannot be read"
    assert "can still be deleted" in headline(run)
    assert settings_of(store, run) == ([], [])


def test_names_from_a_run_are_escaped(store: RunStore) -> None:
    path = store.folder("mine") / "config.json"
    path.write_text(path.read_text().replace("CartPole-v1", "<script>"))
    rows, _, title, _, differ, _, *_ = shown(store, "mine")
    assert "<script>" not in title  # the tables show text, which Gradio escapes
    assert ["env_name", "<script>"] in differ
    assert "<script>" in next(one for one in rows if one[0] == "mine")


def test_settings_that_differ_come_first(store: RunStore) -> None:
    differ, every = settings_of(store, store.summary("mine"))
    assert [name for name, _ in differ[:2]] == ["mode", "env_name"]
    assert ["width", "8"] in differ
    assert "seed" not in dict(differ)
    assert "seed" in dict(every)


def test_ages_are_in_words() -> None:
    now = time.time()
    told = [ago(now - seconds) for seconds in (1, 61, 3 * 3600 + 1, 86400 * 2 + 1)]
    assert told == ["just now", "1 minute ago", "3 hours ago", "2 days ago"]
