"""Reading textures. Texture coordinates have their origin bottom-left: row 0 of the picture is v = 1."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Filtering = Literal["bilinear", "mipmap"]


def sample_texture(
    texture: Float[Tensor, "B C Ht Wt"], uv: Float[Tensor, "B 2 H W"], *, filtering: Filtering = "bilinear"
) -> Float[Tensor, "B C H W"]:
    """Look a texture up at a picture of texture coordinates. Differentiable in both.

    Texel (row r, column c) has its centre at u = (c + 1/2) / Wt, v = 1 - (r + 1/2) / Ht; beyond the outermost centres
    the border texel holds.

    Args:
        texture: any channels.
        uv: u right, v up, 0..1.
        filtering: ``bilinear`` blends the four nearest texels: right where a texel is about a pixel or larger.
            ``mipmap`` first averages texels down to the pixel's size and blends the two nearest levels (trilinear);
            the size comes from the differences of ``uv`` between neighbouring pixels (the smaller of the two sides, so
            that chart seams and silhouettes do not blur), and is not differentiated.
    """
    if filtering == "bilinear":
        return _bilinear(texture, uv)
    level = _footprint(uv.detach(), texture.shape[-2:]).log2().clamp_min(0)
    deepest = min(int(level.max().ceil()), min(texture.shape[-2:]).bit_length() - 1)
    level = level.clamp_max(deepest)
    total = torch.zeros_like(uv[:, :1]).expand(-1, texture.shape[1], -1, -1)
    for i in range(deepest + 1):
        share = (1 - (level - i).abs()).clamp_min(0)
        total = total + share * _bilinear(texture, uv)
        if i < deepest:
            texture = torch.nn.functional.avg_pool2d(texture, 2)
    return total


def _bilinear(texture: Tensor, uv: Tensor) -> Tensor:
    grid = torch.stack([2 * uv[:, 0] - 1, 1 - 2 * uv[:, 1]], -1)
    return torch.nn.functional.grid_sample(texture, grid, padding_mode="border", align_corners=False)


def _footprint(uv: Float[Tensor, "B 2 H W"], size: torch.Size) -> Float[Tensor, "B 1 H W"]:
    """Texels per pixel along the more crowded picture axis, at least one."""
    scale = uv.new_tensor([size[1], size[0]])[:, None, None]
    lengths = []
    for axis in (-1, -2):
        if uv.shape[axis] < 2:
            continue
        step = (uv * scale).diff(dim=axis).norm(dim=1, keepdim=True)
        first, last = step.narrow(axis, 0, 1), step.narrow(axis, step.shape[axis] - 1, 1)
        lengths.append(torch.minimum(torch.cat([first, step], axis), torch.cat([step, last], axis)))
    if not lengths:
        return torch.ones_like(uv[:, :1])
    return torch.stack(lengths).amax(0).clamp_min(1.0)
