"""Whether two MuJoCo models behave alike, in states that random actions do not lead to."""

from typing import Any

import numpy as np
from numpy.random import Generator, default_rng

from ssm_metarl.env_runner.mujoco_model import MjModel, load_mujoco

STATES, STEPS = 300, 8
FAR = 1.5  # radians, metres, and per second


def same_physics(one: MjModel, other: MjModel) -> bool:
    """Return whether two models of one robot go on alike, to the bit, from many random states.

    Bodies lie on the floor and on each other in some of them, and all move: what makes no
    difference there, such as a friction that is smaller than the floor's, makes none.
    """
    mujoco, rng = load_mujoco(), default_rng(0)
    pairs = [(model, mujoco.MjData(model)) for model in (one, other)]
    for _ in range(STATES):
        qpos, qvel, ctrl = _random_state(one, rng)
        ends = [_run(model, data, qpos, qvel, ctrl) for model, data in pairs]
        if not np.array_equal(*ends, equal_nan=True):
            return False
    return True


def _random_state(model: MjModel, rng: Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    qpos = model.qpos0.copy()
    load_mujoco().mj_integratePos(model, qpos, rng.uniform(-FAR, FAR, model.nv), 1.0)
    return qpos, rng.uniform(-FAR, FAR, model.nv), rng.uniform(-1.0, 1.0, model.nu)


def _run(
    model: MjModel,
    data: Any,  # noqa: ANN401 (an MjData)
    qpos: np.ndarray,
    qvel: np.ndarray,
    ctrl: np.ndarray,
) -> np.ndarray:
    mujoco = load_mujoco()
    mujoco.mj_resetData(model, data)
    data.qacc_warmstart[:] = 0.0  # mj_resetData leaves it before 3.3.6
    data.qpos[:], data.qvel[:], data.ctrl[:] = qpos, qvel, ctrl
    mujoco.mj_step(model, data, STEPS)
    return np.concatenate([data.qpos, data.qvel])
