"""Reconstructions for other programs: Deep3D's own meshes, talking heads, EG3D, NoW and REALY."""

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.apps.edit import neutralise
from facewright.errors import CoefficientsError, ExportError
from facewright.export.benchmarks import write_benchmark_mesh
from facewright.export.eg3d import eg3d_camera, eg3d_crop, eg3d_dataset
from facewright.export.formats import FORMATS, format_of
from facewright.export.png import is_own_picture
from facewright.export.talking_head import talking_head_mat
from facewright.files import FileSet, natural_order
from facewright.geometry.pose import posed_mesh
from facewright.morphable.linear import FaceModel
from facewright.photo import read_photo
from facewright.pipeline.coefficient_files import read_camera, read_coefficients, read_photo_name, read_trans_params
from facewright.pipeline.report import REPORT
from facewright.pipeline.texture import lit_vertex_colors
from facewright.records import FaceCoefficients, MeshAsset

Target = Literal["deep3d", "talking-head", "eg3d", "now", "realy"]
"""Which programs are to read the files; see ``write_deep3d`` and so on."""

RESULT_FORMATS = ("json", "mat", "npz")
"""Of a folder's files, those of the first of these that is there are its results."""


def convert_results(
    results: list[Path],
    target: Target,
    out: Path,
    model: FaceModel,
    *,
    face: int = 0,
    photos: Path | None = None,
) -> list[Path]:
    """Write reconstructions the way another program reads them.

    Args:
        results: ``.json``, ``.npz`` or ``.mat`` of one face each; for talking heads one per frame, in order. Folders
            stand for the ``.json`` in them (but ``report.json``); without any, for the ``.mat``, or the ``.npz``; in
            natural order.
        target: the program.
        out: file (talking heads ``.mat``, EG3D ``.json``) or folder (meshes) to write.
        model: what the coefficients belong to.
        face: which one of files with several.
        photos: folder of the photographs, for EG3D: the crops that its labels are of are written too.

    Returns:
        The files written.

    Raises:
        CoefficientsError: a result is malformed, lacks what is needed, or has the same name as another.
        ExportError: the face model does not fit the program, or a file cannot be written.
    """
    writers: dict[Target, Callable[[list[Path], Path, FaceModel, int], list[Path]]] = {
        "deep3d": write_deep3d,
        "talking-head": write_talking_head,
        "eg3d": partial(write_eg3d, photos=photos),
        "now": write_now,
        "realy": write_realy,
    }
    assert set(writers) == set(get_args(Target))
    if photos is not None and target != "eg3d":
        raise ExportError(f"expected photos for eg3d alone, received {photos} for {target}; leave them out")
    return writers[target](_files(results, out), out, model, face)


def write_deep3d(results: list[Path], out: Path, model: FaceModel, face: int) -> list[Path]:
    """Per result ``<name>.obj`` as the official programs write it: posed, dm, lit colours after the coordinates."""
    _require_different_stems(results)
    written: list[Path] = []
    for path in results:
        coefficients = read_coefficients(path, model, face=face)
        mesh = posed_mesh(model.decode(coefficients), coefficients.pose)
        colors = lit_vertex_colors(mesh, coefficients.sh)[0]
        asset = MeshAsset(mesh.vertices[0], mesh.normals[0], mesh.faces, colors=colors, name=path.stem)
        written += FORMATS["obj"].write(asset, _beneath(out, path, "obj"), units="dm")
    return written


def write_talking_head(results: list[Path], out: Path, model: FaceModel, face: int) -> list[Path]:
    """``coeff_3dmm`` (T, 73) and ``full_3dmm`` (T, 257), one row per result (SadTalker, video-retalking, StyleHEAT)."""
    file_format = format_of(out, ["mat"])
    rows = [read_coefficients(path, model, face=face) for path in results]
    trans_params = torch.stack([read_trans_params(path, face=face) for path in results])
    return file_format.write(talking_head_mat(_stacked(rows), trans_params), out)


