"""The model card of a run or an agent: what it is, what it is worth, and where that ends."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.env_runner.family import TaskFamily
from ssm_metarl.evaluation.report import Evaluation, ModeResult, Success, counted, label
from ssm_metarl.hub.client import LIBRARY, check_installed

PROJECT = "https://github.com/sunghunkwag/SSM-MetaRL-Unified"
TASK = "reinforcement-learning"  # the Hub's name of it
VIDEO = "replay.mp4"  # what the Hub plays beside the card of such a model
TAGS = (TASK, "meta-reinforcement-learning", "test-time-adaptation", "state-space-model")


@dataclass(frozen=True)
class Subject:
    """What a card is about.

    Attributes:
        name: Of the repository, ``owner/name``.
        made: How the agent came about, in a few words.
        agent: The agent.
        family: What it was trained on.
        license: Identifier of the licence, as the Hub has it.
        training: Facts of its training, by what they are; empty if they are not known.
        command: What trains it again; likewise.
        evaluations: Its evaluations, at most one of each set of tasks.
        figures: Names of their pictures among the files.
        video: Whether there is a video.
        experience: Whether the episodes of its training are there.
    """

    name: str
    made: str
    agent: Agent
    family: TaskFamily
    license: str
    training: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    evaluations: Sequence[Evaluation] = ()
    figures: Sequence[str] = ()
    video: bool = False
    experience: bool = False

    @property
    def mode(self) -> str:
        """The way to adapt that its training was for."""
        return "in_context" if self.agent.policy.config.memory == "trial" else "standard"


def make_card(subject: Subject) -> str:
    """Return the text of ``README.md``: metadata that the Hub reads, and what people read.

    Raises:
        UserError: The extra is missing, which writes the metadata.
    """
    sections = {
        "": _introduction(subject),
        "Tasks": _tasks(subject.family),
        "Results": _results(subject),
        "Use": _use(subject),
        "Training": _training(subject),
        "Limits": [f"- {line}" for line in _limits(subject)],
        "Licence": [f"`{subject.license}`"],
    }
    parts = [f"# {subject.name.partition('/')[2]}"]
    for title, lines in sections.items():
        text = "\n".join(lines)
        if text:
            parts.append(f"## {title}\n\n{text}" if title else text)
    return f"---\n{_metadata(subject)}\n---\n\n" + "\n\n".join(parts) + "\n"


def _metadata(subject: Subject) -> str:
    """Return the YAML that the Hub reads."""
    check_installed()
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=TASK,
            dataset_type=evaluation.family,
            dataset_name=f"{evaluation.family}, {_tasks_of(evaluation)}",
            # Without one of its own, a second set of tasks would get the name of the first.
            dataset_split=evaluation.split,
            **metric,
        )
        for evaluation in subject.evaluations
        for row in evaluation.results
        if row.mode != "from_scratch"  # which is not this agent
        for metric in _metrics(row)
    ]
    data = ModelCardData(
        license=subject.license,
        library_name=LIBRARY,
        pipeline_tag=TASK,
        tags=[*TAGS, LIBRARY, subject.family.name],
        model_name=subject.name.partition("/")[2] if results else None,
        eval_results=results or None,
    )
    return data.to_yaml()


def _metrics(row: ModeResult) -> Iterator[dict[str, Any]]:
    """Yield the metrics of a result, in plain numbers: YAML writes NumPy's as objects."""
    name = f"{label(row.mode, row.steps)}, {counted(row.shots, 'episode')}"
    data = {"adaptation_env_steps": float(row.adaptation_env_steps)}
    for kind, words, measured in (
        ("mean_reward", "mean return", row),
        ("success_rate", "success rate", row.success),
    ):
        if measured:
            yield {
                "metric_type": kind,
                "metric_name": f"{words}: {name}",
                "metric_value": float(measured.mean),
                "metric_args": {"ci95": [float(bound) for bound in measured.ci95], **data},
            }


def _introduction(subject: Subject) -> list[str]:
    config, params = subject.agent.policy.config, subject.agent.params.values()
    size = f"{counted(config.blocks, 'block')} of width {config.width}"
    text = [
        f"An agent of [ssm-metarl]({PROJECT}) that adapts to tasks it has never seen.",
        "",
        f"Family of tasks: {subject.family.name}. {subject.made}. Network: {config.cell}, {size}, "
        f"{sum(value.numel() for value in params):,} parameters; its memory lasts "
        f"{'a trial' if config.memory == 'trial' else 'an episode'}.",
    ]
    if subject.video:
        source = f"https://huggingface.co/{subject.name}/resolve/main/{VIDEO}"
        text += ["", "One task, before and after adapting:", ""]
        text += [f'<video controls autoplay muted loop src="{source}"></video>']
    return text


