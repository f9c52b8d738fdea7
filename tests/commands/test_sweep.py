"""``ssm-metarl sweep``: what it finds, and what dies, stops, joins in and goes on."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli_runner import TINY, fails
from numpy.random import SeedSequence
from small_runs import assert_same

from ssm_metarl.cli import main
from ssm_metarl.commands import sweep
from ssm_metarl.errors import DivergenceError, SsmMetaRLError
from ssm_metarl.meta_rl.maml import MAML
from ssm_metarl.parsing import parse
from ssm_metarl.training.loading import load
from ssm_metarl.training.metrics import read_metrics

optuna = pytest.importorskip("optuna")
pytest.importorskip("sklearn")
from ssm_metarl.commands.sweep_report import importance  # noqa: E402 (it needs optuna)
from ssm_metarl.commands.sweep_study import (  # noqa: E402 (it needs optuna)
    MOST_DEATHS,
    Worker,
    in_training,
    open_study,
    outcomes,
    quiet,
    run_of,
)

FIXED = [*TINY, "--validate_every=1", "--mode=meta_rl"]
RATES, CELLS = "--param=outer_lr=1e-3..1e-1:log", "--param=cell=ssm,gru"
ARGV = [*FIXED, "--trials=2", RATES, CELLS]


def asked(*argv: object) -> sweep.Sweep:
    return parse(sweep.Sweep, "", [*ARGV, *map(str, argv)])[0]


def never() -> bool:
    return False


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command train in this process."""

    def work(crew: sweep._Crew, needed: int) -> None:
        Worker(crew.asked, never).work()

    monkeypatch.setattr(sweep._Crew, "fill", work)
    monkeypatch.setattr(sweep, "POLL_SECONDS", 0.0)


