"""glTF 2.0 binary (Khronos, "glTF 2.0 Specification"): metres, y up, one textured node, named morph targets."""

import json
import math
import struct
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from facewright.errors import ExportError
from facewright.export.asset import SplitVertices, Unit, checked, split_at_seams
from facewright.export.json import plain
from facewright.export.moving import FaceMotion, MovingFace
from facewright.export.png import texture_png
from facewright.geometry.color import linear_from_srgb
from facewright.geometry.rotations import quaternion_from_rotation
from facewright.provenance import VERSION
from facewright.records import MeshAsset

METRES_PER_DM = 0.1
SMALLEST_OFFSET_M = 1e-6
"""Morph offsets below one micrometre are left out of the file."""

_UNSIGNED_SHORT, _UNSIGNED_INT, _FLOAT = 5123, 5125, 5126
_CODES = {"<u2": _UNSIGNED_SHORT, "<u4": _UNSIGNED_INT, "<f4": _FLOAT}
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_CLAMP_TO_EDGE, _LINEAR, _LINEAR_MIPMAP_LINEAR = 33071, 9729, 9987
_MAGIC, _JSON, _BINARY = b"glTF", b"JSON", b"BIN\0"


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
    return _glb(asset, None)


def moving_glb_bytes(face: MovingFace) -> bytes:
    """A ``.glb`` whose head moves: the pose is an animation of its node, the expression one of its morph weights.

    Beside it stands the camera that saw it. Frames are keys at their own times, with straight lines between them.

    Raises:
        ExportError: the asset or its motion is not fit to be written.
    """
    motion, targets = face.motion, list(face.asset.morph_targets)
    if not len(motion.times_s) or list(motion.names) != targets:
        raise ExportError(
            f"expected frames with weights of the targets {targets[:3]}..., received {len(motion.times_s)} frames "
            f"with weights of {list(motion.names)[:3]}..."
        )
    values = [motion.times_s, motion.rotations, motion.translations, motion.weights]
    if not all(bool(value.isfinite().all()) for value in values) or bool((motion.times_s.diff() <= 0).any()):
        raise ExportError("expected a motion of finite numbers at ascending times; nothing was written")
    return _glb(face.asset, motion.to("cpu"))


def _glb(asset: MeshAsset, motion: FaceMotion | None) -> bytes:
    asset = checked(asset)
    split, data = split_at_seams(asset), _BinaryData()
    mesh = _mesh(asset, split, data)
    node: dict[str, Any] = {"name": asset.name, "mesh": 0}
    if asset.metadata:
        node["extras"] = plain(asset.metadata)
    moving = {} if motion is None else _moving(motion, asset.name, mesh, node, data)
    nodes = [node, *moving.pop("more nodes", [])]
    tree = {
        "asset": {"version": "2.0", "generator": f"facewright {VERSION}"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(nodes)))}],
        "nodes": nodes,
        "meshes": [mesh],
        **_look(asset, data),
        **moving,
        "accessors": data.accessors,
        "bufferViews": data.views,
        "buffers": [{"byteLength": data.length}],
    }
    # ASCII with JSON's own escapes: names of photos need not be UTF-8.
    written = json.dumps(tree, separators=(",", ":"), allow_nan=False).encode("ascii")
    chunks = [(_JSON, written + b" " * (-len(written) % 4)), (_BINARY, b"".join(data.parts))]
    body = b"".join(struct.pack("<I4s", len(blob), kind) + blob for kind, blob in chunks)
    return struct.pack("<4sII", _MAGIC, 2, 12 + len(body)) + body


