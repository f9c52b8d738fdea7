"""What a run asks of a learner, whatever it learns by: iterate, keep the best, be saved."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import SeedSequence
from torch import Tensor

from ssm_metarl.adaptation.agent import Agent
from ssm_metarl.adaptation.standard import adapt_tasks
from ssm_metarl.core.parameters import Params
from ssm_metarl.core.policy import Policy
from ssm_metarl.env_runner.family import TaskFamily, Tasks
from ssm_metarl.env_runner.rollout import Trajectory
from ssm_metarl.env_runner.streams import substream
from ssm_metarl.errors import CheckpointError
from ssm_metarl.evaluation.evaluate import mean_returns, play_trials, task_source
from ssm_metarl.meta_rl.maml import MetaLearner
from ssm_metarl.meta_rl.policy_gradient import PolicyGradientLearner
from ssm_metarl.meta_rl.rl2 import RL2Learner
from ssm_metarl.training.config import TrainConfig
from ssm_metarl.training.recipes import make_policy, meta_config, policy_gradient_config, rl2_config

INITIAL_STREAM, VALIDATION_STREAM = 0, 2
VALIDATION_EPISODES = 5
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what Adam remembers of each tensor


@dataclass(frozen=True)
class Report:
    """One iteration, in the words of :class:`ssm_metarl.training.loop.Progress`.

    ``experience`` is what is worth keeping of it: tasks, and what the agent played on them.
    """

    environment_steps: int
    return_before: float | None
    return_after: float | None
    metrics: Mapping[str, float | int]
    experience: tuple[Tasks, Trajectory] | None = None


@dataclass(frozen=True)
class Snapshot:
    """Everything that resuming needs, as copies."""

    tensors: Mapping[str, Tensor]
    meta: Mapping[str, Any]


class Learner(ABC):
    """A learner and the best it has been; a checkpoint is its snapshot.

    Tensors in a checkpoint are ``last/...``, ``best/...`` and ``adam/...``.
    """

    def __init__(
        self, core: MetaLearner | RL2Learner | PolicyGradientLearner, iterations: int
    ) -> None:
        self.core, self.iterations = core, iterations
        self.best_return: float | None = None
        self.best = _copies(core.tensors)

    @property
    @abstractmethod
    def rates(self) -> str:
        """The learning rates, by their flags, that may be too high where training diverges."""

    @abstractmethod
    def iterate(self, seed: SeedSequence, iteration: int) -> Report:
        """Do one iteration, counted from 1, and remember the best parameters."""

    def snapshot(self) -> Snapshot:
        """Copy the state as of the last iteration."""
        tensors = {f"last/{name}": value for name, value in self.core.tensors.items()}
        tensors |= {f"best/{name}": value for name, value in self.best.items()}
        for name, value in self.core.learned.items():
            state = self.core.optimizer.state[value] or _no_moments(value)
            tensors |= {f"adam/{name}/{moment}": state[moment].float() for moment in MOMENTS}
        return Snapshot(_copies(tensors), {"best_return": self.best_return})

    def restore(self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Take up a saved state.

        Raises:
            CheckpointError: It is the state of another kind of run; nothing was changed.
        """
        check_same_shapes(tensors, self.snapshot().tensors)
        with torch.no_grad():
            for name, value in self.core.tensors.items():
                value.copy_(tensors[f"last/{name}"])
            self.best = {name: tensors[f"best/{name}"] for name in self.best}
        for name, value in self.core.learned.items():
            saved = {moment: tensors[f"adam/{name}/{moment}"] for moment in MOMENTS}
            moved = {k: v if k == "step" else v.to(value.device) for k, v in saved.items()}
            self.core.optimizer.state[value] = {k: v.clone() for k, v in moved.items()}
        self.best_return = meta["best_return"]

    def remember(self, reached: float, tensors: Mapping[str, Tensor]) -> None:
        """Keep copies of parameters if what they reached is at least the best so far."""
        if self.best_return is None or reached >= self.best_return:
            self.best_return, self.best = reached, _copies(tensors)


