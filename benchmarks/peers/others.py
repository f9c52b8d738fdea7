"""What sb3-contrib's RecurrentPPO does; runs in a worker."""

from typing import Any

import numpy as np

from benchmarks.measure.worker import Work

STEPS = 32


def _recurrent_ppo(lanes: int) -> Any:  # noqa: ANN401
    from sb3_contrib import RecurrentPPO
    from stable_baselines3.common.env_util import make_vec_env

    env = make_vec_env("CartPole-v1", n_envs=lanes, seed=0)
    network = {"lstm_hidden_size": 64, "net_arch": []}
    return RecurrentPPO(
        "MlpLstmPolicy", env, n_steps=STEPS, policy_kwargs=network, seed=0, device="cpu"
    )


def ppo_rollout(lanes: int, **_: object) -> Work:
    """Collect rollouts as RecurrentPPO does in training, with an LSTM of 64 units."""
    model = _recurrent_ppo(lanes)
    _, callback = model._setup_learn(10**9)

    def work() -> float:
        model.collect_rollouts(model.env, callback, model.rollout_buffer, STEPS)
        return STEPS * lanes

    return work


def ppo_acting(lanes: int) -> Work:
    """Call ``predict`` on a batch of observations, its state carried along."""
    model = _recurrent_ppo(1)
    seen, start = np.zeros((lanes, 4), np.float32), np.zeros(lanes, bool)
    state = model.predict(seen, episode_start=start)[1]

    def work() -> float:
        nonlocal state
        _, state = model.predict(seen, state, start, deterministic=True)
        return 1

    return work
