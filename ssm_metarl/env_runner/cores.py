"""How many cores there are to step environments on."""

import os


def usable_cores() -> int:
    """Return how many cores this process may use: its share, if torchrun has started several."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = getattr(os, "process_cpu_count", os.cpu_count)() or 1  # from Python 3.13 on
    return max(1, count // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
