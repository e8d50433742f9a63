"""What the flow returns: a face of a photo that can be saved."""

import os
from dataclasses import dataclass
from pathlib import Path

from facewright.pipeline.face import FaceInPhoto
from facewright.pipeline.outputs import save_face


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
