"""The notebook runs from its first cell to its last, in a kernel, with a shorter training."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / "examples" / "quickstart.ipynb"
RUN = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=300, resources={"metadata": {"path": "."}}).execute()
shown = [kind for cell in notebook.cells for output in cell.get("outputs", ())
         for kind in output.get("data", ())]
print(*shown)
"""


def test_it_runs(tmp_path: Path) -> None:
    for needed in ("nbclient", "ipykernel", "imageio", "matplotlib"):
        pytest.importorskip(needed)
    own = {"ITERATIONS": "1", "IPYTHONDIR": str(tmp_path), "PYTHONPATH": str(NOTEBOOK.parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(NOTEBOOK)],
        cwd=tmp_path,
        env={**os.environ, **own},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert {"image/png", "text/html"} <= {*done.stdout.split()}  # a figure and a video
    assert (tmp_path / "poles.mp4").stat().st_size > 10_000
