import math

import pytest
import torch

from facewright.train.losses.asymmetric import apartness_loss, asymmetric_loss


@pytest.mark.parametrize(
    ("true", "predicted", "expected"),
    [
        (2.0, 2.5, 0.25),  # overshoots: 1 x 0.5^2
        (2.0, 1.5, 0.75),  # falls short: 3 x 0.5^2
        (-2.0, -2.5, 0.25),
        (-2.0, -1.5, 0.75),
        (1.0, -1.0, 12.0),  # the wrong side: 3 x 2^2
        (-1.0, 1.0, 12.0),
        (0.0, 0.5, 0.25),  # the mean face: away from it either way
        (0.0, -0.5, 0.25),
        (1.0, 1.0, 0.0),
    ],
)
def test_values_are_those_computed_by_hand(true, predicted, expected):
    loss = asymmetric_loss(torch.tensor([[predicted]]), torch.tensor([[true]]))
    assert float(loss) == pytest.approx(expected)


def test_it_is_the_published_formula_element_by_element_and_its_gradient_too():
    generator = torch.Generator().manual_seed(0)
    true, predicted = torch.randn(2, 5, 7, generator=generator, dtype=torch.float64)
    predicted.requires_grad_()
    loss = asymmetric_loss(predicted, true, over=1.0, under=3.0)
    for row in range(5):
        total = 0.0
        for k in range(7):
            gamma, found = float(true[row, k]), float(predicted[row, k].detach())
            sign = math.copysign(1.0, gamma)
            plus, found_plus = sign * gamma, sign * found
            largest = max(plus, found_plus)
            total += (plus - largest) ** 2 + 3.0 * (found_plus - largest) ** 2
        assert float(loss[row].detach()) == pytest.approx(total)
    assert torch.autograd.gradcheck(lambda x: asymmetric_loss(x, true), predicted)
    plain = asymmetric_loss(predicted, true, over=2.0, under=2.0)
    torch.testing.assert_close(plain, 2.0 * (predicted - true).square().sum(-1))
    at_zero = torch.zeros(1, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: asymmetric_loss(x, at_zero), predicted[:1, :3].detach().requires_grad_())


def test_apartness_is_the_likelihood_of_ones_own_person_by_a_loop():
    generator = torch.Generator().manual_seed(1)
    codes, persons = torch.randn(6, 4, generator=generator).double(), torch.tensor([0, 0, 0, 1, 1, 2])
    directions = [code / code.norm() for code in codes]
    losses = []
    for i in range(5):  # the sixth is alone
        evidence = {j: float(directions[i] @ directions[j]) / 0.2 for j in range(6) if j != i}
        total = math.log(sum(math.exp(value) for value in evidence.values()))
        own = [total - evidence[j] for j in evidence if persons[j] == persons[i]]
        losses.append(sum(own) / len(own))
    assert float(apartness_loss(codes, persons, 0.2)) == pytest.approx(sum(losses) / 5)
    apart = torch.eye(3).repeat_interleave(2, 0).double()
    assert float(apartness_loss(apart, torch.tensor([0, 0, 1, 1, 2, 2]), 0.05)) < 1e-6
    assert float(apartness_loss(codes, torch.arange(6), 0.2)) == 0.0