class _BinaryData:
    """The binary chunk as it grows, and the views and accessors that say what lies where in it."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.length = 0
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, blob: bytes, **purpose: int) -> int:
        """A view of these bytes, which are padded to four; returns its index."""
        self.views.append({"buffer": 0, "byteOffset": self.length, "byteLength": len(blob), **purpose})
        self.parts += [blob, bytes(-len(blob) % 4)]
        self.length += len(blob) + -len(blob) % 4
        return len(self.views) - 1

    def add_vectors(self, values: Float[ndarray, "N C"], *, bounds: bool = False) -> int:
        """An accessor of vertex data; returns its index."""
        values = values.astype("<f4")
        view = self.add(values.tobytes(), target=_ARRAY_BUFFER)
        more = _bounds(values) if bounds else {}
        self.accessors.append({"bufferView": view, **_described("<f4", f"VEC{values.shape[1]}", len(values)), **more})
        return len(self.accessors) - 1

    def add_keys(self, values: Float[ndarray, "N C"], kind: str, *, bounds: bool = False) -> int:
        """An accessor of an animation's times or values; returns its index."""
        values = values.astype("<f4")
        view = self.add(values.tobytes())
        more = _bounds(values) if bounds else {}
        count = values.size if kind == "SCALAR" else len(values)
        self.accessors.append({"bufferView": view, **_described("<f4", kind, count), **more})
        return len(self.accessors) - 1

    def add_indices(self, values: Int[ndarray, " N"]) -> int:
        """An accessor of the corners of triangles; returns its index."""
        view = self.add(values.astype("<u4").tobytes(), target=_ELEMENT_ARRAY_BUFFER)
        self.accessors.append({"bufferView": view, **_described("<u4", "SCALAR", len(values))})
        return len(self.accessors) - 1

    def add_offsets(self, offsets: Float[ndarray, "V 3"], vertex: Int[ndarray, " N"]) -> int:
        """A morph target: sparse (ids and offsets of the vertices that move) unless dense is smaller; its index.

        Args:
            offsets: of the asset's vertices, m.
            vertex: which of them each vertex of the file is.
        """
        x, y, z = np.abs(offsets.T)
        moves = np.maximum(np.maximum(x, y), z) >= SMALLEST_OFFSET_M
        ids = np.flatnonzero(moves[vertex])
        id_type = "<u2" if len(vertex) <= 0xFFFF else "<u4"
        if len(ids) * (12 + np.dtype(id_type).itemsize) >= 12 * len(vertex):
            return self.add_vectors(np.where(moves[:, None], offsets, 0.0)[vertex], bounds=True)
        # A sparse accessor must hold something: a target that moves nothing holds the first vertex, at rest.
        values = offsets[vertex[ids]].astype("<f4") if len(ids) else np.zeros((1, 3), dtype="<f4")
        ids = ids if len(ids) else np.zeros(1, dtype=np.int64)
        sparse = {
            "count": len(ids),
            "indices": {"bufferView": self.add(ids.astype(id_type).tobytes()), "componentType": _CODES[id_type]},
            "values": {"bufferView": self.add(values.tobytes())},
        }
        # the others rest: their zeros count too
        within = _bounds(np.concatenate([values, np.zeros((1, 3), dtype="<f4")]))
        self.accessors.append({**_described("<f4", "VEC3", len(vertex)), **within, "sparse": sparse})
        return len(self.accessors) - 1


def _described(number: str, kind: str, count: int) -> dict[str, Any]:
    return {"componentType": _CODES[number], "type": kind, "count": count}


def _bounds(values: Float[ndarray, "N C"]) -> dict[str, Any]:
    low, high = values.min(0) + np.float32(0.0), values.max(0) + np.float32(0.0)  # no negative zeros: JSON readers
    return {"min": low.tolist(), "max": high.tolist()}


