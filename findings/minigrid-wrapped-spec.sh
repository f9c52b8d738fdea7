#!/usr/bin/env bash
# An environment in one of MiniGrid's wrappers has a spec that nothing can be made from.
#
# ImgObsWrapper, which every tutorial puts around a MiniGrid, does not record its arguments. env.spec looks complete and
# lists the wrapper, but gymnasium.make(env.spec) raises, and so does Gymnasium's check_env, which makes a second
# environment from the spec. Gymnasium's own FilterObservation leaves the mission's text out as well, and can be made
# again. Whoever promises that check_env passes on environments of users meets it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "gymnasium==1.4.0" "minigrid==3.2.0" "numpy==2.4.6"
PYGAME_HIDE_SUPPORT_PROMPT=1 "$folder/venv/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

import gymnasium as gym
import minigrid  # noqa: F401 (it registers)
from gymnasium.utils.env_checker import check_env
from minigrid.wrappers import ImgObsWrapper

print("gymnasium", gym.__version__, "minigrid", version("minigrid"))
wrapped = ImgObsWrapper(gym.make("MiniGrid-Empty-5x5-v0"))
filtered = gym.wrappers.FilterObservation(gym.make("MiniGrid-Empty-5x5-v0"), ["image"])
found = {}
for name, env in (("ImgObsWrapper", wrapped), ("FilterObservation", filtered)):
    for what, act in (("make(env.spec)", lambda env=env: gym.make(env.spec)),
                      ("check_env", lambda env=env: check_env(env, skip_render_check=True))):
        try:
            act()
            found[name, what] = "passes"
        except ValueError as error:
            found[name, what] = f"ValueError: {error}"
        print(f"{name:18} {what:15} {found[name, what]}")
assert found["ImgObsWrapper", "make(env.spec)"].startswith("ValueError"), "it can be made from its spec now"
assert found["ImgObsWrapper", "check_env"].startswith("ValueError"), "check_env passes now"
assert found["FilterObservation", "make(env.spec)"] == "passes"
assert found["FilterObservation", "check_env"] == "passes"
print("as described: env.spec is there, and making an environment from it raises")
PY
