#!/usr/bin/env bash
# Gymnasium's toy text environments refuse actions that their own action space contains.
#
# A policy's argmax is often a NumPy array of no axis. Discrete.contains says that such an array is in the space, and
# CartPole, MountainCar and Acrobot step with it. FrozenLake, CliffWalking and Taxi look the action up in a dictionary,
# and raise: an array cannot be hashed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "gymnasium[classic-control,toy-text]==1.4.0" "numpy==2.4.6"
SDL_VIDEODRIVER=dummy "$folder/venv/bin/python" - <<'PY'
import gymnasium as gym
import numpy as np

print("gymnasium", gym.__version__, "numpy", np.__version__)
action, found = np.array(1), {}
for name in ("CartPole-v1", "MountainCar-v0", "Acrobot-v1", "FrozenLake-v1", "CliffWalking-v1", "Taxi-v4"):
    env = gym.make(name)
    env.reset(seed=0)
    contained = env.action_space.contains(action)
    try:
        env.step(action)
        found[name] = contained, "steps"
    except TypeError as error:
        found[name] = contained, f"TypeError: {error}"
    print(f"{name:16} contains(np.array(1)) is {contained}; step: {found[name][1]}")
    env.close()
refusing = {name for name, (contained, what) in found.items() if contained and what != "steps"}
assert all(contained for contained, _ in found.values()), "an action space no longer contains the array"
assert refusing == {"FrozenLake-v1", "CliffWalking-v1", "Taxi-v4"}, f"refuse it now: {sorted(refusing)}"
print("as described: actions have to be made plain integers before toy text is stepped")
PY
