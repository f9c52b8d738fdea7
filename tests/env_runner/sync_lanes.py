"""Gymnasium's own way to step many environments, for comparison with ours."""

from collections.abc import Callable, Sequence

import gymnasium
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from ssm_metarl.env_runner.observations import with_flat_observations


def sync_lanes(
    makers: Sequence[Callable[[], gymnasium.Env]], lanes: int, max_episode_steps: int
) -> SyncVectorEnv:
    """Build a number of lanes of each environment."""

    def limited(make: Callable[[], gymnasium.Env]) -> Callable[[], gymnasium.Env]:
        return lambda: gymnasium.wrappers.TimeLimit(
            with_flat_observations(make()), max_episode_steps
        )

    each = [limited(make) for make in makers for _ in range(lanes)]
    return SyncVectorEnv(each, autoreset_mode=AutoresetMode.NEXT_STEP)
