"""No event of the page fails without manners, whoever sends what."""

import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from visiting import ROOT, Site

gradio = pytest.importorskip("gradio")

from ssm_metarl.errors import UserError  # noqa: E402
from ssm_metarl.ui.errors import SORRY, field, lasting  # noqa: E402

EVENTS = """
import asyncio
import gradio
from ssm_metarl.errors import UserError
from ssm_metarl.ui.errors import Page

def fail():
    raise UserError("too much")

def fail_later():
    yield 1
    raise OSError("/secret")

async def call(event):
    begun = await page.call_function(event, [])
    await page.call_function(event, [], begun["iterator"])

with Page() as page:
    for action in (fail, fail_later):
        gradio.on([gradio.Number().change], action)
for event in page.fns.values():
    try:
        asyncio.run(call(event))
    except gradio.Error as error:
        print(error.message)
"""


def test_every_event_handles_errors() -> None:
    command = [sys.executable, "-c", EVENTS]  # Gradio leaves a loop open
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.splitlines() == ["too much", SORRY]


def test_an_event_that_says_nothing_is_refused() -> None:
    assert field(gradio.EventData(None, {"run": "mine"}), "run") == "mine"
    for said in (None, {"other": 1}):
        with pytest.raises(UserError, match="does not say its run"):
            field(gradio.EventData(None, said), "run")


@pytest.mark.slow
@pytest.mark.parametrize("value", ["NaN", '"x"', "null", '{"a": 1}', "1e999"])
def test_values_that_are_none_leave_no_traceback(site: Site, value: str) -> None:
    events = httpx.get(f"{site.url}/config").json()["dependencies"]
    before = site.log.read_text().count("Traceback")
    kind = {"content-type": "application/json"}
    with httpx.Client(base_url=f"{site.url}/gradio_api", timeout=60, headers=kind) as client:
        for event in (event for event in events if event["backend_fn"]):
            data = ",".join([value] * len(event["inputs"]))
            asked = f'{{"fn_index": {event["id"]}, "data": [{data}], "session_hash": "rude"}}'
            if event["queue"] is False:
                client.post("/run/predict", content=asked)
            elif client.post("/queue/join", content=asked).is_success:
                wait(client, "rude")
    assert site.log.read_text().count("Traceback") == before


def wait(client: httpx.Client, session: str) -> None:
    """Wait until what a session asked for has ended, however."""
    with client.stream("GET", f"/queue/data?session_hash={session}") as messages:
        assert any("process_completed" in line for line in messages.iter_lines())


def test_why_something_failed_stays_when_the_toast_is_gone() -> None:
    def work() -> Iterator[list[str]]:
        yield ["measuring", "curve"]
        raise UserError("there is no run 'a' in /srv/runs/a")

    shown = lasting(work, 2)
    assert next(shown) == ["measuring", "curve"]
    line, _ = next(shown)
    assert "there is no run 'a' in a<" in line
    with pytest.raises(gradio.Error, match="there is no run 'a' in a"):
        next(shown)
    with pytest.raises(gradio.Error):
        list(lasting(lambda: 1 / 0, 1))  # pyright: ignore[reportArgumentType]
