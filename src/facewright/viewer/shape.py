"""What the sliders of a page make of a face: places and colours of its vertices. No browser is needed for it."""

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
import trimesh
from jaxtyping import Float
from numpy import ndarray
from PIL import Image
from torch import Tensor
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from facewright.export.asset import split_at_seams, to_uint8
from facewright.geometry.frames import pose_points
from facewright.geometry.mesh import vertex_normals
from facewright.pipeline.outputs import model_asset
from facewright.records import FaceCoefficients, MeshAsset
from facewright.viewer.shown import Shown, albedo_colors

Look = Literal["texture", "albedo", "normals", "wireframe"]
LOOKS: tuple[Look, ...] = get_args(Look)
ID_MODES = 10
"""Modes of the identity that have sliders."""


@dataclass(frozen=True)
class Controls:
    """Where the sliders are.

    Attributes:
        exp: by number of the expression: weights that were changed.
        id: by number of the mode: coefficients that were changed.
        turn: added to the head's angles about x, y, z, radians.
        look: how the surface is drawn.
        frame: of a clip.
    """

    exp: dict[int, float] = field(default_factory=dict)
    id: dict[int, float] = field(default_factory=dict)
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    look: Look = "texture"
    frame: int = 0


def changed(shown: Shown, controls: Controls) -> FaceCoefficients:
    """The face as the sliders have it."""
    face = shown.frames[min(controls.frame, len(shown.frames) - 1)]
    exp, identity = face.exp.clone(), face.id.clone()
    for column, value in controls.exp.items():
        exp[0, column] = value
    for column, value in controls.id.items():
        identity[0, column] = value
    return replace(face, exp=exp, id=identity, angles=face.angles + face.angles.new_tensor([controls.turn]))


def vertices_of(shown: Shown, face: FaceCoefficients) -> Float[Tensor, "V 3"]:
    """In the world before the photo's camera, dm."""
    return pose_points(shown.model.shape(face.id, face.exp), face.angles, face.translation)[0]


def landmarks_of_shown(shown: Shown, vertices: Float[Tensor, "V 3"]) -> Float[Tensor, "L 3"]:
    """iBUG-68 among them; none of models without a table."""
    ids = shown.model.annotations.ibug68
    return vertices[:0] if ids is None else vertices[ids]


def mesh_of(shown: Shown, controls: Controls) -> trimesh.Trimesh:
    """What the page draws: with a texture, or with coloured vertices."""
    model, face = shown.model, changed(shown, controls)
    vertices = vertices_of(shown, face)
    normals = vertex_normals(vertices[None], model.faces)[0]
    if controls.look == "texture" and shown.texture is not None:
        return _textured(shown, vertices, normals)
    colors = 0.5 * (normals + 1.0) if controls.look == "normals" else albedo_colors(model, face)
    return trimesh.Trimesh(
        vertices.numpy(),
        model.faces.numpy(),
        vertex_normals=normals.numpy(),
        vertex_colors=_opaque(colors),
        process=False,
    )


def _textured(shown: Shown, vertices: Float[Tensor, "V 3"], normals: Float[Tensor, "V 3"]) -> trimesh.Trimesh:
    model = shown.model
    asset = MeshAsset(vertices, normals, model.faces, model.uv, model.faces_uv)
    split = model.topology.once("split at seams", lambda: split_at_seams(asset))
    assert shown.texture is not None
    picture = Image.fromarray(np.ascontiguousarray(to_uint8(shown.texture).transpose(1, 2, 0)))
    material = PBRMaterial(baseColorTexture=picture, metallicFactor=0.0, roughnessFactor=1.0, doubleSided=True)
    uv = None if split.uv is None else split.uv.numpy()
    return trimesh.Trimesh(
        vertices[split.vertex].numpy(),
        split.faces.numpy(),
        vertex_normals=normals[split.vertex].numpy(),
        visual=TextureVisuals(uv=uv, material=material),
        process=False,
    )


def _opaque(colors: Float[Tensor, "V 3"]) -> ndarray:
    return np.concatenate([to_uint8(colors), np.full((len(colors), 1), 255, np.uint8)], 1)


def asset_of(shown: Shown, controls: Controls) -> MeshAsset:
    """The face as the sliders have it, to be saved: upright, with its expressions as morph targets."""
    asset = model_asset(shown.model, changed(shown, controls), 0, name="face")
    return replace(asset, texture=shown.texture) if asset.uv is not None else asset
