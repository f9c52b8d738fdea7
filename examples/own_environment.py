"""Adapt a trained agent to an environment of your own, play an episode with it, and save it.

python examples/own_environment.py runs/demo [FOLDER]
"""

import sys
from pathlib import Path

import gymnasium
import numpy as np

import ssm_metarl as sm


class YourEnvironment(gymnasium.Wrapper):
    """Your environment; here a CartPole with a long pole, left and right swapped.

    Any Gymnasium environment with the observation and action spaces of the agent will do.
    """

    def __init__(self) -> None:
        """Build it."""
        super().__init__(gymnasium.make("CartPole-v1"))
        self.unwrapped.length, self.unwrapped.polemass_length = 0.8, 0.08  # pyright: ignore

    def step(self, action: np.ndarray) -> tuple:
        """Swap left and right."""
        return super().step(1 - action)


def main(run: str, folder: str) -> None:
    """Adapt, play one episode, save."""
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
    print(f"saved in {sm.save(adapted, folder)}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    run, folder = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else f"{sys.argv[1]}-adapted"
    if Path(folder).exists():
        sys.exit(f"{folder} exists; name another folder after the run")
    main(run, folder)
