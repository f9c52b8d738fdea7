"""How fast the web page is for its visitors, and how much memory its server needs.

    python benchmarks/page.py                  # all of it
    python benchmarks/page.py --only memory    # and the rest of the file stays as it was

Serves the page from a process of its own and measures, in a real browser and through its API:

- the first screen: from the server's answer until the button can be pressed;
- one click: from pressing it until the clips are there, all modes side by side;
- training, on the page and by ``ssm-metarl train`` in turns with the same settings: seconds of
  the one against the other, and how often the page is drawn anew;
- twenty visitors who load the page again and again, about a second apart, while one trains: how
  long the page with its settings takes;
- 200 presses of "Surprise me" in the browser, each a new task in all modes, with its clips: the
  largest growth of the server's memory after the first 20, which load what is loaded once;
- a tour of another server: all six tabs, a training of 10 iterations and a comparison on 20 tasks.
  How much memory it has at each stop, and a minute after the last.

Writes ``benchmarks/results/page.json``.
"""

import concurrent.futures
import contextlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import tyro
from gradio_client import Client
from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "ui"))
from conftest import CHROMIUM, QUIET
from visiting import Site, serving

from ssm_metarl.training.metrics import read_metrics

RESULTS = Path(__file__).parent / "results"
VISITORS, VISITS, CLICKS, WARM = 20, 15, 200, 20
REST = 60.0  # seconds
BUDGETS = {"policy_gradient": {"episodes": 600}, "meta_rl": {"iterations": 15}}
COMMON = ("mode", "env_name", "seed")
FLAGS = {
    "policy_gradient": (*COMMON, "num_episodes"),
    "meta_rl": (*COMMON, "num_epochs", "validate_every", "experience"),
}

console = Console()


@contextlib.contextmanager
def fresh() -> Iterator[Site]:
    """Serve the page from a new process, with no runs but those of the package."""
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as site:
        yield site


def first_screen(site: Site, rounds: int = 5) -> dict[str, list[float]]:
    """Open the page in a new browser and press the button; return seconds."""
    usable, clicked = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        for _ in track(range(rounds), "first screen", console=console):
            page = browser.new_context().new_page()
            page.set_default_timeout(120_000)
            started = time.perf_counter()
            page.goto(site.url, wait_until="commit")
            page.click("#adapt", trial=True)
            usable.append(time.perf_counter() - started)
            started = time.perf_counter()
            page.click("#adapt")
            page.wait_for_selector("#clips video")
            clicked.append(time.perf_counter() - started)
            page.context.close()
        browser.close()
    return {"usable": usable, "one_click": clicked}


def training(site: Site, learner: str, rounds: int = 3) -> dict[str, list[float]]:
    """Train on the page and by the command in turns; return ratios of seconds, and updates."""
    ratios, rates = [], []
    for number in track(range(rounds), learner, console=console):
        name = f"{learner.replace('_', '-')}-{number}"
        run, client = site.runs / f"page-{name}", Client(site.url, verbose=False)
        asked = {"family": "CartPole-v1", "learner": learner, **BUDGETS[learner]}
        started = time.perf_counter()
        job = client.submit(name=run.name, **asked, api_name="/train")
        job.result()
        rates.append(len(job.outputs()) / (time.perf_counter() - started))
        flags = [
            f"--{name}={value}"
            for name, value in json.loads((run / "config.json").read_text()).items()
            if name in FLAGS[learner]
        ]
        other = site.runs / f"command-{name}"
        command = [sys.executable, "-m", "ssm_metarl", "train", f"--run_dir={other}", *flags]
        subprocess.run(command, check=True, capture_output=True)
        page, alone = (read_metrics(at / "metrics.jsonl")[-1]["seconds"] for at in (run, other))
        ratios.append(page / alone)
    return {"training_time_ratio": ratios, "updates_per_second": rates}


