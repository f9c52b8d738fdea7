"""Running statistics of observations and rewards, from which a policy gets its units."""

import math
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor


@dataclass(frozen=True)
class RunningStatistics:
    """Moments of all that has been seen, which merge without a look back (Chan et al. 1979).

    Attributes:
        count: Observations.
        mean: Of the observations.
        square: Sum of the squared deviations from the mean.
        binary: Which entries were 0 or 1 every time, as one-hot ones are.
        paid: Rewards that are not 0.
        reward_square: Sum of their squares.
    """

    count: Float64[Tensor, ""]
    mean: Float64[Tensor, "O"]
    square: Float64[Tensor, "O"]
    binary: Bool[Tensor, "O"]
    paid: Float64[Tensor, ""]
    reward_square: Float64[Tensor, ""]

    @classmethod
    def of(
        cls, observation: Float[Tensor, "N O"], reward: Float[Tensor, "M"]
    ) -> "RunningStatistics":
        """Return the statistics of some observations and rewards."""
        seen, earned = observation.detach().double().cpu(), reward.detach().double().cpu()
        mean = seen.mean(0)
        return cls(
            torch.tensor(float(len(seen)), dtype=torch.float64),
            mean,
            (seen - mean).square().sum(0),
            ((seen == 0.0) | (seen == 1.0)).all(0),
            (earned != 0.0).sum().double(),
            earned.square().sum(),
        )

    def merged(self, other: "RunningStatistics") -> "RunningStatistics":
        """Return the statistics of what either has seen."""
        count = self.count + other.count
        apart = other.mean - self.mean
        return RunningStatistics(
            count,
            self.mean + apart * (other.count / count),
            self.square + other.square + apart.square() * (self.count * other.count / count),
            self.binary & other.binary,
            self.paid + other.paid,
            self.reward_square + other.reward_square,
        )

    def pooled(self, image: tuple[int, ...]) -> "RunningStatistics":
        """Return the statistics that all pixels have if those of a channel are taken together.

        Args:
            image: Height, width and channels; its numbers are the first of an observation.
        """
        size, channels = math.prod(image), image[-1]
        mean, square, binary = (
            value[:size].view(-1, channels) for value in (self.mean, self.square, self.binary)
        )
        whole = mean.mean(0)
        spread = square.mean(0) + self.count * (mean - whole).square().mean(0)
        pixels = len(mean)
        return replace(
            self,
            mean=torch.cat([whole.repeat(pixels), self.mean[size:]]),
            square=torch.cat([spread.repeat(pixels), self.square[size:]]),
            binary=torch.cat([binary.all(0).repeat(pixels), self.binary[size:]]),
        )

    @property
    def std(self) -> Float64[Tensor, "O"]:
        """Standard deviation of the observations."""
        return (self.square / self.count).sqrt()

    @property
    def reward_scale(self) -> float:
        """Root mean square of the rewards that are not 0; 1 if all are."""
        mean_square = float(self.reward_square / self.paid.clamp_min(1.0))
        return mean_square**0.5 if mean_square > 0.0 else 1.0

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps, by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}
