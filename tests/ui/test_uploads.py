"""What visitors may upload all together."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from visiting import Site

pytest.importorskip("gradio")

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from ssm_metarl.ui.uploads import UploadLimit

T = TypeVar("T")


def served(folder: Path, most: int) -> httpx.AsyncClient:
    """Return a visitor of an app that keeps what it gets, a file a request."""

    async def keep(scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        await asyncio.sleep(0.01)  # others come meanwhile
        (folder / str(len(list(folder.iterdir())))).write_bytes(body)
        await PlainTextResponse("kept")(scope, receive, send)

    app = UploadLimit(keep, folder, most)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://page")


def awaited(visit: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run it in a thread: that of the tests has a loop once a browser is open."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(visit())).result()


async def status(visitor: httpx.AsyncClient, path: str = "/gradio_api/upload") -> int:
    return (await visitor.post(path, content=b"x" * 40)).status_code


@pytest.mark.parametrize("at_once", [True, False])
def test_uploads_are_bounded_all_together(tmp_path: Path, at_once: bool) -> None:
    async def visit() -> list[int]:
        async with served(tmp_path, 100) as visitor:
            if at_once:
                return await asyncio.gather(*(status(visitor) for _ in range(3)))
            return [await status(visitor) for _ in range(3)]

    assert awaited(visit) == [200, 200, 413]
    assert len(list(tmp_path.iterdir())) == 2


def test_an_upload_has_to_say_its_size(site: Site) -> None:
    pieces = iter([b"--x\r\n", b"--x--\r\n"])
    kind = {"content-type": "multipart/form-data; boundary=x"}
    answer = httpx.post(f"{site.url}/gradio_api/upload", content=pieces, headers=kind)
    assert answer.status_code == 411


def test_other_requests_are_let_through(tmp_path: Path) -> None:
    async def visit() -> int:
        async with served(tmp_path, 10) as visitor:
            return await status(visitor, "/gradio_api/queue/join")

    assert awaited(visit) == 200
