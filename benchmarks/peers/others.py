"""What sb3-contrib's RecurrentPPO and an ONNX session of our policy do; runs in a worker."""

import io
import logging
import warnings
from typing import Any

import numpy as np
import torch

from benchmarks.measure.ours import make_policy
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


class ActingStep(torch.nn.Module):
    """The most likely action and the next state, from an observation and a state."""

    def __init__(self) -> None:
        super().__init__()
        self.policy, params = make_policy()
        self.bound = self.policy.bind(params)

    def forward(self, seen: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Act once."""
        features, (state,) = self.bound.step(self.policy.spaces.centred(seen), (state,))
        return self.bound.distribution(features).mode(), state


def onnx_acting(lanes: int) -> Work:
    """Run an ONNX session of one acting step, exported here."""
    import onnxruntime

    seen, state = torch.zeros(1, lanes, 4), torch.zeros(1, lanes, 64)
    logging.disable(logging.WARNING)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(ActingStep().eval(), (seen, state), dynamo=True, verbose=False)
    assert program is not None
    held = io.BytesIO()
    program.save(held)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(held.getvalue(), options)
    names = [each.name for each in session.get_inputs()]
    observation, memory = seen.numpy(), state.numpy()

    def work() -> float:
        nonlocal memory
        _, memory = session.run(None, {names[0]: observation, names[1]: memory})
        return 1

    return work