class MetaRun(Learner):
    """Meta-training, looking at the validation tasks now and then."""

    def __init__(self, core: MetaLearner, config: TrainConfig) -> None:
        super().__init__(core, core.config.iterations)
        self.core: MetaLearner = core
        self.config = config
        self.tasks = core.family.validation(config.validation_tasks)

    def iterate(self, seed: SeedSequence, iteration: int) -> Report:
        """Do one iteration of MAML; every so often, adapt to the validation tasks.

        A memory that lasts a trial also adapts, so that the best is best before and after a step.
        """
        progress = dataclasses.asdict(self.core.iterate(seed, iteration))
        del progress["iteration"]
        steps = progress.pop("environment_steps")
        before = after = None
        if iteration % self.config.validate_every == 0 or iteration == self.iterations:
            before, after = self._validate()
            reached = 0.5 * (before + after) if self._in_trials else after
            self.remember(reached, self.core.tensors)
        return Report(steps, before, after, progress, self.core.experience)

    @property
    def rates(self) -> str:
        """The outer and the inner learning rate."""
        settings = self.core.config
        return f"--outer_lr (now {settings.outer_lr:g}) or --inner_lr (now {settings.inner_lr:g})"

    @property
    def longest_lane(self) -> int:
        """Most steps of one trajectory to adapt from."""
        settings = self.core.config
        episodes = min(settings.episodes_per_trial, settings.episodes) if self._in_trials else 1
        return episodes * settings.support_horizon

    @property
    def _in_trials(self) -> bool:
        return self.core.policy.config.memory == "trial"

    def _validate(self) -> tuple[float, float]:
        """Return mean returns, of complete episodes or trials, before and after one step."""
        core, seed = self.core, substream(SeedSequence(self.config.seed), VALIDATION_STREAM)
        core.on_phase("validation")
        params = {name: value.detach() for name, value in core.params.items()}
        agent = Agent(core.policy, params, core.detached_rates(), core.config, core.family.name)
        source = task_source(agent, core.family, self.tasks)
        adaptation = adapt_tasks(
            agent, source, episodes=core.config.episodes, steps=1, seed=substream(seed, 0)
        )
        own = substream(seed, 1)
        before, after = (self._returns(adapted.params, own) for adapted in adaptation)
        return before, after

    def _returns(self, params: Params, seed: SeedSequence) -> float:
        core = self.core
        played = core.policy, params, core.family, self.tasks, VALIDATION_EPISODES
        if self._in_trials:
            trials = play_trials(*played, core.config.episodes_per_trial, seed)
            return float(trials.returns.mean())
        return float(mean_returns(*played, seed).mean())


class RL2Run(Learner):
    """Training over trials, playing trials of the validation tasks now and then."""

    def __init__(self, core: RL2Learner, config: TrainConfig) -> None:
        super().__init__(core, core.config.iterations)
        self.core: RL2Learner = core
        self.config = config
        self.tasks = core.family.validation(config.validation_tasks)

    def iterate(self, seed: SeedSequence, iteration: int) -> Report:
        """Do one iteration; every so often, see how the episodes of a trial get better.

        The best policy is the one with the best mean over the episodes of a trial.
        """
        progress = dataclasses.asdict(self.core.iterate(seed, iteration))
        del progress["iteration"]
        steps = progress.pop("environment_steps")
        if iteration % self.config.validate_every and iteration != self.iterations:
            return Report(steps, None, None, progress)
        returns = self._validate()
        self.remember(float(returns.mean()), self.core.tensors)
        return Report(steps, float(returns[0]), float(returns[-1]), progress)

    @property
    def rates(self) -> str:
        """The learning rate."""
        return f"--outer_lr (now {self.core.config.lr:g})"

    def _validate(self) -> np.ndarray:
        """Return the mean return of each episode of a trial."""
        core, seed = self.core, substream(SeedSequence(self.config.seed), VALIDATION_STREAM)
        core.on_phase("validation")
        params = {name: value.detach() for name, value in core.params.items()}
        trials = play_trials(
            core.policy,
            params,
            core.family,
            self.tasks,
            VALIDATION_EPISODES,
            core.config.episodes,
            seed,
        )
        return trials.returns.mean(1)


