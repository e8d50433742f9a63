"""The true position maps of pictures whose coefficients are known: to any pose, and beyond the crop's border."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.geometry.frames import crop_camera, pose_points
from facewright.geometry.map_pose import UPRIGHT, map_of_world
from facewright.geometry.similarity import similarity_from_points
from facewright.morphable.linear import FaceModel
from facewright.morphable.uv import MapSurface
from facewright.records import FaceCoefficients, TensorRecord

LANDMARKS = 68
WEAK_DM = 500.0
"""Heads farther away than this are those of 300W-LP: they are seen in weak perspective, exactly."""


@dataclass(frozen=True)
class MapTruth(TensorRecord):
    """Bases of a map's points and, behind them, of the 68 landmarks: as a small face model.

    Attributes:
        mean: dm.
        id_basis: dm per unit coefficient.
        exp_basis: dm per unit coefficient.
    """

    mean: Float[Tensor, "Q 3"]
    id_basis: Float[Tensor, "Q 3 Kid"]
    exp_basis: Float[Tensor, "Q 3 Kexp"]

    @classmethod
    def of(cls, model: FaceModel, surface: MapSurface) -> "MapTruth":
        """Gather the bases of a face model, which has iBUG-68 landmarks, once."""
        ibug68 = model.annotations.ibug68
        assert ibug68 is not None

        def gathered(basis: Float[Tensor, "V 3 K"]) -> Float[Tensor, "Q 3 K"]:
            return torch.cat([surface.of(basis.flatten(1)), basis.flatten(1)[ibug68]]).unflatten(1, (3, -1))

        mean = torch.cat([surface.of(model.mean_shape), model.mean_shape[ibug68]])
        return cls(mean, gathered(model.id_basis), gathered(model.exp_basis))

    def points_px(
        self, truth: FaceCoefficients, landmarks: Float[Tensor, "B 68 2"], crop_size: int
    ) -> Float[Tensor, "B P 3"]:
        """Column, row and depth of all points in crops that were moved, turned and resized since their truth was told.

        By how much, the landmarks say: a similarity takes those of the coefficients to where they are seen now.

        Args:
            truth: posed before the camera of the crop that was not moved.
            landmarks: iBUG-68 in the crop that the network sees, px.
            crop_size: of that, px.
        """
        shape = self.mean + torch.einsum("vck,bk->bvc", self.id_basis, truth.id)
        shape = shape + torch.einsum("vck,bk->bvc", self.exp_basis, truth.exp)
        world = pose_points(shape, truth.angles, truth.translation)
        told = map_of_world(world, crop_camera(size=crop_size, like=world))
        upright = world.new_tensor(UPRIGHT)
        weak = upright * (world - truth.translation[:, None])
        told = torch.where((truth.translation[:, 2] < -WEAK_DM)[:, None, None], weak, told)
        scale, rotation, shift = similarity_from_points(told[:, -LANDMARKS:, :2], landmarks.to(told))
        told = told[:, :-LANDMARKS]
        flat = scale[:, None, None] * told[..., :2] @ rotation.transpose(1, 2) + shift[:, None]
        return torch.cat([flat, scale[:, None, None] * told[..., 2:]], -1)
