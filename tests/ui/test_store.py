"""The runs on disk: ids, summaries, and what cannot be deleted."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from visiting import TINY

from ssm_metarl.checkpoint.lock import RunLock
from ssm_metarl.checkpoint.names import RUN_ID
from ssm_metarl.errors import UserError
from ssm_metarl.training.loop import METRICS, train
from ssm_metarl.ui.limits import RUNS
from ssm_metarl.ui.page import about
from ssm_metarl.ui.store import RunStore


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_run: Path) -> Path:
    place = tmp_path_factory.mktemp("store")
    shutil.copytree(tiny_run, place / "runs" / "whole")
    half = train(TINY, place / "runs" / "half")
    next(half)
    half.close()
    shutil.copytree(place / "runs" / "half", place / "pretrained" / "given")
    return place


@pytest.fixture
def store(trained: Path, tmp_path: Path) -> RunStore:
    shutil.copytree(trained, tmp_path / "copy")
    return RunStore(tmp_path / "copy" / "runs", tmp_path / "copy" / "pretrained")


def test_a_summary_tells_how_far_a_run_came(store: RunStore) -> None:
    whole, half, given = (store.summary(name) for name in ("whole", "half", "given"))
    assert (whole.done, whole.iterations, whole.unfinished) == (2, 2, False)
    assert (half.done, half.iterations, half.unfinished) == (1, 2, True)
    assert (whole.family, whole.learner) == ("CartPole-v1", "meta_rl")
    files = [path for path in store.folder("whole").rglob("*") if path.is_file()]
    assert whole.bytes == sum(path.stat().st_size for path in files)
    assert (half.own, given.own) == (True, False)
    assert [run.name for run in store.unfinished()] == ["half"]  # a pretrained run is not continued
    assert store.first() == "given"


def test_damaged_runs_are_listed_and_can_be_deleted(store: RunStore) -> None:
    (store.folder("half") / "config.json").write_text("{")
    run = store.summary("half")
    assert (run.family, run.done, run.unfinished) == ("", 0, False)
    assert "half" in store.ids()
    assert "half" not in store.trained()
    store.delete("half")
    assert "half" not in store.ids()


@pytest.mark.parametrize(
    "changes", [{"best_return": 10**400}, {"iterations": -5}, {"gradient_norm": 10**400}]
)
def test_a_run_with_impossible_numbers_does_not_break_the_list(
    store: RunStore, changes: dict[str, Any]
) -> None:
    path = store.folder("whole") / METRICS
    *lines, last = path.read_text().splitlines()
    path.write_text("\n".join([*lines, json.dumps({**json.loads(last), **changes}), ""]))
    whole, half = store.summary("whole"), store.summary("half")
    assert (whole.family, whole.done, whole.best_return) == ("", 0, None)
    assert (half.family, half.done) == ("CartPole-v1", 1)
    assert {run.name for run in store.summaries()} == {"whole", "half", "given"}


def test_pretrained_runs_and_paths_cannot_be_deleted(store: RunStore) -> None:
    with pytest.raises(UserError, match="cannot be deleted"):
        store.delete("given")
    for hostile in ("../pretrained/given", "..", "/", "", None):
        with pytest.raises(UserError):
            store.delete(hostile)
    with RunLock(store.folder("half")), pytest.raises(UserError, match="half is being trained"):
        store.delete("half")
    assert set(store.ids()) == {"whole", "half", "given"}


def test_names_of_files_become_free_names_of_runs(store: RunStore) -> None:
    assert store.free_name("My Run (1)") == "my-run-1"
    assert store.free_name("whole") == "whole-2"
    assert store.free_name("../../é") == "run"
    assert store.free_name("Whole", "-1") == "whole-1"
    assert RUN_ID.fullmatch(store.free_name("X" * 200, "-1"))


def test_a_full_store_takes_no_more(tmp_path: Path) -> None:
    for number in range(RUNS):
        (tmp_path / f"run-{number}").mkdir()
        (tmp_path / f"run-{number}" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="delete one first"):
        RunStore(tmp_path).new_folder("one-more")


def test_what_adapts_stands_below_an_agent(store: RunStore) -> None:
    assert "family of tasks (meta_rl, ssm)" in about(store, "whole")
    path = store.folder("whole") / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "adapts": "heads"}))
    assert "tasks, adapting the action head alone, as in ANIL (meta_rl" in about(store, "whole")
