"""The settings of a training run: the flags of ``ssm-metarl train``, and ``config.json``.

Every default, bound, choice and help text is here, in the fields of :class:`TrainConfig`, or, where
it is a learner's own, in :mod:`ssm_metarl.meta_rl.registry`; `settings.settings_of` reads them.
"""

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, no_type_check

from ssm_metarl.checkpoint.fields import known_fields
from ssm_metarl.checkpoint.files import parse_json
from ssm_metarl.core.cells import CELLS
from ssm_metarl.core.config import PolicyConfig
from ssm_metarl.core.encoders import ENCODERS
from ssm_metarl.errors import MAX_WHOLE, UserError
from ssm_metarl.meta_rl.registry import ADAPTS, INNER_LOSSES, LEARNERS, used_by
from ssm_metarl.training.checks import check_together
from ssm_metarl.training.defaults import CONTEXT_SIZE, MAX_TIME_CONSTANT, ByAction, resolved
from ssm_metarl.training.settings import check_settings, listed, setting, settings_of

if TYPE_CHECKING:  # it imports torch
    from ssm_metarl.env_runner.family import TaskFamily

MOST_STEPS = 10**9


@dataclass(frozen=True)
class TrainConfig:
    """Meta-train (or plainly train) a policy on a family of tasks.

    None stands for what the learner or the family suggests, which :meth:`resolve` fills in.

    Raises:
        UserError: A value that is not valid, by its flag; NumPy's scalars are.
    """

    mode: str = setting("meta_rl", f"{listed(LEARNERS, ': ', '. ')}.", choices=LEARNERS)
    env_name: str = setting(
        "CartPole-v1",
        "Family of tasks, or any Gymnasium id; `ssm-metarl envs` lists the families.",
        aliases=("--env",),
    )
    num_epochs: int | None = setting(
        None,
        "Iterations; each samples new tasks, collects data and improves the policy.",
        within=(1, 10**6),
        aliases=("--epochs",),
    )
    num_episodes: int = setting(200, "Episodes in all.", within=(1, 10**8), aliases=("--episodes",))
    tasks_per_epoch: int | None = setting(None, "Tasks per iteration.", within=(1, 10**4))
    episodes_per_task: int = setting(
        20,
        "Episodes per task before, and as many again after, each inner update.",
        within=(1, 10**4),
    )
    episodes_per_trial: int = setting(
        4,
        "Episodes of one task in a row, through which a memory of a trial lasts.",
        within=(1, 10**3),
    )
    inner_lr: float | None = setting(
        None,
        "Rate of the inner step, on the policy gradient summed over an episode's steps.",
        family="inner_lr",
        otherwise=ByAction(0.03, 0.01),
        above=0,
    )
    outer_lr: float | None = setting(
        None,
        "Rate of the optimiser, Adam.",
        family="outer_lr",
        otherwise=ByAction(0.005, 0.01),
        above=0,
        aliases=("--lr",),
    )
    inner_steps: int = setting(1, "Gradient steps per task in training.", within=(1, 100))
    outer_epochs: int | None = setting(
        None,
        "Passes over the data of one iteration, for meta_rl of one outer gradient step each.",
        within=(1, 10**3),
    )
    minibatches: int | None = setting(
        None, "Gradient steps per pass, each on all trials of some of the tasks.", within=(1, 10**4)
    )
    support_steps: int | None = setting(
        None,
        "Step limit of the episodes to adapt from.",
        unset="the family's, twice that for meta_rl with --memory trial",
        within=(1, MOST_STEPS),
    )
    query_steps: int | None = setting(
        None,
        "Step limit of the episodes after adaptation, or that those of rl2 grow to.",
        family="max_episode_steps",
        within=(1, MOST_STEPS),
    )
    first_steps: int | None = setting(
        None,
        "Step limit of episodes in the first iteration, from where it grows.",
        unset="--support_steps if given, else a tenth of query_steps",
        within=(1, MOST_STEPS),
    )
    discount: float | None = setting(None, "Discount per step.", family="discount", within=(0, 1))
    adaptation_discount: float | None = setting(
        None,
        "Discount of the data that a trained agent adapts from.",
        unset="the family's, else discount",
        family="adaptation_discount",
        within=(0, 1),
    )
    gae_lambda: float | None = setting(
        None, "Lambda of the generalised advantages.", within=(0, 1), aliases=("--trace",)
    )
    adaptation_gae_lambda: float | None = setting(
        None,
        "The same for the data that a trained agent adapts from.",
        unset="--gae_lambda if given, else 1",
        within=(0, 1),
    )
    clip: float = setting(0.2, "Clipping range of the likelihood ratio.", within=(0, 1))
    entropy: float = setting(0.0, "Weight of the entropy bonus.", least=0)
    support_weight: float | None = setting(
        None,
        "Weight of the return before adapting in the outer objective.",
        family="support_weight",
        least=0,
    )
    max_grad_norm: float = setting(1.0, "Bound on the norm of the optimiser's gradient.", above=0)
    target_kl: float = setting(
        0.01,
        "Mean divergence, in nats, that an outer step may lead to (maml_trpo), or that the "
        "coefficient of the penalty aims at (promp).",
        above=0,
    )
    kl_coefficient: float = setting(
        5e-4, "Coefficient of the penalty on divergences, at first; it adapts itself.", above=0
    )
    trust: float | None = setting(
        None,
        "Largest mean divergence, in nats, of an adaptation step that training never took.",
        family="trust",
        otherwise=0.03,
        above=0,
    )
    adapted_std: float | None = setting(
        None,
        "Largest spread of an adapted agent's continuous actions; 0 for no limit.",
        family="adapted_std",
        otherwise=0.0,
        least=0,
    )
    surrogate: str = setting(
        "lvc",
        f"Inner loss, see docs/gradients.md: {listed(INNER_LOSSES)}.",
        choices=INNER_LOSSES,
    )
    dice_lambda: float = setting(
        0.5,
        "Weight that earlier steps lose by each step in the curvature of loaded_dice: 0 is lvc, 1 "
        "dice.",
        within=(0, 1),
    )
    adapts: str = setting("all", f"What gradient steps change: {listed(ADAPTS)}.", choices=ADAPTS)
    context_size: int | None = setting(
        None,
        "Numbers of the context vector, for --adapts context.",
        unset=f"{CONTEXT_SIZE} for --adapts context, else 0",
        within=(0, 4096),
    )
    first_order: bool = setting(False, "Treat the inner gradient as a constant.")
    learn_inner_lr: bool = setting(False, "Also learn an inner rate for every parameter.")
    cell: str = setting("ssm", f"Memory: {listed(CELLS)}.", choices=CELLS)
    encoder: str | None = setting(
        None,
        f"Input features: {listed(ENCODERS)}.",
        unset="cnn for images, else linear",
        choices=ENCODERS,
    )
    width: int | None = setting(None, "Features per block.", otherwise=32, within=(1, 4096))
    state_size: int | None = setting(
        None, "State size of each block.", otherwise=16, within=(1, 4096)
    )
    blocks: int | None = setting(None, "Number of blocks.", otherwise=1, within=(1, 64))
    max_time_constant: float | None = setting(
        None,
        "Longest time constant of the initial memory, in steps.",
        unset=f"the length of an episode, at most {MAX_TIME_CONSTANT:g}",
        above=0,
    )
    r_min: float | None = setting(
        None,
        "Smallest initial modulus of an ssm's eigenvalues, as in the LRU paper.",
        unset="from max_time_constant",
        within=(0, 1),
    )
    r_max: float | None = setting(
        None,
        "Largest initial modulus; with r_min it replaces max_time_constant.",
        unset="from max_time_constant",
        within=(0, 1),
    )
    max_phase: float = setting(
        PolicyConfig.max_phase,
        "Largest initial phase of an ssm's eigenvalues, in radians per step.",
        above=0,
        most=2 * math.pi,
    )
    norm: bool = setting(False, "Normalise the input of each block.")
    trial_inputs: bool = setting(
        False,
        "Also show the policy its previous action and reward; a memory of a trial always "
        "sees them.",
    )
    norm_obs: bool | None = setting(
        None,
        "Observations have the units of their running mean and standard deviation.",
        unset="where the family declares no scales",
    )
    norm_reward: bool | None = setting(
        None,
        "Rewards have the unit of their running root mean square.",
        unset="where the family declares no scales",
    )
    clip_obs: float = setting(
        PolicyConfig.clip_obs, "Bound on observations, in these units; 0 for none.", least=0
    )
    clip_reward: float = setting(
        PolicyConfig.clip_reward,
        "Bound on the previous reward that the policy sees, in these units.",
        above=0,
    )
    memory: Literal["episode", "trial"] | None = setting(
        None,
        "What the hidden state lasts for. meta_rl with a memory of a trial learns to adapt "
        "in context and by gradient steps.",
        otherwise="episode",
    )
    initial_log_std: float | None = setting(
        None,
        "Log of the initial spread of continuous actions, whose bounds are -1 and 1.",
        family="initial_log_std",
    )
    experience: int = setting(
        1_000_000,
        "Steps of earlier tasks kept on disk, for hybrid adaptation; the newest ones stay.",
        least=0,
    )
    validate_every: int = setting(
        10, "Iterations between evaluations on the validation tasks.", least=1
    )
    validation_tasks: int = setting(
        20,
        "Number of validation tasks; the checkpoint keeps the policy that is best on them.",
        within=(1, 10**4),
    )
    seed: int = setting(0, "Seed of everything random in the run.", within=(0, MAX_WHOLE))
    device: Literal["cpu", "cuda"] = setting("cpu", "Where tensors live.")
    compile: Literal["auto", "on", "off"] = setting(
        "auto", "Compile how agents act in native environments; auto: in long trainings."
    )
    trust_env_code: bool = setting(
        False, "Allow env ids of the form module:Env-v0, which import and run code."
    )

    def __post_init__(self) -> None:
        check_settings(self)
        check_together(self)

    @property
    def adapts_both_ways(self) -> bool:
        """Whether it is meta-trained with a memory of a trial: to adapt in context and by steps."""
        return LEARNERS[self.mode].trains_steps and self.memory == "trial"

    def unused(self) -> list[str]:
        """Return the settings that were changed though the mode has no use for them."""
        return [
            name
            for name, one in settings_of(TrainConfig).items()
            if self.mode not in used_by(name) and getattr(self, name) != one.default
        ]

    def resolve(self, family: "TaskFamily") -> "TrainConfig":
        """Return the same settings with a value for every None that the learner uses.

        What was resolved once stays as it is, whatever the family suggests later.
        """
        return TrainConfig(**resolved(self, family))

    def changed(self, family: "TaskFamily") -> dict[str, Any]:
        """Return the settings that are not what its learner and the family suggest."""
        usual = TrainConfig(mode=self.mode, env_name=self.env_name).resolve(family)
        own = vars(self.resolve(family))
        return {name: value for name, value in own.items() if value != getattr(usual, name)}

    def to_json(self) -> str:
        """Return the settings as readable JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "TrainConfig":
        """Read what :meth:`to_json` wrote, or a former version did.

        Raises:
            UserError: Malformed JSON, an unknown or missing name, or a value that is not valid.
        """
        try:
            values = parse_json(text.encode())
        except ValueError as error:
            raise UserError(f"config.json is not valid JSON: {error}") from error
        fields = known_fields(settings_of(cls), values, "config.json", ("mode", "env_name"))
        try:
            return cls(**fields)
        except UserError as error:
            raise UserError(f"config.json: {error}") from None


no_type_check(TrainConfig.__init__)  # it takes any values, and checks them by itself
