"""How quick and how steady the web page is, as its visitors meet it.

    python benchmarks/page.py

Serves the page from a process of its own and measures, in a real browser and through its API:

- the first screen: from the server's answer until the button can be pressed;
- one click: from pressing it until the clips are there, all ways side by side;
- training, on the page and by ``ssm-metarl train`` in turns with the same settings: seconds of
  the one against the other, and how often the page is drawn anew;
- twenty visitors who load the page again and again, about a second apart, while one trains: how
  long the page with its settings takes;
- 200 adaptations of one visitor through the endpoint, which films nothing: how much more memory
  the server has afterwards than after the first 20, by when all that is loaded once has been.

Writes ``benchmarks/results/page.json``.
"""

import concurrent.futures
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import tyro
from gradio_client import Client
from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "ui"))
from conftest import CHROMIUM, QUIET
from visiting import Site, serving

from ssm_metarl.runs.tracking import read_metrics

RESULTS = Path(__file__).parent / "results"
VISITORS, VISITS, CLICKS, WARM = 20, 15, 200, 20
BUDGETS = {"policy_gradient": {"episodes": 600}, "meta_rl": {"iterations": 15}}
COMMON = ("mode", "env_name", "seed")
FLAGS = {
    "policy_gradient": (*COMMON, "num_episodes"),
    "meta_rl": (*COMMON, "num_epochs", "validate_every", "experience"),
}
TASK = {"gravity": 12.0, "length": 1.0, "swap": 1.0}

console = Console()


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


def memory(site: Site) -> list[float]:
    """Adapt again and again; return the server's memory after each, in MB."""
    client, resident = Client(site.url, verbose=False), []
    for number in track(range(CLICKS), "clicks", console=console):
        client.predict("cartpole", TASK, ["standard", "hybrid"], 20, 1, number, api_name="/adapt")
        lines = Path(f"/proc/{site.process.pid}/status").read_text().splitlines()
        kilobytes = next(line for line in lines if line.startswith("VmRSS")).split()[1]
        resident.append(int(kilobytes) / 1024)
    return resident


def main(out: Path = RESULTS / "page.json") -> None:
    """Measure.

    Args:
        out: Where to write what was measured.
    """
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as site:
        found: dict[str, Any] = {"command": "python benchmarks/page.py"}
        found |= first_screen(site)
        found["training"] = {learner: training(site, learner) for learner in BUDGETS}
        loads = crowd(site)
        found["page_p95"] = statistics.quantiles(loads, n=20)[-1]
        found["page_median"] = statistics.median(loads)
        resident = memory(site)
        found["memory"] = resident
        found["memory_growth"] = max(resident[WARM:]) - resident[WARM - 1]
    console.print({key: value for key, value in found.items() if key != "memory"})
    out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
