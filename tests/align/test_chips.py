"""Chips of faces: cut where the five points say, differentiable in the pixels."""

import pytest
import torch

from facewright.align.chips import IDENTITY_CHIP_PX, IDENTITY_CHIPS, identity_chips, identity_five
from facewright.geometry.similarity import apply_similarity
from facewright.regress import identity


def test_the_rule_is_the_networks() -> None:
    assert (IDENTITY_CHIPS, IDENTITY_CHIP_PX) == (identity.IDENTITY_CHIPS, identity.IDENTITY_CHIP_PX)


def chip_points() -> torch.Tensor:
    return identity_five(torch.zeros((), dtype=torch.float64))


def test_a_face_in_place_is_cut_as_it_is(rng: torch.Generator) -> None:
    chip = torch.rand(1, 3, IDENTITY_CHIP_PX, IDENTITY_CHIP_PX, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(identity_chips(chip, chip_points()[None]), chip)


def test_chips_follow_the_points_wherever_the_face_is() -> None:
    """A picture whose colour is its place: the chip shows the places that the similarity says."""
    angle, scale, shift = torch.tensor(0.3, dtype=torch.float64), 0.7, torch.tensor([60.0, 40.0], dtype=torch.float64)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(1, 2, 2)
    similarity = (torch.tensor([scale], dtype=torch.float64), turn, shift[None])
    column, row = torch.meshgrid(torch.arange(224.0), torch.arange(200.0), indexing="xy")
    picture = torch.stack([column, row, torch.ones_like(row)])[None].double()
    chip = identity_chips(picture, apply_similarity(chip_points()[None], *similarity))
    for x, y in ((0, 0), (149, 0), (40, 90), (149, 149)):
        place = apply_similarity(torch.tensor([[[float(x), float(y)]]], dtype=torch.float64), *similarity)[0, 0]
        torch.testing.assert_close(chip[0, :2, y, x], place)


def test_outside_of_the_crop_is_black() -> None:
    chip = identity_chips(torch.ones(1, 3, 60, 60), chip_points()[None].float())
    assert float(chip[0, :, 100:, 100:].abs().max()) == 0
    assert float(chip[0, :, :59, :59].min()) == pytest.approx(1, abs=1e-4)


def test_chips_carry_gradients_to_the_pixels(rng: torch.Generator) -> None:
    crop = torch.rand(1, 3, 8, 8, generator=rng, dtype=torch.float64).requires_grad_()
    five = (chip_points() / IDENTITY_CHIP_PX * 8)[None]
    probe = torch.randn(1, 3, IDENTITY_CHIP_PX, IDENTITY_CHIP_PX, generator=rng, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: (identity_chips(x, five) * probe).sum(), (crop,), fast_mode=True)
