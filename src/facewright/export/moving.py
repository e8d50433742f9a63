"""A face that moves, as files of clips hold it."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from facewright.records import Camera, MeshAsset, TensorRecord


@dataclass(frozen=True)
class FaceMotion(TensorRecord):
    """How one head moves before a camera that stands still.

    Attributes:
        times_s: of the frames, ascending; any distance apart.
        rotations: model frame to world frame.
        translations: dm, added after the rotation.
        weights: of the morph targets named in ``names``.
        names: of the morph targets.
        camera: that sees it; its axis goes through the middle of its picture.
    """

    times_s: Float[Tensor, " N"]
    rotations: Float[Tensor, "N 3 3"]
    translations: Float[Tensor, "N 3"]
    weights: Float[Tensor, "N M"]
    names: tuple[str, ...]
    camera: Camera


@dataclass(frozen=True)
class MovingFace(TensorRecord):
    """A face and how it moves, ready to be written to a file.

    Attributes:
        asset: the neutral face, in the model frame, with the morph targets that the motion names.
        motion: of it.
    """

    asset: MeshAsset
    motion: FaceMotion
