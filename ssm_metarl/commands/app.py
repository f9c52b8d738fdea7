"""The web page from the command line."""

import os
import socket

from ssm_metarl.arguments import App
from ssm_metarl.commands.common import use_one_thread
from ssm_metarl.errors import UserError


def open_page(asked: App) -> int:
    """Serve the page until it is interrupted; return the exit code.

    Raises:
        UserError: The extra is not installed, or the address cannot be had.
    """
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pictures are drawn without a screen
    use_one_thread()
    _check_address(asked.host, asked.port)
    try:
        from ssm_metarl.ui.server import serve
    except ImportError as error:
        raise UserError(
            f"the page needs an extra ({error.name} is missing): pip install 'ssm-metarl[app]'"
        ) from error
    print(f"The page is at http://{asked.host}:{asked.port} (Ctrl-C closes it)", flush=True)
    serve(asked.runs, asked.host, asked.port)
    return 0


def _check_address(host: str, port: int) -> None:
    """Refuse an address that is taken or is not this machine's.

    Raises:
        UserError: Saying which.
    """
    try:
        kind = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(kind[0], socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(kind[4])
    except OSError as error:
        raise UserError(f"--host {host} --port {port}: {error.strerror}") from error
