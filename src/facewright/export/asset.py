"""What every mesh writer needs of a ``MeshAsset``: checked, in file units, expression applied, seams split."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.errors import ExportError
from facewright.geometry.mesh import vertex_normals
from facewright.records import MeshAsset

Unit = Literal["m", "dm", "mm"]
UNIT_PER_DM: dict[Unit, float] = {"m": 0.1, "dm": 1.0, "mm": 100.0}
UNIT_NAMES: dict[Unit, str] = {"m": "metre", "dm": "decimetre", "mm": "millimetre"}


def checked(asset: MeshAsset) -> MeshAsset:
    """Return the asset on the CPU in float32, fit to be written.

    Zero normals (of vertices that no face uses) become +z, colours and textures are clamped to 0..1; texture
    coordinates without ``faces_uv`` are taken as one per vertex.

    Raises:
        ExportError: nothing to write, a number that is not finite, or an index out of range; says which.
    """
    if not len(asset.vertices) or not len(asset.faces):
        raise ExportError(
            f"mesh {asset.name!r}: expected vertices and faces, received {len(asset.vertices)} and {len(asset.faces)}"
        )
    _refuse_non_finite(asset)
    faces_uv = asset.faces_uv
    if asset.uv is not None and faces_uv is None:
        if len(asset.uv) != len(asset.vertices):
            raise ExportError(
                f"mesh {asset.name!r}: expected faces_uv beside {len(asset.uv)} texture coordinates of "
                f"{len(asset.vertices)} vertices; pass the face model's faces_uv"
            )
        faces_uv = asset.faces
    _refuse_bad_ids(asset.name, "faces", asset.faces, len(asset.vertices))
    if asset.uv is not None and faces_uv is not None:
        _refuse_bad_ids(asset.name, "faces_uv", faces_uv, len(asset.uv))
    asset = replace(asset, faces_uv=faces_uv if asset.uv is not None else None)
    asset = asset.mapped(torch.detach).to("cpu").to(torch.float32)
    zero = asset.normals.norm(dim=-1, keepdim=True) < 1e-6
    normals = torch.where(zero, asset.normals.new_tensor([0.0, 0.0, 1.0]), asset.normals)
    return replace(
        asset,
        normals=torch.nn.functional.normalize(normals, dim=-1),
        colors=None if asset.colors is None else asset.colors.clamp(0.0, 1.0),
        texture=None if asset.texture is None or asset.uv is None else asset.texture.clamp(0.0, 1.0),
    )


def _refuse_non_finite(asset: MeshAsset) -> None:
    named = {name: value for name, value in vars(asset).items() if isinstance(value, Tensor)}
    named |= {f"morph target {name!r}": target for name, target in asset.morph_targets.items()}
    if asset.morph_weights:
        named["morph weights"] = torch.tensor(list(asset.morph_weights.values()))
    # A sum is not finite where a number is not: only then is it worth looking for which.
    if not math.isfinite(sum(float(value.detach().sum()) for value in named.values())):
        for name, value in named.items():
            bad = int((~torch.isfinite(value)).sum())
            if bad:
                raise ExportError(
                    f"mesh {asset.name!r}: expected finite numbers in {name}, received {bad} of {value.numel()} "
                    "that are not; nothing was written"
                )
    unknown = sorted(set(asset.morph_weights) - set(asset.morph_targets))
    if unknown:
        raise ExportError(f"mesh {asset.name!r}: received morph weights without a morph target: {', '.join(unknown)}")


def _refuse_bad_ids(mesh: str, name: str, ids: Int[Tensor, "F 3"], count: int) -> None:
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= count:
        raise ExportError(f"mesh {mesh!r}: expected {name} in 0..{count - 1}, received {low}..{high}")


def with_expression(asset: MeshAsset) -> MeshAsset:
    """Bake the morph targets at the face's own weights into the vertices, for formats that know no morph targets.

    Normals are computed anew where anything moved.
    """
    vertices = asset.vertices
    for name, target in asset.morph_targets.items():
        vertices = vertices + asset.morph_weights.get(name, 0.0) * target
    moved = any(asset.morph_weights.get(name, 0.0) != 0.0 for name in asset.morph_targets)
    normals = vertex_normals(vertices, asset.faces) if moved else asset.normals
    return replace(asset, vertices=vertices, normals=normals, morph_targets={}, morph_weights={})


@dataclass(frozen=True)
class SplitVertices:
    """File vertices of formats with one index per corner: a vertex on a texture seam appears once per uv.

    Attributes:
        vertex: model vertex behind each file vertex; the first V are 0..V-1, so model ids stay valid in the file.
        uv: texture coordinates of each file vertex; zero where no face uses it. None without texture coordinates.
        faces: file vertex ids, in the order of the model's faces.
    """

    vertex: Int[Tensor, " N"]
    uv: Float[Tensor, "N 2"] | None
    faces: Int[Tensor, "F 3"]


def split_at_seams(asset: MeshAsset) -> SplitVertices:
    """Give every (vertex, texture coordinate) pair that occurs in the faces one file vertex."""
    num_vertices = len(asset.vertices)
    if asset.uv is None or asset.faces_uv is None:
        return SplitVertices(torch.arange(num_vertices), None, asset.faces)
    corner_vertex, corner_uv = asset.faces.reshape(-1).numpy(), asset.faces_uv.reshape(-1).numpy()
    pairs, corner_pair = np.unique(corner_vertex.astype(np.int64) * len(asset.uv) + corner_uv, return_inverse=True)
    pair_vertex, pair_uv = np.divmod(pairs, len(asset.uv))
    # np.unique sorts by vertex: the first pair of each vertex keeps the vertex's own id, the others follow at the end.
    is_first = np.ones(len(pairs), dtype=bool)
    is_first[1:] = pair_vertex[1:] != pair_vertex[:-1]
    file_id = np.where(is_first, pair_vertex, num_vertices + np.cumsum(~is_first) - 1)
    num_file = num_vertices + int((~is_first).sum())
    vertex = np.concatenate([np.arange(num_vertices), pair_vertex[~is_first]])
    uv = torch.zeros(num_file, 2).index_copy(0, torch.from_numpy(file_id), asset.uv[torch.from_numpy(pair_uv)])
    faces = torch.from_numpy(file_id[corner_pair.reshape(-1)]).reshape(-1, 3)
    return SplitVertices(torch.from_numpy(vertex), uv, faces)


def to_uint8(srgb: Float[Tensor, "*B"]) -> np.ndarray:
    """sRGB-coded 0..1 (clamped) to rounded 8-bit numbers, same axes."""
    return (255.0 * srgb.detach().cpu()).add_(0.5).clamp_(0.0, 255.0).to(torch.uint8).numpy()
