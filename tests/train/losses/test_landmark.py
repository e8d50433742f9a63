"""The landmark loss against a loop over points."""

import pytest
import torch

from facewright.train.losses.landmark import landmark_loss, landmark_weights


def points(rng: torch.Generator, count: int = 68) -> tuple[torch.Tensor, torch.Tensor]:
    projected = 224 * torch.rand(2, count, 2, generator=rng, dtype=torch.float64)
    return projected, projected + torch.randn(2, count, 2, generator=rng, dtype=torch.float64)


def test_weights_are_the_published_ones(rng: torch.Generator) -> None:
    weights = landmark_weights(torch.zeros(1, dtype=torch.float64))
    assert weights.dtype == torch.float64
    assert [n for n in range(68) if weights[n] == 20] == [28, 29, 30, 60, 61, 62, 63, 64, 65, 66, 67]
    assert int((weights == 1).sum()) == 57


def test_is_the_loop_over_points(rng: torch.Generator) -> None:
    projected, target = points(rng)
    weights = landmark_weights(projected)
    total = 0.0
    for b in range(2):
        for n in range(68):
            dx, dy = (float(projected[b, n, axis] - target[b, n, axis]) for axis in range(2))
            total += float(weights[n]) * (dx * dx + dy * dy)
    assert float(landmark_loss(projected, target, weights)) == pytest.approx(total / (2 * 68), rel=1e-12)


def test_gradients(rng: torch.Generator) -> None:
    projected, target = points(rng, 5)
    weights = torch.rand(5, generator=rng, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: landmark_loss(p, target, weights, 112), (projected.requires_grad_(),))


def test_points_may_be_left_out_photo_by_photo(rng: torch.Generator) -> None:
    projected, target = points(rng)
    known = torch.ones(2, 68, dtype=torch.float64)
    known[1, 40:] = 0
    spoilt = target.clone()
    spoilt[1, 40:] = 1e6
    assert torch.equal(landmark_loss(projected, target, known), landmark_loss(projected, spoilt, known))
    assert not torch.equal(landmark_loss(projected, target, known), landmark_loss(projected, target, known + 1))


def test_blind_to_direction_of_y_place_and_crop_size(rng: torch.Generator) -> None:
    projected, target = points(rng)
    weights = landmark_weights(projected)
    loss = landmark_loss(projected, target, weights)
    flip = projected.new_tensor([1.0, -1.0])
    torch.testing.assert_close(landmark_loss(flip * projected + 3, flip * target + 3, weights), loss)
    torch.testing.assert_close(landmark_loss(projected / 2, target / 2, weights, crop_size=112), loss)
