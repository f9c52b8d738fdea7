"""The server of the page."""

import os
import signal
import tempfile
import time
from pathlib import Path
from types import FrameType

import gradio as gr
from starlette.middleware import Middleware

from ssm_metarl.core.memory import give_back, keep_large_blocks
from ssm_metarl.training.archive import MOST_BYTES
from ssm_metarl.ui.jobs import Jobs
from ssm_metarl.ui.limits import UPLOADS_BYTES
from ssm_metarl.ui.page import build
from ssm_metarl.ui.sliders import range_marks
from ssm_metarl.ui.store import RunStore
from ssm_metarl.ui.theme import CSS, SCRIPTS, theme
from ssm_metarl.ui.uploads import UploadLimit

QUEUE = 64  # visitors who may wait
SESSIONS = 256  # whose last results are kept, also when they have left; each takes up to 1 MB
PATIENCE = 30.0  # seconds for trainings to save when the server ends
POLL = 0.05  # seconds between Gradio's looks at its queue
TIDY = 30.0  # seconds between returns of unused memory to the system


def serve(runs: Path, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Serve the page until the process is told to end; trainings are saved first.

    Args:
        runs: The folder of the runs it shows and makes.
        host: Address to listen on; others than this machine see it only if this says so.
        port: Port to listen on.
    """
    keep_large_blocks()  # before there are threads, which train
    with tempfile.TemporaryDirectory(prefix="ssm-metarl-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # what Gradio keeps goes when the page does
        limit = Middleware(UploadLimit, folder=Path(folder), most=UPLOADS_BYTES)
        jobs = Jobs()
        page = build(RunStore(runs.resolve()), jobs)
        page.queue(max_size=QUEUE, default_concurrency_limit=4)
        rest(page)
        page.launch(
            server_name=host,
            server_port=port,
            share=False,
            show_error=False,
            quiet=True,
            max_file_size=MOST_BYTES,
            state_session_capacity=SESSIONS,
            theme=theme(),
            head=f"<style>{CSS}{range_marks()}</style><script>{SCRIPTS}</script>",
            footer_links=["api"],
            prevent_thread_lock=True,
            ssr_mode=False,
            enable_monitoring=False,
            app_kwargs={"middleware": [limit]},
        )
        print(f"The page is at http://{host}:{port} (Ctrl-C closes it)", flush=True)
        signal.signal(signal.SIGTERM, _end)  # SDL, which draws, would take it and do nothing
        try:
            while True:
                time.sleep(TIDY)
                if not jobs.busy:  # a job would take it again at once
                    give_back()
        except KeyboardInterrupt:
            pass
        finally:
            jobs.close(PATIENCE)
            page.close(verbose=False)


def rest(page: gr.Blocks) -> None:
    """Let Gradio's queue look for events every 50 ms, as on Windows, and not every millisecond.

    Each look takes Python's lock, and made a training 7% to 18% slower. No public setting says how
    often; see https://github.com/gradio-app/gradio/pull/12296, which made it a millisecond, and
    https://github.com/gradio-app/gradio/pull/12556, which undid that on Windows. A test fails once
    Gradio's own pace is slow enough.
    """
    page._queue.sleep_when_free = POLL
    page._queue.progress_update_sleep_when_free = POLL


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
