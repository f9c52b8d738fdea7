"""The first screen for who comes by a link, sees the page first, and wants to take a result."""

from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from visiting import Site, Visitor

pytestmark = pytest.mark.slow
Visit = Callable[..., Visitor]


def test_the_tour_leaves_the_first_result_on_the_screen_and_is_seen_once(visit: Visit) -> None:
    visitor = visit(height=800)
    page = visitor.page
    page.wait_for_selector("#tour li >> nth=2")
    visitor.ask_little()
    visitor.adapt()
    box = page.locator("#clips .toggle").bounding_box()
    assert box["y"] + box["height"] < 800
    page.click("#tour-known")
    page.wait_for_selector("#tour", state="hidden")
    page.reload()
    page.wait_for_selector("#adapt")
    page.wait_for_timeout(3000)
    visitor.faults.clear()  # a stream that was cut
    assert not page.is_visible("#tour")


def test_a_link_restores_the_view_and_is_given_again(visit: Visit, site: Site) -> None:
    given = {"agent": "cartpole-in-context", "episodes": 1, "gravity": 12.5, "swap": 1}
    visitor = visit(link=given)
    page = visitor.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.wait_for_selector("#modes >> text=in-context")
    assert page.is_checked("text=swap")
    gravity = page.locator("#task-cartpole-v1-gravity input[type=number]")
    assert gravity.input_value() == "12.5"
    assert page.locator(".toast-body").count() == 0
    visitor.adapt()
    page.click("text=Copy a link")
    for button, text in ((0, f"{site.url}/?{urlencode(given)}"), (1, "ssm-metarl evaluate")):
        page.locator(".copies .copy_code_button").nth(button).click()
        page.wait_for_timeout(200)
        assert page.evaluate("navigator.clipboard.readText()").startswith(text)


def test_what_is_wrong_in_a_link_is_said_in_a_line_and_the_rest_is_shown(visit: Visit) -> None:
    bad = {"agent": "<img src=x onerror=alert(1)>", "gravity": "1e99", "length": 1.2}
    page = visit(link=bad).page
    said = page.wait_for_selector(".toast-body >> text=Not all of this link is valid").inner_text()
    assert "there is no agent '<img src=x onerror=alert(1)>', so this is cartpole" in said
    assert "gravity must be from 0 to 50" in said
    page.wait_for_function(
        "document.querySelector('#task-cartpole-v1-length input[type=number]').value === '1.2'"
    )
    assert page.locator("#task-cartpole-v1-gravity input[type=number]").input_value() == "9.8"
