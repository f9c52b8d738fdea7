"""What visitors may upload all together: Gradio bounds each file, and not how many there are."""

from pathlib import Path

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ssm_metarl.training.summary import size

FULL = "There have been many uploads; those of the last hour are kept. Please try again later."
UNSIZED = "Say how large the upload is (Content-Length)."


class UploadLimit:
    """Refuse an upload that, with all that is kept and all that is coming in, would be too much."""

    def __init__(self, app: ASGIApp, folder: Path, most: int) -> None:
        """Stand before an app that keeps uploads in a folder, of ``most`` bytes at most."""
        self._app, self._folder, self._most = app, folder, most
        self._coming = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the app do it."""
        if scope["type"] != "http" or not scope["path"].rstrip("/").endswith("/upload"):
            return await self._app(scope, receive, send)
        said = dict(scope["headers"]).get(b"content-length", b"")
        if not said.isdigit():  # what comes in pieces could be of any size
            return await PlainTextResponse(UNSIZED, 411)(scope, receive, send)
        if size(self._folder) + self._coming + int(said) > self._most:
            return await PlainTextResponse(FULL, 413)(scope, receive, send)
        self._coming += int(said)
        try:
            await self._app(scope, receive, send)
        finally:
            self._coming -= int(said)
