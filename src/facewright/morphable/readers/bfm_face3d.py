"""BFM.mat as face3d's preparation writes it: the Basel Face Model 2009 with the expressions of 3DDFA, of 300W-LP."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from facewright.errors import FaceModelError
from facewright.morphable.linear import FaceModel
from facewright.morphable.readers.arrays import (
    deviations,
    file_digests,
    ids_from_one,
    interleaved,
    pick,
    require_files,
    shaped,
    vector,
)
from facewright.morphable.readers.assembly import SourceMesh, face_model_from_source
from facewright.morphable.readers.bfm2009 import UV
from facewright.morphable.readers.deep3d_topology import LICENCE
from facewright.morphable.readers.frame import ModelFrame, five_ids_from_68
from facewright.morphable.readers.matlab import read_matlab
from facewright.morphable.readers.report import ImportProgress, ImportReport, MissingPart, silent
from facewright.untrusted import mat_contents, reading

FACE3D = MissingPart(
    "BFM.mat (identity, expressions, albedo, triangles, landmarks)",
    "written by the preparation in face3d's examples/Data/BFM from the Basel model and the files of 3DDFA",
    "01_MorphableModel.mat, which 'bfm2009' reads",
)
STRUCTURE = "model"
DEVIATIONS = "deviations"
"""Entry of the metadata: those of the modes, by which coefficients of 300W-LP are more than ours."""
_UM_TO_DM = 1e-5
_NEEDED = ("shapeMU", "shapePC", "shapeEV", "expMU", "expPC", "expEV", "tri", "kpt_ind")
_COLORS = ("texMU", "texPC", "texEV")
_MENDED_UV = ((10032, (10033, 10158)), (10155, (10534, 10157, 10661)), (10280, (10916, 10286)))
"""Vertices, from 1, whose texture coordinates the published maps took from others."""
_UV_ROWS = 53_215
"""Vertices of the trimmed model, to which ``_MENDED_UV`` belongs."""


@dataclass(frozen=True)
class BfmFace3dArguments:
    """BFM.mat of face3d: the model of 300W-LP, 199 identity and 29 expression modes."""

    model: Path
    """BFM.mat: one structure ``model``, or its members as variables."""
    uv: Path | None = None
    """BFM_UV.mat, texture coordinates; of all 53,490 vertices with --trim, else of the model's own."""
    trim: Path | None = None
    """BFM_exp_idx.mat (folder BFM of a Deep3DFaceRecon checkout): which of the 53,490 the model has."""


