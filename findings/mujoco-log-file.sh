#!/usr/bin/env bash
# Making Gymnasium's HalfCheetah writes MUJOCO_LOG.TXT into the current folder, with mujoco 3.17 and newer.
#
# The robot's file asks for a total mass (settotalmass), which MuJoCo warns of since it is deprecated, and MuJoCo writes
# each warning to the terminal and to a log file of a fixed name where the program runs. Hopper's file has no such
# attribute, and leaves nothing behind. Whoever compares folders, or looks for stray files, meets it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "gymnasium[mujoco]==1.4.0" "mujoco==3.17.0" "numpy==2.4.6"
mkdir "$folder/here"
cd "$folder/here"
"$folder/venv/bin/python" - <<'PY'
from pathlib import Path

import gymnasium as gym
import mujoco
import numpy as np

print("gymnasium", gym.__version__, "mujoco", mujoco.__version__, "numpy", np.__version__)
log = Path("MUJOCO_LOG.TXT")
gym.make("Hopper-v5").close()
assert not log.exists(), "Hopper-v5 leaves a log file now"
gym.make("HalfCheetah-v5").close()
assert log.exists(), "HalfCheetah-v5 leaves no log file any more"
text = log.read_text()
assert "settotalmass" in text, text
print("after Hopper-v5 the folder is empty; after HalfCheetah-v5 it holds", log.name, "with:")
print(text.strip())
print("as described: programs that make a HalfCheetah leave a file in the folder they run in")
PY
