"""The command line. What each command does is in :mod:`ssm_metarl.commands`, with torch."""

import dataclasses
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import tyro

from ssm_metarl import __version__
from ssm_metarl.arguments import Adapt, App, Envs, Evaluate, Train
from ssm_metarl.checkpoint.names import as_name
from ssm_metarl.console import INTERRUPTED, say, warnings_as_lines
from ssm_metarl.errors import CheckpointError, SsmMetaRLError, StoreError, UserError, nearest
from ssm_metarl.parsing import as_typed, parse
from ssm_metarl.training.config import TrainConfig

PROGRAM = "ssm-metarl"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        argv: What stands after the program's name; None takes it from the process.

    Returns:
        The exit code: 0 if all went well, 1 if it could not be done, 2 if it was asked for wrongly,
        130 if it was interrupted.
    """
    try:
        with warnings_as_lines():
            code = _dispatch(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
        return code
    except (UserError, CheckpointError, StoreError) as error:
        say("error", error)
        return 2
    except SsmMetaRLError as error:
        say("error", error)
    except MemoryError as error:
        say("error", f"not enough memory; ask for less: {error}")
    except BrokenPipeError:  # whoever read the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        say("error", f"{error.filename}: {error.strerror}" if error.filename else error)
    except SystemExit as answered:  # --help
        return int(answered.code or 0)
    except KeyboardInterrupt:
        say("error", "interrupted")
        return INTERRUPTED
    return 1


def _dispatch(argv: list[str]) -> int:
    name, *rest = argv or [""]
    if name in ("-h", "--help"):
        flags = {name: kind for name, (kind, _) in COMMANDS.items()}
        tyro.extras.subcommand_cli_from_dict(
            flags,
            prog=PROGRAM,
            description="Agents that adapt. --version says which release this is.",
            args=["--help"],
        )
    if name == "--version":
        print(PROGRAM, __version__)
        return 0
    if name not in COMMANDS:
        what = f"unknown command {name!r}" if name else "a command is missing"
        raise UserError(f"{what}; {nearest(name, COMMANDS)}")
    kind, run = COMMANDS[name]
    try:
        return run(rest)
    except UserError as error:
        raise UserError(as_typed(str(error), kind, rest)) from error


def _train(argv: list[str]) -> int:
    asked = parse(Train, f"{PROGRAM} train", argv)
    if asked.resume:
        return _resume(asked, argv)
    _refuse_unused(asked.config.unused(), asked.config.mode)
    run_dir = asked.run_dir or _default_run_dir(asked.config)
    from ssm_metarl.commands.train import train_run

    return train_run(asked.config, run_dir, asked.track)


def _refuse_unused(names: Sequence[str], mode: str) -> None:
    """Refuse flags that would be ignored: whoever typed them expects them to do something."""
    if names:
        flags, them = ", ".join(f"--{name}" for name in names), "them" if names[1:] else "it"
        raise UserError(f"--mode {mode} has no use for {flags}; leave {them} out")


def _resume(asked: Train, argv: list[str]) -> int:
    """Continue a run; flags that contradict it are refused."""
    if asked.run_dir is None:
        raise UserError("--resume needs --run_dir, the folder of the run to continue")
    from ssm_metarl.commands.train import resume_run
    from ssm_metarl.training.loop import read_config

    stored = read_config(asked.run_dir, trust_env_code=asked.config.trust_env_code)
    # With the stored settings as the defaults, whatever differs from them was typed.
    typed = parse(Train, f"{PROGRAM} train", argv, Train(config=stored)).config
    for field in dataclasses.fields(stored):
        was, now = getattr(stored, field.name), getattr(typed, field.name)
        if now != was:
            before = "its default" if was is None else was
            raise UserError(
                f"--{field.name} is {now}, but {asked.run_dir} was started with {before}; "
                "leave the flag out to continue it, or start a new run"
            )
    return resume_run(stored, asked.run_dir, asked.track)


def _default_run_dir(config: TrainConfig) -> Path:
    name = as_name(f"{config.env_name}-{config.mode}", time.strftime("-%Y%m%d-%H%M%S"))
    return Path("runs") / name


def _evaluate(argv: list[str]) -> int:
    asked = parse(Evaluate, f"{PROGRAM} evaluate", argv)
    asked.validate()
    from ssm_metarl.commands.evaluate import evaluate_run

    return evaluate_run(asked)


def _adapt(argv: list[str]) -> int:
    asked = parse(Adapt, f"{PROGRAM} adapt", argv)
    asked.validate()
    _refuse_unused(asked.unused(), asked.mode)
    from ssm_metarl.commands.adapt import adapt_run

    return adapt_run(asked)


def _envs(argv: list[str]) -> int:
    parse(Envs, f"{PROGRAM} envs", argv)
    from ssm_metarl.commands.envs import show_families

    return show_families()


def _app(argv: list[str]) -> int:
    asked = parse(App, f"{PROGRAM} app", argv)
    asked.validate()
    from ssm_metarl.commands.app import open_page

    return open_page(asked)


COMMANDS: Mapping[str, tuple[type, Callable[[list[str]], int]]] = {
    "train": (Train, _train),
    "adapt": (Adapt, _adapt),
    "evaluate": (Evaluate, _evaluate),
    "envs": (Envs, _envs),
    "app": (App, _app),
}
