"""Set up before any test module is imported: shape and type checks on, one thread."""

import os
import shutil

import pytest
import torch
from jaxtyping import install_import_hook

# Every annotation in the package is checked at each call; outside the tests they are free.
install_import_hook("ssm_metarl", "beartype.beartype")

torch.set_num_threads(1)

os.environ.setdefault("SSM_METARL_WORKERS", "0")  # a busy machine would start some


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow files, those with a browser first: short ones fill the workers' ends."""
    in_browser = {item.path for item in items if "browser" in getattr(item, "fixturenames", ())}
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in in_browser, item.path not in slow))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if shutil.which("chromium") is None:
        line = "NO BROWSER: the web page was not tested in one; install chromium (apt)"
        terminalreporter.write_line(line, red=True, bold=True)
