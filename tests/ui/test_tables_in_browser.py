"""Train, Compare and Runs, as visitors use them."""

import contextlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from visiting import Site, Visitor

from ssm_metarl.checkpoint.lock import RunLock
from ssm_metarl.errors import UserError
from ssm_metarl.training.archive import pack

pytestmark = pytest.mark.slow
Visit = Callable[..., Visitor]
SHIFTS = """
window.shifted = 0;
new PerformanceObserver((list) => {
  for (const shift of list.getEntries()) window.shifted += shift.value;
}).observe({ type: "layout-shift" });
"""


RUN_NAMES = '#runs [role=gridcell][data-col="0"]'


def choose_run(page: Any, name: str) -> None:
    """Select the row of a run."""
    page.locator(RUN_NAMES, has_text=re.compile(rf"^\s*{name}\s*$")).click()


def open_tab(visitor: Visitor, name: str) -> Any:
    visitor.page.get_by_role("tab", name=name).click()
    return visitor.page


def choose_agent(visitor: Visitor, name: str) -> None:
    visitor.page.click("#agent input")
    visitor.page.click(f"[role=option] >> text={name}")


def begin_training(visitor: Visitor, name: str) -> Any:
    page = open_tab(visitor, "Train")
    page.fill("#run-name input, #run-name textarea", name)
    page.click("#train")
    page.wait_for_selector("ol.phases li.now")
    return page


def leave(page: Any, *, stay: bool) -> None:
    """Go elsewhere, and answer what is asked then."""
    asked = []

    def answer(dialog: Any) -> None:
        asked.append(dialog.type)
        dialog.dismiss() if stay else dialog.accept()

    page.once("dialog", answer)
    with pytest.raises(Exception, match="ERR_ABORTED") if stay else contextlib.nullcontext():
        page.goto("about:blank")
    assert asked == ["beforeunload"]


def compared(page: Any) -> list[str]:
    page.wait_for_timeout(1000)
    return [text.strip() for text in page.locator("#compare-runs .token").all_inner_texts()]


@pytest.fixture(autouse=True)
def nothing_left(site: Site) -> Iterator[None]:
    """Take away what visitors trained; a test has ended their work."""
    yield
    for name in ("stopped-run", "left-run"):
        shutil.rmtree(site.runs / name, ignore_errors=True)


@pytest.fixture
def trained(site: Site, tiny_run: Path) -> Any:
    """Two runs on the store, for as long as a test lasts."""
    folders = [site.runs / name for name in ("first-run", "second-run")]
    for folder in folders:
        shutil.copytree(tiny_run, folder)
    yield folders
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def test_compare_starts_from_the_agent_above_until_others_are_chosen(
    visit: Visit, trained: list[Path]
) -> None:
    visitor = visit()
    choose_agent(visitor, "first-run")
    page = open_tab(visitor, "Compare")
    assert compared(page) == ["first-run"]
    page.click("#compare-runs input")
    page.click("[role=option] >> text=second-run")
    page.keyboard.press("Escape")  # a long list would cover the tabs
    open_tab(visitor, "Adapt")
    choose_agent(visitor, "cartpole-in-context")
    open_tab(visitor, "Compare")
    assert compared(page) == ["first-run", "second-run"]
    open_tab(visitor, "Runs")
    choose_run(page, "first-run")
    page.wait_for_selector("#run-title >> text=first-run")
    page.click("#delete")
    page.click("#sure")
    page.locator(RUN_NAMES, has_text="first-run").wait_for(state="detached")
    open_tab(visitor, "Compare")
    assert compared(page) == ["second-run"]
    page.click("#compare-runs input")
    assert page.locator("[role=option] >> text=first-run").count() == 0


def test_an_imported_run_is_the_selected_agent(
    visit: Visit, trained: list[Path], tmp_path: Path
) -> None:
    pack(trained[0], tmp_path / "taken-in.zip")
    visitor = visit()
    page = open_tab(visitor, "Runs")
    with page.expect_file_chooser() as chooser:
        page.click("#upload")
    chooser.value.set_files(str(tmp_path / "taken-in.zip"))
    page.locator(RUN_NAMES, has_text="taken-in").wait_for()
    page.wait_for_function("document.querySelector('#agent input').value === 'taken-in'")


def test_choosing_a_run_moves_nothing(visit: Visit, trained: list[Path]) -> None:
    visitor = visit()
    page = open_tab(visitor, "Runs")
    page.locator(RUN_NAMES, has_text="first-run").wait_for()
    page.wait_for_timeout(700)
    page.evaluate(SHIFTS)
    for name in ("cartpole-in-context", "first-run", "cartpole"):
        choose_run(page, name)
        page.wait_for_selector(f"#run-title .outcome >> text=/^{name}$/")
        page.wait_for_timeout(700)
    assert page.evaluate("window.shifted") < 0.01


def test_a_training_warns_who_leaves_goes_on_if_they_stay_and_is_selected_when_stopped(
    visit: Visit,
) -> None:
    visitor = visit()
    page = begin_training(visitor, "stopped-run")
    page.wait_for_selector("ol.phases li.now >> text=improve")
    leave(page, stay=True)
    page.wait_for_function(
        "(before) => document.querySelector('.tiles').innerText !== before",
        arg=page.inner_text(".tiles"),
    )
    page.click("#stop")
    page.wait_for_selector("#training >> text=Stopped after")
    page.wait_for_function("document.querySelector('#agent input').value === 'stopped-run'")
    page.reload()  # nobody is asked
    page.wait_for_selector("#adapt")
    visitor.faults.clear()  # a stream that was cut


def test_a_training_ends_with_its_page_and_is_offered_to_go_on(visit: Visit, site: Site) -> None:
    page = begin_training(visit(), "left-run")
    leave(page, stay=False)
    for _ in range(300):
        with contextlib.suppress(UserError):
            RunLock(site.runs / "left-run").release()
            break
        time.sleep(0.1)
    else:
        raise AssertionError("it goes on")
    page = open_tab(visit(), "Train")
    page.wait_for_function(
        "/^left-run: \\d+ of 40 /.test(document.querySelector('#unfinished input').value)"
    )
    assert page.is_enabled("#resume")


def test_an_emptied_box_goes_back_to_what_it_said(visit: Visit) -> None:
    page = open_tab(visit(), "Train")
    page.click("text=Advanced settings")
    for box in ("#epochs", "#train-width"):
        number = page.locator(f"{box} input[type=number]")
        before = number.input_value()
        number.fill("")
        page.wait_for_timeout(500)
        assert "Takes about" in page.inner_text("#expected")  # and says no mistake meanwhile
        number.press("Tab")
        page.wait_for_timeout(500)
        assert number.input_value() == before
    epochs = page.locator("#epochs input[type=number]")
    epochs.fill("1000")
    epochs.press("Tab")
    page.wait_for_selector("#expected >> text=Takes about 7 min")
    assert epochs.input_value() == "400"


def test_a_comparison_can_be_taken_away(visit: Visit) -> None:
    page = open_tab(visit(), "Compare")
    page.get_by_label("number input for How many tasks").fill("2")
    page.click("#compare-go")
    page.wait_for_selector("#compare-csv:not([disabled])")
    with page.expect_download() as download:
        page.click("#compare-csv")
    assert download.value.suggested_filename == "comparison.csv"
