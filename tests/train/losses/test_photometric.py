"""The photometric loss against a loop over pixels, and what it must not care about."""

import math

import pytest
import torch

from facewright.geometry.color import srgb_from_linear
from facewright.train.losses.photometric import photometric_loss


def pictures(rng: torch.Generator, size: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = {"generator": rng, "dtype": torch.float64}
    return torch.rand(2, 3, size, size, **draw), torch.rand(2, 3, size, size, **draw), torch.rand(2, size, size, **draw)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("rounding", [0.0, 1e-3, 0.2])
def test_is_the_loop_over_pixels(rng: torch.Generator, pooled: bool, rounding: float) -> None:
    rendered, photo, weight = pictures(rng)
    sums, totals = [0.0, 0.0], [0.0, 0.0]
    for b in range(2):
        for row in range(4):
            for column in range(4):
                squares = [float(rendered[b, c, row, column] - photo[b, c, row, column]) ** 2 for c in range(3)]
                sums[b] += float(weight[b, row, column]) * math.sqrt(sum(squares) + rounding**2)
                totals[b] += float(weight[b, row, column])
    expected = sum(sums) / sum(totals) if pooled else (sums[0] / totals[0] + sums[1] / totals[1]) / 2
    assert float(photometric_loss(rendered, photo, weight, pooled, rounding)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("rounding", [0.0, 1e-3])
def test_gradients(rng: torch.Generator, pooled: bool, rounding: float) -> None:
    rendered, photo, weight = pictures(rng, size=2)
    weight = weight + 0.5  # more than one pixel's worth
    assert torch.autograd.gradcheck(
        lambda x, y: photometric_loss(x, y, weight, pooled, rounding),
        (rendered.requires_grad_(), photo.requires_grad_()),
    )


@pytest.mark.parametrize("rounding", [0.0, 1e-3])
def test_equal_pictures_have_no_gradient_rather_than_none_at_all(rng: torch.Generator, rounding: float) -> None:
    _, photo, weight = pictures(rng)
    rendered = photo.clone().requires_grad_()
    loss = photometric_loss(rendered, photo, weight, rounding=rounding)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(rounding)
    assert rendered.grad is not None
    assert torch.equal(rendered.grad, torch.zeros_like(rendered))


def test_black_against_white_is_root_three() -> None:
    black = torch.zeros(1, 3, 2, 2)
    assert float(photometric_loss(black, black + 1, torch.ones(1, 2, 2))) == pytest.approx(math.sqrt(3))


def test_pixels_without_weight_do_not_matter(rng: torch.Generator) -> None:
    rendered, photo, weight = pictures(rng)
    weight = weight * (weight > 0.5)
    changed = torch.where((weight > 0)[:, None], rendered, 7.0)
    assert torch.equal(photometric_loss(rendered, photo, weight), photometric_loss(changed, photo, weight))


def test_only_the_proportions_of_weights_matter(rng: torch.Generator) -> None:
    rendered, photo, weight = pictures(rng)
    torch.testing.assert_close(
        photometric_loss(rendered, photo, weight), photometric_loss(rendered, photo, 255 * weight), rtol=1e-12, atol=0
    )


def test_a_photo_counts_by_its_pixels_only_when_pooled(rng: torch.Generator) -> None:
    rendered, photo, weight = pictures(rng)
    weight[1] *= 0.5
    each = [photometric_loss(rendered[b : b + 1], photo[b : b + 1], weight[b : b + 1]) for b in range(2)]
    share = weight[0].sum() / weight.sum()
    torch.testing.assert_close(photometric_loss(rendered, photo, weight), (each[0] + each[1]) / 2)
    torch.testing.assert_close(photometric_loss(rendered, photo, weight, True), share * each[0] + (1 - share) * each[1])


def test_a_face_outside_of_the_crop_costs_nothing(rng: torch.Generator) -> None:
    rendered, photo, weight = pictures(rng)
    rendered.requires_grad_()
    loss = photometric_loss(rendered, photo, 0 * weight)
    loss.backward()
    assert float(loss.detach()) == 0
    assert rendered.grad is not None
    assert rendered.grad.isfinite().all()


def test_nothing_is_learnt_through_the_weights(rng: torch.Generator) -> None:
    rendered, photo, weight = pictures(rng)
    rendered.requires_grad_()
    weight.requires_grad_()
    photometric_loss(rendered, photo, weight).backward()
    assert weight.grad is None


def test_a_wrong_pixel_pulls_no_harder_than_a_slightly_wrong_one() -> None:
    photo, weight = torch.zeros(1, 3, 1, 2), torch.ones(1, 1, 2)
    rendered = torch.tensor([0.9, 0.1]).expand(1, 3, 1, 2).clone().requires_grad_()
    photometric_loss(rendered, photo, weight).backward()
    assert rendered.grad is not None
    torch.testing.assert_close(rendered.grad[..., 0], rendered.grad[..., 1])


@pytest.mark.parametrize("pooled", [False, True])
def test_colours_are_coded_where_they_weigh_something(rng: torch.Generator, pooled: bool) -> None:
    linear, photo, weight = pictures(rng)
    weight[:, 1:3] = 0.0
    asked = []

    def coding(colors: torch.Tensor) -> torch.Tensor:
        asked.append(colors.shape[1])
        return srgb_from_linear(colors)

    coded = photometric_loss(linear, photo, weight, pooled, coding=coding)
    torch.testing.assert_close(coded, photometric_loss(srgb_from_linear(linear), photo, weight, pooled))
    assert asked == [2 * 2 * 4]
