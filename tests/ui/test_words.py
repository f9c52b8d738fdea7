"""Names in plain words."""

from pathlib import Path

from ssm_metarl.env_runner.registry import list_families
from ssm_metarl.evaluation.modes import EXPLAINED
from ssm_metarl.evaluation.report import MODES
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.settings import settings_of
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.words import MEMORIES, TRAINED, about, family_choices, ways_explained


def test_all_that_has_a_name_has_words() -> None:
    assert EXPLAINED.keys() == MODES.keys()
    assert all(words in ways_explained().replace("&#x27;", "'") for words in EXPLAINED.values())
    settings = settings_of(TrainConfig)
    assert set(TRAINED) == set(settings["mode"].choices)
    assert set(MEMORIES) == set(settings["cell"].choices)


def test_families_are_chosen_by_what_they_are() -> None:
    choices = family_choices()
    assert [name for _, name in choices] == [family.name for family in list_families()]
    assert len({words.partition(": ")[2] for words, _ in choices}) == len(choices)
    assert ("CartPole-v1: balance poles of different physics", "CartPole-v1") in choices


def test_what_adapts_in_both_ways_is_said_to(tmp_path: Path) -> None:
    for memory in ("episode", "trial"):
        (tmp_path / memory).mkdir()
        (tmp_path / memory / "config.json").write_text(TrainConfig(memory=memory).to_json())
    store = RunStore(tmp_path)
    assert "in its memory while it plays, and by a gradient step" in about(store, "trial")
    assert "in its memory" not in about(store, "episode")


def test_agents_with_similar_names_are_told_apart(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    assert "gradient step" in about(store, "cartpole")
    assert "while it plays" in about(store, "cartpole-in-context")
    assert about(store, "../x") == about(store, None) == ""
