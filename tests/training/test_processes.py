"""Several processes, started by torchrun, train what one would, and survive the death of one."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_runs import outcome

from ssm_metarl.commands.train import JOB, Train, _among_processes
from ssm_metarl.errors import UserError
from ssm_metarl.training import loop
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.metrics import read_metrics

HERE = Path(__file__).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if not key.startswith("COV_")},
    "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE)]),
    "OMP_NUM_THREADS": "1",
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # see docs/scaling.md
}
NAMES = ("meta_rl", "rl2", "memory of a trial")
LONG = ["--num_epochs", "40", "--tasks_per_epoch", "2", "--episodes_per_task", "4"]
LONG += ["--support_steps", "20", "--query_steps", "20", "--validate_every", "20"]
LONG += ["--validation_tasks", "1", "--norm_obs"]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*TORCHRUN, *map(str, arguments)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_nodes_train_what_one_process_does(
    whole: Callable[[str], Path], tmp_path: Path
) -> None:
    place = f"--rdzv-endpoint=127.0.0.1:{free_port()}"
    script = [HERE / "train_in_processes.py", tmp_path, *NAMES]
    nodes = [
        start("--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", place, *script)
        for _ in range(2)
    ]
    said = [node.communicate(timeout=120)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    for name in NAMES:
        (records, tensors), (others, alone) = outcome(tmp_path / name), outcome(whole(name))
        for mine, other in zip(records, others, strict=True):
            there = {key for key, value in other.items() if value is not None}
            assert there == {key for key, value in mine.items() if value is not None}
            for key in there:
                assert mine[key] == pytest.approx(other[key], rel=1e-4, abs=1e-6), key
        assert tensors.keys() == alone.keys()
        for key, value in alone.items():
            torch.testing.assert_close(tensors[key], value, atol=1e-5, rtol=1e-5, msg=key)


def test_a_process_that_is_killed_costs_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = ["--standalone", "--nproc-per-node=2", "--max-restarts=1", "-m", "ssm_metarl"]
    agent = start(*command, "train", *LONG, "--run_dir", folder)
    until = time.monotonic() + 90
    while time.monotonic() < until and not 2 < len(read_metrics(folder / "metrics.jsonl")) < 40:
        time.sleep(0.02)
    os.kill(children(agent.pid)[-1], signal.SIGKILL)
    said, _ = agent.communicate(timeout=120)
    assert agent.returncode == 0, said
    assert "exitcode: -9" in said
    iterations = [record["iteration"] for record in read_metrics(folder / "metrics.jsonl")]
    assert iterations == list(range(1, 41))


def children(process: int) -> list[int]:
    """The processes that a process has started."""
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(number) for number in text.split()]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (TrainConfig(tasks_per_epoch=1), "1, which 2 processes cannot share"),
        (TrainConfig(mode="policy_gradient"), "policy_gradient has one task"),
    ],
)
def test_what_cannot_be_shared_is_refused(
    config: TrainConfig, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "size", lambda: 2)
    with pytest.raises(UserError, match=expected):
        loop.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("job", "restarts", "resumes"),
    [("a", "1", True), ("a", "0", False), ("b", "1", False), ("none", "1", False)],
)
def test_only_the_job_that_began_a_run_takes_it_up_again(
    job: str, restarts: str, resumes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / JOB).write_text("a")
    torchrun = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": job}
    for name, value in {**torchrun, "TORCHELASTIC_RESTART_COUNT": restarts}.items():
        monkeypatch.setenv(name, value)
    assert _among_processes(Train(run_dir=tmp_path)).resume is resumes
    with pytest.raises(UserError, match="--run_dir is needed"):
        _among_processes(Train())


def test_processes_that_do_not_come_are_an_error(tmp_path: Path) -> None:
    lonely = {
        **ENVIRONMENT,
        **{"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"},
        **{"MASTER_PORT": str(free_port()), "SSM_METARL_MEETING_SECONDS": "1"},
    }
    done = subprocess.run(
        [sys.executable, "-m", "ssm_metarl", "train", "--run_dir", str(tmp_path / "run")],
        env=lonely,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "2 processes were to meet at 127.0.0.1:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
