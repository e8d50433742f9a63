"""The five points of a standard face, and how to get five points from 68."""

import torch
from jaxtyping import Float
from torch import Tensor

# Eye centres, nose tip, mouth corners of Deep3D's mean face: `similarity_Lm3D_all.mat` of both official repositories,
# through the formula of `five_from_68` (deep3d.md section 4). Decimetres, y up, z towards the camera.
DEEP3D_FIVE_DM = (
    (-0.3114866, 0.2903608, 0.1337795),
    (0.3097989, 0.2897204, 0.1317953),
    (0.0032535, -0.0461793, 0.5524424),
    (-0.2521693, -0.3813392, 0.2240573),
    (0.2484662, -0.3812824, 0.2223577),
)


def deep3d_template() -> Float[Tensor, "5 3"]:
    """Where the five points of the mean face lie in the model frame of Deep3D, dm, float64."""
    return torch.tensor(DEEP3D_FIVE_DM, dtype=torch.float64)


def five_from_68(points: Float[Tensor, "*B 68 D"]) -> Float[Tensor, "*B 5 D"]:
    """Right eye, left eye, nose tip, right and left mouth corner out of iBUG-68 points, 2D or 3D (deep3d.md section 4).

    An eye's centre is the mean of its outer and inner corner; the subject's right is image left.
    """
    right_eye = points[..., [36, 39], :].mean(-2)
    left_eye = points[..., [42, 45], :].mean(-2)
    return torch.cat([torch.stack([right_eye, left_eye], -2), points[..., [30, 48, 54], :]], -2)
