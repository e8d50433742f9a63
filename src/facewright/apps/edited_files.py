"""An edited face as files: a mesh, coefficients to go on with, a picture."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from facewright.errors import ExportError
from facewright.export.formats import MESH_CONTENTS, MESH_FORMATS, Content, format_of
from facewright.export.pictures import on_backdrop, overlay
from facewright.geometry.frames import crop_camera
from facewright.geometry.pose import posed_mesh
from facewright.morphable.linear import FaceModel
from facewright.pipeline.outputs import camera_document, coefficients_document, model_asset
from facewright.pipeline.texture import lit_vertex_colors
from facewright.pipeline.views import display_picture
from facewright.records import Camera, FaceCoefficients, MeshAsset, Photo
from facewright.render.renderer import render

EDITED_FORMATS = (*MESH_FORMATS, "json", "png")


def write_edited(
    path: Path,
    model: FaceModel,
    coefficients: FaceCoefficients,
    *,
    camera: Camera | None = None,
    photo: Photo | None = None,
    size_px: int = 512,
) -> None:
    """Write one face; the suffix chooses: a mesh (``lit_asset``), ``.json`` for coefficients, ``.png`` for a picture.

    Args:
        path: of the file.
        model: face model of the coefficients.
        coefficients: one face.
        camera: of the whole photo, kept in the ``.json``.
        photo: draw the picture on it, through that camera; else on a dark ground, through the crop's camera.
        size_px: side of the picture without a photo.

    Raises:
        ExportError: the suffix is unknown, a number is not finite, or the file cannot be written.
    """
    file_format = format_of(path, EDITED_FORMATS)
    content = edited_content(
        file_format.content, model, coefficients, name=path.stem, camera=camera, photo=photo, size_px=size_px
    )
    file_format.write(content, path)


def edited_content(
    kind: Content,
    model: FaceModel,
    coefficients: FaceCoefficients,
    *,
    name: str = "face",
    camera: Camera | None = None,
    photo: Photo | None = None,
    size_px: int = 512,
) -> Any:
    """What the format of a file of one edited face takes; arguments as ``write_edited``.

    Raises:
        ExportError: as ``picture``.
    """
    makers: dict[Content, Callable[[], Any]] = {
        **dict.fromkeys(MESH_CONTENTS, lambda: lit_asset(model, coefficients, name=name)),
        "document": lambda: _document(model, coefficients, camera, photo),
        "picture": lambda: picture(model, coefficients, camera=camera, photo=photo, size_px=size_px),
    }
    return makers[kind]()


def lit_asset(model: FaceModel, coefficients: FaceCoefficients, *, name: str) -> MeshAsset:
    """The face in the model frame with its expression, in the colours that its light and pose give it."""
    colors = lit_vertex_colors(posed_mesh(model.decode(coefficients), coefficients.pose), coefficients.sh)[0]
    return replace(model_asset(model, coefficients, 0, name=name), colors=colors)


def picture(
    model: FaceModel,
    coefficients: FaceCoefficients,
    *,
    camera: Camera | None = None,
    photo: Photo | None = None,
    size_px: int = 512,
) -> Float[Tensor, "3 H W"]:
    """The posed and lit face, sRGB; arguments as ``write_edited``.

    Raises:
        ExportError: a photo without its camera, or one of another size.
    """
    mesh = posed_mesh(model.decode(coefficients), coefficients.pose)
    if photo is None:
        rendering = render(mesh, crop_camera(size=size_px, like=mesh.vertices), coefficients.sh)
        return on_backdrop(display_picture(rendering, mesh), rendering.mask[0])
    camera = require_camera(camera, photo)
    rendering = render(mesh, camera.to(mesh.vertices.device), coefficients.sh)
    return overlay(photo.srgb.to(mesh.vertices.device), display_picture(rendering, mesh), rendering.mask[0])


def require_camera(camera: Camera | None, photo: Photo) -> Camera:
    """The camera, if it is of a photo like this one.

    Raises:
        ExportError: there is none, or it is of a photo of another size.
    """
    if camera is None or (camera.width, camera.height) != (photo.width, photo.height):
        known = "none" if camera is None else f"that of a {camera.width} x {camera.height} photo"
        raise ExportError(
            f"expected the camera of the {photo.width} x {photo.height} photo, received {known}; "
            "the .json of that photo's reconstruction has it"
        )
    return camera


def _document(
    model: FaceModel, coefficients: FaceCoefficients, camera: Camera | None, photo: Photo | None
) -> dict[str, object]:
    face = coefficients_document(model, coefficients) | {"method": "edit"}
    if camera is None:
        return {"faces": [face]}
    place = {"camera": camera_document(camera)}
    size = {"path": "" if photo is None else photo.path, "width": camera.width, "height": camera.height}
    return {"photo": size, "faces": [place | face]}
