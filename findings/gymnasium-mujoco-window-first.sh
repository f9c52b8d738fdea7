#!/usr/bin/env bash
# Without a screen Gymnasium's robots cannot be drawn, although EGL would draw them and is on Gymnasium's list.
#
# Where MUJOCO_GL is not set Gymnasium tries glfw, EGL and OSMesa in turn and takes the first that raises no error. MuJoCo's
# glfw context raises none where no window can be opened: it warns, holds no context, and the first picture fails. With
# MUJOCO_GL=egl, even set after everything is imported, the same environment draws. (Needs a machine with libEGL.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "gymnasium[mujoco]==1.4.0" "mujoco==4.0.0" "glfw==2.11.0" "numpy==2.4.6"
cd "$folder"
cat > draw.py <<'PY'
import os
import sys
import warnings

import glfw
import gymnasium as gym
import mujoco

warnings.simplefilter("ignore")  # glfw's, which says that there is no screen
if "egl" in sys.argv:
    os.environ["MUJOCO_GL"] = "egl"
env = gym.make("Hopper-v5", render_mode="rgb_array")
env.reset(seed=0)
try:
    found = f"a picture {env.render().shape}"
except mujoco.FatalError as error:
    found = f"FatalError: {error}"
print("gymnasium", gym.__version__, "mujoco", mujoco.__version__, "glfw", glfw.__version__)
print("MUJOCO_GL is", os.environ.get("MUJOCO_GL"), "->", found)
expected = "a picture (480, 480, 3)" if "egl" in sys.argv else "FatalError: an OpenGL platform library"
assert found.startswith(expected), "it is not so any more"
PY
headless() { env -u DISPLAY -u WAYLAND_DISPLAY -u MUJOCO_GL "$folder/venv/bin/python" draw.py "$@"; }
headless
headless egl
echo "as described: the first of the list is taken though it cannot draw, and the second one could"
