"""numpy ``.npz``: arrays by name; of an asset every array as it is, morph targets kept apart."""

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facewright.errors import ExportError
from facewright.export.asset import UNIT_PER_DM, Unit, checked, to_uint8, with_expression
from facewright.export.json import plain
from facewright.files import write_arrays
from facewright.records import MeshAsset


def npz_bytes(content: Mapping[str, Any]) -> bytes:
    """A compressed ``.npz`` of tensors and arrays by name, for ``numpy.load(path, allow_pickle=False)``.

    Raises:
        ExportError: a number is not finite.
    """
    stream = io.BytesIO()
    write_arrays(stream, finite_arrays(content))
    return stream.getvalue()


def finite_arrays(content: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors as arrays, the rest as it is.

    Raises:
        ExportError: a number is not finite; the message names which.
    """
    arrays = {
        name: value.detach().cpu().numpy() if isinstance(value, Tensor) else value for name, value in content.items()
    }
    for name, array in arrays.items():
        if isinstance(array, np.ndarray) and array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ExportError(f"{name}: expected finite numbers, received some that are not; nothing was written")
    return arrays


def asset_npz_bytes(asset: MeshAsset, *, units: Unit = "dm") -> bytes:
    """A compressed ``.npz`` that ``numpy.load(path, allow_pickle=False)`` opens.

    Keys: ``vertices`` (expression baked in), ``normals``, ``faces``, ``units``, ``name``, ``metadata`` (JSON text);
    where the asset has them ``uv``, ``faces_uv``, ``colors`` (sRGB 0..1), ``texture`` (H, W, 3 bytes, row 0 on top),
    ``vertices_neutral``, ``morph_targets`` (K, V, 3), ``morph_names``, ``morph_weights``. Same asset, same bytes.

    Raises:
        ExportError: the asset is not fit to be written.
    """
    asset = checked(asset)
    return npz_bytes(_arrays(asset, UNIT_PER_DM[units]) | {"units": np.array(units)})


def _arrays(asset: MeshAsset, scale: float) -> dict[str, np.ndarray]:
    posed = with_expression(asset)
    optional = {
        "uv": asset.uv,
        "faces_uv": None if asset.faces_uv is None else asset.faces_uv.int(),
        "colors": asset.colors,
    }
    arrays = {
        "vertices": (posed.vertices.double() * scale).float().numpy(),
        "normals": posed.normals.numpy(),
        "faces": asset.faces.int().numpy(),
        **{name: value.numpy() for name, value in optional.items() if value is not None},
        "name": np.array(asset.name),
        "metadata": np.array(json.dumps(plain(asset.metadata))),
    }
    if asset.texture is not None:
        arrays["texture"] = to_uint8(asset.texture.permute(1, 2, 0))
    if asset.morph_targets:
        arrays["vertices_neutral"] = (asset.vertices.double() * scale).float().numpy()
        arrays["morph_targets"] = (torch.stack(list(asset.morph_targets.values())) * scale).numpy()
        arrays["morph_names"] = np.array(list(asset.morph_targets))
        arrays["morph_weights"] = np.array(
            [asset.morph_weights.get(name, 0.0) for name in asset.morph_targets], dtype=np.float32
        )
    return arrays
