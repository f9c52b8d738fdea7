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


CHOICES = (2, 1, 4)


def factors(logits: torch.Tensor) -> list[torch.distributions.Categorical]:
    return [torch.distributions.Categorical(logits=part) for part in logits.split(CHOICES, -1)]


def test_log_probabilities_are_the_same_without_a_gradient() -> None:
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, 3, 7, generator=rng)
    action = torch.randint(7, (5, 4, 3), generator=rng)
    alone, learned = Categorical(logits), Categorical(logits.clone().requires_grad_())
    torch.testing.assert_close(alone.log_prob(action), learned.log_prob(action).detach())
    torch.testing.assert_close(alone.entropy(), learned.entropy().detach())


def test_several_choices_equal_the_product_of_torchs() -> None:
    a, b = torch.randn(2, 4, 5, 7, dtype=torch.float64)
    ours, theirs = Categorical(a, CHOICES), factors(a)
    action = torch.stack([one.sample() for one in theirs], -1)
    expected = sum(one.log_prob(x) for one, x in zip(theirs, action.unbind(-1), strict=True))
    torch.testing.assert_close(ours.log_prob(action), expected)
    torch.testing.assert_close(ours.entropy(), sum(one.entropy() for one in theirs))
    divergence = map(torch.distributions.kl_divergence, theirs, factors(b))
    torch.testing.assert_close(ours.kl(Categorical(b, CHOICES)), sum(divergence))
    torch.testing.assert_close(ours.probabilities(), torch.cat([f.probs for f in theirs], -1))
    assert torch.equal(ours.mode(), torch.stack([one.probs.argmax(-1) for one in theirs], -1))
    gumbel = torch.from_numpy(np.random.default_rng(0).gumbel(size=(4, 5, 7)))
    best = [part.argmax(-1) for part in (a + gumbel).split(CHOICES, -1)]
    assert torch.equal(ours.sample(gumbel), torch.stack(best, -1))


def test_one_choice_is_the_product_of_one_to_the_bit() -> None:
    a, b = torch.randn(2, 4, 5, 3)
    one, product, action = Categorical(a), Categorical(a, (3,)), torch.randint(3, (4, 5))
    assert torch.equal(one.log_prob(action), product.log_prob(action.unsqueeze(-1)))
    assert torch.equal(one.entropy(), product.entropy())
    assert torch.equal(one.kl(Categorical(b)), product.kl(Categorical(b, (3,))))


def test_gradients_are_those_of_finite_differences() -> None:
    a, b = torch.randn(2, 3, 7, dtype=torch.float64, requires_grad=True).unbind(0)
    action = torch.tensor([[0, 0, 3], [1, 0, 0], [1, 0, 2]])

    def numbers(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        one, other = Categorical(x, CHOICES), Categorical(y, CHOICES)
        return one.log_prob(action), one.entropy(), one.kl(other)

    inputs = [x.detach().requires_grad_() for x in (a, b)]
    assert torch.autograd.gradcheck(numbers, inputs)
    assert torch.autograd.gradgradcheck(numbers, inputs, fast_mode=True)

    def normal(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        one, other = DiagonalGaussian(x, y[0]), DiagonalGaussian(y, x[1])
        return one.log_prob(y), one.entropy(), one.kl(other)

    assert torch.autograd.gradgradcheck(normal, inputs, fast_mode=True)


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
