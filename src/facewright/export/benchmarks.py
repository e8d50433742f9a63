"""Meshes as the NoW and REALY evaluation programs read them."""

import io
from os import PathLike
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from facewright.errors import ExportError
from facewright.export.asset import UNIT_PER_DM, Unit
from facewright.export.formats import FORMATS
from facewright.files import FileSet
from facewright.geometry.ibug68 import SEVEN_OF_68
from facewright.geometry.mesh import vertex_normals
from facewright.records import MeshAsset


def write_benchmark_mesh(
    vertices_model: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    landmarks_68_model: Float[Tensor, "68 3"],
    path: str | PathLike[str],
    *,
    units: Unit = "mm",
) -> list[Path]:
    """Write ``x.obj`` (vertex order kept, no colours, no texture), ``x.npy`` (7, 3) and ``x.txt`` (68 rows) beside it.

    The caller chooses the topology (uncropped: evaluations punish a narrow crop) and the expression: NoW wants
    coefficients decoded **without** expression, REALY with it; neither wants the head's pose.

    Args:
        vertices_model: dm, in the model frame.
        faces: triangles of the face model.
        landmarks_68_model: the iBUG-68 points of the same shape, dm, same frame.
        path: of the ``.obj``.
        units: of all three files.

    Returns:
        The three files.

    Raises:
        ExportError: a number is not finite, or a file cannot be written.
    """
    if not landmarks_68_model.isfinite().all():
        raise ExportError(f"{path}: expected finite landmarks, received some that are not; nothing was written")
    path = Path(path)
    points = landmarks_68_model.detach().cpu().double().numpy() * UNIT_PER_DM[units]
    seven, text = io.BytesIO(), io.BytesIO()
    np.save(seven, points[SEVEN_OF_68])
    np.savetxt(text, points, fmt="%.6f")
    asset = MeshAsset(vertices_model, vertex_normals(vertices_model, faces), faces, name=path.stem)
    with FileSet() as files:
        FORMATS["obj"].add(files, asset, path, units=units)
        files.write(path.with_suffix(".npy"), seven.getvalue())
        files.write(path.with_suffix(".txt"), text.getvalue())
    return files.paths
