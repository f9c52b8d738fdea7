"""The server of the page."""

from pathlib import Path

import gradio as gr

from ssm_metarl.ui.limits import UPLOAD_BYTES
from ssm_metarl.ui.page import build
from ssm_metarl.ui.shelf import Shelf
from ssm_metarl.ui.sliders import range_marks
from ssm_metarl.ui.theme import CSS, theme


def serve(
    runs: Path, host: str = "127.0.0.1", port: int = 7860, *, block: bool = True
) -> gr.Blocks:
    """Open the page.

    Args:
        runs: The folder of the runs it shows and makes.
        host: Address to listen on; others than this machine see it only if this says so.
        port: Port to listen on.
        block: Whether to return only when the server ends.
    """
    page = build(Shelf(runs.resolve()))
    page.queue(max_size=64, default_concurrency_limit=4)
    page.launch(
        server_name=host,
        server_port=port,
        share=False,
        show_error=False,
        quiet=True,
        max_file_size=UPLOAD_BYTES,
        theme=theme(),
        head=f"<style>{CSS}{range_marks()}</style>",
        footer_links=["api"],
        prevent_thread_lock=not block,
        ssr_mode=False,
        enable_monitoring=False,
    )
    return page
