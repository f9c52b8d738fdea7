"""Inner rules by the name of their loss."""

from typing import Any

from ssm_metarl.core.policy import Policy
from ssm_metarl.meta_rl.inner_losses import inner_loss
from ssm_metarl.meta_rl.inner_rule import InnerRule, Rates


def rule(policy: Policy, rates: Rates = 0.1, surrogate: str = "lvc", **changes: Any) -> InnerRule:  # noqa: ANN401
    return InnerRule(policy, inner_loss(surrogate), rates, **changes)