def die(study: optuna.Study, number: int, most: int | None = None) -> None:
    """Do what Optuna does to a trial without signs of life."""
    study.tell(number, state=optuna.trial.TrialState.FAIL)
    with quiet():
        optuna.storages.RetryHeartbeatStaleTrialCallback(most)(study, study.trials[number])


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "a sweep needs --param, once for each setting"),
        (["--param"], "--param needs a value"),
        (["--param", "x=1..2"], "--param x=1..2: meta_rl has no setting 'x'"),
        (["--param=lr=1..2", "--lr=1"], "--lr is there, too"),
        (["--param=lr=1..2", "--env=CartPol-v1"], "--env: unknown environment 'CartPol-v1'"),
        (["--param=lr=1..2", "--first_steps=3"], "--mode meta_rl has no use for --first_steps"),
        (["--param=cell=mlp,gru", "--surrogate=emaml", "--tasks_per_epoch=1"], "at least 2"),
        (["--param=lr=1..2", "--trials=0"], "--trials is 0"),
        (["--param=lr=1..2", "--pruner=mean"], "--pruner is 'mean'; did you mean 'median'?"),
        (["--param=lr=1..2", "--storage=base"], "--storage cannot be used: ArgumentError"),
        (["--param=lr=1..2", "--storage=sqlite:////no/x"], "unable to open database file"),
        (["--param=lr=1..2", "--storage=postgresql://me:secret@h:port/x"], "--storage cannot be"),
        (["--param=lr=1..2", "--out=/dev/null"], "--out /dev/null is no folder"),
        (["--param=lr=1..2", "--out=/dev/null/x"], "--out /dev/null/x: Not a directory"),
    ],
)
def test_a_mistake_is_one_line(
    argv: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    line = fails(capsys, ["sweep", *argv])
    assert words in line
    assert "secret" not in line
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert "pip install 'ssm-metarl[sweep]'" in fails(capsys, ["sweep", *ARGV])
    monkeypatch.undo()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    assert "leave torchrun out" in fails(capsys, ["sweep", *ARGV])


def test_the_printed_command_trains_the_best_run_bit_for_bit(
    here: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    argv = ["sweep", *ARGV, "--param=norm=true,false", f"--out={tmp_path}/my sweep"]
    assert main([*argv, "--pruner=none"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    best, evaluate = (lines[i + 1] for i, line in enumerate(lines) if line.endswith(":"))
    assert "2 complete, 0 pruned, 0 failed" in out
    assert (tmp_path / "my sweep" / "sweep.png").stat().st_size > 10_000
    _, _, run = shlex.split(evaluate)
    assert main([*shlex.split(best)[1:], f"--run_dir={tmp_path}/again"]) == 0
    assert_same(Path(run), tmp_path / "again")
    returns = [
        read_metrics(tmp_path / "my sweep" / f"trial-000{n}" / "metrics.jsonl")[-1]["best_return"]
        for n in range(2)
    ]
    assert run.endswith(f"trial-000{returns.index(max(returns))}")

    capsys.readouterr()
    assert main(argv) == 0  # nothing is left to do
    assert capsys.readouterr().out == out


def test_what_is_drawn_depends_on_the_seed_and_the_trial(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Worker, "_train", lambda self, trial, values: values["outer_lr"])

    def drawn(name: str, *argv: object) -> list[dict]:
        plan = asked(f"--out={tmp_path / name}", "--trials=12", *argv)
        study = open_study(plan, "")
        Worker(plan, never).work()
        return [trial.params for trial in study.trials]

    first = drawn("a")
    assert first[0] != first[1]
    assert drawn("b") == first
    assert drawn("c", "--seed=1") != first


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([*FIXED, RATES, CELLS, "--num_epochs=3"], "is a sweep with the num_epochs 2, not 3"),
        ([*FIXED, RATES, CELLS, "--env=Pendulum-v1"], "env_name CartPole-v1, not Pendulum-v1"),
        (["--mode=rl2", RATES, CELLS], "the mode meta_rl, not rl2"),
        ([*FIXED, RATES, CELLS, "--param=norm=true,false"], "the norm False, not True,False"),
        (
            [*FIXED, RATES.replace("-1", "-2"), CELLS],
            "0.001..0.1:log, not 0.001..0.01:log",
        ),
        ([*FIXED, CELLS], "the outer_lr 0.001..0.1:log, not unset"),
    ],
)
def test_a_database_of_another_sweep_is_refused(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place = f"--out={tmp_path / 'a'}"
    open_study(asked(place), "")
    assert words in fails(capsys, ["sweep", *argv, place])


def test_other_folders_and_studies_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").touch()
    line = fails(capsys, ["sweep", *ARGV, f"--out={tmp_path / 'run'}"])
    assert "holds something else than a sweep; choose another folder" in line
    url = f"sqlite:///{tmp_path / 'base.sqlite'}"
    with quiet():
        optuna.create_study(storage=url, study_name="mine").add_trial(
            optuna.create_trial(value=1.0)
        )
    argv = ["sweep", *ARGV, f"--storage={url}"]
    assert "mine in --storage is no sweep's" in fails(capsys, [*argv, f"--out={tmp_path}/mine"])
    assert "holds something else" in fails(capsys, [*argv, f"--out={tmp_path / 'run'}"])
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "sweep.sqlite").write_text("no database at all")
    line = fails(capsys, ["sweep", *ARGV, f"--out={tmp_path / 'a'}"])
    assert "a/sweep.sqlite cannot be used: DatabaseError: file is not a database" in line


def test_a_trial_below_the_median_is_stopped(tmp_path: Path) -> None:
    plan = asked(f"--out={tmp_path / 'a'}", "--epochs=3", "--trials=6")
    study = open_study(plan, "")
    rate = optuna.distributions.FloatDistribution(1e-3, 1e-1, log=True)
    for _ in range(5):
        study.add_trial(
            optuna.create_trial(
                value=1e6,
                intermediate_values={1: -1e6, 2: 1e6, 3: 1e6},
                params={"outer_lr": 0.01},
                distributions={"outer_lr": rate},
            )
        )
    Worker(plan, never).work()
    pruned = study.trials[5]
    assert pruned.state.name == "PRUNED"
    folder = plan.folder / run_of(pruned)
    assert [record["iteration"] for record in read_metrics(folder / "metrics.jsonl")] == [1, 2]
    assert load(folder).family == "CartPole-v1"  # a run as any other


def test_a_training_that_fails_says_why_and_the_sweep_goes_on(
    here: None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    iterate, failures = MAML.iterate, [DivergenceError("meta-loss nan"), RuntimeError("no\nmemory")]

    def diverge(self: MAML, seed: SeedSequence, iteration: int) -> object:
        if failures:
            raise failures.pop(0)
        return iterate(self, seed, iteration)

    monkeypatch.setattr(MAML, "iterate", diverge)
    argv = ["sweep", *ARGV, f"--out={tmp_path / 'a'}"]
    assert main(argv) == 1
    assert f"error: no trial of {tmp_path / 'a'} was completed" in capsys.readouterr().err
    assert main([*argv, "--trials=3", "--compile=off"]) == 0  # the same sweep
    out = capsys.readouterr().out
    assert "trial-0000 failed: iteration 1: meta-loss nan; a lower --outer_lr" in out
    assert "trial-0001 failed: RuntimeError: no memory" in out
    assert "1 complete, 0 pruned, 2 failed" in out


def test_an_interrupted_trial_is_resumed_by_whoever_comes_next(tmp_path: Path) -> None:
    plan, stops = asked(f"--out={tmp_path / 'a'}", "--epochs=3", "--trials=1"), [False, False, True]
    study = open_study(plan, "")
    Worker(plan, lambda: stops.pop(0) if stops else True).work()
    assert [trial.state.name for trial in study.trials] == ["FAIL", "WAITING"]
    assert outcomes(study) == []
    Worker(plan, never).work()
    (done,) = outcomes(study)
    assert (done.number, run_of(done), list(done.intermediate_values)) == (
        1,
        "trial-0000",
        [1, 2, 3],
    )
    whole = asked(f"--out={tmp_path / 'b'}", "--epochs=3", "--trials=1")
    open_study(whole, "")
    Worker(whole, never).work()
    assert_same(plan.folder / "trial-0000", whole.folder / "trial-0000")


def test_one_that_was_asleep_for_too_long_leaves_its_trial_to_others(tmp_path: Path) -> None:
    plan = asked(f"--out={tmp_path / 'a'}", "--epochs=2", "--trials=1")
    study, looks = open_study(plan, ""), iter(range(100))

    def declared_dead() -> bool:
        if next(looks) == 1:  # after the first iteration
            die(study, 0)
        return False

    Worker(plan, declared_dead).work()
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE"]
    assert [run_of(trial) for trial in outcomes(study)] == ["trial-0000"]


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")  # where Study.optimize does not ask
def test_what_kills_each_of_its_workers_is_given_up(tmp_path: Path) -> None:
    plan = asked(f"--out={tmp_path / 'a'}")
    study = open_study(plan, "")
    for _ in range(MOST_DEATHS + 1):
        die(study, study.ask().number, MOST_DEATHS)
    assert [trial.number for trial in outcomes(study)] == [MOST_DEATHS]
    study.ask()  # and dead at once, before the first sign of life
    assert len(in_training(study, grace=60)) == 1
    assert in_training(study, grace=0) == []


def test_a_worker_that_fails_ends_the_sweep_and_one_that_is_killed_does_not(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    crew = sweep._Crew(asked(f"--out={tmp_path / 'a'}"))
    ended = SimpleNamespace(exitcode=-signal.SIGKILL, is_alive=lambda: False)
    crew._workers = [(ended, None)]
    crew.fill(0)
    assert "warning: a worker was killed (SIGKILL)" in capsys.readouterr().err
    assert crew._workers == []
    ended.exitcode = 1
    crew._workers = [(ended, None)]
    with pytest.raises(SsmMetaRLError, match=r"a worker has failed, as .*workers\.log says"):
        crew.fill(0)


def test_a_second_ctrl_c_waits_for_no_worker(tmp_path: Path) -> None:
    done = []
    worker = SimpleNamespace(join=lambda: done.append("join"), kill=lambda: done.append("kill"))
    crew = sweep._Crew(asked(f"--out={tmp_path / 'a'}"))
    crew._workers = [(worker, SimpleNamespace(close=lambda: done.append("close")))]
    with crew:
        pass
    assert done == ["close", "join"]
    done.clear()
    with pytest.raises(KeyboardInterrupt), crew:
        raise KeyboardInterrupt
    assert done == ["close", "kill"]


def test_a_worker_that_is_just_starting_ignores_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []
    worker = SimpleNamespace(start=lambda: seen.append(signal.getsignal(signal.SIGINT)))
    context = SimpleNamespace(Process=lambda **arguments: worker)
    monkeypatch.setattr("multiprocessing.get_context", lambda method: context)
    sweep._Crew(asked(f"--out={tmp_path / 'a'}")).fill(1)
    assert seen == [signal.SIG_IGN]  # which a new process inherits
    assert signal.getsignal(signal.SIGINT) is before


def test_importance_is_of_all_that_was_tried(tmp_path: Path) -> None:
    def objective(trial: optuna.Trial) -> float:
        cell, rate = trial.suggest_categorical("cell", ["a", "b"]), trial.suggest_float("lr", 0, 1)
        trial.report(rate if cell == "a" else 100 + rate, 0)
        if cell == "a":
            raise optuna.TrialPruned
        return 100 + rate

    with quiet():
        study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=0)
        )
        study.optimize(objective, n_trials=30)
    shares = importance(study.trials)
    assert list(shares) == ["cell", "lr"]
    assert shares["cell"] > 0.95
    same = [trial for trial in study.trials if trial.value == study.trials[0].value]
    assert importance(same) == {"cell": 0.0, "lr": 0.0}


def workers(process: int) -> list[int]:
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    commands = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return [child for child, command in commands.items() if b"spawn_main" in command]


def has_open(process: int, folder: Path) -> bool:
    files = Path(f"/proc/{process}/fd").iterdir()
    return any(os.readlink(file).startswith(str(folder)) for file in files)


def wait_for(what: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="finds processes in /proc")
def test_killed_processes_cost_nothing(
    here: None, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "a"
    argv = ["sweep", *ARGV, "--epochs=20", "--validate_every=10", "--grace=2", "--pruner=none"]
    argv.append(f"--out={folder}")
    command = subprocess.Popen([sys.executable, "-m", "ssm_metarl", *argv, "--jobs=2"])
    runs = [folder / f"trial-000{number}" for number in range(2)]
    wait_for(lambda: any(len(read_metrics(run / "metrics.jsonl")) > 2 for run in runs))
    crew = workers(command.pid)
    assert len(crew) == 2
    run = max(runs, key=lambda run: len(read_metrics(run / "metrics.jsonl")))
    (trainer,) = [worker for worker in crew if has_open(worker, run)]
    os.kill(trainer, signal.SIGKILL)
    command.kill()
    command.wait()
    assert 2 < len(read_metrics(run / "metrics.jsonl")) < 20
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in crew))

    assert main(argv) == 0  # the other one has noticed that it is alone, and stopped in order
    assert "2 complete" in capfd.readouterr().out
    assert all(len(read_metrics(run / "metrics.jsonl")) == 20 for run in folder.glob("trial-*"))
    assert run.exists()
