"""Inner rules by the name of their loss."""

from typing import Any

from ssm_metarl.core.policy import Policy
from ssm_metarl.meta_rl.inner_rule import InnerRule, Rates
from ssm_metarl.meta_rl.registry import INNER_LOSSES


def rule(policy: Policy, rates: Rates = 0.1, surrogate: str = "lvc", **changes: Any) -> InnerRule:  # noqa: ANN401
    return InnerRule(policy, INNER_LOSSES[surrogate].load(), rates, **changes)
