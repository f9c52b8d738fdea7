"""How the server rests, and how it ends."""

import re
import time
from pathlib import Path

import pytest
from gradio_client import Client
from gradio_client.utils import Status
from visiting import serving

from ssm_metarl.checkpoint.format import load_checkpoint
from ssm_metarl.training.metrics import read_metrics

pytestmark = pytest.mark.slow


def test_a_server_that_is_told_to_end_saves_its_training_first(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    with serving(tmp_path) as site:
        client = Client(site.url, verbose=False)
        drawn = client.predict("cartpole", {}, ["standard"], 1, 1, api_name="/adapt")
        assert drawn["results"]
        client.submit(family="CartPole-v1", learner="meta_rl", name="long", api_name="/train")
        run = tmp_path / "runs" / "long"
        for _ in range(600):
            if (run / "metrics.jsonl").exists():
                break
            time.sleep(0.1)
    assert site.process.returncode == 0
    assert "Traceback" not in site.log.read_text()
    last = read_metrics(run / "metrics.jsonl")[-1]
    assert last["iteration"] < last["iterations"]
    assert load_checkpoint(run / "checkpoint").meta["iteration"] == last["iteration"]


def test_a_page_without_work_seldom_wakes_and_ends_cleanly_in_a_comparison(tmp_path: Path) -> None:
    """Gradio's queue alone would a thousand times a second, and take time from what trains."""
    pytest.importorskip("gradio")
    with serving(tmp_path) as site:
        client = Client(site.url, verbose=False)  # the queue has begun
        before = wakes(site.process.pid)
        time.sleep(2.0)
        assert wakes(site.process.pid) - before < 2 * 150
        job = client.submit(["cartpole"], None, "held_out", 100, api_name="/compare")
        for _ in range(1000):
            if job.status().code is Status.PROCESSING:
                break
            time.sleep(0.01)
        time.sleep(0.3)
        assert not job.done()
    assert site.process.returncode == 0
    said = site.log.read_text()
    assert "Traceback" not in said
    assert "terminate called" not in said


def test_gradio_alone_would_still_look_too_often() -> None:
    """Once this fails, `rest` can go."""
    queueing = pytest.importorskip("gradio.queueing")
    text = Path(queueing.__file__).read_text()
    assert 'self.sleep_when_free = 0.05 if platform.system() == "Windows" else 0.001' in text


def test_gradio_still_hangs_up_on_visitors_who_may_stay() -> None:
    """Once this fails, the patch in leaving.js can go."""
    gradio = pytest.importorskip("gradio")
    assets = Path(gradio.__file__).parent / "templates" / "frontend" / "assets"
    close = re.compile(r"addEventListener\(.beforeunload.,\(\)=>\{[^{}]*\.close\(\)")
    assert any(close.search(path.read_text("utf-8")) for path in assets.glob("Index-*.js"))


def wakes(process: int) -> int:
    """Return how often the threads of a process have gone to sleep."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    lines = (line for task in tasks for line in (task / "status").read_text().splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))
