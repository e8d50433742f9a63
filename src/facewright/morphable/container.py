"""The one file format of face models: an ``.npz`` of plain arrays and one JSON text. Nothing in it is ever executed.

Arrays: ``mean_shape``, ``id_basis``, ``exp_basis``, ``mean_albedo``, ``albedo_basis``, ``faces``, ``uv``, ``faces_uv``;
annotations ``ibug68``, ``five``, ``contours``, ``mirror``, ``mesh468_corners``, ``mesh468_weights``, ``mesh468_trust``,
``region/<name>``, ``face_part/<name>``. A basis is float32, float16, or int8 with ``<name>_scale`` per mode.
``metadata`` is UTF-8 JSON: format (2), name, version, edition (of the coefficients; 1 if absent), licence, source,
unit, axes, albedo_space, exp_prior, exp_names, sha256 of the arrays, and whatever else the model's metadata hold.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy import ndarray

from facewright.assets import embedded_path
from facewright.errors import AssetNotFoundError, FaceModelError
from facewright.files import written_whole
from facewright.morphable.linear import FaceModel
from facewright.morphable.soundness import require_sound
from facewright.records import Annotations, Embedding, Topology
from facewright.untrusted import NpyHeader, parse_json, read_npz, reading

BasisStorage = Literal["float32", "float16", "int8"]
"""How bases are kept: exactly, to 11 bits, or to 1/254 of each mode's own range."""

FORMAT = 2
"""Written as ``format`` into the metadata, and asked for on reading; files of format 1 did not say it."""

EMBEDDED = {"open": "open_head.npz"}
"""Names of the face models that ship with the package."""

_REBUILD = "convert or download the face model again"
_BASES = ("id_basis", "exp_basis", "albedo_basis")
_SHAPES = {
    "mean_shape": (None, 3),
    **dict.fromkeys(_BASES, (None, 3, None)),
    "mean_albedo": (None, 3),
    "uv": (None, 2),
    "mesh468_weights": (468, 3),
    "mesh468_trust": (468,),
}
"""Floating-point arrays; None is any length."""
_INDICES = {
    "faces": (None, 3),
    "faces_uv": (None, 3),
    "ibug68": (68,),
    "five": (5, None),
    "contours": (17, None),
    "mesh468_corners": (468, 3),
    "mirror": (None,),
}
_OPTIONAL = {"uv", "faces_uv", "ibug68", "five", "contours", "mirror"} | {name for name in _SHAPES if "468" in name}
_OPTIONAL |= {"mesh468_corners"}
_PADDED = {"five", "contours"}
_ROOMS = {"region", "face_part"}
"""Arrays ``<room>/<name>``: one per mask."""
_MOST_METADATA = 16 << 20
_VALID_METADATA = {"albedo_space": ("linear", "display"), "exp_prior": ("normal", "box"), "unit": ("dm",)}


