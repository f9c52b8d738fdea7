"""The page as a visitor meets it: a server of its own, and a tab in a browser."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssm_metarl.training.config import TrainConfig

ROOT = Path(__file__).parents[2]
TINY = TrainConfig(
    num_epochs=2,
    tasks_per_epoch=2,
    episodes_per_task=2,
    support_steps=20,
    query_steps=20,
    validate_every=1,
    validation_tasks=2,
    width=8,
    state_size=4,
)


@dataclass(frozen=True)
class Site:
    """A page that is being served.

    Attributes:
        url: Where.
        runs: The folder of its runs.
        log: What the server said.
        process: The server.
    """

    url: str
    runs: Path
    log: Path
    process: subprocess.Popen[bytes]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(folder: Path, program: Sequence[str] = (sys.executable, "app.py")) -> Iterator[Site]:
    """Serve the page from a process of its own, as `python app.py` does.

    Args:
        folder: Where its runs and its log go.
        program: What to start, in the folder of the app it names.
    """
    python, app = program
    port, runs, log = free_port(), folder / "runs", folder / "server.log"
    home = ROOT / Path(app).parent
    command = [python, Path(app).name, "--port", str(port), "--runs", str(runs)]
    surroundings = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(home)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=home, env=surroundings, stdout=output, stderr=subprocess.STDOUT
        )
        site = Site(f"http://127.0.0.1:{port}", runs, log, process)
        try:
            _wait(site)
            yield site
        finally:
            process.terminate()
            process.wait(30)


def _wait(site: Site) -> None:
    for _ in range(1800):  # three minutes: machines that run tests are busy
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(site.url, timeout=5).close()
            return
        assert site.process.poll() is None, site.log.read_text()
        time.sleep(0.1)
    raise AssertionError("the page did not open: " + site.log.read_text())


@dataclass
class Visitor:
    """Somebody with the page open.

    Attributes:
        page: Their tab.
        faults: What their browser complained of.
    """

    page: Any
    faults: list[str]

    def ask_little(self) -> None:
        """Choose the first mode alone and one episode, which takes a fifth of the usual time."""
        episodes = self.page.get_by_label("number input for Episodes of the task")
        if not episodes.is_visible():
            self.page.click("text=Data and gradient steps")
        episodes.fill("1")
        self.page.keyboard.press("Tab")
        for box in self.page.locator("#modes input[type=checkbox]").all()[1:]:
            box.uncheck()

    def adapt(self) -> str:
        """Press the button, wait for the clips, and return the sentence."""
        self.page.click("#adapt")
        return self.outcome()

    def outcome(self) -> str:
        """Wait for clips and return the sentence."""
        self.page.wait_for_selector("#clips video")
        return self.page.inner_text("#sentence .outcome")
