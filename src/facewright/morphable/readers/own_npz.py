"""A linear face model of one's own, as a NumPy archive of documented arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from facewright.bounds import Use, only
from facewright.errors import FaceModelError
from facewright.morphable.linear import FaceModel
from facewright.morphable.readers.arrays import (
    deviations,
    file_digests,
    ids_from_zero,
    interleaved,
    numbers,
    pick,
    require_files,
    shaped,
    vector,
)
from facewright.morphable.readers.assembly import SourceMesh, face_model_from_source
from facewright.morphable.readers.frame import ModelFrame, five_ids_from_68, five_points, frame_from_five
from facewright.morphable.readers.report import ImportProgress, ImportReport, MissingPart, silent
from facewright.morphable.readers.topology import winds_outwards
from facewright.morphable.readers.uv import in_unit_square
from facewright.untrusted import read_npz, reading

Unit = Literal["um", "mm", "cm", "dm", "m"]
DM_PER_UNIT = {"um": 1e-5, "mm": 1e-2, "cm": 0.1, "dm": 1.0, "m": 10.0}

ARCHIVE = MissingPart("the .npz of your model", "write it with numpy.savez; docs/face-models.md lists the arrays")
_OPTIONAL = {
    "exp_basis": "expression modes",
    "mean_albedo": "albedo",
    "uv": "texture coordinates",
    "ibug68": "68 landmarks",
}


def _beside(name: str) -> Use:
    """What has a use where the archive has an array."""

    def holds(options: Mapping[str, Any]) -> bool:
        file = Path(options["model"])
        try:
            with reading(file, FaceModelError, "a whole .npz of plain arrays", "save it with numpy.savez"):
                return name in read_npz(file, (name,))
        except FaceModelError:
            return True  # its reader will say what is wrong

    return Use(f"beside an array {name!r} in the archive", holds)


@dataclass(frozen=True)
class OwnNpzArguments:
    """A model of your own: an .npz with mean_shape, faces and whatever else it has."""

    model: Path
    """The archive; docs/face-models.md lists its arrays."""
    unit: Unit = "mm"
    """Unit of its lengths."""
    frame: Literal["fit", "keep"] = "fit"
    """fit: turn and move it so that its 68 landmarks lie on the Deep3D face; keep: it stands right already."""
    albedo_space: Literal["linear", "display"] = only(_beside("mean_albedo"), "display")
    """How its colours are coded: linear light, or display values (sRGB)."""
    exp_prior: Literal["normal", "box"] = only(_beside("exp_basis"), "normal")
    """Meaning of expression coefficients: standard normal, or blendshape weights in 0..1."""
    name: str = ""
    """Name of the model; the file's name if empty."""
    licence: str = "not stated"
    """Its licence, kept in the file."""


