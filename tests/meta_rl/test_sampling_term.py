"""The sampling term against all sets of support episodes that tiny problems may yield."""

import dataclasses
import itertools

import pytest
import torch
from enumerated import ALPHA, POLICY, Enumerated, flatten, make_params, unflatten
from rules import rule
from torch import Tensor

from ssm_metarl.core.parameters import expand_tasks
from ssm_metarl.meta_rl.batch import Batch
from ssm_metarl.meta_rl.losses import sampling_credit, sampling_loss
from ssm_metarl.meta_rl.objective import ClippedObjective

SCALE, ANY_BASELINE = 2.5, 0.7


class Adaptations:
    """All that may happen to one task: every set of support episodes has a place on the task axis.

    Data of the set's own policy are asked for by ``paths [sets, lanes]`` of an enumerated problem.
    """

    def __init__(self, problem: Enumerated, task: int, steps: int, episodes: int) -> None:
        self.problem, self.task = problem, task
        lanes = problem.chance.shape[1]
        sets = torch.tensor(list(itertools.product(range(lanes), repeat=steps * episodes)))
        self.supports = list(sets.view(-1, steps, episodes).unbind(1))
        self.everything = torch.arange(lanes).expand(len(sets), lanes)

    def batch(self, params: dict[str, Tensor], paths: Tensor) -> Batch:
        reward = self.problem.reward[:, self.task]
        valid = self.problem.valid[:, self.task][:, paths]
        batch = Batch(
            inputs=self.problem.inputs[:, self.task][:, paths],
            keep=None,
            action=self.problem.action[:, self.task][:, paths],
            log_prob=torch.zeros(valid.shape, dtype=torch.float64),
            advantage=reward.flip(0).cumsum(0).flip(0)[:, paths] * valid,
            valid=valid,
            change=torch.zeros(*valid.shape, 1, dtype=torch.float64),
            scale=torch.full((len(paths),), SCALE, dtype=torch.float64),
            value=torch.zeros(valid.shape, dtype=torch.float64),
            target=torch.zeros(valid.shape, dtype=torch.float64),
        )
        log_prob = batch.distribution(POLICY.bind(params)).log_prob(batch.action)
        return dataclasses.replace(batch, log_prob=log_prob * valid)

    def probability(self, params: dict[str, Tensor], paths: Tensor) -> Tensor:
        """Return the probability of each trajectory, ``[sets, lanes]``."""
        chance = self.problem.chance[self.task][paths]
        return self.batch(params, paths).log_prob.sum(0).exp() * chance

    def expected_return(self, params: dict[str, Tensor]) -> Tensor:
        """Return that of each set's adapted parameters, ``[sets]``."""
        reward = self.problem.reward[:, self.task].sum(0)
        return (self.probability(params, self.everything) * reward).sum(-1)

    def collect(self, params: dict[str, Tensor]) -> tuple[list[Batch], Batch, Tensor, Tensor]:
        """Return support and query data as training does, returns, and every set's probability.

        The query data are all trajectories, weighted to make the outer loss an expectation.
        """
        theta, supports, probability = params, [], torch.ones(())
        for paths in self.supports:
            supports.append(self.batch(theta, paths))
            probability = probability * self.probability(theta, paths).prod(-1)
            theta = rule(POLICY, ALPHA).step(theta, supports[-1])
        query = self.batch(theta, self.everything)
        weight = self.probability(theta, self.everything) * self.everything.shape[1] / SCALE
        query = dataclasses.replace(query, advantage=query.advantage * weight)
        return supports, query, self.expected_return(theta), probability

    def objective(self, params: dict[str, Tensor]) -> Tensor:
        """Return J, the expected return after adapting, as a function of the parameters alone."""
        theta, probability = expand_tasks(params, len(self.everything)), torch.ones(())
        for paths in self.supports:
            probability = probability * self.probability(theta, paths).prod(-1)
            data = self.batch(theta, paths)
            gain = (data.log_prob * data.advantage).sum(0).mean(-1).sum()
            gradients = torch.autograd.grad(gain, list(theta.values()), create_graph=True)
            moved = zip(theta.items(), gradients, strict=True)
            theta = {name: value + ALPHA * gradient for (name, value), gradient in moved}
        return (probability * self.expected_return(theta)).sum()

    def expected_meta_gradient(self, surrogate: str, *, sampling: bool) -> Tensor:
        """Return the gradient that training takes, averaged over all it may collect."""
        params = make_params()
        vector = flatten(params).requires_grad_()
        supports, query, value, probability = self.collect(params)
        credit = (value - ANY_BASELINE) / query.unit if sampling else None
        supports = [dataclasses.replace(support, credit=credit) for support in supports]
        objective = ClippedObjective(rule(POLICY, ALPHA, surrogate), clip=0.2)
        losses = objective(supports, query, unflatten(vector, params)).loss
        return torch.autograd.grad(-(probability * losses * query.unit).sum(), vector)[0]

    def true_meta_gradient(self) -> Tensor:
        params = make_params()
        vector = flatten(params).requires_grad_()
        return torch.autograd.grad(self.objective(unflatten(vector, params)), vector)[0]


