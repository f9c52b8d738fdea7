"""Runs that benchmarks train and share: each is trained once, and resumed if it was interrupted."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.loop import resume, train

RUNS = Path("runs/benchmarks")
CPU_SECONDS = "cpu-seconds.json"


@dataclass(frozen=True)
class TrainedRun:
    """A finished run and what it took.

    Attributes:
        folder: Of the run.
        seconds: Wall clock of the training, validation and checkpoints included.
        cpu_seconds: Processor time of it; more telling where a machine is shared.
        environment_steps: Trained on.
    """

    folder: Path
    seconds: float
    cpu_seconds: float
    environment_steps: int


def trained(config: TrainConfig, name: str, console: Console) -> TrainedRun:
    """Train a run exactly as ``ssm-metarl train`` would, unless that has been done."""
    folder = RUNS / name
    spent, started = folder / CPU_SECONDS, time.process_time()
    before = json.loads(spent.read_text()) if spent.exists() else 0.0
    stream = resume(folder) if folder.exists() else train(config, folder)
    try:
        for _ in track(stream, f"training {name}", total=None, console=console):
            pass
    finally:
        if folder.exists():
            spent.write_text(json.dumps(before + time.process_time() - started))
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    return TrainedRun(
        folder, last["seconds"], json.loads(spent.read_text()), last["environment_steps"]
    )
