"""What an agent needs to know to adapt, however it was trained."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class AdaptationConfig:
    """How an agent adapts.

    Attributes:
        inner_lr: Rate of a gradient step, on the policy gradient summed over an episode's steps,
            unless the agent has learned rates.
        inner_steps: Gradient steps that meta-training took; later ones, or all for 0, are natural
            steps within the trust region.
        horizon: Step limit of the episodes to adapt from.
        discount: Gamma of these episodes.
        gae_lambda: Lambda of their advantages.
        surrogate: Loss of the steps, of :data:`ssm_metarl.meta_rl.registry.INNER_LOSSES`.
        adapts: What the steps change, of :data:`ssm_metarl.meta_rl.registry.ADAPTS`.
        episodes: Episodes per gradient step in meta-training.
        episodes_per_trial: Episodes through which a memory of a trial lasted in training.
        trust: Largest mean divergence, in nats, of a natural step.
        adapted_std: Largest spread of continuous actions after a step, or no limit.
    """

    inner_lr: float = 0.1
    inner_steps: int = 1
    horizon: int = 100
    discount: float = 0.9
    gae_lambda: float = 1.0
    surrogate: str = "lvc"
    adapts: str = "all"
    episodes: int = 20
    episodes_per_trial: int = 4
    trust: float = 0.03
    adapted_std: float | None = None


def saved_adaptation(values: object) -> object:
    """Return the saved settings of an agent, an object of JSON, by today's names.

    A former version saved all settings of meta-training, two of them by other names.

    Raises:
        KeyError: One is missing.
    """
    if not isinstance(values, dict) or "support_horizon" not in values:
        return values
    renamed = {"horizon": values["support_horizon"], "discount": values["adaptation_discount"]}
    own = {each.name for each in fields(AdaptationConfig)}
    return {name: value for name, value in {**values, **renamed}.items() if name in own}