ADAPTATIONS = {  # problem's steps, task, inner steps, episodes of each
    "one step": Adaptations(Enumerated(1), 0, 1, 1),
    "two steps": Adaptations(Enumerated(2), 1, 1, 1),
    "two episodes": Adaptations(Enumerated(2), 0, 1, 2),
    "two inner steps": Adaptations(Enumerated(2), 1, 2, 1),
}


@pytest.mark.parametrize("name", ADAPTATIONS)
def test_the_enumerated_objective_is_what_training_collects(name: str) -> None:
    """The truth of the next test, by finite differences of the adaptation without its graph."""
    adaptations, params = ADAPTATIONS[name], make_params()
    direction = torch.randn(flatten(params).shape, generator=torch.Generator().manual_seed(0))

    def collected(size: float) -> Tensor:
        moved = unflatten(flatten(params) + size * direction.double(), params)
        *_, value, probability = adaptations.collect(moved)
        torch.testing.assert_close(probability.sum(), torch.ones(()).double())
        return (probability * value).sum()

    slope = (collected(1e-4) - collected(-1e-4)) / 2e-4
    truth = adaptations.true_meta_gradient() @ direction.double()
    torch.testing.assert_close(truth, slope, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ADAPTATIONS)
def test_with_the_sampling_term_the_meta_gradient_is_exact(name: str) -> None:
    adaptations = ADAPTATIONS[name]
    truth = adaptations.true_meta_gradient()
    ours = adaptations.expected_meta_gradient("emaml", sampling=True)
    torch.testing.assert_close(ours, truth, atol=1e-6, rtol=0)
    without = adaptations.expected_meta_gradient("emaml", sampling=False)
    assert (without - truth).abs().max() > 1e-3


@pytest.mark.parametrize("surrogate", ["lvc", "dice"])
@pytest.mark.parametrize("name", ADAPTATIONS)
def test_surrogates_that_foresee_the_data_count_them_twice_with_it(
    name: str, surrogate: str
) -> None:
    adaptations = ADAPTATIONS[name]
    twice = adaptations.expected_meta_gradient(surrogate, sampling=True)
    assert (twice - adaptations.true_meta_gradient()).abs().max() > 1e-3


def test_the_other_tasks_as_baseline_leave_the_sampling_term_as_it_is() -> None:
    params, unit = make_params(), torch.ones(2, dtype=torch.float64)
    both = [Adaptations(Enumerated(2), task, 1, 1) for task in range(2)]
    (first, *_, value, chance), (_, *_, other, other_chance) = (a.collect(params) for a in both)
    pairs = [
        torch.stack([sampling_credit(torch.stack([v, o]), unit)[0] for o in other]) for v in value
    ]
    credit = torch.stack(pairs) @ other_chance

    def gradient(credit: Tensor) -> Tensor:
        vector = flatten(params).requires_grad_()
        log_prob = both[0].batch(unflatten(vector, params), both[0].supports[0]).log_prob
        loss = sampling_loss(log_prob, first[0].log_prob, credit, first[0].valid, 0.2)
        return torch.autograd.grad((chance * loss).sum(), vector)[0]

    assert gradient(value).abs().max() > 1e-2
    torch.testing.assert_close(gradient(credit), gradient(value), atol=1e-10, rtol=0)


def test_the_sampling_loss_starts_at_zero_and_is_clipped_on_the_steps_that_count() -> None:
    behaviour, valid = torch.zeros(1, 2, 4), torch.tensor([True, True, True, False]).expand(1, 2, 4)
    credit = torch.tensor([2.0, -2.0])
    assert (sampling_loss(behaviour, behaviour, credit, valid, 0.2) == 0).all()

    ratio = torch.tensor([1.0, 1.5, 0.5, 1.0])
    log_prob = ratio.log().expand(1, 2, 4).clone().requires_grad_()
    sampling_loss(log_prob, behaviour, credit, valid, 0.2).sum().backward()
    expected = torch.tensor([[[-2.0, 0.0, -1.0, 0.0], [2.0, 3.0, 0.0, 0.0]]])
    torch.testing.assert_close(log_prob.grad, expected)
