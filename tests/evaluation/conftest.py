"""Figures that can be looked into after they were saved."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that was saved, in order."""
    saved: list[Figure] = []
    save = Figure.savefig

    def savefig(self: Figure, target: Path, *, format: str, dpi: float) -> None:
        saved.append(self)
        save(self, target, format=format, dpi=dpi)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return saved