def save_face_model(model: FaceModel, path: str | os.PathLike[str], *, bases: BasisStorage = "float32") -> None:
    """Write a face model. The same model gives the same bytes.

    Args:
        model: its metadata must hold ``name``.
        path: ends in ``.npz``.
        bases: storage of the three bases; float32 is not compressed, so that large models load fast.

    Raises:
        FaceModelError: the model would not load again (non-finite values, ids out of range, no name).
        ExportError: the file cannot be written.
    """
    arrays = _arrays_from_model(model, bases)
    metadata = {"unit": "dm", "axes": "x to the subject's left, y up, z out of the face"} | model.metadata
    metadata["format"] = FORMAT
    metadata |= {"exp_names": list(model.exp_names), "albedo_space": model.albedo_space}
    metadata |= {"exp_prior": "box" if model.exp_is_box else "normal", "sha256": _digest(arrays)}
    _model_from_arrays(arrays, metadata, Path(path))  # whatever is written loads again
    text = json.dumps(metadata, sort_keys=True, ensure_ascii=False, allow_nan=False)
    arrays |= {"metadata": np.frombuffer(text.encode(), np.uint8)}
    with written_whole(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(name + ".npy", date_time=(1980, 1, 1, 0, 0, 0))
            exact_basis = name in _BASES and array.dtype == np.float32
            entry.compress_type = zipfile.ZIP_STORED if exact_basis else zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def load_face_model(path_or_name: str | os.PathLike[str] = "open") -> FaceModel:
    """Read a face model file, or one of the embedded models by its name.

    Args:
        path_or_name: a path, or ``"open"`` for the embedded head.

    Raises:
        AssetNotFoundError: there is no such file.
        FaceModelError: the file is damaged or is no face model.
    """
    name = os.fspath(path_or_name)
    path = embedded_path(EMBEDDED[name]) if name in EMBEDDED else Path(name)
    arrays, metadata = _read(path)
    found = _digest(arrays)
    if metadata.get("sha256") != found:
        raise FaceModelError(
            f"{path}: expected arrays with sha256 {metadata.get('sha256')}, received {found}: the file was damaged or "
            f"edited; {_REBUILD}"
        )
    return _model_from_arrays(arrays, metadata, path)


def _read(path: Path) -> tuple[dict[str, ndarray], dict[str, Any]]:
    """All arrays of a file but ``metadata``, and that parsed."""
    if not path.is_file():
        raise AssetNotFoundError(
            f"expected a face model file, found none at {path}; give the path of an .npz made by `facewright model "
            f"import KIND`, or a name out of {sorted(EMBEDDED)}"
        )
    with reading(path, FaceModelError, "a whole .npz of plain arrays", _REBUILD):
        arrays = read_npz(path, check=lambda headers: _check_file(headers, path))
        metadata = parse_json(arrays.pop("metadata").tobytes().decode())
    if not isinstance(metadata, dict):
        raise FaceModelError(f"{path}: expected metadata as a JSON object, received {metadata!r:.80}; {_REBUILD}")
    return arrays, metadata


def _digest(arrays: Mapping[str, ndarray]) -> str:
    """sha256 over names, types, shapes and contents."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(array.data.cast("B") if array.size else b"")
    return digest.hexdigest()


def _arrays_from_model(model: FaceModel, bases: BasisStorage) -> dict[str, ndarray]:
    """Everything to be written but the metadata, in a fixed order."""
    notes, arrays = model.annotations, {}
    tensors: dict[str, torch.Tensor | None] = dict(model.named_buffers())
    tensors |= {"faces": model.faces, "uv": model.uv, "faces_uv": model.faces_uv}
    mesh468 = notes.mesh468
    tensors |= {"ibug68": notes.ibug68, "five": notes.five, "contours": notes.contours, "mirror": notes.mirror}
    tensors |= {"mesh468_trust": notes.mesh468_trust}
    tensors |= {"mesh468_corners": mesh468.corners, "mesh468_weights": mesh468.weights} if mesh468 else {}
    tensors |= {f"region/{name}": mask for name, mask in notes.regions.items()}
    tensors |= {f"face_part/{name}": mask for name, mask in notes.face_parts.items()}
    for name, tensor in sorted(tensors.items()):
        if tensor is None:
            continue
        array = tensor.detach().cpu().contiguous().numpy()
        if name in _BASES:
            arrays |= _packed_basis(name, array, bases)
        elif array.dtype.kind == "i":
            arrays[name] = array.astype(np.int32)
        else:
            arrays[name] = array if array.dtype.kind == "b" else array.astype(np.float32)
    return arrays


def _packed_basis(name: str, basis: ndarray, storage: BasisStorage) -> dict[str, ndarray]:
    if storage == "int8":
        scale = (np.abs(basis).max((0, 1), initial=0.0) / 127.0).astype(np.float32)
        steps = np.rint(basis / np.where(scale > 0, scale, 1.0))
        return {name: steps.astype(np.int8), f"{name}_scale": scale}
    return {name: basis.astype(storage)}


def _unpacked_basis(name: str, basis: ndarray, scale: ndarray | None, path: Path) -> ndarray:
    """float32, whatever the storage."""
    if scale is None:
        return basis.astype(np.float32, copy=False)
    if not np.isfinite(scale).all() or scale.min(initial=0.0) < 0:
        raise FaceModelError(f"{path}: '{name}_scale': expected finite values from 0 up; {_REBUILD}")
    return basis * scale.astype(np.float32)


def _model_from_arrays(arrays: dict[str, ndarray], metadata: dict[str, Any], path: Path) -> FaceModel:
    """Check everything, then assemble.

    Raises:
        FaceModelError: what does not hold.
    """
    _check_headers({name: NpyHeader(array.dtype, array.shape) for name, array in arrays.items()}, path)
    arrays = dict(arrays)
    for name in _BASES:
        arrays[name] = _unpacked_basis(name, arrays[name], arrays.pop(f"{name}_scale", None), path)
    _check_ids(arrays, path)
    exp_names = metadata.get("exp_names", [])
    _check_metadata(metadata, exp_names, arrays["exp_basis"].shape[2], path)
    require_sound(arrays, exp_names, metadata, str(path))
    tensors = {name: torch.from_numpy(_tensor_ready(array)) for name, array in arrays.items()}
    regions = {name.removeprefix("region/"): tensors.pop(name) for name in arrays if name.startswith("region/")}
    parts = {name.removeprefix("face_part/"): tensors.pop(name) for name in arrays if name.startswith("face_part/")}
    corners, weights = tensors.pop("mesh468_corners", None), tensors.pop("mesh468_weights", None)
    mesh468 = Embedding(corners, weights) if corners is not None and weights is not None else None
    notes = {name: tensors.pop(name, None) for name in ("ibug68", "five", "contours", "mesh468_trust", "mirror")}
    annotations = Annotations(mesh468=mesh468, regions=regions, face_parts=parts, **notes)
    kept = {name: value for name, value in metadata.items() if name != "exp_names"}
    mesh = {name: tensors.pop(name, None) for name in ("uv", "faces_uv")}
    topology = Topology(tensors.pop("faces"), **mesh, annotations=annotations, morph_names=tuple(exp_names))
    return FaceModel(**tensors, topology=topology, metadata=kept)


def _tensor_ready(array: ndarray) -> ndarray:
    """Native byte order, int64 ids, float32 values, writable and contiguous; a copy only where needed."""
    wanted = {"i": np.int64, "u": np.int64, "f": np.float32, "b": np.bool_}[array.dtype.kind]
    return np.require(array, wanted, ["C", "W"])


def _check_file(headers: Mapping[str, NpyHeader], path: Path) -> None:
    """What ``_check_headers`` says, and the metadata.

    Raises:
        FaceModelError: what does not hold.
    """
    text = headers.get("metadata")
    if text is None or text.dtype != np.uint8 or text.ndim != 1 or len(text) > _MOST_METADATA:
        received = "none" if text is None else f"{text.dtype} {text.shape}"
        raise FaceModelError(
            f"{path}: expected an array 'metadata' of up to {_MOST_METADATA} bytes, received {received}; {_REBUILD}"
        )
    _check_headers({name: header for name, header in headers.items() if name != "metadata"}, path)


def _check_headers(arrays: Mapping[str, NpyHeader], path: Path) -> None:
    """All that can be said before any data is read.

    Raises:
        FaceModelError: what does not hold.
    """
    arrays = dict(arrays)
    for name in _BASES:
        scale = arrays.pop(f"{name}_scale", None)
        if scale is None or name not in arrays:
            continue
        if arrays[name].dtype != np.int8 or scale.dtype.kind != "f" or scale.shape != arrays[name].shape[2:]:
            raise FaceModelError(
                f"{path}: '{name}_scale': expected one step per mode of a basis in int8, received {scale.dtype} "
                f"{scale.shape} beside a basis in {arrays[name].dtype} {arrays[name].shape}; {_REBUILD}"
            )
        arrays[name] = NpyHeader(np.dtype(np.float32), arrays[name].shape)
    _check_types(arrays, path)
    _check_sizes(arrays, path)


def _check_types(arrays: dict[str, NpyHeader], path: Path) -> None:
    """Known names, all that is required, element types, ranks, fixed lengths."""
    known = _SHAPES | _INDICES
    missing = known.keys() - _OPTIONAL - arrays.keys()
    if missing:
        raise FaceModelError(f"{path}: expected the arrays {sorted(missing)}, received none of that name; {_REBUILD}")
    for name, array in arrays.items():
        shape = (None,) if name.partition("/")[0] in _ROOMS and "/" in name else known.get(name)
        kinds = {"face_part": "b"}.get(name.split("/")[0], "iu" if name in _INDICES else "f")
        if shape is None:
            raise FaceModelError(f"{path}: expected no array {name!r}; the file is of another kind or newer: upgrade")
        if array.dtype.kind not in kinds:
            meant = {"b": "booleans", "iu": "integers", "f": "floating-point numbers"}[kinds]
            raise FaceModelError(f"{path}: {name!r}: expected {meant}, received {array.dtype}; {_REBUILD}")
        fits = array.ndim == len(shape) and all(w in (None, n) for w, n in zip(shape, array.shape, strict=True))
        if not fits:
            wanted = tuple("any" if n is None else n for n in shape)
            raise FaceModelError(f"{path}: {name!r}: expected shape {wanted}, received {array.shape}; {_REBUILD}")


def _check_sizes(arrays: dict[str, NpyHeader], path: Path) -> None:
    """The same number of vertices, faces and points wherever one is meant."""
    vertices, faces = len(arrays["mean_shape"]), len(arrays["faces"])
    if vertices == 0 or faces == 0:
        raise FaceModelError(f"{path}: expected a mesh, received {vertices} vertices and {faces} faces; {_REBUILD}")
    expected = dict.fromkeys([*_BASES, "mean_albedo", "mirror"], vertices) | {"faces_uv": faces}
    for name, array in arrays.items():
        room = name.split("/")[0]
        count = {"region": vertices, "face_part": faces}.get(room, expected.get(name))
        if count is not None and len(array) != count:
            raise FaceModelError(f"{path}: {name!r}: expected {count} rows, received {len(array)}; {_REBUILD}")
    for first, second in (("uv", "faces_uv"), ("mesh468_corners", "mesh468_weights")):
        if (first in arrays) != (second in arrays):
            raise FaceModelError(f"{path}: expected both or neither of {first!r} and {second!r}; {_REBUILD}")


def _check_ids(arrays: dict[str, ndarray], path: Path) -> None:
    """Ids point at something."""
    for name in _INDICES.keys() & arrays.keys():
        array, last = arrays[name], len(arrays["uv" if name == "faces_uv" else "mean_shape"]) - 1
        first = -1 if name in _PADDED else 0
        if array.size and (array.min() < first or array.max() > last):
            received = f"{array.min()}..{array.max()}"
            raise FaceModelError(f"{path}: {name!r}: expected ids {first}..{last}, received {received}; {_REBUILD}")


def _check_metadata(metadata: dict[str, Any], exp_names: Any, num_exp: int, path: Path) -> None:
    if metadata.get("format") != FORMAT:
        raise FaceModelError(
            f"{path}: expected a face model of format {FORMAT}, received format {metadata.get('format', 1)!r}; make "
            "it again with `facewright model import`; for the head of this package say --face-model open. Coefficients "
            "and networks of an older head need the release that they were made with"
        )
    if not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise FaceModelError(f"{path}: expected a name in the metadata, received {metadata.get('name')!r}; {_REBUILD}")
    for key, valid in _VALID_METADATA.items():
        if metadata.get(key) not in valid:
            raise FaceModelError(
                f"{path}: metadata {key!r}: expected one of {valid}, received {metadata.get(key)!r}; {_REBUILD}"
            )
    edition = metadata.get("edition", 1)
    if type(edition) is not int or edition < 1:
        raise FaceModelError(
            f"{path}: metadata 'edition': expected a whole number from 1, received {edition!r:.80}; {_REBUILD}"
        )
    are_names = isinstance(exp_names, list) and all(isinstance(name, str) for name in exp_names)
    if not are_names or len(exp_names) not in (0, num_exp):
        received = f"{len(exp_names)} entries" if isinstance(exp_names, list) else repr(exp_names)
        raise FaceModelError(
            f"{path}: metadata 'exp_names': expected {num_exp} names or none, received {received}; {_REBUILD}"
        )
