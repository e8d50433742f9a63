"""facewright: photographs in, 3D faces out.

    import facewright

    faces = facewright.reconstruct("me.jpg")
    faces[0].save("me.glb")

The public names follow. What is not named here may change between releases.
"""

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
from facewright.provenance import VERSION
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
