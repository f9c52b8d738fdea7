"""Which settings of a training do not go together."""

from typing import TYPE_CHECKING

from ssm_metarl.core.config import check_ring
from ssm_metarl.errors import UserError

if TYPE_CHECKING:  # it imports this module
    from ssm_metarl.training.config import TrainConfig


def check_together(config: "TrainConfig") -> None:
    """Refuse settings each of which is valid, but not with the others.

    Raises:
        UserError: Names them by their flags.
    """
    check_ring(config.r_min, config.r_max)
    if config.surrogate == "prediction" and config.first_order:
        raise UserError(
            "--first_order: --surrogate prediction is learned through the inner step, which "
            "first order treats as a constant; leave one of them out"
        )
    if config.surrogate == "prediction" and config.adapts == "heads":
        raise UserError(
            "--adapts heads: --surrogate prediction does not depend on the action head; valid: all"
        )
    if config.context_size is not None and (config.adapts == "context") != (
        config.context_size > 0
    ):
        raise UserError(
            f"--context_size is {config.context_size} and --adapts {config.adapts}; a context of "
            "at least 1 is for --adapts context, and for that alone"
        )
    if config.surrogate == "prediction" and config.mode == "reptile":
        raise UserError(
            "--surrogate prediction: reptile follows the inner loss alone, and would never learn "
            "of rewards; valid: lvc"
        )
    if config.surrogate == "emaml" and config.tasks_per_epoch == 1:
        raise UserError(
            f"--tasks_per_epoch is {config.tasks_per_epoch}; --surrogate emaml needs at least 2, "
            "as it compares each task with the others"
        )
    if not config.adapts_both_ways:
        return
    if config.cell == "mlp":
        raise UserError("--memory trial: --cell mlp has no memory; valid: ssm, gated, gru")
    if config.episodes_per_task % config.episodes_per_trial:
        raise UserError(
            f"--episodes_per_task is {config.episodes_per_task}; with --memory trial it must be "
            f"a multiple of --episodes_per_trial, which is {config.episodes_per_trial}"
        )


def check_tasks_to_share(config: "TrainConfig", processes: int) -> None:
    """Refuse a training of which there is not a part for each of several processes.

    Raises:
        UserError: It has fewer tasks.
    """
    if config.mode == "policy_gradient":
        raise UserError(f"policy_gradient has one task, and {processes} processes none to share")
    assert config.tasks_per_epoch is not None  # resolved
    if processes > config.tasks_per_epoch:
        raise UserError(
            f"--tasks_per_epoch is {config.tasks_per_epoch}, which {processes} processes cannot "
            f"share; valid: at least {processes}, or fewer processes"
        )