class PolicyGradientRun(Learner):
    """Training on one task; every episode there is goes into training, none into validation."""

    def __init__(self, core: PolicyGradientLearner) -> None:
        super().__init__(core, -(-core.config.total_episodes // core.config.episodes))
        self.core: PolicyGradientLearner = core

    def iterate(self, seed: SeedSequence, iteration: int) -> Report:
        """Do one iteration of PPO; what it collected measures the parameters it started from."""
        started_from = _copies(self.core.tensors)
        progress = dataclasses.asdict(self.core.iterate(seed, iteration))
        del progress["iteration"]
        steps, reached = progress.pop("environment_steps"), progress.pop("mean_return")
        self.remember(reached, started_from)
        return Report(steps, reached, None, progress)

    @property
    def rates(self) -> str:
        """The learning rate."""
        return f"--outer_lr (now {self.core.config.lr:g})"


def make_learner(config: TrainConfig, family: TaskFamily, device: str | None = None) -> Learner:
    """Build the learner of a run with its initial parameters, on another device if one is given."""
    policy = make_policy(config, family)
    params = initial_params(policy, config.seed, device or config.device)
    if config.mode == "policy_gradient":
        settings = policy_gradient_config(config, family)
        return PolicyGradientRun(PolicyGradientLearner(policy, settings, family, params))
    if config.mode == "rl2":
        return RL2Run(RL2Learner(policy, rl2_config(config, family), family, params), config)
    core = MetaLearner(policy, meta_config(config, family), family, params)
    return MetaRun(core, config)


def initial_params(policy: Policy, seed: int, device: str = "cpu") -> Params:
    """Draw a network's initial parameters from their own stream of the seed."""
    state = int(substream(SeedSequence(seed), INITIAL_STREAM).generate_state(1)[0])
    params = policy.init(torch.Generator().manual_seed(state))
    return {name: value.to(device) for name, value in params.items()}


def make_agent(tensors: Mapping[str, Tensor], config: TrainConfig, family: TaskFamily) -> Agent:
    """Build the agent of a saved run from its best parameters.

    Raises:
        CheckpointError: The tensors are not those of the configuration's network.
    """
    with torch.device("meta"):  # shapes alone: what was never saved takes no memory
        learner = make_learner(config, family, "meta")
    check_same_shapes(tensors, learner.snapshot().tensors)
    core, settings = learner.core, meta_config(config, family)
    params = {name: tensors[f"best/params/{name}"] for name in core.params}
    gains = {
        name: settings.inner_lr * tensors[f"best/log_gains/{name}"].exp()
        for name in getattr(core, "log_gains", {})
    }
    return Agent(core.policy, params, gains or settings.inner_lr, settings, family.name)


def check_same_shapes(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not, name by name, shaped as expected."""
    for name in sorted(found.keys() ^ expected.keys()):
        state = "is missing" if name in expected else "does not belong"
        raise CheckpointError(f"the checkpoint does not fit its configuration: {name} {state}")
    for name, value in expected.items():
        if found[name].shape != value.shape or found[name].dtype != value.dtype:
            raise CheckpointError(
                f"the checkpoint does not fit its configuration: {name} is "
                f"{list(found[name].shape)}, not {list(value.shape)}"
            )


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in tensors.items()}


def _no_moments(value: Tensor) -> dict[str, Tensor]:
    zero = torch.zeros_like(value)
    step = torch.zeros((), dtype=torch.float32)  # whatever torch's default is
    return {"step": step, "exp_avg": zero, "exp_avg_sq": zero}
