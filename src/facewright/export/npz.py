"""numpy ``.npz``: every array of the asset as it is, morph targets kept apart."""

import io
import json
import zipfile
from os import PathLike

import numpy as np
import torch

from facewright.export.asset import UNIT_PER_DM, Unit, checked, to_uint8, with_expression
from facewright.export.json import plain
from facewright.files import written_whole
from facewright.records import MeshAsset

_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_npz(asset: MeshAsset, path: str | PathLike[str], *, units: Unit = "dm") -> None:
    """Write a compressed ``.npz`` that ``numpy.load(path, allow_pickle=False)`` opens.

    Keys: ``vertices`` (expression baked in), ``normals``, ``faces``, ``units``, ``name``, ``metadata`` (JSON text);
    where the asset has them ``uv``, ``faces_uv``, ``colors`` (sRGB 0..1), ``texture`` (H, W, 3 bytes, row 0 on top),
    ``vertices_neutral``, ``morph_targets`` (K, V, 3), ``morph_names``, ``morph_weights``. Same asset, same bytes.

    Raises:
        ExportError: the asset is not fit to be written, or the file cannot be written.
    """
    asset = checked(asset)
    arrays = _arrays(asset, UNIT_PER_DM[units]) | {"units": np.array(units)}
    with written_whole(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            stream = io.BytesIO()
            np.lib.format.write_array(stream, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)  # numpy.savez would store the time of writing
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, stream.getvalue())


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
