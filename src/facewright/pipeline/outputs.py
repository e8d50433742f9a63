"""One reconstruction becomes files: textured meshes, coefficients, pictures."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.align.crop import turned_frame
from facewright.align.official import official_crop_points
from facewright.errors import ExportError
from facewright.export.formats import ALL_FORMATS, FORMATS, Content, FormatName, format_of
from facewright.export.mat import flip_rows, official_mat
from facewright.export.png import texture_png
from facewright.files import FileSet
from facewright.geometry.color import display_from_albedo
from facewright.geometry.frames import CAMERA_DISTANCE_DM, apply_homogeneous, project_points
from facewright.geometry.mesh import vertex_normals
from facewright.geometry.turning import turned_light, turned_pose
from facewright.morphable.linear import FaceModel
from facewright.pipeline.face import FaceInPhoto
from facewright.pipeline.maps import depth_map, pncc_picture
from facewright.pipeline.texture import face_texture, lit_vertex_colors, vertex_colors
from facewright.pipeline.views import display_picture, face_sheet, overlay_of_faces
from facewright.records import AlignedFace, Camera, FaceCoefficients, MeshAsset
from facewright.render.renderer import render

_PARTS = fields(FaceCoefficients)

SAVED_FORMATS = ("glb", "obj", "ply", "stl", "mat", "npz", "json", "mesh")
"""What one face is saved as, by the suffix of a path."""


@dataclass(frozen=True)
class OutputOptions:
    """Which files are written, and how.

    Attributes:
        formats: see ``export.formats``.
        texture_px: side of the texture.
        posed: meshes as they stand before the camera, instead of upright in the model frame.
        complete: fill what of the texture the photo does not show; else that is black.
    """

    formats: tuple[FormatName, ...] = ALL_FORMATS
    texture_px: int = 1024
    posed: bool = False
    complete: bool = True


class FaceFiles:
    """The files of one face; the costly parts (texture, pictures) are made once, when the first file needs them."""

    def __init__(
        self, face: FaceInPhoto, *, texture_px: int = 1024, posed: bool = False, complete: bool = True
    ) -> None:
        self.face = face
        self.texture_px, self.posed, self.complete = texture_px, posed, complete

    @cached_property
    def upright(self) -> MeshAsset:
        """The textured face in the model frame: neutral vertices, named expressions as morph weights."""
        asset = mesh_asset(self.face, texture_px=self.texture_px, complete=self.complete)
        return asset if asset.texture is None else replace(asset, texture_png=texture_png(asset))

    @property
    def asset(self) -> MeshAsset:
        """The same; posed it has its expression in the vertices."""
        return self.expressive_asset if self.posed else self.upright

    @cached_property
    def expressive_asset(self) -> MeshAsset:
        """The face with its expression in the vertices, for formats without morph targets."""
        mesh = self.face.mesh_world if self.posed else self.face.mesh
        return replace(
            self.upright, vertices=mesh.vertices[0], normals=mesh.normals[0], morph_targets={}, morph_weights={}
        )

    def content(self, kind: Content) -> Any:
        """What a format of that kind of content takes."""
        face = self.face
        makers: dict[Content, Callable[[], Any]] = {
            "asset": lambda: self.asset,
            "posed asset": lambda: self.expressive_asset,
            "neutral asset": lambda: neutral_asset(face),
            "arrays": lambda: npz_content(face),
            "official arrays": lambda: mat_content(face),
            "document": lambda: document([face]),
            "overlay picture": lambda: overlay_of_faces([face]),
            "sheet picture": lambda: face_sheet(face),
            "depth map": lambda: depth_map(face),
            "depth arrays": lambda: {"depth_dm": depth_map(face)},
            "coordinate picture": lambda: pncc_picture(face),
            "texture picture": self._texture,
            "points": lambda: face.landmarks_3d * face.landmarks_3d.new_tensor([1.0, 1.0, -1.0]),
        }
        return makers[kind]()

    def _texture(self) -> Float[Tensor, "3 S S"]:
        if self.upright.texture is None:
            raise ExportError("a texture expects a mesh with texture coordinates, this one has none; leave out texture")
        return self.upright.texture


def write_outputs(
    faces: Sequence[FaceInPhoto],
    folder: Path,
    stem: str,
    options: OutputOptions,
    *,
    may_replace: Callable[[Path], bool] | None = None,
) -> list[Path]:
    """Write the files of all faces of one photo, all or none; their paths, in order.

    One face gives ``<stem>.glb`` and so on; several give ``<stem>_0.glb``, ``<stem>_1.glb``, ... beside one
    ``<stem>.json`` and one ``<stem>_overlay.png`` of all of them.

    Args:
        faces: of one photo, at least one.
        folder: of the files.
        stem: what their names begin with.
        options: which files, and how.
        may_replace: whether a file that is in the place of another may be replaced; any if None.

    Raises:
        ExportError: the content is not finite, or a file cannot be written, or may not be replaced.
    """
    with FileSet(may_replace) as files:
        for name, blob in encoded_outputs(faces, stem, options):
            files.write(folder / name, blob)
    return files.paths


def encoded_outputs(faces: Sequence[FaceInPhoto], stem: str, options: OutputOptions) -> Iterator[tuple[str, bytes]]:
    """The files that ``write_outputs`` writes, as names and bytes, each made when it is asked for.

    Raises:
        ExportError: the content is not finite, or a face cannot be written in a format.
    """
    of_photo: dict[Content, Callable[[], Any]] = {
        "document": lambda: document(faces),
        "overlay picture": lambda: overlay_of_faces(faces),
    }
    chosen = [FORMATS[name] for name in options.formats]
    for k, face in enumerate(faces):
        name = stem if len(faces) == 1 else f"{stem}_{k}"
        of_face = FaceFiles(face, texture_px=options.texture_px, posed=options.posed, complete=options.complete)
        for each in chosen:
            if "faces" not in each.holds:
                yield from each.encode(of_face.content(each.content), f"{name}{each.suffix}").items()
    for each in chosen:
        if "faces" in each.holds:
            yield from each.encode(of_photo[each.content](), f"{stem}{each.suffix}").items()


def save_face(face: FaceInPhoto, path: str | os.PathLike[str], *, texture_px: int = 1024) -> list[Path]:
    """Write one face to one file; the suffix chooses: ``.glb .obj .ply .stl .mat .npz .json``, ``.png`` for the sheet.

    Returns:
        The files written: those of the material and texture too that an ``.obj`` brings.

    Raises:
        ExportError: the suffix is unknown, the content is not finite, or the file cannot be written.
    """
    chosen = format_of(path, SAVED_FORMATS)
    return chosen.write(FaceFiles(face, texture_px=texture_px).content(chosen.content), path)


def mesh_asset(face: FaceInPhoto, *, texture_px: int = 1024, complete: bool = True) -> MeshAsset:
    """The face ready for export: model frame, texture from the photo, named expressions as morph targets.

    Args:
        face: in its photo.
        texture_px: side of the texture.
        complete: fill what of the texture the photo does not show; else that is black.
    """
    name = Path(face.photo.path).stem or "face"
    facts = {"method": face.method, "photo": Path(face.photo.path).name}
    if face.morphable is None:
        mesh = face.mesh
        asset = MeshAsset(mesh.vertices[0], mesh.normals[0], mesh.faces, mesh.uv, mesh.faces_uv, name=name)
    else:
        asset = model_asset(face.face_model, face.coefficients, 0, name=name)
    if asset.uv is None:
        return replace(asset, colors=vertex_colors(face), metadata=asset.metadata | facts)
    texture, colors = face_texture(face, texture_px, complete=complete)
    return replace(asset, texture=texture, colors=colors, metadata=asset.metadata | facts)


def neutral_asset(face: FaceInPhoto) -> MeshAsset:
    """Who it is and nothing else: no expression, no pose, no light; the albedo of the face model, not of the photo.

    Raises:
        ReconstructionError: the method found a mesh alone.
    """
    found, name = face.coefficients, Path(face.photo.path).stem or "face"
    asset = model_asset(face.face_model, replace(found, exp=torch.zeros_like(found.exp)), 0, name=name)
    facts = {"method": face.method, "photo": Path(face.photo.path).name}
    return replace(asset, morph_targets={}, morph_weights={}, metadata=asset.metadata | facts)


def model_asset(model: FaceModel, coefficients: FaceCoefficients, k: int, *, name: str) -> MeshAsset:
    """A decoded face in the model frame with its albedo as vertex colours, ready for export.

    Named expression modes become morph targets, with the face's expression as their weights; unnamed ones are in the
    vertices.

    Args:
        model: face model.
        coefficients: of one or several faces.
        k: which of them.
        name: of the object in the file.
    """
    face = coefficients.one(k)
    named = {mode: column for column, mode in enumerate(model.exp_names) if mode}
    in_vertices = face.exp.clone()
    in_vertices[:, list(named.values())] = 0.0
    vertices = model.shape(face.id, in_vertices)
    albedo = model.albedo(face.tex)[0]
    coded = display_from_albedo(albedo, model.albedo_space)
    return MeshAsset(
        vertices[0],
        vertex_normals(vertices, model.faces)[0],
        model.faces,
        model.uv,
        model.faces_uv,
        coded.clamp(0.0, 1.0),
        None,
        {mode: model.exp_basis[:, :, column] for mode, column in named.items()},
        {mode: float(face.exp[0, column]) for mode, column in named.items()},
        name,
        {"face_model": model.name, "licence": str(model.metadata.get("licence", "unstated"))},
    )


def document(faces: Sequence[FaceInPhoto]) -> dict[str, Any]:
    """Content of the ``.json``: the photo, and per face where it is, its pose, camera and coefficients."""
    photo = faces[0].photo
    return {
        "photo": {"path": photo.path, "width": photo.width, "height": photo.height},
        "faces": [_face_document(face) for face in faces],
    }


def coefficients_document(model: FaceModel, coefficients: FaceCoefficients) -> dict[str, Any]:
    """The part of the ``.json`` that decodes to a face: pose, coefficients (of the first face), named expressions."""
    c = coefficients
    return {
        "pose": c.pose.document(),
        "coefficients": {"id": c.id[0], "exp": c.exp[0], "tex": c.tex[0], "sh": c.sh[0]},
        "expression": {name: float(c.exp[0, k]) for k, name in enumerate(model.exp_names) if name},
        "face_model": model.name,
        "face_model_edition": model.edition,
    }


def camera_document(camera: Camera) -> dict[str, Any]:
    """The camera in the ``.json``; its distance where it is another than everywhere else, 10 dm (far ones of maps)."""
    known = {"focal_px": camera.focal_px[0], "cx": camera.cx[0], "cy": camera.cy[0]}
    usual = camera.distance_dm == CAMERA_DISTANCE_DM
    return known if usual else known | {"distance_dm": camera.distance_dm}


def _face_document(face: FaceInPhoto) -> dict[str, Any]:
    camera, known = face.camera, face.morphable
    found = {"pose": face.pose.document()} if known is None else coefficients_document(known.model, known.coefficients)
    return {
        "box": face.detection.box,
        "score": face.detection.score,
        "landmarks_68": face.landmarks,
        "landmarks_68_3d": face.landmarks_3d,
        "camera": camera_document(camera),
        "trans_params": face.aligned.trans_params,
        **found,
        "residuals": face.residuals,
        "weights": face.weights,
        "method": face.method,
    }


def npz_content(face: FaceInPhoto) -> dict[str, torch.Tensor]:
    """Everything as arrays: coefficients (one row each), posed and unposed vertices (dm), landmarks and crop map."""
    mesh, known = face.mesh, face.morphable
    coefficients = {} if known is None else {entry.name: getattr(known.coefficients, entry.name) for entry in _PARTS}
    return coefficients | {
        "vertices_model": mesh.vertices[0],
        "vertices_world": face.mesh_world.vertices[0],
        "faces": mesh.faces,
        "albedo": mesh.albedo[0],
        "visibility": face.visibility,
        "landmarks_68": face.landmarks,
        "landmarks_68_3d": face.landmarks_3d,
        "trans_params": face.aligned.trans_params,
        "T_photo_crop": face.aligned.T_photo_crop,
    }


def mat_content(face: FaceInPhoto) -> dict[str, Any]:
    """The official keys (docs/deep3d.md section 9) of the face in its crop; without coefficients those of the mesh.

    Where the crop is turned, its map to the photo lies beside them.
    """
    aligned = face.aligned
    light = None if face.light is None else turned_light(face.light, -aligned.roll)
    in_crop = replace(face, pose=turned_pose(face.pose, -aligned.roll), light=light) if aligned.roll else face
    mesh, camera = in_crop.mesh_world, aligned.camera_crop
    rendering = render(mesh, camera, in_crop.sh, antialias=False)
    ids = face.topology.annotations.ibug68
    if ids is None:
        raise ExportError("the official .mat expects a mesh with an iBUG-68 table, this one has none; leave out mat")
    content = official_mat(
        coefficients=None if face.morphable is None else in_crop.coefficients,
        vertices_world=mesh.vertices[0],
        albedo_srgb=display_from_albedo(mesh.albedo[0], mesh.albedo_space),
        colors_srgb=lit_vertex_colors(mesh, in_crop.sh)[0],
        landmarks_crop=project_points(mesh.vertices[:, ids], camera)[0, :, :2],
        five_crop=official_five(aligned),
        crop=aligned.crop,
        rendering_srgb=display_picture(rendering, mesh),
        mask=rendering.mask[0],
        trans_params=aligned.trans_params,
    )
    return content if aligned.roll == 0.0 else content | {"T_photo_crop": aligned.T_photo_crop.cpu().numpy()}


def official_five(aligned: AlignedFace) -> Float[Tensor, "5 2"]:
    """The five points that cut a crop, where the official program maps them in it; y down (row = side - 1 - y).

    Its map leaves out what is truncated of the crop's size and offset: up to two pixels off the pixels themselves.
    """
    T_photo_turned, _, _ = turned_frame(aligned.camera_photo.width, aligned.camera_photo.height, aligned.roll)
    T_turned_crop = torch.linalg.inv(T_photo_turned) @ aligned.T_photo_crop.double().cpu()
    five = apply_homogeneous(T_turned_crop, aligned.five_crop.double().cpu())
    side = aligned.crop.shape[1]
    return flip_rows(official_crop_points(five, aligned.trans_params, size=side), side)
