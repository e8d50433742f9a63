"""facewright: photographs in, 3D faces out.

    import facewright

    faces = facewright.reconstruct("me.jpg")
    faces[0].save("me.glb")

The public names follow. What is not named here may change between releases.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from facewright.provenance import VERSION

if TYPE_CHECKING:
    from facewright.align import align_face
    from facewright.detect import detect_faces, load_face_detector
    from facewright.errors import FacewrightError, NoFaceFoundError
    from facewright.export.formats import export_mesh
    from facewright.fit import Evidence, FitPlan, FitSettings, fit_face
    from facewright.morphable.container import load_face_model
    from facewright.morphable.linear import FaceModel
    from facewright.photo import photo_from_array, read_photo
    from facewright.pipeline.flow import Failure, Reconstructor, load_reconstructor, reconstruct
    from facewright.pipeline.reconstruction import Reconstruction
    from facewright.records import (
        AlignedFace,
        Camera,
        FaceCoefficients,
        FaceDetection,
        FaceMesh,
        MeshAsset,
        Photo,
        Rendering,
    )
    from facewright.render import render

__version__ = VERSION

__all__ = [
    "AlignedFace",
    "Camera",
    "Evidence",
    "FaceCoefficients",
    "FaceDetection",
    "FaceMesh",
    "FaceModel",
    "FacewrightError",
    "Failure",
    "FitPlan",
    "FitSettings",
    "MeshAsset",
    "NoFaceFoundError",
    "Photo",
    "Reconstruction",
    "Reconstructor",
    "Rendering",
    "align_face",
    "detect_faces",
    "export_mesh",
    "fit_face",
    "load_face_detector",
    "load_face_model",
    "load_reconstructor",
    "photo_from_array",
    "read_photo",
    "reconstruct",
    "render",
]

_HOMES = {
    "AlignedFace": "facewright.records",
    "Camera": "facewright.records",
    "Evidence": "facewright.fit",
    "FaceCoefficients": "facewright.records",
    "FaceDetection": "facewright.records",
    "FaceMesh": "facewright.records",
    "FaceModel": "facewright.morphable.linear",
    "FacewrightError": "facewright.errors",
    "Failure": "facewright.pipeline.flow",
    "FitPlan": "facewright.fit",
    "FitSettings": "facewright.fit",
    "MeshAsset": "facewright.records",
    "NoFaceFoundError": "facewright.errors",
    "Photo": "facewright.records",
    "Reconstruction": "facewright.pipeline.reconstruction",
    "Reconstructor": "facewright.pipeline.flow",
    "Rendering": "facewright.records",
    "align_face": "facewright.align",
    "detect_faces": "facewright.detect",
    "export_mesh": "facewright.export.formats",
    "fit_face": "facewright.fit",
    "load_face_detector": "facewright.detect",
    "load_face_model": "facewright.morphable.container",
    "load_reconstructor": "facewright.pipeline.flow",
    "photo_from_array": "facewright.photo",
    "read_photo": "facewright.photo",
    "reconstruct": "facewright.pipeline.flow",
    "render": "facewright.render",
}
"""Public name -> the module that it is from, which is imported when the name is first asked for."""


class _Front(ModuleType):
    """This module: public names appear when they are asked for, so that ``import facewright`` costs nothing."""

    def __getattr__(self, name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'facewright' has no attribute {name!r}")
        found = getattr(import_module(_HOMES[name]), name)
        self.__dict__[name] = found
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        # Python notes a room in its package when it is first imported: ``render`` stays the function.
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_HOMES})


sys.modules[__name__].__class__ = _Front