def import_own_npz(
    model: Path,
    *,
    unit: Unit = "mm",
    frame: Literal["fit", "keep"] = "fit",
    albedo_space: Literal["linear", "display"] = "display",
    exp_prior: Literal["normal", "box"] = "normal",
    name: str = "",
    licence: str = "not stated",
    progress: ImportProgress = silent,
) -> tuple[FaceModel, ImportReport]:
    """Read an archive with ``mean_shape`` (V,3) and ``faces`` (F,3), ids from 0, and whatever else there is.

    Optional: ``id_basis``, ``exp_basis``, ``albedo_basis`` as (V,3,K) or (3V,K); ``id_std``, ``exp_std``,
    ``albedo_std`` (K) if the modes are not yet multiplied by their deviations; ``mean_albedo`` (V,3), RGB 0..1; ``uv``
    (T,2), origin bottom-left; ``faces_uv`` (F,3); ``ibug68`` (68); ``exp_names`` (K) text; ``mirror`` (V);
    ``region_<name>`` (V).

    Args:
        model: the archive.
        unit: of lengths.
        frame: how it comes into the Deep3D frame.
        albedo_space: coding of colours.
        exp_prior: meaning of expression coefficients.
        name: of the model.
        licence: of the model.
        progress: told what is being done.

    Raises:
        AssetNotFoundError: the file is missing.
        FaceModelError: the file is malformed, or has no landmarks to fit.
    """
    require_files([(model, ARCHIVE)])
    progress("arrays", 0.0)
    file = model.name
    with reading(file, FaceModelError, "a whole .npz of plain arrays", "save it with numpy.savez and no objects"):
        arrays = read_npz(model)
    mean = shaped(pick(arrays, "mean_shape", file), (None, 3), f"{file}: mean_shape").astype(np.float64)
    count = len(mean)
    faces = ids_from_zero(shaped(pick(arrays, "faces", file), (None, 3), f"{file}: faces"), count, f"{file}: faces")
    faces_uv = _face_texture_ids(arrays, faces, file)
    notes = []
    if not winds_outwards(mean, faces):
        faces, faces_uv = faces[:, ::-1], None if faces_uv is None else faces_uv[:, ::-1]
        notes.append("triangles were turned to be counter-clockwise from outside")
    ibug68 = None
    if "ibug68" in arrays:
        ibug68 = ids_from_zero(vector(arrays["ibug68"], 68, f"{file}: ibug68"), count, f"{file}: ibug68")
    five = None if ibug68 is None else five_ids_from_68(ibug68)
    progress("modes", 0.3)
    exp_basis = _basis(arrays, "exp", count, file)
    source = SourceMesh(
        mean_shape=mean,
        id_basis=_basis(arrays, "id", count, file),
        exp_basis=exp_basis,
        faces=faces,
        mean_albedo=shaped(arrays["mean_albedo"], (count, 3), f"{file}: mean_albedo")
        if "mean_albedo" in arrays
        else None,
        albedo_basis=_basis(arrays, "albedo", count, file),
        uv=in_unit_square(shaped(arrays["uv"], (None, 2), f"{file}: uv").astype(np.float64))
        if "uv" in arrays
        else None,
        faces_uv=faces_uv,
        exp_names=_expression_names(arrays, exp_basis.shape[2], file),
        ibug68=ibug68,
        five=five,
        regions=_regions(arrays, count, file),
        mirror=ids_from_zero(vector(arrays["mirror"], count, f"{file}: mirror"), count, f"{file}: mirror")
        if "mirror" in arrays
        else None,
    )
    scale = DM_PER_UNIT[unit]
    if frame == "fit" and five is None:
        raise FaceModelError(
            f"{file}: expected an array 'ibug68' (68 vertex ids from 0) to place the model by, found none; add it, "
            "or give --frame keep if the model stands in the Deep3D frame already"
        )
    placed = (
        ModelFrame(unit, scale, np.eye(3), np.zeros(3))
        if frame == "keep" or five is None
        else frame_from_five(five_points(mean, five), unit=unit, scale=scale, what=file)
    )
    built = face_model_from_source(
        source,
        placed,
        {
            "name": name or model.stem,
            "version": "1",
            "licence": licence,
            "source": file,
            "source_files": file_digests([model]),
            "albedo_space": "linear" if source.mean_albedo is None else albedo_space,
            "exp_prior": exp_prior,
        },
    )
    progress("done", 1.0)
    layout = built.layout
    found = (
        f"{count} vertices, {len(faces)} triangles, {unit}",
        f"{layout.id} identity, {layout.exp} expression and {layout.tex} albedo modes",
    )
    missing = tuple(MissingPart(text, f"array {key!r}") for key, text in _OPTIONAL.items() if key not in arrays)
    return built, ImportReport("npz", found, missing, tuple(notes))


def _basis(arrays: dict[str, Any], which: str, count: int, file: str) -> Float[np.ndarray, "V 3 K"]:
    """Modes times deviations; no modes if the file has none."""
    if f"{which}_basis" not in arrays:
        return np.zeros((count, 3, 0), np.float32)
    what = f"{file}: {which}_basis"
    basis = numbers(arrays[f"{which}_basis"], what)
    if basis.ndim == 2:
        basis = interleaved(shaped(basis, (3 * count, None), what))
    basis = shaped(basis, (count, 3, None), what)
    if f"{which}_std" not in arrays:
        return basis
    return basis * deviations(arrays[f"{which}_std"], basis.shape[2], f"{file}: {which}_std")


def _face_texture_ids(arrays: dict[str, Any], faces: np.ndarray, file: str) -> np.ndarray | None:
    if "uv" not in arrays:
        return None
    total = len(shaped(arrays["uv"], (None, 2), f"{file}: uv"))
    if "faces_uv" in arrays:
        what = f"{file}: faces_uv"
        return ids_from_zero(shaped(arrays["faces_uv"], faces.shape, what), total, what)
    if total <= faces.max():
        raise FaceModelError(f"{file}: expected 'faces_uv', or one texture coordinate per vertex; received {total}")
    return faces


def _expression_names(arrays: dict[str, Any], count: int, file: str) -> tuple[str, ...]:
    names = tuple(str(name) for name in np.asarray(arrays.get("exp_names", [])).ravel())
    if names and len(names) != count:
        raise FaceModelError(f"{file}: expected {count} exp_names, one per expression mode, received {len(names)}")
    return names


def _regions(arrays: dict[str, Any], count: int, file: str) -> dict[str, Float[np.ndarray, " V"]]:
    found = {key.removeprefix("region_"): value for key, value in arrays.items() if key.startswith("region_")}
    return {
        key: vector(value, count, f"{file}: region_{key}").astype(np.float32).clip(0.0, 1.0)
        for key, value in found.items()
    }
