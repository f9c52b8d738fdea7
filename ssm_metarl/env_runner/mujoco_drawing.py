"""Where MuJoCo draws: on a screen, or without one by EGL or OSMesa."""

import importlib
import os
import sys

from ssm_metarl.env_runner.mujoco_model import load_mujoco
from ssm_metarl.errors import UserError

WITHOUT_SCREEN = ("egl", "osmesa")


def prepare_drawing() -> None:
    """Choose how MuJoCo draws, unless the variable ``MUJOCO_GL`` says so or there is a screen.

    By itself Gymnasium takes a window's context, also where no window can be opened.

    Raises:
        UserError: There is no screen, and nothing that does without one.
    """
    screens = any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    if "MUJOCO_GL" in os.environ or screens or not sys.platform.startswith("linux"):
        return
    load_mujoco()
    for name in WITHOUT_SCREEN:
        try:
            importlib.import_module(f"mujoco.{name}").GLContext(1, 1).free()
        except Exception:  # of a library that is missing, many kinds
            continue
        os.environ["MUJOCO_GL"] = name
        return
    raise UserError(
        "MuJoCo cannot draw here: there is no screen, and neither EGL nor OSMesa works; install "
        "one of them (Debian: apt install libegl1, or libosmesa6), or set DISPLAY or MUJOCO_GL"
    )
