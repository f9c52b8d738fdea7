"""Build the folder of a Hugging Face Space that shows the page.

    python deploy/space.py build/space

The folder can be pushed as it is: README with the Space's settings, pinned requirements, the app,
the package and its pretrained agents. An earlier one is replaced.
"""

import argparse
import shutil
import sys
import tempfile
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement  # which Gradio needs too

HERE = Path(__file__).parent
ROOT = HERE.parent
CPU_WHEELS = "--extra-index-url https://download.pytorch.org/whl/cpu"
APP = '''"""The page of ssm-metarl, as a Space serves it: open to the network on port 7860."""

import sys

from ssm_metarl.cli import main

if __name__ == "__main__":
    sys.exit(main(["app", "--host", "0.0.0.0", *sys.argv[1:]]))
'''


def build(folder: Path) -> None:
    """Write the Space, whole or not at all.

    Args:
        folder: Created, or replaced if it is an earlier Space.

    Raises:
        SystemExit: Something else is there.
    """
    if folder.exists() and not (folder / "README.md").is_file():
        raise SystemExit(f"{folder} exists and is no Space; name a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        new = Path(place) / "space"
        skipped = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(ROOT / "ssm_metarl", new / "ssm_metarl", ignore=skipped)
        shutil.copy(ROOT / "LICENSE", new)
        readme = (HERE / "space.md").read_text(encoding="utf-8")
        (new / "README.md").write_text(readme.replace("GRADIO_VERSION", version("gradio")))
        (new / "app.py").write_text(APP)
        (new / "requirements.txt").write_text("\n".join([CPU_WHEELS, *pinned(), ""]))
        if folder.exists():
            shutil.rmtree(folder)
        new.rename(folder)


def pinned() -> list[str]:
    """Return the package's own requirements, and those of the page, as they are installed here."""
    extras = [{"extra": extra} for extra in ("", "app", "figures", "video")]
    pins = set()
    for need in map(Requirement, requires("ssm-metarl") or []):
        used = need.marker is None or any(need.marker.evaluate(extra) for extra in extras)
        if used and need.name != "ssm-metarl":
            named = f"{need.name}[{','.join(need.extras)}]" if need.extras else need.name
            pins.add(f"{named}=={version(need.name).partition('+')[0]}")
    return sorted(pins)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("build/space"))
    folder = parser.parse_args().folder
    build(folder)
    print(f"{folder} can be pushed to a Space as it is")
    sys.exit()
