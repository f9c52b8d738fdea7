"""Images: the convolutions against torch's own, per task, and twice differentiable."""

import pytest
import torch

from ssm_metarl.core.cnn_encoder import CNNEncoder
from ssm_metarl.core.config import PolicyConfig
from ssm_metarl.errors import UserError

IMAGE = (6, 5, 2)
CONFIG = PolicyConfig(width=4, encoder="cnn")
ENCODER = CNNEncoder(CONFIG, (2.0,) * 60 + (1.0,) * 3, IMAGE)


def params(seed: int = 0) -> dict[str, torch.Tensor]:
    drawn = ENCODER.init(torch.Generator().manual_seed(seed))
    return {name: value.double() for name, value in drawn.items()}


def test_features_are_those_of_torchs_layers() -> None:
    p, inputs = params(), torch.randn(3, 2, 4, 63, dtype=torch.float64)
    x = inputs[..., :60].reshape(24, *IMAGE).permute(0, 3, 1, 2) / 2.0
    for layer, stride in enumerate((2, 1, 1)):
        weight, bias = p[f"encoder.conv{layer}.weight"], p[f"encoder.conv{layer}.bias"]
        x = torch.nn.functional.silu(torch.conv2d(x, weight, bias, stride, 1))
    x = torch.cat([x.flatten(1), inputs[..., 60:].reshape(24, 3)], 1)
    expected = (x @ p["encoder.weight"] + p["encoder.bias"]).tanh().view(3, 2, 4, 4)
    torch.testing.assert_close(ENCODER.bind(p)(inputs), expected)


def test_initial_kernels_keep_the_size_of_what_goes_through_them() -> None:
    """He et al. (2015), arXiv:1502.01852: a variance of 2 over the numbers that are added up."""
    for layer, before in enumerate((2, 16, 32)):
        kernel, size = params()[f"encoder.conv{layer}.weight"], before * 9
        assert kernel.shape[1:] == (before, 3, 3)
        assert kernel.std() == pytest.approx((2 / size) ** 0.5, rel=0.1)
        assert abs(kernel.mean()) < 0.1 * kernel.std()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ((16, 9, 1), [(2, 40), (2, 12), (1, 12)]),
        ((5, 12, 1), [(2, 18), (1, 18), (1, 18)]),
        ((4, 40, 1), [(1, 160)] * 3),
        ((64, 48, 3), [(2, 768), (2, 192), (2, 48)]),
    ],
)
def test_images_are_halved_while_their_shorter_side_is_more_than_4(
    image: tuple[int, int, int], expected: list[tuple[int, int]]
) -> None:
    pixels = image[0] * image[1] * image[2]
    encoder = CNNEncoder(CONFIG, (1.0,) * (pixels + 2), image)
    assert list(encoder.strides()) == expected
    drawn = encoder.init(torch.Generator().manual_seed(0))
    assert drawn["encoder.weight"].shape == (32 * expected[-1][1] + 2, 4)
    assert encoder.bind(drawn)(torch.zeros(1, 2, pixels + 2)).shape == (1, 2, 4)


def test_biases_start_at_0_and_features_with_unit_gain() -> None:
    drawn = params()
    assert [value.any().item() for name, value in drawn.items() if "bias" in name] == [False] * 4
    weight = drawn["encoder.weight"]
    assert weight.std() == pytest.approx(len(weight) ** -0.5, rel=0.1)


def test_every_task_has_its_own_parameters() -> None:
    own = [params(seed) for seed in range(3)]
    stacked = {name: torch.stack([p[name] for p in own]) for name in own[0]}
    inputs = torch.randn(5, 3, 4, 63, dtype=torch.float64)
    whole = ENCODER.bind(stacked)(inputs)
    for task, p in enumerate(own):
        alone = ENCODER.bind(p)(inputs[:, task : task + 1])
        torch.testing.assert_close(whole[:, task : task + 1], alone)
        torch.testing.assert_close(whole[0], ENCODER.bind(stacked)(inputs[0]))


def test_second_derivatives_are_those_of_finite_differences() -> None:
    small = CNNEncoder(PolicyConfig(width=2, encoder="cnn"), (1.0,) * 9, (3, 3, 1))
    names, inputs = [], torch.randn(2, 1, 9, dtype=torch.float64)
    values = []
    for name, value in small.init(torch.Generator().manual_seed(0)).items():
        shape = (2, *value.shape)
        names.append(name)
        values.append(value.double() + 0.1 * torch.randn(shape, dtype=torch.float64))
    fixed = dict(zip(names, values, strict=True))
    chosen = ("encoder.conv0.weight", "encoder.conv2.bias", "encoder.weight")

    def features(*given: torch.Tensor) -> torch.Tensor:
        own = {**fixed, **dict(zip(chosen, given, strict=True))}
        return small.bind(own)(inputs)

    leaves = [fixed[name].clone().requires_grad_() for name in chosen]
    assert torch.autograd.gradcheck(features, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(features, leaves, fast_mode=True)


def test_without_an_image_it_is_refused() -> None:
    with pytest.raises(UserError, match="valid: --encoder linear"):
        CNNEncoder(CONFIG, (1.0,), ())
