"""From a policy's actions to those of the environment, in operations of torch alone."""

import math
from typing import cast

import gymnasium
import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from ssm_metarl.core.action_scaling import ActionScaling
from ssm_metarl.core.spaces import Spaces

LARGEST_INT64 = math.nextafter(2.0**63, 0.0)  # as a float; 2**63 itself does not fit


class ActionMapping(torch.nn.Module):
    """What :meth:`Spaces.contained` does, for actions with one leading axis ``E``."""

    def __init__(self, spaces: Spaces) -> None:
        super().__init__()
        self.shape = spaces.action_shape
        kind = spaces.action_type or spaces.usual_type
        self.kind: torch.dtype = getattr(torch, kind)
        self.scaling = spaces.action_scaling(torch.zeros(()))
        if self.scaling:  # torch.export.save has a warning for views of one tensor
            low, high, scaled = self.scaling
            self.scaling = ActionScaling(low.clone(), high.clone(), scaled)
        if spaces.discrete:
            self.starts = torch.tensor(spaces.action_starts or spaces.action_start)
        else:
            space = cast(gymnasium.spaces.Box, spaces.action_space)
            exact = np.float32 if kind == "float32" else np.float64
            self.low, self.high = (
                torch.from_numpy(bound.astype(exact).reshape(-1))
                for bound in (space.low, space.high)
            )
            if kind in ("int64", "uint64"):
                self.high = self.high.clamp(max=LARGEST_INT64)
        self.discrete = spaces.discrete

    def forward(self, action: Shaped[Tensor, "E ..."]) -> Shaped[Tensor, "E ..."]:
        """Return actions ``[E, *shape]`` in the environment's units and dtype."""
        if self.discrete:
            values = action + self.starts
        else:
            action = self.scaling(action) if self.scaling else action
            values = action.to(self.low.dtype).clamp(self.low, self.high)
            if not self.kind.is_floating_point:
                values = values.round()
        values = values.to(self.kind)
        return values if self.shape is None else values.reshape(-1, *self.shape)
