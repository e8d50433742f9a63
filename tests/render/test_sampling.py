"""Texture look-up: the orientation of uv, scipy's bilinear interpolation, mip levels."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from facewright.render.sampling import sample_texture


def test_origin_is_bottom_left() -> None:
    texture = torch.arange(6.0).view(1, 1, 2, 3)  # row 0 is the top: v near 1
    corners = torch.tensor([[0.01, 0.99, 0.01, 0.99], [0.99, 0.99, 0.01, 0.01]])[None, :, None]
    assert sample_texture(texture, corners)[0, 0, 0].tolist() == [0.0, 2.0, 3.0, 5.0]


def test_bilinear_is_scipys(rng: torch.Generator) -> None:
    texture = torch.rand(2, 3, 7, 9, generator=rng, dtype=torch.float64)
    uv = torch.rand(2, 2, 5, 6, generator=rng, dtype=torch.float64)
    got = sample_texture(texture, uv)
    for batch in range(2):
        rows, columns = (1 - uv[batch, 1]) * 7 - 0.5, uv[batch, 0] * 9 - 0.5
        for channel in range(3):
            expected = map_coordinates(texture[batch, channel], [rows, columns], order=1, mode="nearest")
            np.testing.assert_allclose(got[batch, channel], expected, atol=1e-12)


def uv_grid(size: int, *, repeat: float = 1.0) -> torch.Tensor:
    steps = (torch.arange(size) + 0.5) / size * repeat
    return torch.stack([steps.expand(size, size), (1 - steps)[:, None].expand(size, size)])[None]


@pytest.mark.parametrize("filtering", ["bilinear", "mipmap"])
def test_a_picture_of_the_texture_is_the_texture(filtering, rng: torch.Generator) -> None:
    texture = torch.rand(1, 3, 16, 16, generator=rng)
    torch.testing.assert_close(sample_texture(texture, uv_grid(16), filtering=filtering), texture, rtol=0, atol=1e-5)


def test_mipmaps_average_what_a_pixel_holds(rng: torch.Generator) -> None:
    texture = torch.rand(1, 2, 64, 64, generator=rng)
    expected = torch.nn.functional.avg_pool2d(texture, 4)
    torch.testing.assert_close(sample_texture(texture, uv_grid(16), filtering="mipmap"), expected, rtol=0, atol=1e-5)
    noise = sample_texture(texture, uv_grid(5), filtering="mipmap").std()
    assert float(noise) < 0.3 * float(sample_texture(texture, uv_grid(5)).std())


def test_seams_do_not_blur(rng: torch.Generator) -> None:
    texture = torch.rand(1, 1, 32, 32, generator=rng)
    uv = uv_grid(32)
    uv = torch.cat([uv[..., 16:], uv[..., :16]], -1)  # a jump from u = 1 to u = 0 in the middle
    sharp, mip = sample_texture(texture, uv), sample_texture(texture, uv, filtering="mipmap")
    torch.testing.assert_close(mip, sharp, rtol=0, atol=1e-5)


def test_gradients(rng: torch.Generator) -> None:
    texture = torch.rand(1, 2, 6, 6, generator=rng, dtype=torch.float64).requires_grad_()
    uv = (0.1 + 0.8 * torch.rand(1, 2, 3, 3, generator=rng, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(sample_texture, (texture, uv))
    assert torch.autograd.gradcheck(lambda t: sample_texture(t, uv.detach(), filtering="mipmap"), texture)
