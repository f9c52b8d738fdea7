"""How the page looks on a phone, in the dark, and where something did not work."""

from collections.abc import Callable

import pytest
from visiting import Visitor

pytestmark = pytest.mark.slow
Visit = Callable[..., Visitor]
TABS = ("Adapt", "Train", "Compare", "Runs", "Memory", "Inside")
SHOWN = "element => getComputedStyle(element, '::before').content"


def test_every_tab_is_one_tap_away_on_a_phone(visit: Visit) -> None:
    page = visit(390, 844).page
    page.click("#tour-known")  # it comes when the page is there, and moves what is below
    page.wait_for_selector("#tour", state="hidden")
    rows = set()
    for name in TABS:
        tab = page.get_by_role("tab", name=name)
        tab.click()
        box = tab.bounding_box()
        assert 0 <= box["x"] < box["x"] + box["width"] <= 390
        rows.add(round(box["y"]))
    assert len(rows) == 1


def test_clips_are_side_by_side_on_a_phone_and_dark_in_the_dark(visit: Visit) -> None:
    visitor = visit(390, 844, theme="dark")
    visitor.ask_little()
    visitor.adapt()
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = [clip.bounding_box() for clip in visitor.page.locator("#clips .clip").all()]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    look = "getComputedStyle(document.querySelector('#clips video')).filter"
    assert "invert" in visitor.page.evaluate(look)
    visitor.page.evaluate("document.body.classList.remove('dark')")
    assert visitor.page.evaluate(look) == "none"


def test_what_did_not_work_is_called_so(visit: Visit) -> None:
    page = visit().page
    page.get_by_role("tab", name="Train").click()
    page.fill("#run-name :is(input, textarea)", "No Name")
    page.click("#train")
    page.wait_for_selector(".toast-body >> text=/a run's name is made of/")
    title = page.locator(".toast-title")
    assert title.evaluate(SHOWN) == '"That did not work"'
    assert title.evaluate("element => getComputedStyle(element).fontSize") == "0px"