def write_eg3d(
    results: list[Path], out: Path, model: FaceModel, face: int, *, photos: Path | None = None
) -> list[Path]:
    """``labels`` as in EG3D's ``dataset.json`` (25 numbers per ``<name>.png``), and ``cameras`` with the matrices.

    With photos those ``<name>.png`` are written beside it: EG3D's crops. Each photo is found by the name in its result.
    """
    file_format = format_of(out, ["json"])
    _require_different_stems(results)
    cameras = {f"{path.stem}.png": eg3d_camera(read_coefficients(path, model, face=face)) for path in results}
    with FileSet(lambda path: path == out or is_own_picture(path)) as files:
        file_format.add(files, eg3d_dataset(cameras) | {"cameras": cameras}, out)
        if photos is not None:
            for path in results:
                FORMATS["png"].add(files, _crop(path, photos, face), _beneath(out.parent, path, "png"))
    return files.paths


def _crop(result: Path, photos: Path, face: int) -> Float[Tensor, "3 512 512"]:
    camera, file = read_camera(result, face=face), photos / read_photo_name(result)
    photo = read_photo(file)
    if camera is None or (camera.width, camera.height) != (photo.width, photo.height):
        known = "none" if camera is None else f"one of {camera.width} x {camera.height} pixels"
        raise CoefficientsError(
            f"{result}: expected the camera of {file}, {photo.width} x {photo.height} pixels, found {known}; give "
            "the folder of the photos that were reconstructed"
        )
    return eg3d_crop(photo, camera)


def write_now(results: list[Path], out: Path, model: FaceModel, face: int) -> list[Path]:
    """Per result a neutral mesh ``<name>.obj``, seven points ``.npy`` and 68 points ``.txt``; mm, no pose."""
    return _write_benchmark(results, out, model, face, neutralise)


def write_realy(results: list[Path], out: Path, model: FaceModel, face: int) -> list[Path]:
    """The same with the expression."""
    return _write_benchmark(results, out, model, face, lambda coefficients: coefficients)


def _write_benchmark(
    results: list[Path],
    out: Path,
    model: FaceModel,
    face: int,
    change: Callable[[FaceCoefficients], FaceCoefficients],
) -> list[Path]:
    ids = model.annotations.ibug68
    if ids is None:
        raise ExportError(f"face model {model.name!r} has no iBUG-68 table; import it again with its landmarks")
    _require_different_stems(results)
    written: list[Path] = []
    for path in results:
        coefficients = change(read_coefficients(path, model, face=face))
        vertices = model.shape(coefficients.id, coefficients.exp)[0]
        written += write_benchmark_mesh(vertices, model.faces, vertices[ids], _beneath(out, path, "obj"))
    return written


def _beneath(folder: Path, result: Path, name: str) -> Path:
    """The file of a result in a folder, in the format of that name."""
    return folder / f"{result.stem}{FORMATS[name].suffix}"


def _files(results: list[Path], out: Path) -> list[Path]:
    files: list[Path] = []
    for entry in results:
        inside = _results_in(entry, out) if entry.is_dir() else [entry]
        if not inside:
            known = ", ".join(FORMATS[name].suffix for name in RESULT_FORMATS)
            raise CoefficientsError(f"expected results ({known}) in the folder {entry}, found none")
        files.extend(inside)
    return files


def _results_in(folder: Path, out: Path) -> list[Path]:
    """Of one kind, in natural order; what an earlier conversion wrote there is none."""
    for name in RESULT_FORMATS:
        found = folder.glob(f"*{FORMATS[name].suffix}")
        results = [path for path in found if path.name != REPORT and path.absolute() != out.absolute()]
        if results:
            return natural_order(results)
    return []


def _stacked(rows: list[FaceCoefficients]) -> FaceCoefficients:
    return FaceCoefficients(
        *(torch.cat([getattr(row, entry.name) for row in rows]) for entry in fields(FaceCoefficients))
    )


def _require_different_stems(results: list[Path]) -> None:
    stems = [path.stem for path in results]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise CoefficientsError(f"expected results of different names, received several called {', '.join(twice)}")