def crowd(site: Site) -> list[float]:
    """Let visitors browse while somebody trains; return seconds of every load."""
    trainer = Client(site.url, verbose=False)
    asked = {"name": "crowd", "family": "CartPole-v1", "learner": "meta_rl", "iterations": 400}
    training = trainer.submit(**asked, api_name="/train")
    while not (site.runs / "crowd" / "metrics.jsonl").exists():
        time.sleep(0.2)

    def browse(seed: int) -> list[float]:
        spent, pauses = [], random.Random(seed)
        with httpx.Client(base_url=site.url, timeout=60) as visitor:
            for _ in range(VISITS):
                time.sleep(pauses.uniform(0.5, 1.5))
                started = time.perf_counter()
                for path in ("/", "/theme.css"):  # what a browser has not kept
                    visitor.get(path).raise_for_status()
                spent.append(time.perf_counter() - started)
        return spent

    with concurrent.futures.ThreadPoolExecutor(VISITORS) as pool:
        loads = [load for each in pool.map(browse, range(VISITORS)) for load in each]
    assert not training.done(), "the training ended before the visitors had left"
    trainer.predict(api_name="/stop")
    return loads


def presses(site: Site) -> list[float]:
    """Press the button again and again; return the server's memory after each time, in MB."""
    resident = []
    with opened(site) as page:
        for _ in track(range(CLICKS), "clicks", console=console):
            adapt(page, "#surprise")
            resident.append(megabytes(site))
    return resident


def tour(site: Site) -> dict[str, float]:
    """Do in turn all that the page is for; return the server's memory at each stop, in MB."""
    stops = {"start": megabytes(site)}
    with opened(site) as page:

        def visit(tab: str, wait_for: str, press: str = "") -> None:
            page.get_by_role("tab", name=tab).click()
            if press:
                page.click(press)
            page.wait_for_selector(wait_for)
            stops[tab.lower()] = megabytes(site)

        adapt(page, "#adapt")
        stops["adapt"] = megabytes(site)
        visit("Memory", "#memory-matches [role=gridcell]")
        visit("Inside", "#inside-clips video")
        visit("Runs", "#runs [role=gridcell]")
        visit("Compare", "#compare-csv:not([disabled])", "#compare-go")
        page.get_by_role("tab", name="Train").click()
        page.fill("#epochs input[type=number]", "10")
        page.keyboard.press("Tab")
        visit("Train", "#training >> text=Finished all", "#train")
        time.sleep(REST)
        stops["a minute later"] = megabytes(site)
    return stops


@contextlib.contextmanager
def opened(site: Site) -> Iterator[Page]:
    """Open the page in a new browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page()
        page.set_default_timeout(300_000)
        page.goto(site.url)
        page.wait_for_selector("#adapt")
        yield page
        browser.close()


def adapt(page: Page, button: str) -> None:
    """Press a button of the first screen and wait for new clips."""
    page.evaluate("document.querySelector('#clips .stage').replaceChildren()")
    page.click(button)
    page.wait_for_selector("#clips video")


def megabytes(site: Site) -> float:
    """Return the resident memory of the server."""
    lines = Path(f"/proc/{site.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def speed() -> dict[str, Any]:
    """Measure how quick the page is, alone and in a crowd."""
    with fresh() as site:
        found: dict[str, Any] = dict(first_screen(site))
        found["training"] = {learner: training(site, learner) for learner in BUDGETS}
        loads = crowd(site)
    return found | {
        "page_p95": statistics.quantiles(loads, n=20)[-1],
        "page_median": statistics.median(loads),
    }


def memory() -> dict[str, Any]:
    """Measure how much memory the server has, on a tour and press after press."""
    with fresh() as site:
        stops = tour(site)
    with fresh() as site:
        resident = presses(site)
    growth = max(resident[WARM:]) - resident[WARM - 1]
    return {"memory_tour": stops, "memory": resident, "memory_growth": growth}


def main(
    out: Path = RESULTS / "page.json", only: Literal["all", "speed", "memory"] = "all"
) -> None:
    """Measure.

    Args:
        out: Where to write what was measured.
        only: What to measure; the rest of an earlier result stays.
    """
    found: dict[str, Any] = {} if only == "all" else json.loads(out.read_text())
    found["command"] = "python benchmarks/page.py"
    if only != "memory":
        found |= speed()
    if only != "speed":
        found |= memory()
    console.print({key: value for key, value in found.items() if key != "memory"})
    out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
