"""Worlds that a number names: all their tables are drawn from it."""

import numpy as np
from jaxtyping import Float
from torch import Tensor

INSTANCES = 2**24
"""How many there are: float32, in which tasks reach a simulator, holds every one exactly."""
_OWN = 0x696E7374616E6365  # no other stream of random numbers begins with it


def generator(instance: int | float) -> np.random.Generator:
    """Return what the tables of an instance are drawn from."""
    return np.random.default_rng((int(instance), _OWN))


def generators(instances: Float[Tensor, "K 1"]) -> list[np.random.Generator]:
    """Return the same for K tasks."""
    return [generator(instance) for instance in instances.flatten().tolist()]
