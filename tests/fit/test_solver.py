import scipy.optimize
import torch

from facewright.fit.solver import bounded_step


def test_bounded_step_is_the_constrained_optimum(rng):
    """Oracle: scipy's bounded least squares on the same normal equations."""
    for _ in range(10):
        jacobian = torch.randn(60, 25, generator=rng, dtype=torch.float64)
        residual = torch.randn(60, generator=rng, dtype=torch.float64)
        lower = -torch.rand(25, generator=rng, dtype=torch.float64) * 0.1
        upper = torch.rand(25, generator=rng, dtype=torch.float64) * 0.1
        held = torch.zeros(25, dtype=torch.bool)
        step = bounded_step(jacobian.T @ jacobian, jacobian.T @ residual, lower, upper, held)
        oracle = scipy.optimize.lsq_linear(
            jacobian.numpy(), -residual.numpy(), (lower.numpy(), upper.numpy()), method="bvls", tol=1e-14
        )
        torch.testing.assert_close(step, torch.from_numpy(oracle.x), atol=1e-9, rtol=0)


def test_bounded_step_leaves_held_unknowns_alone(rng):
    jacobian = torch.randn(30, 6, generator=rng, dtype=torch.float64)
    gradient = torch.randn(6, generator=rng, dtype=torch.float64)
    held = torch.tensor([True, False, False, True, False, False])
    free = torch.full((6,), torch.inf, dtype=torch.float64)
    hessian = jacobian.T @ jacobian
    step = bounded_step(hessian, gradient, -free, free, held)
    assert step[held].abs().max() == 0
    torch.testing.assert_close((gradient + hessian @ step)[~held], torch.zeros(4, dtype=torch.float64))
