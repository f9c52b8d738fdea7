"""The Space, put together, installed where nothing is, and opened as on Hugging Face."""

import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
from linking import link_requirements
from visiting import serving

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("gradio")
    folder = tmp_path_factory.mktemp("deploy") / "space"
    subprocess.run([sys.executable, "deploy/space.py", str(folder)], cwd=ROOT, check=True)
    return folder


def test_it_is_what_a_space_needs(space: Path) -> None:
    start, settings, _ = (space / "README.md").read_text().split("---\n", 2)
    assert start == ""
    named = dict(line.split(": ", 1) for line in settings.strip().splitlines())
    assert (space / named["app_file"]).is_file()
    assert named["sdk"] == "gradio"
    assert named["sdk_version"].count(".") == 2
    lines = (space / "requirements.txt").read_text().splitlines()[1:]
    assert all("==" in line for line in lines)
    assert (space / "ssm_metarl/pretrained/cartpole/experience/store.sqlite").is_file()
    assert not list(space.rglob("__pycache__"))


def test_it_replaces_itself_and_nothing_else(space: Path, tmp_path: Path) -> None:
    again = [sys.executable, "deploy/space.py"]
    subprocess.run([*again, str(space)], cwd=ROOT, check=True)
    (tmp_path / "precious").write_text("keep me")
    other = subprocess.run([*again, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert other.returncode == 1
    assert "is no Space" in other.stderr
    assert (tmp_path / "precious").exists()


def test_it_opens_where_nothing_else_is_installed(space: Path, browser: Any) -> None:
    """As a Space does: its requirements alone, its own app, a browser on it."""
    venv.create(space / "venv", symlinks=True)
    python = str(space / "venv" / "bin" / "python")
    link_requirements((space / "requirements.txt").read_text().splitlines()[1:], space / "venv")
    absent = "from importlib.util import find_spec; print(find_spec('pytest'), find_spec('pip'))"
    shown = subprocess.run([python, "-c", absent], cwd=space, capture_output=True, text=True)
    assert shown.stdout == "None None\n", shown.stderr
    with serving(space, (python, str(space / "app.py"))) as site:
        page = browser.new_page()
        page.set_default_timeout(90_000)
        page.goto(site.url)
        page.click("#adapt")
        page.wait_for_selector("#clips video")
        assert "→" in page.inner_text("#sentence .outcome")
        page.close()
