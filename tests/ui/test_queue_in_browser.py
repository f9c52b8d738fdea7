"""Visitors who wait for each other: they are told so, can go, and lose nothing of their own."""

from collections.abc import Callable, Iterator

import pytest
from gradio_client import Client
from visiting import Site, Visitor

pytestmark = pytest.mark.slow
Visit = Callable[..., Visitor]


@pytest.fixture
def trainer(site: Site) -> Iterator[Client]:
    """Somebody who trains for as long as the test lasts, unless it stops that."""
    client = Client(site.url, verbose=False)
    job = client.submit(
        *("elsewhere", "CartPole-v1", "meta_rl", 400, 10, None, None, 2, 8, 4, "ssm", 0),
        api_name="/train",
    )
    next(iter(job))
    yield client
    client.predict(api_name="/stop")
    status, _ = job.result(timeout=60)
    assert "Stopped after" in status  # by this, or by the test, and by no other visitor
    client.predict("elsewhere", api_name="/delete_run")


def choose(visitor: Visitor, agent: str) -> None:
    visitor.page.click("#agent input")
    visitor.page.click(f"[role=option] >> text={agent}")


@pytest.mark.usefixtures("trainer")
def test_who_waits_can_go_at_once(visit: Visit) -> None:
    page = visit().page
    page.click("#adapt")
    page.wait_for_selector("#sentence >> text=Your turn comes")
    page.wait_for_selector("#sentence >> text=queue: 1/1")
    page.click("#adapt-stop")
    page.wait_for_selector("#sentence >> text=Stopped.")
    page.wait_for_selector("#adapt:not([disabled])")
    page.get_by_role("tab", name="Compare").click()
    page.click("#compare-go")
    page.wait_for_selector("#compare-sentence >> text=Your turn comes")
    page.click("#compare-stop")
    page.wait_for_selector("#compare-go:not([disabled])")
    page.get_by_role("tab", name="Train").click()
    page.click("#train")
    page.wait_for_selector("#training >> text=Your turn comes")
    place = page.wait_for_selector("#training >> text=/queue: /")
    assert place.is_visible()
    page.click("#stop")
    page.wait_for_selector("#training >> text=nothing was trained")
    page.wait_for_selector("#train:not([disabled])")


def test_another_agent_while_waiting_is_a_new_question(visit: Visit, trainer: Client) -> None:
    visitor = visit()
    visitor.page.click("#adapt")
    visitor.page.wait_for_selector("#sentence >> text=Your turn comes")
    choose(visitor, "cartpole-in-context")
    visitor.page.wait_for_selector("#modes >> text=in-context")
    visitor.ask_little()
    visitor.page.click("#adapt")
    visitor.page.wait_for_selector("#sentence >> text=Your turn comes")
    trainer.predict(api_name="/stop")
    assert "→" in visitor.outcome()
    assert visitor.page.locator("#clips figcaption >> text=in-context").count() == 1
    visitor.page.wait_for_selector("#adapt:not([disabled])")
    assert "→" in visitor.adapt()
    assert visitor.page.locator(".toast-body").count() == 0


@pytest.mark.usefixtures("trainer")
def test_a_name_that_another_was_offered_too_is_replaced(visit: Visit, site: Site) -> None:
    page = visit().page
    page.get_by_role("tab", name="Train").click()
    page.wait_for_function(  # until the page has suggested a name, one that is not taken
        """(taken) => {
          const name = document.querySelector('#run-name textarea, #run-name input').value;
          return name && !taken.includes(name);
        }""",
        arg=[run.name for run in site.runs.iterdir()],
    )
    name = page.input_value("#run-name textarea, #run-name input")
    (site.runs / name).mkdir()
    (site.runs / name / "config.json").write_text("{}")
    page.click("#train")
    page.wait_for_selector("#training >> text=Your turn comes")
    assert page.input_value("#run-name textarea, #run-name input") != name
    page.click("#stop")
    page.wait_for_selector("#training >> text=nothing was trained")
    (site.runs / name / "config.json").unlink()
    (site.runs / name).rmdir()
