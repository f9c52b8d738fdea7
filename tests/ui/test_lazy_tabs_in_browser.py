"""The tabs that look closer, as visitors open them."""

from collections.abc import Callable
from typing import Any

import pytest
from visiting import Visitor

pytestmark = pytest.mark.slow
Visit = Callable[..., Visitor]


def choose_agent(page: Any, name: str) -> None:
    page.click("#agent input")
    page.click(f"[role=option] >> text={name}")


def test_memory_is_never_empty_and_offers_a_choice_where_there_is_experience(visit: Visit) -> None:
    page = visit().page
    page.get_by_role("tab", name="Memory").click()
    page.wait_for_selector("#memory-matches [role=gridcell]")
    page.wait_for_selector("#memory-own:visible")
    assert "An example" in page.inner_text("#memory-sentence")
    before = page.inner_text("#memory-sentence")
    page.click("text=all episodes")
    page.wait_for_function(
        "(before) => document.querySelector('#memory-sentence').innerText !== before", arg=before
    )
    choose_agent(page, "cartpole-in-context")
    page.wait_for_selector("#memory-sentence >> text=remembers no earlier tasks")
    page.wait_for_selector("#memory-own", state="hidden")
    page.click("#agent input")
    page.click("[role=option] >> nth=0")
    page.wait_for_selector("#memory-matches [role=gridcell]")
    page.wait_for_selector("#memory-own:visible")


def test_inside_is_never_empty_and_fades_until_it_is_of_the_new_agent(visit: Visit) -> None:
    page = visit(motion=True).page
    page.get_by_role("tab", name="Inside").click()
    page.wait_for_selector("#inside-clips figcaption >> text=after: hybrid")
    page.wait_for_selector("#inside-screen:not(.stale)")
    page.wait_for_function(
        "document.querySelector('#inside-traces .trace').style.getPropertyValue('--at') > 0.05"
    )
    page.click("#inside-clips .toggle")  # to pause
    choose_agent(page, "cartpole-in-context")
    page.wait_for_selector("#inside-screen.stale")
    page.wait_for_selector("#inside-screen:not(.stale) >> text=The hidden state tells")
    assert page.locator("#inside-clips figcaption >> text=after: hybrid").count() == 0


def test_they_look_at_what_was_asked(visit: Visit) -> None:
    visitor = visit()
    visitor.page.check("text=swap")
    visitor.ask_little()
    visitor.adapt()
    visitor.page.get_by_role("tab", name="Memory").click()
    visitor.page.wait_for_selector("#memory-matches [role=gridcell]")
    assert "Your last task" in visitor.page.inner_text("#memory-sentence")