def _mesh(asset: MeshAsset, split: SplitVertices, data: _BinaryData) -> dict[str, Any]:
    """The geometry, and what is at each vertex; all but the vertices' own numbers depend on the topology alone."""
    vertex = split.vertex.numpy()
    attributes = {
        "POSITION": data.add_vectors(asset.vertices.double().numpy()[vertex] * METRES_PER_DM, bounds=True),
        "NORMAL": data.add_vectors(asset.normals.numpy()[vertex]),
    }
    if split.uv is not None:  # glTF counts v from the top
        attributes["TEXCOORD_0"] = data.add_vectors(split.uv.numpy() * [1.0, -1.0] + [0.0, 1.0])
    if asset.texture is None and asset.colors is not None:
        attributes["COLOR_0"] = data.add_vectors(linear_from_srgb(asset.colors).numpy()[vertex])
    primitive: dict[str, Any] = {
        "attributes": attributes,
        "indices": data.add_indices(split.faces.numpy().reshape(-1)),
        "material": 0,
    }
    mesh: dict[str, Any] = {"name": asset.name, "primitives": [primitive]}
    if asset.morph_targets:
        offsets = (target.numpy() * METRES_PER_DM for target in asset.morph_targets.values())
        primitive["targets"] = [{"POSITION": data.add_offsets(each, vertex)} for each in offsets]
        mesh["weights"] = [float(asset.morph_weights.get(name, 0.0)) for name in asset.morph_targets]
        mesh["extras"] = {"targetNames": list(asset.morph_targets)}
    return mesh


def _moving(
    motion: FaceMotion, name: str, mesh: dict[str, Any], node: dict[str, Any], data: _BinaryData
) -> dict[str, Any]:
    """Animation and camera; node and mesh stand as in the first frame for viewers that do not move them."""
    turns, moves = quaternion_from_rotation(motion.rotations).numpy(), motion.translations.numpy() * METRES_PER_DM
    flips = np.cumprod(np.concatenate([[1.0], np.where((turns[1:] * turns[:-1]).sum(1) < 0, -1.0, 1.0)]))
    turns, weights = turns * flips[:, None], motion.weights.numpy().clip(0.0, 1.0)
    node |= {"rotation": turns[0].tolist(), "translation": moves[0].tolist()}
    mesh["weights"] = weights[0].tolist()
    times = data.add_keys(motion.times_s.numpy()[:, None], "SCALAR", bounds=True)
    keys = {
        "rotation": data.add_keys(turns, "VEC4"),
        "translation": data.add_keys(moves, "VEC3"),
        "weights": data.add_keys(weights, "SCALAR"),
    }
    camera = motion.camera
    focal = float(camera.focal_px[0])
    lens = {
        "yfov": 2.0 * math.atan2(camera.height / 2.0, focal),
        "aspectRatio": camera.width / camera.height,
        "znear": 0.01,
        "zfar": 100.0,
    }
    seen_from = {"name": "camera", "camera": 0, "translation": [0.0, 0.0, camera.distance_dm * METRES_PER_DM]}
    animation = {
        "name": name,
        "samplers": [{"input": times, "output": output, "interpolation": "LINEAR"} for output in keys.values()],
        "channels": [{"sampler": k, "target": {"node": 0, "path": path}} for k, path in enumerate(keys)],
    }
    return {
        "animations": [animation],
        "cameras": [{"type": "perspective", "perspective": lens}],
        "more nodes": [seen_from],
    }


def _look(asset: MeshAsset, data: _BinaryData) -> dict[str, Any]:
    """Material, and its texture if there is one."""
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
    # doubleSided: an open face is also seen from behind.
    look: dict[str, Any] = {
        "materials": [{"name": asset.name, "doubleSided": True, "pbrMetallicRoughness": surface}],
    }
    if asset.texture is not None:
        surface["baseColorTexture"] = {"index": 0}
        sampler = {
            "magFilter": _LINEAR,
            "minFilter": _LINEAR_MIPMAP_LINEAR,
            "wrapS": _CLAMP_TO_EDGE,
            "wrapT": _CLAMP_TO_EDGE,
        }
        view = data.add(texture_png(asset))
        look["images"] = [{"name": f"{asset.name} albedo", "mimeType": "image/png", "bufferView": view}]
        look |= {"samplers": [sampler], "textures": [{"sampler": 0, "source": 0}]}
    return look
