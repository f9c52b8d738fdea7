"""Worker processes: the numbers of one process, whatever dies, and nothing left behind."""

import importlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pytest
import torch
from numpy.random import SeedSequence

import ssm_metarl as sm
from ssm_metarl.env_runner import kept as kept_module
from ssm_metarl.env_runner.environment import Environment, Step
from ssm_metarl.env_runner.gymnasium import GymnasiumEnvironment
from ssm_metarl.env_runner.workers import WorkerLanes

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import this file
SEED, TASKS, LANES = SeedSequence(3), 4, 3
GOES, BREAKS, DIES, SLEEPS, BLOWS_UP = range(5)  # actions
HERE = os.getpid()


class Fragile(gymnasium.Env):
    """Noise of a task's size; some of its actions break it."""

    observation_space = gymnasium.spaces.Box(-100, 100, (3,))
    action_space = gymnasium.spaces.Discrete(5)

    def __init__(self, size: float = 1.0) -> None:
        self.size = size

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple:
        super().reset(seed=seed)
        return self.look(), {}

    def look(self) -> np.ndarray:
        return self.np_random.normal(0.0, self.size, 3).astype(np.float32)

    def step(self, action: int) -> tuple:
        if action == BREAKS:
            raise RuntimeError("it broke")
        if action == DIES:
            os.kill(os.getpid(), signal.SIGKILL)
        if action == SLEEPS:
            time.sleep(60)
        reward = np.nan if action == BLOWS_UP else self.np_random.normal()
        ends = self.np_random.random() < 0.1
        return self.look(), reward, ends, False, {"is_success": os.getpid() != HERE}


SIZE = sm.Parameter("size", 1.0, low=0.5, high=2.0)


def make_family(make: Any = lambda task: Fragile(task["size"])) -> sm.TaskFamily:  # noqa: ANN401
    return sm.TaskFamily("Fragile", make=make, parameters=[SIZE], max_episode_steps=12)


@pytest.fixture
def family() -> Iterator[sm.TaskFamily]:
    family = make_family().reusing()
    yield family
    family.close()


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kept_module.WORKERS, "2")


def lanes_of(family: sm.TaskFamily, *, autoreset: bool = True) -> GymnasiumEnvironment:
    env = family.make_vec(family.held_out(TASKS), LANES, autoreset=autoreset)
    assert isinstance(env, GymnasiumEnvironment)
    return env


def play(env: Environment, actions: torch.Tensor) -> list[Step]:
    zero = torch.zeros(TASKS, LANES)
    first = Step(env.reset(SEED), zero, zero.bool(), zero.bool())
    return [first, *(env.step(action) for action in actions)]


def assert_same(mine: list[Step], theirs: list[Step], tasks: slice = slice(None)) -> None:
    for one, other in zip(mine, theirs, strict=True):
        for a, b in zip(one[:5], other[:5], strict=True):
            assert (a is None) == (b is None)
            assert a is None or torch.equal(a[tasks], b[tasks])


def going(steps: int) -> torch.Tensor:
    return torch.full((steps, TASKS, LANES), GOES)


def processes(env: GymnasiumEnvironment) -> list[int]:
    lanes = env._lanes
    assert isinstance(lanes, WorkerLanes)
    return [worker.process_id for worker in lanes.crew.workers]


