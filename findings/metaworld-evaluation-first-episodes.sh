#!/usr/bin/env bash
# Meta-World's evaluation reports a success rate of 1 for an agent that solves a fraction of the tasks.
#
# metaworld.evaluation.evaluation (and metalearning_evaluation, which calls it) ends an episode at success, and counts the
# first num_episodes that end among all environments of a class. An unsolved episode lasts 500 steps, so wherever a class
# has more environments than episodes are asked for (ML1 with the usual meta batch of 20, and 3 episodes), the ones that
# are counted are solved ones, if there are 3 of them. With one environment per class the rate is what it says.
# The agent here always moves to the middle of where goals can be, whatever the task.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "metaworld==3.1.1" "gymnasium[mujoco]==1.4.0" \
    "mujoco==3.3.0" "numpy==2.4.6" packaging
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import gymnasium as gym
import metaworld
import mujoco
import numpy as np
from metaworld.evaluation import evaluation, metalearning_evaluation

print("metaworld 3.1.1, gymnasium", gym.__version__, "mujoco", mujoco.__version__, "numpy", np.__version__)
MIDDLE = np.array([0.0, 0.85, 0.175])


class ToTheMiddle:
    def eval_action(self, observations):
        towards = np.clip(10.0 * (MIDDLE - observations[:, :3]), -1.0, 1.0)
        return np.concatenate([towards, np.zeros((len(towards), 1))], 1).astype(np.float32)

    def adapt_action(self, observations):
        return self.eval_action(observations), {}

    def reset(self, env_mask): ...
    def init(self): ...
    def step(self, timestep): ...
    def adapt(self): ...


def environments(count):
    envs = metaworld.make_ml_envs_test("reach-v3", seed=0, meta_batch_size=count, total_tasks_per_cls=20)
    envs.call("sample_tasks")
    return envs


together = environments(20)
asked_of_3, *_ = evaluation(ToTheMiddle(), together, num_episodes=3)
together.close()
by_itself = environments(1)  # the same 20 tasks, one after another
honest, *_ = metalearning_evaluation(
    ToTheMiddle(), by_itself, num_evals=20, adaptation_episodes=0, evaluation_episodes=1
)
by_itself.close()
print(f"20 environments at once, first 3 episodes: success rate {asked_of_3:.2f}")
print(f"the same 20 tasks, one environment:        success rate {honest:.2f}")
assert asked_of_3 == 1.0, "the first episodes to end are not all solved any more"
assert honest < 0.7, "the agent solves most of the tasks now"
print("as described: the rate of several environments is that of the quickest episodes")
PY
