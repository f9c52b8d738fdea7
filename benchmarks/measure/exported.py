"""What exported files of our agent do in one acting step; runs in a worker."""

import ctypes
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch

import ssm_metarl as sm
from benchmarks.measure.ours import make_agent
from benchmarks.measure.worker import Work

CALLS = 100  # of the C code for each from Python, which would cost as much as the step
DRIVER = """
static policy_state states[LANES];
void steps(int count)
{
    const float observation[POLICY_OBSERVATIONS] = {0.0f};
    policy_action action[POLICY_ACTIONS];
    for (int step = 0; step < count; step++)
        for (int lane = 0; lane < LANES; lane++)
            policy_step(observation, 1.0f, 0, &states[lane], action);
}
"""


def inputs(lanes: int) -> dict[str, np.ndarray]:
    """Return what a step of many lanes is given."""
    return {
        "observation": np.zeros((lanes, 4), np.float32),
        "reward": np.zeros(lanes, np.float32),
        "episode_start": np.zeros(lanes, bool),
        "state": np.zeros((lanes, 64), np.float32),
    }


def onnx(lanes: int) -> Work:
    """Run the file in ONNX Runtime, its state carried along."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        path = sm.export(make_agent(), Path(folder) / "policy.onnx")
        session = onnxruntime.InferenceSession(path, options)
    given = inputs(lanes)

    def work() -> float:
        _, given["state"] = session.run(None, given)
        return 1

    return work


def program(lanes: int) -> Work:
    """Run the program that torch.export.load reads."""
    with tempfile.TemporaryDirectory() as folder:
        module = torch.export.load(sm.export(make_agent(), Path(folder) / "policy.pt2")).module()
    given = {name: torch.from_numpy(value) for name, value in inputs(lanes).items()}

    @torch.inference_mode()
    def work() -> float:
        _, given["state"] = module(**given)
        return 1

    return work


def c(lanes: int) -> Work:
    """Run the C code, compiled by ``cc -O2``."""
    with tempfile.TemporaryDirectory() as folder:
        path = sm.export(make_agent(), Path(folder) / "policy.c")
        path.write_text(path.read_text() + DRIVER)
        library = path.with_suffix(".so")
        command = ["cc", "-O2", "-shared", "-fPIC", f"-DLANES={lanes}", path, "-lm", "-o", library]
        subprocess.run(command, check=True)
        steps = ctypes.CDLL(str(library)).steps

    def work() -> float:
        steps(CALLS)
        return CALLS

    return work
