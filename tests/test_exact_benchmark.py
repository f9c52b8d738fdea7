"""The benchmark of worlds with an exact answer, in seconds: trained, resumed, measured, drawn."""

import json
from pathlib import Path

import numpy as np
import pytest

from ssm_metarl.env_runner.registry import get_family


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import exact  # pyright: ignore[reportMissingImports]

    return exact


@pytest.mark.parametrize(
    ("world", "points"),
    [("BernoulliBandit-k3-n10", 10), ("TabularMDP-n2", 2), ("GridWorld-v0", 4)],
)
def test_a_small_run(world: str, points: int, exact, tmp_path: Path) -> None:  # noqa: ANN001
    pytest.importorskip("matplotlib")
    small = {"tasks": 60, "lanes": 2, "batch": 8, "runs": tmp_path / "runs", "out": tmp_path}
    if points == 10:
        exact.main(world, epochs=2, minutes=0.0, **small)  # stopped after an iteration
        found = json.loads((tmp_path / f"exact-{world}.json").read_text())
        assert [one["iteration"] for one in found["trainings"]] == [1]
    exact.main(world, epochs=2, **small)
    found = json.loads((tmp_path / f"exact-{world}.json").read_text())
    assert (tmp_path / f"exact-{world}.png").stat().st_size > 10_000
    assert [one["iteration"] for one in found["trainings"]] == [2]
    results = found["results"]
    assert all(len(row["curve"]) == points for row in results.values())
    best = results[found["yardstick"]]
    assert best["of_yardstick"] == pytest.approx(1.0)
    assert results["random"]["of_yardstick"] == pytest.approx(0.0)
    assert sum(best["curve"]) == pytest.approx(best["mean"])
    if world.startswith("Bernoulli"):
        assert found["bayes_optimum"] == pytest.approx(best["mean"], abs=1.0)


def test_agents_and_references_meet_the_same_numbers(exact) -> None:  # noqa: ANN001
    from exact_references import in_parts, references, world_of  # pyright: ignore

    world = world_of(get_family("BernoulliBandit-k2-n6"))
    tasks = world.family.held_out(30)
    played = references(world, tasks, 3, exact.SEED)
    assert in_parts(np.arange(7.0), 3).tolist() == [3.0, 12.0]
    again = references(world, tasks, 3, exact.SEED)
    for name, curve in played.items():
        np.testing.assert_array_equal(curve, again[name])
        assert curve.shape == (6, 30)
