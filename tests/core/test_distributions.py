"""Action distributions against torch.distributions, and sampling against the probabilities."""

import numpy as np
import torch

from ssm_metarl.core.distributions import Categorical, DiagonalGaussian


def test_categorical_equals_torch() -> None:
    logits = torch.randn(4, 5, 3, dtype=torch.float64)
    ours, theirs = Categorical(logits), torch.distributions.Categorical(logits=logits)
    action = theirs.sample()
    torch.testing.assert_close(ours.log_prob(action), theirs.log_prob(action))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    assert torch.equal(ours.mode(), logits.argmax(-1))


def test_gaussian_equals_torch_and_sums_over_dimensions() -> None:
    mean, log_std = torch.randn(4, 5, 3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    ours = DiagonalGaussian(mean, log_std)
    theirs = torch.distributions.Independent(torch.distributions.Normal(mean, log_std.exp()), 1)
    action = theirs.sample()
    torch.testing.assert_close(ours.log_prob(action), theirs.log_prob(action))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    assert torch.equal(ours.mode(), mean)


def test_divergences_equal_torch() -> None:
    a, b = torch.randn(2, 4, 5, 3, dtype=torch.float64)
    theirs = [torch.distributions.Categorical(logits=x) for x in (a, b)]
    expected = torch.distributions.kl_divergence(*theirs)
    torch.testing.assert_close(Categorical(a).kl(Categorical(b)), expected)

    stds = torch.randn(2, 3, dtype=torch.float64)
    pairs = [(mean, log_std.exp()) for mean, log_std in zip((a, b), stds, strict=True)]
    theirs = [
        torch.distributions.Independent(torch.distributions.Normal(*pair), 1) for pair in pairs
    ]
    ours = DiagonalGaussian(a, stds[0]).kl(DiagonalGaussian(b, stds[1]))
    torch.testing.assert_close(ours, torch.distributions.kl_divergence(*theirs))


def test_samples_follow_the_probabilities() -> None:
    rng = np.random.default_rng(0)
    n = 200_000
    logits = torch.tensor([0.2, -1.0, 1.3])
    gumbel = torch.from_numpy(rng.gumbel(size=(n, 3)))
    counts = Categorical(logits.expand(n, 3)).sample(gumbel).bincount(minlength=3) / n
    torch.testing.assert_close(counts, logits.softmax(0), atol=4e-3, rtol=0)

    mean, log_std = torch.tensor([0.5, -2.0]), torch.tensor([-1.0, 0.3])
    normal = torch.from_numpy(rng.normal(size=(n, 2))).float()
    sample = DiagonalGaussian(mean.expand(n, 2), log_std).sample(normal)
    torch.testing.assert_close(sample.mean(0), mean, atol=1e-2, rtol=0)
    torch.testing.assert_close(sample.std(0), log_std.exp(), atol=1e-2, rtol=0)
