#!/usr/bin/env bash
# Gymnasium's HalfCheetah, Ant and Swimmer run out of their own videos.
#
# Each model has a camera named "track" that follows the robot, and Gymnasium 1.4 looks it up. Then it takes a free camera
# instead, so that default_camera_config has an effect, and relies on that for tracking. Those of Hopper, Walker2d and
# Humanoid name a body to track; those of these three do not, and their camera stays at the start. A cheetah that runs at
# 5 m/s has left the picture after 40 steps. With camera_name="track" it stays in the middle.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "gymnasium==1.4.0" "mujoco==4.0.0" "numpy==2.4.6" imageio packaging
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import gymnasium as gym
import mujoco

print("gymnasium", gym.__version__, "mujoco", mujoco.__version__)
stays = set()
for name in ("HalfCheetah-v5", "Ant-v5", "Swimmer-v5", "Hopper-v5", "Walker2d-v5", "Humanoid-v5"):
    env = gym.make(name, render_mode="rgb_array").unwrapped
    renderer, model = env.mujoco_renderer, env.model
    cameras = [model.camera(index).name for index in range(model.ncam)]
    tracked = (renderer.default_cam_config or {}).get("trackbodyid", -1)
    print(f"{name:15} cameras of the model {cameras}, used: {renderer.camera_id} (-1: free), body tracked: {tracked}")
    if renderer.camera_id == -1 and tracked < 1:
        stays.add(name)
assert stays == {"HalfCheetah-v5", "Ant-v5", "Swimmer-v5"}, f"the camera stays for {sorted(stays)} now"
assert gym.make("HalfCheetah-v5", render_mode="rgb_array", camera_name="track").unwrapped.mujoco_renderer.camera_id == 0
print("as described: these robots leave the picture unless camera_name is given")
PY
