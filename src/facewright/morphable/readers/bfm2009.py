"""Basel Face Model 2009 with the expressions of Guo et al., cropped as Deep3D does (docs/deep3d.md section 1)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from facewright.errors import FaceModelError
from facewright.morphable.linear import FaceModel
from facewright.morphable.readers.arrays import (
    deviations,
    file_digests,
    first_modes,
    ids_from_one,
    interleaved,
    pick,
    require_files,
    shaped,
    vector,
)
from facewright.morphable.readers.assembly import SourceMesh, face_model_from_source
from facewright.morphable.readers.deep3d_topology import LICENCE, Deep3dTopology, read_topology
from facewright.morphable.readers.frame import ModelFrame, five_ids_from_68
from facewright.morphable.readers.matlab import read_matlab
from facewright.morphable.readers.report import ImportProgress, ImportReport, MissingPart, silent
from facewright.morphable.readers.topology import cropped_faces, extend_smoothly, faces_inside
from facewright.untrusted import read_text, reading

Crop = Literal["front", "full", "nomouth"]

MORPHABLE_MODEL = MissingPart(
    "01_MorphableModel.mat (identity and albedo)",
    "sign the 2009 agreement at https://faces.dmi.unibas.ch/bfm/, unpack BaselFaceModel.tgz: in its folder PublicMM1",
    "model2017-1_*.h5 or model2019_*.h5: those are other models",
)
EXPRESSION = MissingPart(
    "Exp_Pca.bin (expressions)",
    "https://github.com/Juyong/3DFace, the CoarseData archive that its readme links (research only)",
    "std_exp.txt alone, which holds only the deviations",
)
TABLES = MissingPart(
    "the folder BFM of a Deep3DFaceRecon checkout (BFM_exp_idx, BFM_front_idx, facemodel_info .mat and std_exp.txt)",
    "git clone https://github.com/sicxu/Deep3DFaceRecon_pytorch (or microsoft/Deep3DFaceReconstruction): folder BFM",
)
UV = MissingPart(
    "texture coordinates (BFM_UV.mat)", "https://github.com/anilbas/3DMMasSTN: util/BFM_UV.mat (Apache-2.0 repository)"
)
_UM_TO_DM = 1e-5
_MOST_TRIMMED = 2
"""The whole model has less than twice the vertices that have expressions (53,490 to 53,215)."""
_LANDMARK_TOLERANCE_DM = 0.01


@dataclass(frozen=True)
class Bfm2009Arguments:
    """Basel Face Model 2009 with expressions, as Deep3D uses it."""

    morphable_model: Path
    """01_MorphableModel.mat of the Basel Face Model 2009."""
    expression: Path
    """Exp_Pca.bin of Guo et al. (Juyong/3DFace)."""
    tables: Path
    """Folder BFM of a Deep3DFaceRecon checkout, with std_exp.txt and the index tables."""
    crop: Crop = "front"
    """front: the 35,709 vertices of Deep3D; full: all 53,490, with ears and neck; nomouth: 53,215, no inner mouth."""
    uv: Path | None = None
    """BFM_UV.mat, texture coordinates of the 53,490 vertices."""
    num_id: int = 80
    """Identity modes to keep; 80 fit the official weights, 0 keeps all 199."""
    num_exp: int = 64
    """Expression modes to keep; 64 fit the official weights, 0 keeps all 79."""
    num_tex: int = 80
    """Albedo modes to keep; 80 fit the official weights, 0 keeps all 199."""


@dataclass(frozen=True)
class _Tables:
    """Index tables between the three Basel topologies, from 0."""

    whole_of_trimmed: Int[np.ndarray, " T"]
    trimmed_of_front: Int[np.ndarray, " V"]
    topology: Deep3dTopology
    exp_std: Float[np.ndarray, " K"]
    landmarks_dm: Float[np.ndarray, "68 3"] | None

    @property
    def whole_count(self) -> int:
        return int(self.whole_of_trimmed.max()) + 1

    @property
    def whole_of_front(self) -> Int[np.ndarray, " V"]:
        return self.whole_of_trimmed[self.trimmed_of_front]


@dataclass(frozen=True)
class _CropRows:
    """Where the rows of a crop come from.

    ``whole``: row of the 53,490 vertices. ``trimmed``: row of the 53,215 that have expressions, -1 for the inner mouth.
    ``front``: row of the crop for each of the 35,709 vertices.
    """

    whole: Int[np.ndarray, " N"]
    trimmed: Int[np.ndarray, " N"]
    front: Int[np.ndarray, " V"]


def import_bfm2009(
    morphable_model: Path,
    expression: Path,
    tables: Path,
    *,
    crop: Crop = "front",
    uv: Path | None = None,
    num_id: int = 80,
    num_exp: int = 64,
    num_tex: int = 80,
    progress: ImportProgress = silent,
) -> tuple[FaceModel, ImportReport]:
    """Read the Basel Face Model 2009, micrometres, into the Deep3D frame (docs/deep3d.md sections 1.5 and 1.6).

    Every crop has the origin of the 35,709-vertex one: the mean of *its* mean shape. So coefficients, poses and
    landmarks mean the same on all three.

    Args:
        morphable_model: ``01_MorphableModel.mat``.
        expression: ``Exp_Pca.bin``.
        tables: folder ``BFM`` of a Deep3D checkout.
        crop: which vertices to keep.
        uv: ``BFM_UV.mat``, if there is one.
        num_id: identity modes to keep, 0 for all.
        num_exp: expression modes to keep, 0 for all.
        num_tex: albedo modes to keep, 0 for all.
        progress: told what is being done.

    Raises:
        AssetNotFoundError: files are missing; all of them are named.
        FaceModelError: a file is malformed, or belongs to another model.
    """
    table_files = [tables / name for name in _TABLE_FILES]
    wanted = [(morphable_model, MORPHABLE_MODEL), (expression, EXPRESSION), *((path, TABLES) for path in table_files)]
    require_files([*wanted, *([(uv, UV)] if uv is not None else [])])
    progress("index tables", 0.0)
    index = _read_tables(tables)
    rows = _crop_rows(index, crop)
    progress("identity", 0.05)
    mean, id_basis = _read_modes(morphable_model, "shape", index, rows, num_id)
    frame = ModelFrame("micrometre", _UM_TO_DM, np.eye(3), -_UM_TO_DM * mean[rows.front].mean(0))
    _check_landmarks(frame.points(mean[rows.front]), index, morphable_model.name)
    progress("albedo", 0.45)
    mean_albedo, albedo_basis = _read_modes(morphable_model, "tex", index, rows, num_tex)
    progress("expressions", 0.8)
    exp_basis, exp_total = _read_expressions(expression, index, rows, num_exp)
    faces, face_notes = _read_faces(morphable_model, index, rows, crop)
    if (rows.trimmed < 0).any():
        exp_basis = extend_smoothly(exp_basis, rows.trimmed < 0, faces)
        face_notes.append("the inner mouth has no expressions of its own: they are extended smoothly from its rim")
    progress("assembling", 0.9)
    ibug68 = rows.front[index.topology.ibug68]
    regions = index.topology.regions(rows.front, len(mean))
    source = SourceMesh(
        mean_shape=mean,
        id_basis=id_basis,
        exp_basis=exp_basis,
        faces=faces,
        mean_albedo=mean_albedo / 255.0,
        albedo_basis=albedo_basis / np.float32(255.0),
        uv=None if uv is None else _read_uv(uv, index, rows),
        faces_uv=None if uv is None else faces,
        ibug68=ibug68,
        five=five_ids_from_68(ibug68),
        regions=regions,
        face_parts={"photometric": faces_inside(faces, regions["photometric"] > 0.5)},
    )
    sources = [morphable_model, expression, *table_files, *([uv] if uv else [])]
    model = face_model_from_source(
        source,
        frame,
        {
            "name": f"bfm2009-{crop}",
            "crop_of": "bfm2009",
            "version": "2009",
            "crop": crop,
            "licence": LICENCE + "; expressions: research only",
            "source": "Basel Face Model 2009 (Paysan et al.), expressions of Guo et al. from FaceWarehouse",
            "source_files": file_digests(sources),
            "albedo_space": "display",
            "exp_prior": "normal",
        },
    )
    progress("done", 1.0)
    return model, _report(model, crop, exp_total, uv, face_notes)


_TABLE_FILES = ("BFM_exp_idx.mat", "BFM_front_idx.mat", "facemodel_info.mat", "std_exp.txt")


def _read_tables(folder: Path) -> _Tables:
    trim = vector(
        read_matlab(folder / "BFM_exp_idx.mat", ["trimIndex"])["trimIndex"], None, "BFM_exp_idx.mat: trimIndex"
    )
    front = vector(read_matlab(folder / "BFM_front_idx.mat", ["idx"])["idx"], None, "BFM_front_idx.mat: idx")
    info = read_matlab(
        folder / "facemodel_info.mat", ["tri", "point_buf", "tri_mask2", "keypoints", "frontmask2_idx", "skinmask"]
    )
    with reading("std_exp.txt", FaceModelError, "numbers on one line", "take the files of one Deep3D checkout"):
        exp_std = np.array(read_text(folder / "std_exp.txt").split(), np.float64)
    landmarks = folder / "similarity_Lm3D_all.mat"
    return _Tables(
        ids_from_one(trim, _MOST_TRIMMED * len(trim), "BFM_exp_idx.mat: trimIndex"),
        ids_from_one(front, len(trim), "BFM_front_idx.mat: idx"),
        read_topology(info, len(front), "facemodel_info.mat"),
        deviations(exp_std, None, "std_exp.txt"),
        shaped(read_matlab(landmarks, ["lm"])["lm"], (68, 3), f"{landmarks.name}: lm") if landmarks.exists() else None,
    )


def _crop_rows(index: _Tables, crop: Crop) -> _CropRows:
    trimmed_count = len(index.whole_of_trimmed)
    if crop == "front":
        count = len(index.trimmed_of_front)
        return _CropRows(index.whole_of_front, index.trimmed_of_front, np.arange(count))
    if crop == "nomouth":
        return _CropRows(index.whole_of_trimmed, np.arange(trimmed_count), index.trimmed_of_front)
    if crop != "full":
        raise ValueError(f"expected crop 'front', 'full' or 'nomouth', received {crop!r}")
    whole_count = index.whole_count
    trimmed = np.full(whole_count, -1, np.int64)
    trimmed[index.whole_of_trimmed] = np.arange(trimmed_count)
    return _CropRows(np.arange(whole_count), trimmed, index.whole_of_front)


def _read_modes(
    path: Path, which: Literal["shape", "tex"], index: _Tables, rows: _CropRows, count: int
) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, "N 3 K"]]:
    """Mean (float64) and scaled modes (float32), source unit; one variable in memory at a time."""
    size = 3 * index.whole_count
    name = f"{path.name}: {which}"
    mean = vector(read_matlab(path, [f"{which}MU"])[f"{which}MU"], size, f"{name}MU").astype(np.float64)
    std = deviations(read_matlab(path, [f"{which}EV"])[f"{which}EV"], None, f"{name}EV")
    modes = shaped(read_matlab(path, [f"{which}PC"])[f"{which}PC"], (size, len(std)), f"{name}PC")
    kept = first_modes(count, len(std), f"{name}PC")
    _check_orthonormal(modes[:, : min(kept, 4)], f"{name}PC")
    basis = interleaved(modes[:, :kept])[rows.whole] * std[:kept]
    return mean.reshape(-1, 3)[rows.whole], basis.astype(np.float32)


def _check_orthonormal(columns: np.ndarray, what: str) -> None:
    gram = columns.astype(np.float64).T @ columns.astype(np.float64)
    if not np.allclose(gram, np.eye(len(gram)), atol=1e-2):
        raise FaceModelError(
            f"{what}: expected orthonormal columns (deviations come apart, in EV), received columns of length "
            f"{np.sqrt(np.diag(gram)).round(3).tolist()}; is it the original file?"
        )


def _check_landmarks(front_dm: Float[np.ndarray, "V 3"], index: _Tables, file: str) -> None:
    if index.landmarks_dm is None:
        return
    off = float(np.abs(front_dm[index.topology.ibug68] - index.landmarks_dm).max())
    if off > _LANDMARK_TOLERANCE_DM:
        raise FaceModelError(
            f"{file}: expected the mean face of the Basel Face Model 2009 in micrometres, whose 68 landmarks are those "
            f"of similarity_Lm3D_all.mat, received one that is up to {off:.3g} dm off; is it the 2009 model?"
        )


def _read_expressions(
    path: Path, index: _Tables, rows: _CropRows, count: int
) -> tuple[Float[np.ndarray, "N 3 K"], int]:
    """Scaled modes (micrometres, float32; zero where the crop has no expressions) and how many the file holds.

    Layout: int32 K, then 1 + K blocks of 3 x 53,215 float32, little-endian; the first block, a mean, is not used.
    """
    vertices = len(index.whole_of_trimmed)
    size = path.stat().st_size
    head = np.fromfile(path, "<i4", 1)
    available = int(head[0]) if head.size else 0
    expected = 4 + 4 * 3 * vertices * (available + 1)
    if not 0 < available <= 1000 or size != expected:
        raise FaceModelError(
            f"{path.name}: expected a count K and then (K + 1) x 3 x {vertices} numbers (K = 79: "
            f"{4 + 12 * vertices * 80} bytes), received {size} bytes with K = {available}; download it again"
        )
    if len(index.exp_std) < available:
        raise FaceModelError(
            f"std_exp.txt: expected {available} deviations, as Exp_Pca.bin has, received {len(index.exp_std)}"
        )
    kept = first_modes(count, available, path.name)
    modes = np.fromfile(path, "<f4", kept * 3 * vertices, offset=4 + 12 * vertices).reshape(kept, vertices, 3)
    shaped(modes, (kept, vertices, 3), path.name)
    scaled = modes[:, rows.trimmed].transpose(1, 2, 0) * index.exp_std[:kept]
    scaled[rows.trimmed < 0] = 0.0
    return scaled.astype(np.float32), available


def _read_faces(path: Path, index: _Tables, rows: _CropRows, crop: Crop) -> tuple[Int[np.ndarray, "F 3"], list[str]]:
    """Triangles of the crop, wound as Deep3D's: from its own list, or from ``tl`` of the whole model."""
    if crop == "front":
        return index.topology.faces, []
    what = f"{path.name}: tl"
    stored = shaped(pick(read_matlab(path, ["tl"]), "tl", path.name), (None, 3), what)
    faces = ids_from_one(stored, index.whole_count, what)
    ours = {tuple(face) for face in _turned(index.topology.faces).tolist()}
    same, flipped = (
        sum(tuple(face) in ours for face in _turned(cropped_faces(f, index.whole_of_front, index.whole_count)).tolist())
        for f in (faces, faces[:, ::-1])
    )
    notes = [f"{max(same, flipped)} of the {len(ours)} triangles of Deep3D's crop are among those of the whole model"]
    return cropped_faces(faces if same >= flipped else faces[:, ::-1], rows.whole, index.whole_count), notes


