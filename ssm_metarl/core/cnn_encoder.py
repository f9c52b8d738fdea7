"""An encoder of images: a few convolutions, then a linear layer."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ssm_metarl.core.config import PolicyConfig
from ssm_metarl.core.linear import constant, linear, normal, random_matrix
from ssm_metarl.core.parameters import Params
from ssm_metarl.errors import UserError

CHANNELS = (16, 32, 32)
KERNEL = 3
SMALL = 4  # pixels along the shorter side: from there on, nothing is halved


@dataclass(frozen=True)
class CNNEncoder:
    """Convolutions of 3 x 3 pixels with SiLU, which halve the image while it is not small.

    Their outputs and the inputs that are no pixels go through one layer with tanh.

    Attributes:
        config: Of the policy.
        scale: Typical magnitude of each input; its length is ``I``.
        image: Height, width and channels of the image, whose pixels are the first inputs.

    Raises:
        UserError: The observations are no image.
    """

    config: PolicyConfig
    scale: tuple[float, ...]
    image: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.image:
            raise UserError(
                "the encoder cnn is for images; observations here are none, valid: --encoder linear"
            )

    @property
    def pixels(self) -> int:
        """Numbers of the image."""
        height, width, channels = self.image
        return height * width * channels

    def strides(self) -> Iterator[tuple[int, int]]:
        """Yield the stride of each convolution, and the number of places that it looks at."""
        height, width, _ = self.image
        for _ in CHANNELS:
            stride = 2 if min(height, width) > SMALL else 1
            height, width = -(-height // stride), -(-width // stride)
            yield stride, height * width

    def init(self, rng: torch.Generator) -> dict[str, Tensor]:
        """Draw initial parameters."""
        params, before = {}, self.image[2]
        for layer, channels in enumerate(CHANNELS):
            gain = (2.0 / (before * KERNEL**2)) ** 0.5
            kernel = normal(rng, channels, before, KERNEL, KERNEL) * gain
            params[f"encoder.conv{layer}.weight"] = kernel
            params[f"encoder.conv{layer}.bias"] = constant(0.0, channels)
            before = channels
        *_, (_, places) = self.strides()
        inputs = places * before + len(self.scale) - self.pixels
        weight = random_matrix(rng, inputs, self.config.width)
        return {
            **params,
            "encoder.weight": weight,
            "encoder.bias": constant(0.0, self.config.width),
        }

    def bind(self, params: Params) -> "BoundCNNEncoder":
        """Put parameters in place."""
        return BoundCNNEncoder(self, params)


@dataclass(frozen=True)
class BoundCNNEncoder:
    """A :class:`CNNEncoder` with its parameters in place."""

    encoder: CNNEncoder
    params: Params

    def __call__(self, inputs: Float[Tensor, "*time K E I"]) -> Float[Tensor, "*time K E D"]:
        """Return features between -1 and 1."""
        own, p = self.encoder, self.params
        inputs = inputs / inputs.new_tensor(own.scale)
        pixels, extras = inputs[..., : own.pixels], inputs[..., own.pixels :]
        *time, tasks, lanes, _ = inputs.shape
        # Convolutions know no tasks: these become groups of channels, [T E, K C, H, W].
        x = pixels.reshape(-1, tasks, lanes, *own.image).permute(0, 2, 1, 5, 3, 4)
        x = x.flatten(0, 1)
        for layer, (stride, _) in enumerate(own.strides()):
            x = _convolved(
                x, p[f"encoder.conv{layer}.weight"], p[f"encoder.conv{layer}.bias"], stride
            )
        x = x.flatten(2).unflatten(0, (-1, lanes)).transpose(1, 2).reshape(*time, tasks, lanes, -1)
        return linear(torch.cat([x, extras], -1), p["encoder.weight"], p["encoder.bias"]).tanh()


def _convolved(
    x: Float[Tensor, "N K C H W"],
    weight: Float[Tensor, "*tasks O C 3 3"],
    bias: Float[Tensor, "*tasks O"],
    stride: int,
) -> Float[Tensor, "N K O H2 W2"]:
    """Return SiLU of a convolution whose weights are shared by all tasks or differ by task."""
    samples, tasks = x.shape[:2]
    if weight.ndim == 4:
        shared = torch.nn.functional.conv2d(x.flatten(0, 1), weight, bias, stride, padding=1)
        y = shared.unflatten(0, (samples, tasks))
    else:
        grouped = x.flatten(1, 2), weight.flatten(0, 1), bias.flatten()
        y = torch.nn.functional.conv2d(*grouped, stride, padding=1, groups=tasks)
        y = y.unflatten(1, (tasks, -1))
    return torch.nn.functional.silu(y)