@pytest.mark.parametrize("autoreset", [True, False])
def test_numbers_are_those_of_one_process_to_the_bit(
    autoreset: bool, family: sm.TaskFamily, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    drawn = rng.choice([GOES, BREAKS, BLOWS_UP], (60, TASKS, LANES), p=[0.9, 0.05, 0.05])
    found = {}
    for number in ("0", "2"):
        monkeypatch.setenv(kept_module.WORKERS, number)
        rollouts, env = [], lanes_of(family)
        for _ in range(2):
            env = lanes_of(family, autoreset=autoreset)
            rollouts += play(env, torch.from_numpy(drawn))
            env.close()
        found[number] = rollouts, env.failures.failed.tolist(), env.failures.ended.tolist()
        solved = [step.success for step in rollouts if step.success is not None]
        assert any(bool(each.any()) for each in solved) == (number == "2")
    assert_same(found["0"][0], found["2"][0])
    assert found["0"][1:] == found["2"][1:]
    assert sum(found["0"][1]) > 2


def test_a_worker_that_dies_costs_the_episodes_of_its_lanes(
    family: sm.TaskFamily, workers: None
) -> None:
    untouched = make_family().make_vec(family.held_out(TASKS), LANES, autoreset=True)
    env = lanes_of(family)
    before = processes(env)
    actions = going(30)
    actions[4, 3, 1] = DIES
    steps, expected = play(env, actions), play(untouched, going(30))
    assert_same([s._replace(failed=None) for s in steps], expected, slice(0, 2))
    failed = steps[5].failed
    resting = (steps[4].terminated | steps[4].truncated)[2:]
    assert failed is not None
    assert not failed[:2].any()
    assert torch.equal(failed[2:], ~resting)
    assert torch.equal(steps[5].terminated[2:], ~resting)
    assert not steps[5].reward[2:].any()
    assert steps[5].why == "a worker process was killed by SIGKILL"
    after = steps[6].failed  # those that were to begin an episode begin it in vain
    assert torch.equal(torch.zeros_like(resting) if after is None else after[2:], resting)
    assert bool(torch.stack([step.observation for step in steps[-9:]]).abs().sum(-1).all())
    assert processes(env)[0] == before[0]
    assert processes(env)[1] != before[1]


def test_workers_that_keep_dying_end_it_with_the_values_of_the_task(
    family: sm.TaskFamily, workers: None
) -> None:
    env = family.make_vec(family.held_out(2)[np.array([0] * 4 + [1])], 9, autoreset=True)
    env.reset(SEED)
    actions = torch.full((5, 9), GOES)
    actions[4, 8] = DIES
    size = f"{family.held_out(2)[1]['size']:.3g}"
    env.step(actions)
    env.step(actions)
    env.step(actions)
    env.step(actions)
    with pytest.raises(sm.EnvironmentFailure, match=f"SIGKILL in .* of the task size={size}"):
        env.step(actions)


def test_a_worker_that_cannot_build_is_an_error(workers: None) -> None:
    def make(task: dict[str, float]) -> gymnasium.Env:
        if os.getpid() != HERE:
            os._exit(3)
        return Fragile()

    family = make_family(make).reusing()
    with pytest.raises(sm.EnvironmentFailure, match="exited with code 3 while it built"):
        lanes_of(family)
    family.close()


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGINT, which pytest's own workers ignore."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


def test_after_an_interruption_there_are_new_workers(
    family: sm.TaskFamily, workers: None, interrupts: None
) -> None:
    env = lanes_of(family)
    env.reset(SEED)
    old = processes(env)
    timer = threading.Timer(0.3, os.kill, [HERE, signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        env.step(torch.full((TASKS, LANES), SLEEPS))
    env.close()
    env = lanes_of(family)
    assert not {*processes(env)} & {*old}
    play(env, going(2))


def test_two_environments_at_once_do_not_share_lanes(family: sm.TaskFamily, workers: None) -> None:
    one, other = lanes_of(family), lanes_of(family)
    assert isinstance(one._lanes, WorkerLanes)
    assert not isinstance(other._lanes, WorkerLanes)
    assert_same(play(one, going(3)), play(other, going(3)))
    one.close()
    assert isinstance(lanes_of(family)._lanes, WorkerLanes)


def test_ids_that_were_registered_here_are_known_there(workers: None) -> None:
    gymnasium.register("Fragile-v0", entry_point=lambda **_: Fragile(), disable_env_checker=True)
    family = sm.TaskFamily("Fragile", "", "Fragile-v0", 5).reusing()
    env = family.make_vec(family.nominal(), 4, autoreset=True)
    env.reset(SEED)
    assert env.step(torch.full((1, 4), GOES)).success is not None
    family.close()
    del gymnasium.registry["Fragile-v0"]


def test_packages_that_register_when_imported_do_not_warn(
    workers: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "registering.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import PendulumEnv\n"
        "class Registered(PendulumEnv): pass\n"
        "gymnasium.register('Registered-v0', entry_point='registering:Registered')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("registering")
    family = sm.TaskFamily("Registered", "", "Registered-v0", 5).reusing()
    env = family.make_vec(family.nominal(), 4, autoreset=True)
    assert isinstance(env, GymnasiumEnvironment)
    assert isinstance(env._lanes, WorkerLanes)
    env.reset(SEED)
    family.close()
    del gymnasium.registry["Registered-v0"], sys.modules["registering"]
    assert "WARN" not in capfd.readouterr().err


def test_what_cannot_be_sent_stays_in_this_process(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lock = threading.Lock()

    def make(task: dict[str, float]) -> gymnasium.Env:
        with lock:
            return Fragile()

    family = make_family(make).reusing()
    monkeypatch.setenv(kept_module.WORKERS, "2")
    with pytest.raises(sm.UserError, match=r"SSM_METARL_WORKERS is 2: make cannot be sent .*lock"):
        lanes_of(family)
    monkeypatch.setenv(kept_module.WORKERS, "auto")
    monkeypatch.setattr(kept_module, "usable_cores", lambda: 2)
    monkeypatch.setattr(kept_module, "step_seconds", lambda env: 1e-3)
    with caplog.at_level(logging.INFO):
        play(lanes_of(family), going(2))
    assert "environments stay in this process: make cannot be sent" in caplog.text
    family.close()


@pytest.mark.parametrize(
    ("milliseconds", "cores", "expected"),
    [(0.01, 8, 0), (0.1, 8, 2), (0.4, 8, 8), (1.0, 2, 2), (1.0, 1, 0)],
)
def test_the_cost_of_a_step_decides_and_is_said_once(
    milliseconds: float,
    cores: int,
    expected: int,
    family: sm.TaskFamily,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(kept_module, "usable_cores", lambda: cores)
    monkeypatch.setattr(kept_module, "step_seconds", lambda env: 1e-3 * milliseconds)
    world: Any = family._world
    with caplog.at_level(logging.INFO):
        assert [world._seen.kept._best_number(12) for _ in range(3)] == [expected] * 3
    lines = [record.message for record in caplog.records]
    where = f"{expected} worker processes" if expected else "this process"
    assert len(lines) == (cores > 1)
    assert all(f"{milliseconds:g} ms: 12 lanes are stepped in {where}" in line for line in lines)


class Slow(Fragile):
    def step(self, action: int) -> tuple:
        time.sleep(1e-3)
        return super().step(GOES)


def test_it_is_measured_on_the_environment_itself() -> None:
    cheap, slow = gymnasium.make("CartPole-v1"), Slow()
    assert 0.0 < kept_module.step_seconds(cheap) < 0.2e-3  # AsyncVectorEnv loses below 0.3 ms
    assert kept_module.step_seconds(slow) > 1e-3


@pytest.mark.parametrize("text", ["-1", "many", "1.5", ""])
def test_another_number_of_workers_is_refused(
    text: str, family: sm.TaskFamily, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(kept_module.WORKERS, text)
    with pytest.raises(sm.UserError, match="valid: auto, or a whole number, 0 for none"):
        lanes_of(family)


SCRIPT = """
import os, sys, time
import gymnasium, torch
from numpy.random import SeedSequence
import ssm_metarl as sm

make = lambda task: gymnasium.make("CartPole-v1")  # in the main program, which has no guard
family = sm.TaskFamily("Pole", make=make).reusing()
env = family.make_vec(family.nominal(), 4, autoreset=True)
env.reset(SeedSequence(0))
env.step(torch.zeros(1, 4, dtype=torch.int64))
print(*(worker.process_id for worker in env._lanes.crew.workers), flush=True)
if len(sys.argv) > 1:
    time.sleep(60)
"""


def started(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), *arguments]
    here = {"SSM_METARL_WORKERS": "2", "PYTHONPATH": str(Path(sm.__file__).parent.parent)}
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=os.environ | here, text=True, **output)  # pyright: ignore


def alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_program_that_ends_without_closing_leaves_nothing(tmp_path: Path) -> None:
    with started(tmp_path) as program:
        out, error = program.communicate(timeout=60)
    assert (program.returncode, error) == (0, "")
    assert len(out.split()) == 2
    assert not any(map(alive, out.split()))


def test_a_program_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    with started(tmp_path, "wait") as program:
        assert program.stdout
        workers = program.stdout.readline().split()
        assert all(map(alive, workers))
        program.kill()
    until = time.monotonic() + 20
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, workers))
