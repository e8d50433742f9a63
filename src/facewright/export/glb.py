"""glTF 2.0 binary: metres, y up, one textured node, named morph targets. trimesh writes it, its hooks complete it."""

from collections.abc import MutableMapping
from typing import Any

import numpy as np
import trimesh
from PIL import Image
from trimesh.exchange.gltf import export_glb
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from facewright.errors import ExportError
from facewright.export.asset import SplitVertices, Unit, checked, split_at_seams, to_uint8
from facewright.export.json import plain
from facewright.geometry.color import linear_from_srgb
from facewright.provenance import VERSION
from facewright.records import MeshAsset

METRES_PER_DM = 0.1
SMALLEST_OFFSET_M = 1e-6
"""Morph offsets below one micrometre are left out of the file."""

_FLOAT, _UNSIGNED_SHORT, _UNSIGNED_INT = 5126, 5123, 5125
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_CLAMP_TO_EDGE, _LINEAR, _LINEAR_MIPMAP_LINEAR = 33071, 9729, 9987


def glb_bytes(asset: MeshAsset, *, units: Unit = "m") -> bytes:
    """A ``.glb``: PBR material (roughness 1, metallic 0) with the texture as PNG; without one, vertex colours.

    Vertices are neutral and the face's own expression is in the mesh's default morph weights, as viewers expect; the
    names of the targets are in ``mesh.extras.targetNames``, the metadata in the node's extras. The first V vertices
    are the asset's own; copies of those on texture seams follow.

    Raises:
        ExportError: the asset is not fit to be written, or the unit is not metres.
    """
    if units != "m":
        raise ExportError(f"expected metres, which glTF prescribes, received {units!r}; write .obj or .ply instead")
    asset = checked(asset)
    split = split_at_seams(asset)
    return export_glb(
        _scene(asset, split),
        include_normals=True,
        buffer_postprocessor=lambda buffers, tree: _add_what_trimesh_lacks(buffers, tree, asset, split),
        tree_postprocessor=lambda tree: _name_and_describe(tree, asset),
    )


def _scene(asset: MeshAsset, split: SplitVertices) -> trimesh.Scene:
    image = None if asset.texture is None else Image.fromarray(to_uint8(asset.texture.permute(1, 2, 0)))
    # doubleSided: an open face is also seen from behind.
    material = PBRMaterial(
        name=asset.name, baseColorTexture=image, metallicFactor=0.0, roughnessFactor=1.0, doubleSided=True
    )
    mesh = trimesh.Trimesh(
        vertices=asset.vertices[split.vertex].double().numpy() * METRES_PER_DM,
        faces=split.faces.numpy(),
        vertex_normals=asset.normals[split.vertex].double().numpy(),
        visual=TextureVisuals(uv=None if split.uv is None else split.uv.numpy(), material=material),
        process=False,
    )
    return trimesh.Scene({asset.name: mesh})


def _add_what_trimesh_lacks(
    buffers: MutableMapping[Any, bytes], tree: dict[str, Any], asset: MeshAsset, split: SplitVertices
) -> None:
    """Add linear vertex colours and morph targets to trimesh's buffers and accessors."""
    mesh = tree["meshes"][0]
    primitive = mesh["primitives"][0]
    primitive["attributes"].pop("COLOR_0", None)
    if asset.texture is None and asset.colors is not None:
        linear = linear_from_srgb(asset.colors[split.vertex]).numpy().astype("<f4")
        primitive["attributes"]["COLOR_0"] = _add_dense(buffers, tree, "color", linear)
    if asset.morph_targets:
        primitive["targets"] = [
            {"POSITION": _add_offsets(buffers, tree, f"morph {name}", target[split.vertex].numpy() * METRES_PER_DM)}
            for name, target in asset.morph_targets.items()
        ]
        mesh["weights"] = [float(asset.morph_weights.get(name, 0.0)) for name in asset.morph_targets]


