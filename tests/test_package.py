"""What pip installs: the wheel and the sdist hold what they should, and work by themselves."""

import email.message
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from linking import link_requirements
from packaging.requirements import Requirement

import ssm_metarl

ROOT = Path(__file__).parent.parent
NAME = f"ssm_metarl-{ssm_metarl.__version__}"
HELD = (
    "py.typed",
    "ui/style.css",
    "ui/player.js",
    "training/pace.json",
    "deployment/c/policy.c",
    "pretrained/cartpole/checkpoint/checkpoint.json",
    "pretrained/cartpole/experience/store.sqlite",
    "pretrained/cartpole-in-context/config.json",
)
LEFT_OUT = re.compile(r"^(tests|benchmarks|runs|findings|docs)/|\.(pyc|lock|sqlite-(shm|wal))$")
PAGE = [{"extra": extra} for extra in ("", "app", "figures", "video")]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheel and the sdist."""
    pytest.importorskip("hatchling")
    pytest.importorskip("hatch_fancy_pypi_readme")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def wheel(built: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(built / f"{NAME}-py3-none-any.whl")


def metadata(built: Path) -> email.message.Message:
    return email.message_from_bytes(wheel(built).read(f"{NAME}.dist-info/METADATA"))


def test_the_wheel_holds_the_package_and_what_comes_with_it(built: Path) -> None:
    names = set(wheel(built).namelist())
    assert {f"ssm_metarl/{name}" for name in HELD} <= names
    examples = {path.name for path in (ROOT / "examples" / "families").glob("*.toml")}
    assert {f"ssm_metarl/examples/families/{name}" for name in examples} <= names
    assert {name.partition("/")[0] for name in names} == {"ssm_metarl", f"{NAME}.dist-info"}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "ssm_metarl").rglob("*.py")}
    assert modules <= names
    assert not [name for name in names if LEFT_OUT.search(name)]


def test_the_sdist_builds_the_same_wheel_and_holds_no_more(built: Path, tmp_path: Path) -> None:
    with tarfile.open(built / f"{NAME}.tar.gz") as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers()}
        archive.extractall(tmp_path, filter="data")
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"} <= names
    assert {f"ssm_metarl/{name}" for name in HELD} <= names
    assert not [name for name in names if LEFT_OUT.search(name)]
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=tmp_path / NAME, check=True, capture_output=True)
    again = zipfile.ZipFile(tmp_path / f"{NAME}-py3-none-any.whl")
    assert sorted(again.namelist()) == sorted(wheel(built).namelist())


def test_its_description_has_no_links_that_lead_nowhere(built: Path) -> None:
    """PyPI shows the README, where links into the repository are none."""
    about = metadata(built)
    text = about.get_payload()
    assert isinstance(text, str)
    targets = re.findall(r"\]\(([^)\s]+)", text)
    assert len(targets) > 10
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    assert about["Version"] == ssm_metarl.__version__
    assert about["License-Expression"] == "MIT"
    extras = set(about.get_all("Provides-Extra") or ())
    assert {"app", "hub", "onnx", "mujoco", "worlds", "sweep", "all"} <= extras


def test_a_release_publishes_what_was_built_and_tried_and_holds_no_token() -> None:
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"]
    assert set(jobs["publish"]["needs"]) == jobs.keys() - {"publish"}
    assert [name for name, job in jobs.items() if "id-token" in job.get("permissions", {})] == [
        "publish"
    ]
    assert "secrets." not in text
    tried = jobs["install"]["strategy"]["matrix"]["python"]
    declared = (ROOT / "pyproject.toml").read_text()
    assert re.findall(r'"Programming Language :: Python :: (3\.\d+)"', declared) == tried


@pytest.fixture(scope="module")
def python(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run the interpreter of an environment with the wheel and what it needs, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", symlinks=True)
    needs = [Requirement(line) for line in metadata(built).get_all("Requires-Dist") or ()]
    lines = [
        f"{need.name}[{','.join(need.extras)}]{need.specifier}"
        for need in needs
        if need.name != "ssm-metarl"
        and (need.marker is None or any(need.marker.evaluate(extra) for extra in PAGE))
    ]
    link_requirements(lines, folder / "venv")
    interpreter = folder / "venv" / "bin" / "python"
    (archive,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "--no-deps"]
    subprocess.run([*pip, "--no-index", str(archive)], check=True, capture_output=True)
    (folder / "empty").mkdir()

    def run(*argv: str) -> str:
        program = [str(interpreter.with_name(argv[0])), *argv[1:]]
        alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        place = {"cwd": folder / "empty", "env": {**alone, "HOME": str(folder)}}
        ran = subprocess.run(program, capture_output=True, text=True, **place)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    return run


def test_it_works_without_the_repository(python: Callable[..., str]) -> None:
    assert python("ssm-metarl", "--version") == f"ssm-metarl {ssm_metarl.__version__}\n"
    code = """
import sys
from importlib.util import find_spec
from pathlib import Path
import ssm_metarl as sm
from ssm_metarl.cli import main
assert "site-packages" in sm.__file__ and not find_spec("pytest") and not find_spec("mujoco")
argv = ["--episodes=1", "--no_video", "--save=mine"]
assert main(["adapt", "pretrained/cartpole", *argv]) == 0
assert Path("cartpole/adapt/standard/episodes.png").exists()
assert main(["export", "mine", "--to=policy.c"]) == 0
assert sm.read_family("examples/families/pendulum.toml").parameters
assert sm.load("pretrained/cartpole-in-context").family == "CartPole-v1"
from ssm_metarl.ui import server
page = server.build(server.RunStore(Path("runs")), server.Jobs())
print("tabs:", *(block.label for block in page.blocks.values() if type(block).__name__ == "Tab"))
"""
    said = python("python", "-c", code)
    assert "tabs: Adapt Train Compare Runs Memory Inside" in said
