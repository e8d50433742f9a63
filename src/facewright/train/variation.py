"""Pictures changed at random, as PRNet was trained (Feng et al. 2018, section 3.4), and their points with them."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.bounds import Use, bounded
from facewright.train.samples import TrainingBatch


@dataclass(frozen=True)
class Variation:
    """How far pictures are changed; each by its own draw, evenly between the limits.

    Attributes:
        roll: in the picture's plane, either way, degrees.
        move: in x and in y, either way, as a share of the side.
        shrink: smallest factor on the face's size.
        grow: largest.
        darken: smallest factor on each colour.
        brighten: largest.
        covered: share of pictures with a patch of noise on them.
        patch: longest side of the patch, as a share of the picture's.
    """

    roll: float = bounded(45.0, most=180)
    move: float = bounded(0.1, below=1)
    shrink: float = bounded(0.9, above=0)
    grow: float = bounded(1.2, above=0)
    darken: float = 0.6
    brighten: float = 1.4
    covered: float = bounded(0.3, most=1)
    patch: float = bounded(0.5, most=1, use=Use("with --covered above 0", lambda o: o["covered"] > 0))


NO_VARIATION = Variation(0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0)


def varied_batch(batch: TrainingBatch, variation: Variation) -> TrainingBatch:
    """The batch with its pictures and points turned, moved, resized, coloured and covered.

    The numbers come from torch's generator of the CPU. Coefficients stay as they are: whoever takes the truth of them
    finds the face by its points.
    """
    device, count, size = batch.crops.device, len(batch), batch.crops.shape[-1]
    draws = torch.rand(count, 7)
    angle = math.radians(variation.roll) * (2 * draws[:, 0] - 1)
    scale = variation.shrink + (variation.grow - variation.shrink) * draws[:, 1]
    shift = variation.move * size * (2 * draws[:, 2:4] - 1)
    colors = variation.darken + (variation.brighten - variation.darken) * draws[:, 4:]
    noise, patch = torch.rand(count, 3, 8, 8), torch.rand(count, 5)
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    linear = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2).to(device)
    shift, middle = shift.to(device), (size - 1) / 2

    def moved(points: Float[Tensor, "B N 2"]) -> Float[Tensor, "B N 2"]:
        return (points - middle) @ linear.transpose(1, 2) + middle + shift[:, None]

    # grid_sample asks where in the old picture each new pixel lies, in halves of the side
    back = torch.linalg.inv(linear.double()).to(linear)
    offset = -(back @ (shift * 2 / size)[..., None])
    grid = torch.nn.functional.affine_grid(torch.cat([back, offset], -1), list(batch.crops.shape), align_corners=False)
    crops = torch.nn.functional.grid_sample(batch.crops, grid, align_corners=False)
    skin = torch.nn.functional.grid_sample(batch.skin[:, None], grid, align_corners=False)[:, 0]
    crops = (crops * colors.to(crops)[..., None, None]).clamp(0.0, 1.0)
    crops = _covered(crops, noise.to(crops), patch, variation)
    return replace(batch, crops=crops, skin=skin, landmarks=moved(batch.landmarks), points=moved(batch.points))


def _covered(
    crops: Float[Tensor, "B 3 S S"], noise: Float[Tensor, "B 3 n n"], draws: Float[Tensor, "B 5"], variation: Variation
) -> Float[Tensor, "B 3 S S"]:
    size = crops.shape[-1]
    texture = torch.nn.functional.interpolate(noise, size=(size, size), mode="bilinear", align_corners=False)
    sides = variation.patch * draws[:, 1:3]
    corner = draws[:, 3:] * (1.0 - sides)
    place = (torch.arange(size) + 0.5) / size
    across = (place > corner[:, :1]) & (place < corner[:, :1] + sides[:, :1])
    down = (place > corner[:, 1:]) & (place < corner[:, 1:] + sides[:, 1:])
    hidden = (down[:, :, None] & across[:, None]) & (draws[:, 0] < variation.covered)[:, None, None]
    return torch.where(hidden.to(crops.device)[:, None], texture, crops)
