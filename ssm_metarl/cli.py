"""The command line. What each command does is in :mod:`ssm_metarl.commands`."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tyro

from ssm_metarl import __version__
from ssm_metarl.commands import adapt, app, compare, envs, evaluate, export, push, sweep, train
from ssm_metarl.console import INTERRUPTED, say, warnings_as_lines
from ssm_metarl.errors import CheckpointError, SsmMetaRLError, StoreError, UserError, nearest
from ssm_metarl.parsing import as_typed, parse

COMMANDS: Mapping[str, tuple[type, Callable[[Any, list[str]], int]]] = {
    "train": (train.Train, train.run),
    "sweep": (sweep.Sweep, sweep.run),
    "adapt": (adapt.Adapt, adapt.run),
    "evaluate": (evaluate.Evaluate, evaluate.run),
    "compare": (compare.Compare, compare.run),
    "export": (export.Export, export.run),
    "push": (push.Push, push.run),
    "envs": (envs.Envs, envs.run),
    "app": (app.App, app.run),
}
PROGRAM = "ssm-metarl"
VARIABLES = "SSM_METARL_WORKERS=N steps environments in N processes; 0: none, auto: by cost."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program on what stands after its name, by default that of the process.

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
    others = ", ".join(other for other in COMMANDS if other != name)
    footer = f"Other commands: {others}.\n\n{VARIABLES}"
    try:
        asked = parse(kind, f"{PROGRAM} {name}", rest, footer)
        return run(*asked)
    except UserError as error:
        raise UserError(as_typed(str(error), kind, rest)) from error
