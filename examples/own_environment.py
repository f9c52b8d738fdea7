"""Adapt a trained agent to an environment of your own, play with it, and keep it.

python examples/own_environment.py runs/demo [FOLDER]
"""

import sys
from pathlib import Path

import gymnasium
import numpy as np

import ssm_metarl as sm


class YourEnvironment(gymnasium.Wrapper):
    """Stands for your environment: a CartPole with a long pole and its motor wired the wrong way.

    Any Gymnasium environment will do that shows and takes what the agent was trained with.
    """

    def __init__(self) -> None:
        """Build it."""
        super().__init__(gymnasium.make("CartPole-v1"))
        self.unwrapped.length, self.unwrapped.polemass_length = 0.8, 0.08  # pyright: ignore

    def step(self, action: np.ndarray) -> tuple:
        """Go left for right, and right for left."""
        return super().step(1 - action)


def main(run: str, folder: str) -> None:
    """Do all of it."""
    agent, env = sm.load(run), YourEnvironment()
    for progress in sm.adapt(agent, env, mode="hybrid", episodes=10):
        print(f"episode {progress.episodes}: return {progress.returns[0]:.0f}")
    adapted = progress.agent

    observation, _ = env.reset(seed=0)
    state, total, done = None, 0.0, False
    while not done:
        action, state = adapted.predict(observation, state)
        observation, reward, terminated, truncated, _ = env.step(action)
        total, done = total + float(reward), terminated or truncated
    print(f"adapted: return {total:.0f}")
    print(f"kept in {sm.save(adapted, folder)}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    run, folder = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else f"{sys.argv[1]}-adapted"
    if Path(folder).exists():
        sys.exit(f"{folder} exists; name another folder after the run")
    main(run, folder)
