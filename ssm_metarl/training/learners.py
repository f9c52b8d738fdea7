"""A learner in training: validated now and then, its best parameters kept, and saved."""

import dataclasses
import hashlib
import math
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import torch
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.checkpoint.format import Checkpoint
from ssm_metarl.core.memory import keep_large_blocks
from ssm_metarl.core.processes import gathered, my_part
from ssm_metarl.core.spaces import Spaces
from ssm_metarl.core.statistics import RunningStatistics
from ssm_metarl.core.torch_state import in_usual_torch
from ssm_metarl.env_runner.failures import FailingIterations
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.env_runner.spaces import observed, policy_spaces
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.meta_rl.learner import Learner
from ssm_metarl.meta_rl.registry import LEARNERS
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.recipes import initial_params, make_agent, make_policy
from ssm_metarl.training.saved import check_same_shapes, part, saved_spaces, saved_statistics
from ssm_metarl.training.validation import EPISODES, VALIDATIONS, Validated, pooled

TRAINING_STREAM, VALIDATION_STREAM = 1, 2  # 0 is INITIAL_STREAM


@dataclass(frozen=True)
class Progress:
    """One iteration of training; docs/metrics.md explains every number.

    Iterations count from 1; steps and seconds are those so far, over all sessions of the run.

    Attributes:
        return_before: Mean return before adaptation: of complete episodes on the validation tasks
            (meta_rl; the first of a trial for rl2), or of the episodes of this iteration
            (policy_gradient). None where this iteration did not look, or a task has no return
            since all its episodes failed.
        return_after: The same after one adaptation step (meta_rl), or of the last episode of a
            trial (rl2).
        best_return: The best so far; the checkpoint keeps the parameters that reached it.
        metrics: The learner's own numbers; None where there is none.
    """

    iteration: int
    iterations: int
    environment_steps: int
    return_before: float | None
    return_after: float | None
    best_return: float | None
    seconds: float
    metrics: Mapping[str, float | int | None]

    def to_record(self) -> dict[str, float | int | None]:
        """Return the line of ``metrics.jsonl``."""
        record = dataclasses.asdict(self)
        return {**record.pop("metrics"), **record}


