"""From a run, or an agent that was saved by itself, to the Hugging Face Hub."""

import contextlib
import dataclasses
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.checkpoint.fields import read_fields
from ssm_metarl.checkpoint.files import parse_json
from ssm_metarl.checkpoint.format import checkpoint_files, load_checkpoint
from ssm_metarl.checkpoint.lock import RunLock
from ssm_metarl.errors import UserError, nearest
from ssm_metarl.evaluation.report import MODES, Evaluation
from ssm_metarl.experience.database import copy_database
from ssm_metarl.hub.card import VIDEO, Subject, make_card
from ssm_metarl.hub.client import check_name
from ssm_metarl.hub.upload import carry_out, plan
from ssm_metarl.meta_rl.registry import ADAPTS, LEARNERS
from ssm_metarl.training.command import train_command
from ssm_metarl.training.loading import AGENT, agent_family, load, locate, save
from ssm_metarl.training.loop import CHECKPOINT, EXPERIENCE
from ssm_metarl.training.metrics import METRICS
from ssm_metarl.training.run_family import FAMILY
from ssm_metarl.training.saved import CONFIG, read_config

EVALUATION = "evaluation.json"
FIGURES = ("in-context", "adaptation", "learning-curve")  # those for the card
RECORDED = "videos/before-after.mp4"
LICENSE = "mit"
SLACK = 60.0  # seconds by which copying a folder may change the order of its files


def push_to_hub(
    folder: str | Path,
    name: str,
    *,
    private: bool = True,
    with_experience: bool = False,
    license: str = LICENSE,
    trust_env_code: bool = False,
    say: Callable[[str], object] = print,
) -> str:
    """Upload a run, or an agent that was saved by itself, with a model card, in one commit.

    Settings, checkpoint, metrics, evaluations, figures and video are uploaded; what an earlier push
    left and is not among them is removed from the newest revision.

    Args:
        folder: What ``train`` or :func:`save` wrote.
        name: ``owner/name`` of the repository, which is made if there is none.
        private: Refuse a repository that is public, and make a new one private.
        with_experience: Also upload the episodes of training, for hybrid adaptation.
        license: Identifier of the licence that the agent is under, as the Hub has it.
        trust_env_code: Allow a run whose environment is module:Env-v0, which runs code.
        say: What is told, before anything is uploaded, what will be, line by line.

    Returns:
        ``hf://owner/name@commit``, which :func:`load` takes.

    Raises:
        UserError: The folder is neither, the extra is missing, nobody is logged in, or the
            repository is not one to push to.
        CheckpointError: The checkpoint is damaged.
        SsmMetaRLError: The Hub cannot be reached.
    """
    check_name(name)
    with gathered(
        folder,
        name,
        with_experience=with_experience,
        license=license,
        trust_env_code=trust_env_code,
    ) as files:
        upload = plan(name, files, private=private)
        for line in upload.describe():
            say(line)
        return f"hf://{name}@{carry_out(upload)}"


def push_agent(
    agent: Agent, name: str, *, private: bool, license: str, trust_env_code: bool
) -> str:
    """Upload an agent by itself, as :func:`save` saves it; see :func:`push_to_hub`."""
    with tempfile.TemporaryDirectory() as place:
        folder = save(agent, Path(place) / AGENT)
        return push_to_hub(
            folder, name, private=private, license=license, trust_env_code=trust_env_code
        )


@contextlib.contextmanager
def gathered(
    folder: str | Path, name: str, *, with_experience: bool, license: str, trust_env_code: bool
) -> Iterator[dict[str, Path | bytes]]:
    """Give what a push uploads, by its names in the repository, while nobody trains the run.

    Raises:
        UserError: The folder is neither a run nor an agent, or has no experience to upload.
        CheckpointError: The checkpoint is damaged.
    """
    folder = locate(folder)
    agent = load(folder, trust_env_code=trust_env_code)
    is_run = (folder / CONFIG).exists()
    if with_experience and not (folder / EXPERIENCE).is_file():
        raise UserError(f"{folder} has no experience to upload; leave out --with_experience")
    lock = RunLock(folder) if is_run else contextlib.nullcontext()
    with lock, tempfile.TemporaryDirectory() as place:
        evaluations = _evaluations(folder, agent.family)
        files: dict[str, Path | bytes] = {}
        for file in _files(folder, is_run, evaluations):
            files[file.relative_to(folder).as_posix()] = file
        if (folder / RECORDED).is_file():
            files[VIDEO] = _plain(folder, folder / RECORDED)
        if with_experience:
            files[EXPERIENCE] = Path(place) / "store.sqlite"
            copy_database(folder / EXPERIENCE, Path(place) / "store.sqlite")
        subject = Subject(
            name,
            "Saved by itself, perhaps adapted",
            agent,
            agent_family(agent, trust_env_code=trust_env_code),
            license,
            evaluations=list(evaluations.values()),
            figures=[each for each in files if each.startswith("figures/")],
            video=VIDEO in files,
            experience=with_experience,
        )
        if is_run:
            subject = _with_training(subject, folder)
        yield {"README.md": make_card(subject).encode(), **files}