def _turned(faces: Int[np.ndarray, "F 3"]) -> Int[np.ndarray, "F 3"]:
    """Each triangle with its smallest id first, winding kept."""
    turn = (faces.argmin(1)[:, None] + np.arange(3)) % 3
    return np.take_along_axis(faces, turn, 1)


def _read_uv(path: Path, index: _Tables, rows: _CropRows) -> Float[np.ndarray, "N 2"]:
    uv = pick(read_matlab(path, ["UV"]), "UV", path.name)
    return shaped(uv, (index.whole_count, 2), f"{path.name}: UV")[rows.whole]


def _report(model: FaceModel, crop: Crop, exp_total: int, uv: Path | None, notes: list[str]) -> ImportReport:
    layout = model.layout
    return ImportReport(
        "bfm2009",
        found=(
            f"Basel Face Model 2009, crop {crop!r}: {len(model.mean_shape)} vertices, {len(model.faces)} triangles",
            f"{layout.id} identity, {layout.exp} of {exp_total} expression and {layout.tex} albedo modes",
            "68 landmarks, photometric region, skin region",
        ),
        missing=() if uv else (UV,),
        notes=(
            "the expression mean in Exp_Pca.bin is not used, as in Deep3D",
            "colours are display values (not linear), as in Deep3D",
            *notes,
        ),
    )
