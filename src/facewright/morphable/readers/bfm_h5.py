"""Basel Face Models 2017 and 2019, HDF5 files of the Statismo layout (docs/face-models.md)."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from facewright.errors import FaceModelError
from facewright.morphable.linear import FaceModel
from facewright.morphable.readers.arrays import (
    deviations,
    file_digests,
    first_modes,
    ids_from_zero,
    interleaved,
    require_files,
    shaped,
    vector,
)
from facewright.morphable.readers.assembly import SourceMesh, face_model_from_source
from facewright.morphable.readers.frame import five_ids_from_68, five_points, frame_from_five
from facewright.morphable.readers.landmarks import nearest_vertices, read_landmark_ids
from facewright.morphable.readers.report import ImportProgress, ImportReport, MissingPart, silent
from facewright.morphable.readers.topology import winds_outwards
from facewright.untrusted import memory_allowance, parse_json, reading
from facewright.untrusted.hdf5 import child_of, numbers_of, open_hdf5, require_dataset, text_of

Year = Literal["2017", "2019"]

FILES = {
    "2017": MissingPart(
        "model2017-1_bfm_nomouth.h5 or model2017-1_face12_nomouth.h5",
        "sign the agreement at https://faces.dmi.unibas.ch/bfm/bfm2017.html (non-commercial)",
        "01_MorphableModel.mat, which is the 2009 model: read it with 'bfm2009'",
    ),
    "2019": MissingPart(
        "model2019_bfm.h5, model2019_face12.h5 or model2019_fullHead.h5",
        "sign the agreement at https://faces.dmi.unibas.ch/bfm/bfm2019.html (non-commercial)",
        "01_MorphableModel.mat, which is the 2009 model: read it with 'bfm2009'",
    ),
}
LANDMARKS = MissingPart(
    "68 landmarks", "the file names single points only; bring a text of 68 vertex ids with --landmarks to fit photos"
)
_MM_TO_DM = 0.01
_SNAP_MM = 5.0
_MOST_TEXT = 1 << 20
_FIVE_NAMES = (
    ("right.eye.corner_outer", "right.eye.corner_inner"),
    ("left.eye.corner_inner", "left.eye.corner_outer"),
    ("center.nose.tip",),
    ("right.lips.corner",),
    ("left.lips.corner",),
)
"""Names in ``metadata/landmarks/json`` whose mean is each of the five points."""


@dataclass(frozen=True)
class BfmH5Arguments:
    """Basel Face Model 2017 or 2019 (.h5)."""

    model: Path
    """model2017-1_*.h5 or model2019_*.h5."""
    landmarks: Path | None = None
    """Text file with the vertex ids (from 0) of the 68 iBUG landmarks; needed to fit photos."""
    num_id: int = 0
    """Identity modes to keep; 0 keeps all 199."""
    num_exp: int = 0
    """Expression modes to keep; 0 keeps all 100."""
    num_tex: int = 0
    """Albedo modes to keep; 0 keeps all 199."""


@dataclass(frozen=True)
class Bfm2017Arguments(BfmH5Arguments):
    """Basel Face Model 2017 (.h5)."""


@dataclass(frozen=True)
class Bfm2019Arguments(BfmH5Arguments):
    """Basel Face Model 2019 (.h5)."""


def import_bfm_h5(
    model: Path,
    *,
    year: Year,
    landmarks: Path | None = None,
    num_id: int = 0,
    num_exp: int = 0,
    num_tex: int = 0,
    progress: ImportProgress = silent,
) -> tuple[FaceModel, ImportReport]:
    """Read a Statismo file: millimetres, variances, display colours; the landmarks fit the Deep3D face rigidly.

    Zero coefficients give the neutral mean. The file's mean expression, where it has one, becomes expression mode 0
    (``mean_expression``: coefficient 1 is the file's own mean).

    Args:
        model: the ``.h5`` file.
        year: which model it is, for its name.
        landmarks: text of 68 vertex ids.
        num_id: identity modes to keep, 0 for all.
        num_exp: expression modes to keep (besides the mean expression), 0 for all.
        num_tex: albedo modes to keep, 0 for all.
        progress: told what is being done.

    Raises:
        AssetNotFoundError: a file is missing.
        FaceModelError: a file is malformed or of another model.
        MissingExtraError: h5py is not installed.
    """
    wanted = [(model, FILES[year])] + ([(landmarks, LANDMARKS)] if landmarks else [])
    require_files(wanted)
    with _reading(model), open_hdf5(model) as file:
        stored = _Stored(file, model.name, memory_allowance(model))
        if "shape" not in file:
            raise FaceModelError(
                f"{model.name}: expected a Statismo file with groups shape, expression and color, found "
                f"{', '.join(file) or 'nothing'}; is it a Basel Face Model of {year}?"
            )
        progress("identity", 0.0)
        mean, id_basis = _read_modes(stored, "shape", num_id, None)
        progress("expressions", 0.4)
        exp_mean, exp_basis = _read_modes(stored, "expression", num_exp, len(mean))
        progress("albedo", 0.6)
        mean_albedo, albedo_basis = _read_modes(stored, "color", num_tex, len(mean))
        faces = _read_faces(stored, len(mean))
        named = _read_landmarks(stored)
    progress("assembling", 0.9)
    names: list[str] = []
    if np.abs(exp_mean).max() > 1e-3:
        exp_basis = np.concatenate([exp_mean[..., None].astype(np.float32), exp_basis], 2)
        names = ["mean_expression", *[""] * (exp_basis.shape[2] - 1)]
    notes = ["variances were turned into deviations", "colours are display values (not linear)"]
    if not winds_outwards(mean, faces):
        faces = faces[:, ::-1]
        notes.append("triangles were turned to be counter-clockwise from outside")
    ibug68 = read_landmark_ids(landmarks, len(mean)) if landmarks else None
    five = _five_from_names(named, mean, model.name) if ibug68 is None else five_ids_from_68(ibug68)
    frame = frame_from_five(five_points(mean, five), unit="millimetre", scale=_MM_TO_DM, what=model.name)
    built = face_model_from_source(
        SourceMesh(
            mean_shape=mean,
            id_basis=id_basis,
            exp_basis=exp_basis,
            faces=faces,
            mean_albedo=mean_albedo,
            albedo_basis=albedo_basis,
            exp_names=names,
            ibug68=ibug68,
            five=five,
        ),
        frame,
        {
            "name": f"bfm{year}-{len(mean)}",
            "version": year,
            "licence": f"Basel Face Model {year} agreement (non-commercial research, no redistribution)",
            "source": f"Basel Face Model {year}, file {model.name}",
            "source_files": file_digests([model, *([landmarks] if landmarks else [])]),
            "albedo_space": "display",
            "exp_prior": "normal",
        },
    )
    progress("done", 1.0)
    layout = built.layout
    report = ImportReport(
        f"bfm{year}",
        found=(
            f"Basel Face Model {year}: {len(mean)} vertices, {len(faces)} triangles, millimetres",
            f"{layout.id} identity, {layout.exp} expression (mean expression included) and {layout.tex} albedo modes",
            "68 landmarks" if landmarks else f"{len(named)} named points, among them eyes, nose tip and mouth corners",
        ),
        missing=() if landmarks else (LANDMARKS,),
        notes=tuple(notes),
    )
    return built, report


def _reading(path: Path) -> AbstractContextManager[None]:
    return reading(path.name, FaceModelError, "a whole HDF5 file", "download it again")


@dataclass(frozen=True)
class _Stored:
    """An open file, its name for errors, and the bytes that its arrays may take."""

    file: Any
    name: str
    allowance: int

    def dataset(self, where: str) -> Any:
        """What lies at a path of names."""
        found, walked = self.file, self.name
        for name in where.split("/"):
            child = child_of(found, name)
            if child is None:
                present = ", ".join(sorted(map(str, found))) or "nothing"
                raise FaceModelError(
                    f"{walked}: expected an array {name!r}, found {present}; is it the right file, and whole?"
                )
            found, walked = child, f"{walked}/{name}" if walked != self.name else f"{walked}: {name}"
        return found

    def has(self, where: str) -> bool:
        """Whether anything lies at a path of names."""
        found = self.file
        for name in where.split("/"):
            found = child_of(found, name)
            if found is None:
                return False
        return True

    def numbers(self, where: str) -> np.ndarray:
        """All numbers of a dataset."""
        return numbers_of(self.dataset(where), self.allowance)


def _read_modes(
    stored: _Stored, group: str, count: int, vertices: int | None
) -> tuple[Float[np.ndarray, "V 3"], Float[np.ndarray, "V 3 K"]]:
    """Mean (float64) and modes times deviations (float32) of one Statismo model."""
    where = f"{stored.name}: {group}/model"
    size = None if vertices is None else 3 * vertices
    mean = vector(stored.numbers(f"{group}/model/mean"), size, f"{where}/mean").astype(np.float64)
    variance = deviations(stored.numbers(f"{group}/model/pcaVariance"), None, f"{where}/pcaVariance")
    dataset = stored.dataset(f"{group}/model/pcaBasis")
    require_dataset(dataset, stored.allowance, "biuf")
    if dataset.shape != (len(mean), len(variance)) or len(mean) % 3:
        hint = "it looks transposed" if dataset.shape == (len(variance), len(mean)) else "the file is damaged"
        raise FaceModelError(
            f"{where}/pcaBasis: expected shape {(len(mean), len(variance))} (3 rows per vertex), "
            f"received {dataset.shape}; {hint}"
        )
    kept = first_modes(count, len(variance), f"{where}/pcaBasis")
    modes = numbers_of(dataset, stored.allowance, columns=kept).astype(np.float32)
    modes = shaped(modes, (len(mean), kept), f"{where}/pcaBasis")
    return mean.reshape(-1, 3), interleaved(modes * np.sqrt(variance[:kept]).astype(np.float32))


def _read_faces(stored: _Stored, count: int) -> Int[np.ndarray, "F 3"]:
    where = f"{stored.name}: shape/representer/cells"
    cells = stored.numbers("shape/representer/cells")
    return ids_from_zero(shaped(cells, (3, None), where).T, count, where)


def _read_landmarks(stored: _Stored) -> dict[str, np.ndarray]:
    """Named points, mm; empty if the file has none."""
    if not stored.has("metadata/landmarks/json"):
        return {}
    what = f"{stored.name}: metadata/landmarks/json"
    with reading(what, FaceModelError, "named points", "download the file again"):
        parsed = parse_json(text_of(stored.dataset("metadata/landmarks/json"), _MOST_TEXT))
        entries = parsed.items() if isinstance(parsed, dict) else [(p["id"], p["coordinates"]) for p in parsed]
        return {
            str(key): shaped(point, (3,), f"{stored.name}: landmark {key}").astype(np.float64) for key, point in entries
        }


def _five_from_names(named: dict[str, np.ndarray], mean: Float[np.ndarray, "V 3"], file: str) -> Int[np.ndarray, "5 2"]:
    absent = [name for group in _FIVE_NAMES for name in group if name not in named]
    if absent:
        raise FaceModelError(
            f"{file}: expected landmarks {', '.join(absent)} in metadata/landmarks/json, found "
            f"{', '.join(named) or 'none'}; give 68 vertex ids with --landmarks"
        )
    five = np.full((5, 2), -1, np.int64)
    for row, group in zip(five, _FIVE_NAMES, strict=True):
        points = np.stack([named[name] for name in group])
        row[: len(group)] = nearest_vertices(points, mean, within=_SNAP_MM, what=f"{file}: metadata/landmarks/json")
    return five