class Trainer:
    """Any learner of the registry, and the best it has been; a checkpoint is its snapshot.

    Tensors in a checkpoint are ``last/...``, ``best/...``, ``adam/...`` and ``statistics/...``.

    Attributes:
        learner: What is trained.
        statistics: What the learner's policy has its units from; None where these stay as they are.
        best_return: The best score so far; see docs/metrics.md for what it is of.
        experience: What to keep of the last iteration: tasks, and what was played on them.
    """

    def __init__(
        self, learner: Learner, config: TrainConfig, statistics: RunningStatistics | None = None
    ) -> None:
        self.learner, self.config, self.statistics = learner, config, statistics
        self._validate = VALIDATIONS[LEARNERS[config.mode].validation]
        self._done, self._environment_steps, self._seconds = 0, 0, 0.0
        self._failing = FailingIterations()
        self.best_return: float | None = None
        self.experience: tuple[Tasks, Trajectory] | None = None
        self._best, self._best_spaces = _copies(learner.tensors), learner.policy.spaces

    @property
    def done(self) -> int:
        """Return how many iterations have been done."""
        return self._done

    @property
    def rates(self) -> str:
        """Return the learning rates, by their flags, that may be too high where it diverges."""
        names = LEARNERS[self.config.mode].rates
        return " or ".join(f"--{name} (now {getattr(self.config, name):g})" for name in names)

    @in_usual_torch
    def iterate(self) -> Progress:
        """Do the next iteration, validate if it is time, and keep the best parameters.

        Returns of training episodes are those of the parameters that the iteration began with.
        """
        started, iteration = time.monotonic(), self._done + 1
        began_with = _copies(self.learner.tensors) if self._validate is None else {}
        seed = substream(SeedSequence(self.config.seed), TRAINING_STREAM)
        report = self.learner.iterate(seed, iteration)
        failed = self._count(report.played)
        before, after = report.mean_return, None
        if before is not None and self._validate is None:
            self._keep(before, began_with)
        validated = self._validated(iteration)
        if validated is not None:
            before, after = validated.before, validated.after
            self._keep(validated.score, self.learner.tensors)
            failed += validated.failed_episodes
        self._observe([rollout for _, rollout in report.played])
        self._done, self.experience = iteration, report.experience
        self._environment_steps += report.environment_steps
        self._seconds += time.monotonic() - started
        total, steps = self.learner.iterations, self._environment_steps
        best, seconds = self.best_return, self._seconds
        metrics = {**report.metrics, "failed_episodes": failed}
        before, after = _known(before), _known(after)
        return Progress(iteration, total, steps, before, after, best, seconds, metrics)

    def fingerprint(self) -> str:
        """Return what tells a run from others: of its first settings and initial parameters.

        It is kept in the checkpoint and the store, and so outlives later settings.
        """
        digest = hashlib.sha256(self.config.to_json().encode())
        for name, value in sorted(self.learner.tensors.items()):
            digest.update(name.encode() + value.detach().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def snapshot(self) -> Checkpoint:
        """Copy everything that resuming needs, as of the last iteration."""
        tensors = {f"last/{name}": value for name, value in self.learner.tensors.items()}
        tensors |= {f"best/{name}": value for name, value in self._best.items()}
        if self.statistics:
            own = self.statistics.tensors()
            tensors |= {f"statistics/{name}": value for name, value in own.items()}
        state = self.learner.optimizer.state()
        tensors |= {f"adam/{name}": value for name, value in state.items()}
        meta = {
            "iteration": self._done,
            "environment_steps": self._environment_steps,
            "seconds": self._seconds,
            "best_return": self.best_return,
            "spaces": dataclasses.asdict(self._best_spaces),
        }
        return Checkpoint(_copies(tensors), meta)

    def restore(self, saved: Checkpoint) -> None:
        """Continue from a snapshot.

        Raises:
            CheckpointError: It is of another kind of run; nothing was changed.
        """
        tensors, meta = saved.tensors, saved.meta
        check_same_shapes(tensors, self.snapshot().tensors)
        with torch.no_grad():
            for name, value in self.learner.tensors.items():
                value.copy_(tensors[f"last/{name}"])
        self._best = {name: tensors[f"best/{name}"] for name in self._best}
        self._best_spaces = saved_spaces(meta, self.learner.family)
        self.learner.optimizer.load_state(part(tensors, "adam/"))
        self.best_return, self._done = meta["best_return"], meta["iteration"]
        self._environment_steps, self._seconds = meta["environment_steps"], meta["seconds"]

    def _validated(self, iteration: int) -> Validated | None:
        last = iteration == self.learner.iterations
        if self._validate is None or (iteration % self.config.validate_every and not last):
            return None
        learner, config = self.learner, self.config
        learner.on_phase("validation")
        agent = make_agent(learner.tensors, learner.policy, config, learner.family)
        tasks = learner.family.validation(config.validation_tasks)
        episodes = EPISODES * config.validation_tasks // len(tasks)
        seed = substream(SeedSequence(config.seed), VALIDATION_STREAM)
        mine = tasks[my_part(len(tasks))]
        found = self._validate(agent, learner.family, mine, episodes, seed) if len(mine) else None
        parts = [(part, n) for part, n in gathered((found, len(mine))) if part]
        return pooled(*zip(*parts, strict=True))

    def _keep(self, score: float, tensors: Mapping[str, Tensor]) -> None:
        """Keep copies of parameters whose score is at least the best so far.

        Those without a score, which is NaN, are kept as long as none had one.
        """
        if self.best_return is None or score >= self.best_return:
            self.best_return, self._best = _known(score), _copies(tensors)
            self._best_spaces = self.learner.policy.spaces

    def _count(self, played: Sequence[tuple[Tasks, Trajectory]]) -> int:
        """Return how many episodes failed; an error if that goes on."""
        counts = [
            (tasks, each.failed.sum((0, 2)).cpu().numpy(), each.done.sum((0, 2)).cpu().numpy())
            for tasks, each in played
        ]
        self._failing.count(counts)
        return sum(int(failed.sum()) for _, failed, _ in counts)

    def _observe(self, played: Sequence[Trajectory]) -> None:
        """Let the units of the next iteration be those of all that has been played."""
        if self.statistics is None:
            return
        for each in played:
            if each.valid.any():  # episodes that failed are of no one's experience
                self.statistics = self.statistics.merged(observed(each))
        spaces = trained_spaces(self.config, self.learner.family, self.statistics)
        self.learner.policy = dataclasses.replace(self.learner.policy, spaces=spaces)


def take_part(
    trainer: Trainer, checkpoint: Checkpoint | None = None
) -> Generator[Progress, None, None]:
    """Do this process's part of a training that another one leads, and writes."""
    keep_large_blocks()
    if checkpoint:
        trainer.restore(checkpoint)
    try:
        while trainer.done < trainer.learner.iterations:
            yield trainer.iterate()
    finally:
        trainer.learner.family.close()


def trained_spaces(
    config: TrainConfig, family: TaskFamily, statistics: RunningStatistics
) -> Spaces:
    """Return what a policy sees and does, with the units that a run's settings ask for."""
    norms = {"norm_obs": bool(config.norm_obs), "norm_reward": bool(config.norm_reward)}
    return policy_spaces(family, statistics, **norms)


@in_usual_torch
def make_trainer(
    config: TrainConfig,
    family: TaskFamily,
    spaces: Spaces,
    device: str | None = None,
    statistics: RunningStatistics | None = None,
) -> Trainer:
    """Build the learner of a run with its initial parameters, from its resolved settings.

    They say on which device, too, unless another one is given. With statistics, the units of
    observations and rewards are updated between iterations.
    """
    policy = make_policy(config, spaces)
    params = initial_params(policy, config.seed, device or config.device)
    learner = LEARNERS[config.mode].load()(policy, family, params, vars(config))
    return Trainer(learner, config, statistics)


def load_agent(checkpoint: Checkpoint, config: TrainConfig, family: TaskFamily) -> Agent:
    """Build the agent of a saved run from its best parameters and its resolved settings.

    Raises:
        CheckpointError: The tensors are not those of the configuration's network.
    """
    tensors = checkpoint.tensors
    spaces, statistics = saved_spaces(checkpoint.meta, family), saved_statistics(checkpoint)
    with torch.device("meta"):  # shapes alone: what was never saved takes no memory
        trainer = make_trainer(config, family, spaces, "meta", statistics)
    check_same_shapes(tensors, trainer.snapshot().tensors)
    return make_agent(part(tensors, "best/"), trainer.learner.policy, config, family)


def _known(number: float | None) -> float | None:
    """Return a number; None for NaN."""
    return None if number is None or math.isnan(number) else number


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in tensors.items()}
