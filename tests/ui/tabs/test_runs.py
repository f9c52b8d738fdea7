"""The list of runs, and what it says of each."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from visiting import TINY

from ssm_metarl.checkpoint.lock import RunLock
from ssm_metarl.errors import CheckpointError, UserError
from ssm_metarl.training.loop import METRICS, train
from ssm_metarl.ui.limits import RUNS
from ssm_metarl.ui.listing import ago, differing, headline, learning_curves, settings, table
from ssm_metarl.ui.records import last_record
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.summary import Summary, summaries, unfinished
from ssm_metarl.ui.tabs.runs import free_name, shown


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("store")
    list(train(TINY, place / "runs" / "whole"))
    half = train(TINY, place / "runs" / "half")
    next(half)
    half.close()
    shutil.copytree(place / "runs" / "half", place / "pretrained" / "given")
    return place


@pytest.fixture
def store(trained: Path, tmp_path: Path) -> RunStore:
    shutil.copytree(trained, tmp_path / "copy")
    return RunStore(tmp_path / "copy" / "runs", tmp_path / "copy" / "pretrained")


def test_a_summary_says_how_far_a_run_came(store: RunStore) -> None:
    whole, half, given = (Summary.of(store, name) for name in ("whole", "half", "given"))
    assert (whole.done, whole.iterations, whole.unfinished) == (2, 2, False)
    assert (half.done, half.iterations, half.unfinished) == (1, 2, True)
    assert (whole.family, whole.learner) == ("CartPole-v1", "meta_rl")
    assert whole.bytes == sum(
        path.stat().st_size for path in store.folder("whole").rglob("*") if path.is_file()
    )
    assert (half.own, given.own) == (True, False)
    assert unfinished(store) == ["half"]  # what comes with the page is not continued


def test_damaged_runs_are_listed_so_that_they_can_be_deleted(store: RunStore) -> None:
    (store.folder("half") / "config.json").write_text("{")
    (store.folder("half") / "metrics.jsonl").write_text('{"iteration": "<b>"}\nnonsense\n')
    run = Summary.of(store, "half")
    assert (run.family, run.done, run.unfinished) == ("", 0, False)
    assert "cannot be read" in table(summaries(store), "half")
    assert "can still be deleted" in headline(run)
    assert learning_curves(store, run) == settings(store, "half") == ""
    store.delete("half")
    assert "half" not in store.ids()


def changed(file: Path, line: int, **changes: Any) -> None:
    lines = file.read_text().splitlines()
    lines[line] = json.dumps({**json.loads(lines[line]), **changes})
    file.write_text("\n".join([*lines, ""]))


@pytest.mark.parametrize(
    "changes",
    [
        {"best_return": 10**400},
        {"iteration": 10**400},
        {"iterations": -5},
        {"return_after": 1e308},
        {"gradient_norm": 10**400},
    ],
)
def test_a_run_of_impossible_numbers_takes_the_list_from_nobody(
    store: RunStore, changes: dict[str, Any]
) -> None:
    changed(store.folder("whole") / METRICS, -1, **changes)
    whole, half = (Summary.of(store, name) for name in ("whole", "half"))
    assert (whole.family, whole.done, whole.iterations, whole.best_return) == ("", 0, 0, None)
    assert (half.family, half.done) == ("CartPole-v1", 1)
    told = shown(store, "whole")
    assert "cannot be read" in told[0]
    assert "can still be deleted" in told[2]
    assert unfinished(store) == ["half"]


def test_metrics_damaged_before_their_end_are_not_drawn(store: RunStore) -> None:
    changed(store.folder("whole") / METRICS, 0, return_after=10**400)
    assert "metrics cannot be read" in shown(store, "whole")[3]
    assert "<figure" in shown(store, "half")[3]


def test_a_curve_leaves_out_what_was_not_measured(store: RunStore) -> None:
    changed(store.folder("whole") / METRICS, -1, return_after=None)
    assert "<figure" in shown(store, "whole")[3]


def test_links_in_a_run_are_not_followed(store: RunStore) -> None:
    (store.folder("half") / METRICS).unlink()
    (store.folder("half") / METRICS).symlink_to("nowhere")
    assert Summary.of(store, "half").done == 0
    assert "<figure" in shown(store, "half")[3]


def test_what_comes_with_the_page_cannot_be_deleted(store: RunStore) -> None:
    with pytest.raises(UserError, match="cannot be deleted"):
        store.delete("given")
    for hostile in ("../pretrained/given", "..", "/", "", None):
        with pytest.raises(UserError):
            store.delete(hostile)
    assert "given" in store.ids()


def test_a_run_at_work_elsewhere_is_not_deleted(store: RunStore) -> None:
    with RunLock(store.folder("half")), pytest.raises(UserError, match="half is being trained by"):
        store.delete("half")
    store.delete("half")
    assert "half" not in store.ids()


def test_the_list_marks_the_chosen_run_and_escapes(store: RunStore) -> None:
    text = (store.folder("whole") / "config.json").read_text()
    (store.folder("whole") / "config.json").write_text(text.replace("CartPole-v1", "<script>"))
    rows = table(summaries(store), "half")
    assert rows.count('aria-pressed="true"') == 1
    assert '<tr data-run="half"><th scope="row"><button type="button" aria-pressed="true">' in rows
    assert "<script>" not in rows + headline(Summary.of(store, "whole"))
    assert "<script>" not in settings(store, "whole")
    assert "<figure" in learning_curves(store, Summary.of(store, "whole"))  # an unknown family


def test_settings_that_differ_come_first(store: RunStore) -> None:
    told = differing(store.config("whole"))
    assert list(told)[:2] == ["mode", "env_name"]
    assert told["width"] == 8
    assert "seed" not in told
    first, rest = settings(store, "whole").split("<details>")
    assert "width" in first
    assert "seed" in rest
    assert "what suits the family" in rest


def test_the_last_record_is_the_last_whole_line(store: RunStore, tmp_path: Path) -> None:
    path = tmp_path / METRICS
    assert last_record(path) == {}
    first, last = (store.folder("whole") / METRICS).read_text().splitlines(keepends=True)
    path.write_text(first * 500 + last + first[:20])
    assert last_record(path) == json.loads(last)
    path.write_text(first + "nonsense\n")
    with pytest.raises(CheckpointError, match="not of a training"):
        last_record(path)


def test_ages_are_said_in_words() -> None:
    now = time.time()
    said = [ago(now - seconds) for seconds in (1, 61, 3 * 3600 + 1, 86400 * 2 + 1)]
    assert said == ["just now", "1 minute ago", "3 hours ago", "2 days ago"]


def test_names_of_files_become_names_of_runs(store: RunStore) -> None:
    assert free_name(store, "My Run (1)") == "my-run-1"
    assert free_name(store, "whole") == "whole-2"
    assert free_name(store, "../../é") == "run"


def test_a_full_store_takes_no_more(tmp_path: Path) -> None:
    for number in range(RUNS):
        (tmp_path / f"run-{number}").mkdir()
        (tmp_path / f"run-{number}" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="delete one first"):
        RunStore(tmp_path).new_folder("one-more")
