"""What the flow returns: a face of a photo that can be saved."""

import os
from dataclasses import dataclass
from pathlib import Path

from facewright.geometry.turning import turned_light, turned_pose
from facewright.pipeline.estimator import Estimate
from facewright.pipeline.face import FaceInPhoto
from facewright.pipeline.outputs import save_face
from facewright.records import FaceDetection, Photo


@dataclass(frozen=True)
class Reconstruction(FaceInPhoto):
    """One face of one photo, in 3D; its attributes are those of ``FaceInPhoto``."""

    def save(self, path: str | os.PathLike[str]) -> list[Path]:
        """Write the textured face; the suffix chooses the format (.glb .obj .ply .npz .json .png ...).

        Returns:
            The files written: those of the material and texture too that an ``.obj`` brings.

        Raises:
            ExportError: the suffix is unknown, the content is not finite, or the file cannot be written.
        """
        return save_face(self, path)


def reconstruction_of(
    photo: Photo, detection: FaceDetection, answer: Estimate, *, method: str, weights: str
) -> Reconstruction:
    """A method's answer about a crop as a face of the photo.

    Args:
        photo: the picture.
        detection: where the face is in it.
        answer: of the method.
        method: its name.
        weights: of its network.
    """
    roll = answer.aligned.roll  # from the crop's frame to the photo's
    return Reconstruction(
        photo,
        detection,
        answer.aligned,
        answer.topology,
        answer.mesh,
        turned_pose(answer.pose, roll) if roll else answer.pose,
        method,
        None if answer.light is None else turned_light(answer.light, roll),
        answer.morphable,
        answer.belief,
        weights,
        answer.residuals,
        answer.seconds,
        start=answer.start,
        dense=answer.dense,
    )