def import_bfm_face3d(
    model: Path, *, uv: Path | None = None, trim: Path | None = None, progress: ImportProgress = silent
) -> tuple[FaceModel, ImportReport]:
    """Read the model that 300W-LP was fitted with, micrometres, into the Deep3D frame.

    The metadata keep the deviations of the modes: files of 300W-LP hold coefficients times those.

    Args:
        model: ``BFM.mat``.
        uv: ``BFM_UV.mat``.
        trim: ``BFM_exp_idx.mat``, whose ``trimIndex`` says which rows of ``uv`` are the model's.
        progress: told what is being done.

    Raises:
        AssetNotFoundError: a file is missing.
        FaceModelError: it is malformed or another file.
    """
    require_files([(model, FACE3D), *((path, UV) for path in (uv, trim) if path is not None)])
    file = model.name
    progress("reading", 0.0)
    with reading(file, FaceModelError, "a whole MATLAB file of numbers", "write it again"):
        found = mat_contents(model, {STRUCTURE, *_NEEDED, *_COLORS}).arrays
    arrays = {name.removeprefix(f"{STRUCTURE}."): array for name, array in found.items()}
    mean = vector(pick(arrays, "shapeMU", file), None, f"{file}: shapeMU").astype(np.float64)
    count = mean.size // 3
    mean = mean + vector(pick(arrays, "expMU", file), 3 * count, f"{file}: expMU")
    bases, stds = {}, {}
    for step, name in enumerate(("shape", "exp", *(("tex",) if "texPC" in arrays else ()))):
        progress(name, 0.2 + 0.2 * step)
        bases[name], stds[name] = _modes(arrays, name, 3 * count, file)
    faces = ids_from_one(shaped(pick(arrays, "tri", file), (3, None), f"{file}: tri").T, count, f"{file}: tri")
    ibug68 = ids_from_one(vector(pick(arrays, "kpt_ind", file), 68, f"{file}: kpt_ind"), count, f"{file}: kpt_ind")
    mean = mean.reshape(-1, 3)
    a, b, c = (mean[faces[:, k]] for k in range(3))
    if np.cross(b - a, c - a)[:, 2].sum() < 0:  # the face looks along +z
        faces = faces[:, ::-1]
    places = None if uv is None else _places(uv, trim, count)
    progress("assembling", 0.9)
    colors = {}
    if "tex" in bases:
        tone = vector(pick(arrays, "texMU", file), 3 * count, f"{file}: texMU").astype(np.float64)
        colors = {
            "mean_albedo": tone.reshape(-1, 3) / 255.0,
            "albedo_basis": bases["tex"] / np.float32(255.0),
        }
    source = SourceMesh(
        mean_shape=mean,
        id_basis=bases["shape"],
        exp_basis=bases["exp"],
        faces=faces,
        uv=places,
        faces_uv=None if places is None else faces,
        ibug68=ibug68,
        five=five_ids_from_68(ibug68),
        **colors,
    )
    built = face_model_from_source(
        source,
        ModelFrame("micrometre", _UM_TO_DM, np.eye(3), -_UM_TO_DM * mean[ibug68].mean(0)),
        {
            "name": "bfm2009-3ddfa",
            "crop_of": "bfm2009-3ddfa",
            "version": "2009",
            "licence": LICENCE + "; expressions: research only",
            "source": "Basel Face Model 2009 with the expressions of 3DDFA, as prepared by face3d",
            "source_files": file_digests([path for path in (model, uv, trim) if path is not None]),
            "albedo_space": "display" if colors else "linear",
            "exp_prior": "normal",
            DEVIATIONS: {"id": stds["shape"].tolist(), "exp": stds["exp"].tolist()},
        },
    )
    progress("done", 1.0)
    layout = built.layout
    report = ImportReport(
        "bfm-face3d",
        found=(
            f"the model of 300W-LP: {count} vertices, {len(faces)} triangles",
            f"{layout.id} identity, {layout.exp} expression and {layout.tex} albedo modes, 68 landmarks",
        ),
        missing=() if uv else (UV,),
        notes=("colours are display values (not linear), as in Deep3D",) if colors else ("it has no colours",),
    )
    return built, report


def _modes(
    arrays: dict[str, np.ndarray], name: str, size: int, file: str
) -> tuple[Float[np.ndarray, "V 3 K"], Float[np.ndarray, " K"]]:
    """Scaled modes (float32) and their deviations."""
    std = deviations(pick(arrays, f"{name}EV", file), None, f"{file}: {name}EV")
    modes = shaped(pick(arrays, f"{name}PC", file), (size, len(std)), f"{file}: {name}PC")
    return (interleaved(modes) * std).astype(np.float32), std


def _places(uv: Path, trim: Path | None, count: int) -> Float[np.ndarray, "V 2"]:
    places = shaped(pick(read_matlab(uv, ["UV"]), "UV", uv.name), (None, 2), f"{uv.name}: UV").astype(np.float64)
    if trim is not None:
        ids = vector(read_matlab(trim, ["trimIndex"])["trimIndex"], count, f"{trim.name}: trimIndex")
        places = places[ids_from_one(ids, len(places), f"{trim.name}: trimIndex")]
    if len(places) != count:
        raise FaceModelError(
            f"{uv.name}: expected texture coordinates of {count} vertices, received {len(places)}; give "
            "BFM_exp_idx.mat as --trim, which says whose they are"
        )
    if count == _UV_ROWS:
        for vertex, others in _MENDED_UV:
            places[vertex - 1] = places[np.array(others) - 1].mean(0)
    return places
