"""300W-LP as truth for position maps (docs/coming-from-prnet.md): its fitted coefficients become maps of its pictures.

The files say, per picture, which face of the Basel model was fitted, and where, in weak perspective: a point is
``scale R(pitch, yaw, roll) v + t`` with y up. They were written by MATLAB, whose pixels are counted from 1: column
x - 1 and row h - y are where the point is. The program that made PRNet's own labels kept x and took h - y - 1, so that
its maps, and what was learnt from them, lie a pixel to the right of the picture and above it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from facewright.align.square import Square
from facewright.errors import TrainingDataError
from facewright.records import TensorRecord
from facewright.untrusted import read_mat, reading

PixelOrigin = Literal["exact", "face3d"]
"""Where the files' pixels are: where they were meant, or as the published labels have them."""
TRAINING_FACTOR, MOVED, RESIZED = 1.5, 0.1, 0.1
"""Side of a training square over the mean side of the landmarks' box, and how far it is moved and resized at random."""
_ENTRIES = ("Shape_Para", "Exp_Para", "Pose_Para")


@dataclass(frozen=True)
class FittedFace(TensorRecord):
    """What a file of 300W-LP or AFLW2000-3D says of its picture.

    Attributes:
        shape: coefficients of the unscaled identity basis.
        exp: of the expression basis.
        angles: pitch, yaw, roll, radians, with the signs of 3DDFA.
        translation: px, y up.
        scale: px per unit of the vertices.
    """

    shape: Float[Tensor, " Kid"]
    exp: Float[Tensor, " Kexp"]
    angles: Float[Tensor, "3"]
    translation: Float[Tensor, "3"]
    scale: float


@dataclass(frozen=True)
class FittedBasis(TensorRecord):
    """The model that the coefficients are of, in its own unit.

    Attributes:
        mean: of shape and expression together.
        shape: unscaled identity modes.
        exp: expression modes.
    """

    mean: Float[Tensor, "V 3"]
    shape: Float[Tensor, "V 3 Kid"]
    exp: Float[Tensor, "V 3 Kexp"]


def read_300wlp(path: Path) -> FittedFace:
    """Read one ``.mat``.

    Raises:
        TrainingDataError: malformed, or without coefficients.
    """
    with reading(path, TrainingDataError, f"a .mat of 300W-LP with {', '.join(_ENTRIES)}", "fetch it again"):
        found = read_mat(path, _ENTRIES)
        shape, exp, pose = (np.array(found[name], np.float64).ravel() for name in _ENTRIES)
        if len(pose) != 7 or not all(np.isfinite(values).all() for values in (shape, exp, pose)) or pose[6] <= 0:
            raise ValueError(f"{len(pose)} numbers of a pose, or some that are not finite")
    tensors = [torch.from_numpy(values) for values in (shape, exp, pose[:3], pose[3:6])]
    return FittedFace(*tensors, scale=float(pose[6]))


def fitted_points(
    face: FittedFace, basis: FittedBasis, height: int, *, origin: PixelOrigin = "exact"
) -> Float[Tensor, "V 3"]:
    """Where the vertices are in the picture: column, row (y down), and depth toward the camera, px.

    Args:
        face: what the file says.
        basis: of the model that it says it of.
        height: of the picture, px.
        origin: ``face3d`` repeats the shift of the published labels.

    Raises:
        TrainingDataError: the basis has other numbers of modes.
    """
    modes = (basis.shape.shape[-1], basis.exp.shape[-1])
    if modes != (len(face.shape), len(face.exp)):
        raise TrainingDataError(
            f"expected {modes[0]} shape and {modes[1]} expression coefficients, received {len(face.shape)} and "
            f"{len(face.exp)}; take the model that the files were fitted with (199 and 29)"
        )
    vertices = basis.mean + basis.shape @ face.shape.to(basis.shape) + basis.exp @ face.exp.to(basis.exp)
    posed = face.scale * vertices.double() @ rotation_3ddfa(face.angles).T + face.translation
    x, y, z = posed.unbind(-1)
    exact = origin == "exact"
    return torch.stack([x - 1.0 if exact else x, height - y if exact else height - y - 1.0, z], -1)


def rotation_3ddfa(angles: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """Rx Ry Rz, each turning the other way than a right-handed rotation."""
    (cx, cy, cz), (sx, sy, sz) = angles.double().cos().tolist(), angles.double().sin().tolist()
    rx = torch.tensor([[1, 0, 0], [0, cx, sx], [0, -sx, cx]], dtype=torch.float64)
    ry = torch.tensor([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]], dtype=torch.float64)
    rz = torch.tensor([[cz, sz, 0], [-sz, cz, 0], [0, 0, 1]], dtype=torch.float64)
    return rx @ ry @ rz


def training_square(landmarks: Float[Tensor, "68 D"], rng: np.random.Generator | None = None) -> Square:
    """The square that a picture is cut by, around the whole parts of its landmarks, moved and resized at random.

    Args:
        landmarks: of the model, photo px.
        rng: None neither moves nor resizes.
    """
    whole = landmarks[:, :2].trunc()
    low, high = whole.amin(0), whole.amax(0)
    mean = float((high - low).sum()) / 2
    side = float(int(TRAINING_FACTOR * mean))
    (x, y), draws = ((low + high) / 2).tolist(), np.zeros(3) if rng is None else rng.uniform(-1.0, 1.0, 3)
    return Square(
        x + MOVED * mean * float(draws[0]), y + MOVED * mean * float(draws[1]), side * (1 + RESIZED * float(draws[2]))
    )


def points_in_square(points_px: Float[Tensor, "V 3"], square: Square, size: int = 256) -> Float[Tensor, "V 3"]:
    """Photo pixels to those of a square's crop; depths are resized too, and counted from the deepest vertex."""
    step = square.side / (size - 1)
    corner = points_px.new_tensor([square.x - square.side / 2, square.y - square.side / 2, 0.0])
    placed = (points_px - corner) / step
    return torch.cat([placed[:, :2], placed[:, 2:] - placed[:, 2].min()], -1)
