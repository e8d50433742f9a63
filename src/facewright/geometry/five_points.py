"""The five points that align a face: out of the iBUG-68, and where they lie on the Deep3D mean face.

In this order everywhere: right eye (image left), left eye, nose tip, right and left mouth corner.
"""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.geometry.ibug68 import FIVE_OF_68

# `similarity_Lm3D_all.mat` of the official repositories, by the formula of `five_from_68` (docs/deep3d.md section 4).
DEEP3D_FIVE_DM = (
    (-0.3114866, 0.2903608, 0.1337795),
    (0.3097989, 0.2897204, 0.1317953),
    (0.0032535, -0.0461793, 0.5524424),
    (-0.2521693, -0.3813392, 0.2240573),
    (0.2484662, -0.3812824, 0.2223577),
)
"""Decimetres, y up, z out of the face."""


def deep3d_template() -> Float[Tensor, "5 3"]:
    """Where the five points of the mean face lie in the model frame of Deep3D, dm, float64."""
    return torch.tensor(DEEP3D_FIVE_DM, dtype=torch.float64)


def affine_solver(template: Float[Tensor, "5 3"]) -> Float[Tensor, "4 5"]:
    """What makes five values into their linear dependence on the template's X, Y, Z, and a constant: least squares.

    Double precision, on the CPU; remembered, since templates are few and cameras many.
    """
    return _affine_solver(tuple(tuple(row) for row in template.double().tolist()))


@cache
def _affine_solver(template: tuple[tuple[float, ...], ...]) -> Float[Tensor, "4 5"]:
    places = torch.tensor(template, dtype=torch.float64)
    return torch.linalg.pinv(torch.cat([places, torch.ones(5, 1, dtype=torch.float64)], -1))


def five_from_68(points: Float[Tensor, "*B 68 D"]) -> Float[Tensor, "*B 5 D"]:
    """The five points out of iBUG-68 points, 2D or 3D, as officially taken (docs/deep3d.md section 4)."""
    return torch.stack([points[..., list(of), :].mean(-2) for of in FIVE_OF_68], -2)


def facing_of_five(five: Float[Tensor, "5 2"], template: Float[Tensor, "5 3"]) -> float:
    """How far five points show a face from the front: 1 from the front, 0 in profile, -1 from behind, that is mirrored.

    The area that the affine camera of the template gives to its x-y plane, over what the camera's rows allow. Points
    with left and right, x and y, or up and down exchanged come out negative. 0 for points that span nothing.

    Args:
        five: pixels, y down.
        template: the five points in the model frame, dm, y up.
    """
    y_up = five.double().cpu() * torch.tensor([1.0, -1.0], dtype=torch.float64)
    spread = (template - template.mean(0)).double().cpu()
    rows = (torch.linalg.pinv(spread) @ (y_up - y_up.mean(0))).T
    lengths = float(rows.norm(dim=1).prod())
    return float(torch.linalg.det(rows[:, :2])) / lengths if lengths > 0 else 0.0