def _files(folder: Path, is_run: bool, evaluations: Iterable[Path]) -> list[Path]:
    """Return what there is to upload as it lies there.

    Raises:
        UserError: One of them is a link, which may lead to anything.
    """
    state = checkpoint_files(folder / (CHECKPOINT if is_run else AGENT))
    others = [CONFIG, FAMILY, METRICS, *(f"figures/{figure}.png" for figure in FIGURES)]
    files = [*state, *(folder / name for name in others), *evaluations]
    return [_plain(folder, file) for file in files if file.is_file()]


def _plain(folder: Path, file: Path) -> Path:
    for part in (file, *file.parents):
        if part == folder:
            return file
        if part.is_symlink():
            raise UserError(f"{part} is a link, which is not uploaded; copy what it leads to")
    return file


def _evaluations(folder: Path, family: str) -> dict[Path, Evaluation]:
    """Read the evaluations in a run's folder and those right below, one of each set of tasks.

    Raises:
        UserError: One is malformed, or of another family.
    """
    found: dict[str, tuple[Path, Evaluation]] = {}
    for path in [*folder.glob(EVALUATION), *sorted(folder.glob(f"*/{EVALUATION}"))]:
        evaluation = read_evaluation(path)
        if evaluation.family != family:
            raise UserError(f"{path} is of {evaluation.family!r}, and the agent of {family!r}")
        found.setdefault(evaluation.split, (path, evaluation))
    state = checkpoint_files(folder / (CHECKPOINT if (folder / CONFIG).exists() else AGENT))[0]
    for path, _ in found.values():
        if path.stat().st_mtime < state.stat().st_mtime - SLACK:
            warnings.warn(
                f"{path} is older than the checkpoint, perhaps of an earlier one: evaluate again",
                stacklevel=2,
            )
    return dict(found.values())


def read_evaluation(path: Path) -> Evaluation:
    """Read an `evaluation.json`.

    Raises:
        UserError: It is malformed.
    """
    try:
        values = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if isinstance(values, dict):
        values.pop("software", None)
    evaluation = read_fields(Evaluation, values, str(path))
    for row in evaluation.results:
        if row.mode not in MODES:
            raise UserError(f"{path}: unknown mode {row.mode!r}; {nearest(row.mode, MODES)}")
    return evaluation


def _with_training(subject: Subject, folder: Path) -> Subject:
    """Add what a run says of its training."""
    config = read_config(folder)
    learner, meta = LEARNERS[config.mode], load_checkpoint(folder / CHECKPOINT).meta
    facts = {
        "learner": f"`{learner.name}`: {learner.help}",
        "seed": str(config.seed),
        "iterations": f"{meta['iteration']:,}",
        "environment steps": f"{meta['environment_steps']:,}",
    }
    if config.adapts != "all":
        facts["gradient steps change"] = ADAPTS[config.adapts].help
    software = ", ".join(f"{name} {value}" for name, value in meta.get("software", {}).items())
    if software:
        facts["software"] = software.replace("threads ", "threads: ")
    always = {"mode": config.mode, "env_name": config.env_name, "seed": config.seed}
    source = Path(FAMILY) if subject.agent.family_source or (folder / FAMILY).is_file() else None
    return dataclasses.replace(
        subject,
        made=f"Learner: `{learner.name}` ({learner.help})",
        training=facts,
        command=train_command({**always, **config.changed(subject.family)}, source),
    )
