"""Take pictures of every tab of the page: light, dark, and as wide as a phone.

    python docs/screenshots.py

Serves the page over a short training run of its own, presses the buttons as a visitor would, and
writes ``build/screenshots/TAB-FORM.png``; those that the README shows go to ``docs/images`` too.
"""

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from rich.console import Console

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "ui"))
from conftest import CHROMIUM, QUIET  # noqa: E402
from visiting import serving  # noqa: E402

TABS = ("Adapt", "Train", "Compare", "Runs", "Memory", "Inside")
SHOWN = ("adapt-light", "memory-dark")  # in the README
PATIENCE = 120_000  # milliseconds

console = Console()


@dataclass(frozen=True)
class Form:
    """One way of looking at the page."""

    name: str
    width: int
    height: int
    theme: str


FORMS = (
    Form("light", 1280, 900, "light"),
    Form("dark", 1280, 900, "dark"),
    Form("phone", 390, 844, "light"),
)


def open_tab(page: Page, name: str) -> None:
    """Open a tab; on a phone some are behind a button."""
    tab = page.get_by_role("tab", name=name)
    if not tab.is_visible():
        page.click(".overflow-menu > button")
        tab = page.locator(".overflow-dropdown button", has_text=name)
    tab.click()


def prepare(page: Page, tab: str) -> None:
    """Do in a tab what a visitor would, and wait for what comes of it."""
    if tab == "Adapt":
        page.check("text=swap")
        page.click("#adapt")
        page.wait_for_selector("#clips video")
    elif tab == "Train":
        page.fill("#epochs input[type=number]", "12")
        page.keyboard.press("Tab")
        page.click("#train")
        page.wait_for_selector("#training >> text=Finished all")
    elif tab == "Compare":
        page.click("#compare-go")
        page.wait_for_selector("#compare-table table")
        page.wait_for_selector("#compare-sentence .outcome")
    elif tab == "Runs":
        page.wait_for_selector("#run-curve svg:visible")
    elif tab == "Memory":
        page.wait_for_selector("#memory-matches [role=gridcell]")
    elif tab == "Inside":
        page.wait_for_selector("#inside-clips video")
    page.wait_for_timeout(3000)  # into the clips


def main() -> None:
    """Take the pictures."""
    pictures = ROOT / "build" / "screenshots"
    pictures.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as site,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        for form in FORMS:
            size = {"width": form.width, "height": form.height}
            page = browser.new_context(viewport=size, device_scale_factor=1).new_page()
            page.set_default_timeout(PATIENCE)
            page.goto(f"{site.url}?__theme={form.theme}")
            page.wait_for_selector("#adapt")
            for tab in TABS:
                open_tab(page, tab)
                prepare(page, tab)
                path = pictures / f"{tab.lower()}-{form.name}.png"
                page.screenshot(path=path, full_page=True)
                console.print(path.relative_to(ROOT))
        browser.close()
    images = ROOT / "docs" / "images"
    images.mkdir(exist_ok=True)
    for name in SHOWN:
        shutil.copy(pictures / f"{name}.png", images)


if __name__ == "__main__":
    main()