def _add_buffer(buffers: MutableMapping[Any, bytes], key: str, data: np.ndarray) -> int:
    """Append a buffer view padded to four bytes; returns its index."""
    blob = data.tobytes()
    buffers[f"facewright {key}"] = blob + bytes(-len(blob) % 4)
    return len(buffers) - 1


def _add_accessor(tree: dict[str, Any], key: str, accessor: dict[str, Any]) -> int:
    tree["accessors"][f"facewright {key}"] = accessor
    return len(tree["accessors"]) - 1


def _bounds(values: np.ndarray) -> dict[str, Any]:
    # + 0.0 turns negative zeros, which some JSON readers reject, into zeros.
    return {
        "componentType": _FLOAT,
        "type": "VEC3",
        "count": len(values),
        "min": (values.min(0) + np.float32(0.0)).tolist(),
        "max": (values.max(0) + np.float32(0.0)).tolist(),
    }


def _add_dense(buffers: MutableMapping[Any, bytes], tree: dict[str, Any], key: str, values: np.ndarray) -> int:
    view = _add_buffer(buffers, key, values)
    return _add_accessor(tree, key, {"bufferView": view, "byteOffset": 0, **_bounds(values)})


def _add_offsets(buffers: MutableMapping[Any, bytes], tree: dict[str, Any], key: str, offsets: np.ndarray) -> int:
    """Add a morph target: sparse (ids and offsets of the vertices that move) unless dense is smaller."""
    moves = np.abs(offsets).max(1) >= SMALLEST_OFFSET_M
    offsets = np.where(moves[:, None], offsets, 0.0).astype("<f4")
    # A sparse accessor must hold something: a target that moves nothing holds the first vertex, at rest.
    ids = np.flatnonzero(moves) if moves.any() else np.zeros(1, dtype=np.int64)
    id_type, id_code = ("<u2", _UNSIGNED_SHORT) if len(offsets) <= 0xFFFF else ("<u4", _UNSIGNED_INT)
    if len(ids) * (12 + np.dtype(id_type).itemsize) >= 12 * len(offsets):
        return _add_dense(buffers, tree, key, offsets)
    sparse = {
        "count": len(ids),
        "indices": {"bufferView": _add_buffer(buffers, f"{key} ids", ids.astype(id_type)), "componentType": id_code},
        "values": {"bufferView": _add_buffer(buffers, key, offsets[ids])},
    }
    return _add_accessor(tree, key, {**_bounds(offsets), "sparse": sparse})


def _name_and_describe(tree: dict[str, Any], asset: MeshAsset) -> None:
    """One named root node, generator and metadata, sampler, and the purpose of each buffer view."""
    tree["asset"] = {"version": "2.0", "generator": f"facewright {VERSION}"}
    tree["scenes"] = [{"nodes": [0]}]
    tree["nodes"] = [{"name": asset.name, "mesh": 0}]
    if asset.metadata:
        tree["nodes"][0]["extras"] = plain(asset.metadata)
    mesh = tree["meshes"][0]
    mesh["extras"] = {"targetNames": list(asset.morph_targets)} if asset.morph_targets else {}
    if not mesh["extras"]:
        del mesh["extras"]
    if "textures" in tree:
        tree["samplers"] = [
            {
                "magFilter": _LINEAR,
                "minFilter": _LINEAR_MIPMAP_LINEAR,
                "wrapS": _CLAMP_TO_EDGE,
                "wrapT": _CLAMP_TO_EDGE,
            }
        ]
        tree["textures"] = [{**texture, "sampler": 0} for texture in tree["textures"]]
        tree["images"] = [{**image, "name": f"{asset.name} albedo"} for image in tree["images"]]
    primitive = mesh["primitives"][0]
    vertex_data = [primitive["attributes"], *primitive.get("targets", [])]
    targets = {accessor: _ARRAY_BUFFER for attributes in vertex_data for accessor in attributes.values()}
    targets[primitive["indices"]] = _ELEMENT_ARRAY_BUFFER
    for accessor, target in targets.items():
        view = tree["accessors"][accessor].get("bufferView")
        if view is not None:
            tree["bufferViews"][view]["target"] = target
