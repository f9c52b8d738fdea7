"""``ssm-metarl app``: the web page."""

import os
import socket
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ssm_metarl.commands.common import FAMILY_FLAG, refuse_no_folder, register_file, use_one_thread
from ssm_metarl.errors import UserError
from ssm_metarl.training.settings import check_settings, setting


@dataclass(frozen=True)
class App:
    """Open the web page: watch agents adapt, train and compare them."""

    host: str = setting(
        "127.0.0.1", "Address to listen on; 0.0.0.0 lets other machines in, see SECURITY.md first."
    )
    port: int = setting(7860, "Port to listen on.", within=(1, 65535))
    runs: Path = setting(
        Path("runs"), "Folder of the runs that it shows and makes.", metavar="FOLDER"
    )
    family: Path | None = setting(None, **FAMILY_FLAG)
    trust_env_code: bool = setting(False, "Allow a family whose environment or file is code.")

    def __post_init__(self) -> None:
        check_settings(self)
        refuse_no_folder("runs", self.runs)


def run(asked: App, _: Collection[str]) -> int:
    """Serve the page until it is interrupted; return the exit code."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pictures are drawn without a screen
    use_one_thread()
    _check_address(asked.host, asked.port)
    register_file(asked.family, trust_env_code=asked.trust_env_code)
    try:
        from ssm_metarl.ui.server import serve
    except ImportError as error:
        raise UserError(
            f"the page needs an extra ({error.name} is missing): pip install 'ssm-metarl[app]'"
        ) from error
    serve(asked.runs, asked.host, asked.port)
    return 0


def _check_address(host: str, port: int) -> None:
    """Refuse an address that is taken or is not this machine's."""
    try:
        kind = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(kind[0], socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(kind[4])
    except OSError as error:
        raise UserError(f"--host {host} --port {port}: {error.strerror}") from error
