"""The first screen, in a real browser."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from visiting import Site, Visitor

from ssm_metarl.ui.store import PRETRAINED

pytestmark = pytest.mark.slow
Visit = Callable[..., Visitor]


def times(visitor: Visitor) -> list[float]:
    return visitor.page.evaluate(
        "[...document.querySelectorAll('#clips video')].map((video) => video.currentTime)"
    )


def test_one_click_shows_the_agent_before_and_after(visit: Visit) -> None:
    visitor = visit(motion=True)
    visitor.page.click("#task-cartpole-v1-gravity >> nth=0", trial=True)  # it can be reached
    visitor.page.check("text=swap")
    sentence = visitor.adapt()
    assert "→" in sentence
    visitor.page.wait_for_function(
        "[...document.querySelectorAll('#clips video')].slice(1).every((v) => v.currentTime > 1)"
    )
    before, *after = times(visitor)
    assert before < 1  # it fell at once
    assert max(after) - min(after) < 0.2  # in step
    assert visitor.page.locator("#curve figure svg").count() == 1
    assert visitor.page.locator("#curve tbody tr").count() == 6  # 0, 1, 2, 5, 10 and 20 episodes


def test_the_page_says_when_a_task_leaves_the_training_ranges(visit: Visit) -> None:
    visitor = visit()
    note = visitor.page.locator(".prose.note")
    gravity = visitor.page.locator("#task-cartpole-v1-gravity input[type=number]")
    assert "Within" in note.inner_text()
    gravity.fill("24")
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_selector(".prose.note .outside")
    assert "gravity" in note.inner_text()
    gravity.fill("")  # and gets the number back that it had at first
    visitor.page.keyboard.press("Tab")
    visitor.page.wait_for_timeout(300)
    assert gravity.input_value() == "9.8"
    for typed, kept in (("1000", "25"), ("-3", "1")):  # and so when it says what cannot be
        gravity.fill(typed)
        visitor.page.keyboard.press("Tab")
        visitor.page.wait_for_selector(".prose.note .outside")
        assert gravity.input_value() == kept
        gravity.fill("9")
        visitor.page.wait_for_selector(".prose.note .inside")


def test_an_agent_that_cannot_be_read_shows_nothing_of_another(
    visit: Visit, site: Site, tiny_run: Path
) -> None:
    folder = shutil.copytree(tiny_run, site.runs / "torn-run")
    try:
        for weights in folder.rglob("*.safetensors"):
            weights.write_bytes(b"torn")
        visitor = visit()
        visitor.ask_little()
        visitor.adapt()
        visitor.page.click("#agent input")
        visitor.page.get_by_role("option", name="torn-run").click()
        visitor.page.wait_for_selector("#sentence >> text=is cut short")
        assert visitor.page.locator("#clips video, #curve figure").count() == 0
    finally:
        shutil.rmtree(folder)


def test_the_keyboard_is_enough_clips_stop_and_other_visitors_see_nothing(visit: Visit) -> None:
    visitor, other = visit(motion=True), visit()
    visitor.page.check("text=swap")
    visitor.ask_little()
    visitor.page.focus("#adapt")
    visitor.page.keyboard.press("Enter")
    assert visitor.outcome()
    visitor.page.focus("#clips .toggle >> text=Pause")
    visitor.page.keyboard.press("Space")
    assert visitor.page.inner_text("#clips .toggle") == "Play"
    visitor.page.evaluate(
        "scrub => { scrub.value = 500; scrub.dispatchEvent(new Event('input')) }",
        visitor.page.query_selector("#clips .scrub"),
    )
    visitor.page.wait_for_timeout(300)
    first = times(visitor)
    visitor.page.wait_for_timeout(300)
    assert times(visitor) == first
    assert max(first) > 1
    assert other.page.locator("#clips video").count() == 0
    assert not other.page.is_checked("text=swap")
    assert other.page.locator("#sentence .outcome").count() == 0


def test_another_agent_brings_its_own_ways(visit: Visit) -> None:
    visitor = visit()
    visitor.page.click("#agent input")
    visitor.page.click("[role=option] >> text=cartpole-in-context")
    visitor.page.wait_for_selector("#modes >> text=in-context")
    assert visitor.page.locator("#modes >> text=hybrid").count() == 0


def test_a_refresh_starts_over_and_twenty_clicks_are_as_good_as_one(visit: Visit) -> None:
    visitor = visit()
    visitor.page.click("#adapt")
    visitor.page.wait_for_selector("#sentence .working")
    visitor.page.reload()
    visitor.page.wait_for_selector("#adapt")
    visitor.faults.clear()  # a stream that was cut
    visitor.ask_little()
    visitor.page.evaluate(
        "button => { for (let n = 0; n < 20; n++) button.click() }",
        visitor.page.query_selector("#adapt"),
    )
    assert "→" in visitor.outcome()
    visitor.page.wait_for_selector("#adapt:enabled")
    visitor.page.wait_for_timeout(2000)  # nothing begins again
    assert "→" in visitor.page.inner_text("#sentence")
    assert visitor.page.is_enabled("#adapt")


def test_work_stops_when_asked_and_a_surprise_task_is_chosen_and_met(visit: Visit) -> None:
    visitor = visit()
    visitor.page.click("text=Data and gradient steps")
    visitor.page.get_by_label("number input for Episodes of the task").fill("50")
    visitor.page.get_by_label("number input for Gradient steps").fill("3")
    visitor.page.keyboard.press("Tab")
    visitor.page.click("#adapt")
    visitor.page.wait_for_selector("#sentence >> text=Measured")
    visitor.page.wait_for_selector("#clips >> text=when all is measured")
    visitor.page.click("#adapt-stop")
    visitor.page.wait_for_selector("#sentence >> text=Stopped.")
    visitor.page.wait_for_selector("#adapt-stop:disabled")
    visitor.page.wait_for_selector("#clips >> text=Press Adapt")
    visitor.ask_little()
    gravity = visitor.page.locator("#task-cartpole-v1-gravity input[type=number]")
    was = gravity.input_value()
    visitor.page.click("#surprise")
    assert "→" in visitor.outcome()
    assert gravity.input_value() != was


def test_a_mistake_leaves_the_buttons_as_they_were(visit: Visit, site: Site) -> None:
    shutil.copytree(PRETRAINED / "cartpole", site.runs / "damaged")
    try:
        visitor = visit()
        visitor.page.click("#agent input")
        visitor.page.click("[role=option] >> text=damaged")
        visitor.page.wait_for_function("document.querySelector('#agent input').value === 'damaged'")
        visitor.page.wait_for_selector("#about >> text=Trained by MAML")
        for file in (site.runs / "damaged" / "checkpoint").glob("*.safetensors"):
            file.write_bytes(b"cut")
        visitor.page.click("#adapt")
        visitor.page.wait_for_selector("#sentence >> text=is cut short")
        visitor.page.wait_for_selector("#adapt:enabled")
        visitor.page.wait_for_selector("#adapt-stop:disabled")
    finally:
        shutil.rmtree(site.runs / "damaged")


def test_nothing_is_seen_of_an_agent_that_is_not_chosen_any_more(visit: Visit) -> None:
    visitor = visit()
    visitor.page.click("#adapt")
    visitor.page.wait_for_selector("#sentence >> text=Measured")
    visitor.page.click("#agent input")
    visitor.page.click("[role=option] >> text=cartpole-in-context")
    visitor.page.wait_for_selector("#modes >> text=in-context")
    visitor.page.wait_for_selector("#adapt:enabled")
    visitor.page.wait_for_timeout(1000)
    assert "Choose one that it has never met" in visitor.page.inner_text("#sentence")
    assert visitor.page.locator("#clips video").count() == 0
