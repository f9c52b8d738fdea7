"""A server and a browser, once for all tests of a worker."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from visiting import TINY, Site, Visitor, serving

from ssm_metarl.training.loop import train

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PATIENCE = 90_000  # milliseconds; machines that run tests are busy


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One page for all tests of a worker; none leaves anything behind in it."""
    pytest.importorskip("gradio")
    with serving(tmp_path_factory.mktemp("site")) as served:
        yield served


@pytest.fixture(scope="session")
def client(site: Site) -> Any:
    """Somebody who uses the page's endpoints."""
    return pytest.importorskip("gradio_client").Client(site.url, verbose=False)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training of TINY, to copy from."""
    folder = tmp_path_factory.mktemp("tiny") / "mine"
    list(train(TINY, folder))
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium; tests that need it are skipped, loudly, where there is none."""
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("NO BROWSER: install chromium (Debian: apt install chromium)")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield running
        running.close()


@pytest.fixture
def visit(browser: Any, site: Site) -> Iterator[Any]:
    """Return how one more visitor opens the page; no browser may have complained in the end.

    Most ask for little motion: clips that play keep a processor busy, and wait for Play there.
    """
    contexts, visitors = [], []

    def arrive(
        width: int = 1280,
        height: int = 1000,
        theme: str = "light",
        *,
        motion: bool = False,
        link: Mapping[str, object] = {},
    ) -> Visitor:
        asked = "no-preference" if motion else "reduce"
        size = {"width": width, "height": height}
        context = browser.new_context(viewport=size, reduced_motion=asked)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        visitor = Visitor(context.new_page(), [])
        visitors.append(visitor)
        visitor.page.on("pageerror", lambda error: visitor.faults.append(str(error)))
        visitor.page.on(
            "console",
            lambda line: visitor.faults.append(line.text) if line.type == "error" else None,
        )
        visitor.page.goto(f"{site.url}/?{urlencode({**link, '__theme': theme})}")
        visitor.page.wait_for_selector("#adapt")
        return visitor

    yield arrive
    for context in contexts:
        context.close()
    assert [fault for visitor in visitors for fault in visitor.faults] == []