def _tasks(family: TaskFamily) -> list[str]:
    about = (
        f"{_sentence(family.description)}Episodes of {counted(family.max_episode_steps, 'step')}."
    )
    if not family.parameters:
        return [f"{about} There is one task: nothing varies."]
    rows = [
        (f"`{one.name}`", one.range_text, one.shifted_text, f"{one.default:g}", one.unit)
        for one in family.parameters
    ]
    return [
        f"{about} What varies between tasks:",
        "",
        *_table(("parameter", "in training", "in the shifted test", "nominal", "unit"), rows),
    ]


def _results(subject: Subject) -> list[str]:
    if not subject.evaluations:
        return ["It has not been evaluated: nothing is known of what it is worth."]
    lines = []
    for evaluation in subject.evaluations:
        lines += [*_evaluation(evaluation), ""]
    lines += [
        "Return: of complete episodes, undiscounted, stochastic policy, mean over tasks. Greedy: "
        "taking the most likely action. [95% CI]: bootstrap over tasks. Episodes and environment "
        "steps: what adaptation used of each new task. From scratch: the same steps from an "
        "untrained network.",
    ]
    return [*lines, *(f"\n![{name}]({name})" for name in subject.figures)]


def _evaluation(evaluation: Evaluation) -> list[str]:
    rated = any(row.success for row in evaluation.results)
    digits = 1 if any(abs(row.mean) >= 100 for row in evaluation.results) else 2
    columns = ["mode", "episodes", "env steps", "return [95% CI]", "greedy"]
    rows = []
    for row in evaluation.results:
        cells = [label(row.mode, row.steps), f"{row.shots:,}", f"{row.adaptation_env_steps:,.0f}"]
        cells += [_interval(row, digits), f"{row.deterministic_mean:.{digits}f}"]
        if rated:
            cells += [_interval(row.success, 2) if row.success else "0"]
        rows.append(cells)
    heading = f"**{_tasks_of(evaluation).capitalize()}** (seed {evaluation.seed}):"
    return [heading, "", *_table([*columns, *["solved [95% CI]"] * rated], rows)]


def _use(subject: Subject) -> list[str]:
    varied = next((one for one in subject.family.parameters if one.varies), None)
    task = ""
    if varied:
        task = f" --task {varied.name}={varied.choices[-1] if varied.choices else varied.low:g}"
    return [
        "```bash",
        f'pip install "{LIBRARY}[hub]"',
        f"ssm-metarl adapt hf://{subject.name} --mode {subject.mode}{task}",
        f"ssm-metarl evaluate hf://{subject.name}",
        "```",
        "",
        "```python",
        "import ssm_metarl as sm",
        "",
        f'agent = sm.load("hf://{subject.name}")',
        "action, state = agent.predict(observation)  # pass `state` to the next call",
        "```",
    ]


def _training(subject: Subject) -> list[str]:
    if not subject.training:
        return ["How it was trained is not known: the agent was saved by itself, perhaps adapted."]
    facts = [f"- {name}: {value}" for name, value in subject.training.items()]
    return ["```bash", subject.command, "```", "", *facts]


def _limits(subject: Subject) -> Iterator[str]:
    splits = {evaluation.split for evaluation in subject.evaluations}
    modes = {row.mode for evaluation in subject.evaluations for row in evaluation.results}
    if subject.family.parameters and "shifted" not in splits:
        yield "It was not measured on tasks outside the ranges above."
    if splits:
        yield "The intervals are over tasks; another seed of training gives other numbers."
    if "hybrid" in modes and not subject.experience:
        yield "The mode hybrid needs the episodes of its training, which are not here."
    if subject.mode == "in_context":
        yield (
            "It adapts by its memory, which has to last through all episodes of a task, and from "
            "rewards, which it has to be given."
        )
    else:
        yield (
            "It adapts by gradient steps on episodes of the new task: what it does before them "
            "says little of what it can do."
        )
    versions = ", ".join(f"{name} {value}" for name, value in subject.agent.simulators.items())
    if versions:
        yield f"Trained with {versions}: under another release the environments behave otherwise."
    yield "It was trained in simulation; nothing is known of it on real machines."


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    texts = [[cell.replace("|", "\\|") for cell in row] for row in [columns, *rows]]
    lines = [f"| {' | '.join(row)} |" for row in texts]
    return [lines[0], "|" + "---|" * len(columns), *lines[1:]]


def _tasks_of(evaluation: Evaluation) -> str:
    return counted(evaluation.tasks, f"{evaluation.split.replace('_', '-')} task")


def _interval(measured: ModeResult | Success, digits: int) -> str:
    mean, low, high = (f"{value:.{digits}f}" for value in (measured.mean, *measured.ci95))
    return f"{mean} [{low}, {high}]"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}. " if text else ""
