"""The one table of file formats: what each is called, what it takes and holds, how it is written and read.

Nobody else lists suffixes: who writes by a path's suffix asks ``format_of``, who writes many files asks ``FORMATS``.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from facewright.errors import ExportError, FacewrightError
from facewright.export.asset import Unit
from facewright.export.capture import capture_bytes
from facewright.export.film import film_bytes
from facewright.export.glb import glb_bytes, moving_glb_bytes
from facewright.export.json import json_bytes
from facewright.export.mat import mat_bytes
from facewright.export.npz import asset_npz_bytes, npz_bytes
from facewright.export.obj import obj_files
from facewright.export.ply import ply_bytes
from facewright.export.png import depth_png_bytes, png_bytes, read_depth_png
from facewright.export.stl import stl_bytes
from facewright.files import Destination, FileSet, put, zipped
from facewright.photo import read_photo
from facewright.records import MeshAsset
from facewright.untrusted import read_json, read_mat, read_npz, read_text, reading

Content = Literal[
    "asset",
    "posed asset",
    "neutral asset",
    "arrays",
    "official arrays",
    "document",
    "overlay picture",
    "sheet picture",
    "picture",
    "texture picture",
    "depth map",
    "depth arrays",
    "coordinate picture",
    "points",
    "moving asset",
    "motion",
    "film",
]
"""What a format takes.

``MeshAsset`` (neutral with morph targets; with the expression in its vertices; neutral, in the model's albedo), tensors
by name (ours; those of ``official_mat``), a JSON-able dictionary, an sRGB picture (the photo with its faces; the sheet
of a face; any; its texture), distances in dm (H, W; or as ``depth_dm``), projected coordinates as a picture, or the 68
points (68, 3); of clips a ``MovingFace``, its ``FaceMotion``, or a ``Film``.
"""
MESH_CONTENTS: tuple[Content, ...] = ("asset", "posed asset")

Holding = Literal["texture", "morph targets", "colors", "faces"]
"""What a format can hold beside the shape of one face; ``faces``: all faces of a photo are one file."""

UsualFormat = Literal["glb", "obj", "ply", "mat", "npz", "json", "overlay", "mesh"]
NamedFormat = Literal["depth", "depth-npz", "pncc", "texture", "kpt", "neutral", "neutral-ascii"]
FormatName = Literal[UsualFormat, NamedFormat]
"""What ``facewright reconstruct`` writes, as it is called there: the usual ones, and those that must be named."""
ALL_FORMATS: tuple[FormatName, ...] = get_args(UsualFormat)
"""All that is written where nothing is said."""
KNOWN_FORMATS: tuple[FormatName, ...] = get_args(FormatName)
ClipFormat = Literal["glb", "csv", "npz", "overlay"]
"""What is written of a clip, as the command line says it; in the table with ``clip-`` before it."""
CLIP_FORMATS: tuple[ClipFormat, ...] = get_args(ClipFormat)


@dataclass(frozen=True)
class Format:
    """One format of files.

    Attributes:
        name: as the command line says it.
        suffix: end of the names of such files.
        content: what ``encode`` takes.
        encode: content and file name to bytes by file name, the named one first; mesh formats take ``units`` too.
        holds: see ``Holding``.
        companions: whether there may be more files than the named one.
        read: the content of a file, as far as the format keeps it; None where nobody reads our own.
    """

    name: str
    suffix: str
    content: Content
    encode: Callable[..., dict[str, bytes]]
    holds: frozenset[Holding] = frozenset()
    companions: bool = False
    read: Callable[..., Any] | None = None

    @property
    def extension(self) -> str:
        """The part of the suffix that programs go by: ``.png`` of ``_overlay.png``."""
        return Path(f"name{self.suffix}").suffix

    def add(self, files: FileSet, content: Any, path: Path, **options: Any) -> None:
        """Put a file and its companions, which lie beside it, into a set of files that will appear together.

        Raises:
            ExportError: the content is not fit to be written, or the file cannot be written.
        """
        for name, blob in self.encode(content, path.name, **options).items():
            files.write(path.with_name(name), blob)

    def write(self, content: Any, destination: Destination, *, stem: str = "face", **options: Any) -> list[Path]:
        """Write one file, or one that has companions with them: all or none.

        Args:
            content: see ``Content``.
            destination: a path; or a stream, which takes a format with companions as a ZIP of them all.
            stem: name of the files in that ZIP.
            options: of ``encode``.

        Returns:
            The files written, the named one first; none on a stream.

        Raises:
            ExportError: the content is not fit to be written, or a file cannot be written.
        """
        if isinstance(destination, str | os.PathLike):
            with FileSet() as files:
                self.add(files, content, Path(destination), **options)
            return files.paths
        blobs = self.encode(content, f"{stem}{self.extension}", **options)
        put(destination, zipped(blobs) if self.companions else next(iter(blobs.values())))
        return []


def _alone(encode: Callable[..., bytes]) -> Callable[..., dict[str, bytes]]:
    """A format of single files."""
    return lambda content, name, **options: {name: encode(content, **options)}


def _picture(kind: str) -> Callable[..., dict[str, bytes]]:
    return _alone(partial(png_bytes, kind=kind))


def _points_bytes(points: Tensor) -> bytes:
    """A line per point: x y z."""
    return "".join(f"{x:.6f} {y:.6f} {z:.6f}\n" for x, y, z in points.tolist()).encode()


def _read_points(path: Path) -> Tensor:
    with reading(path, ExportError, "68 lines x y z", "write it again"):
        return torch.tensor([[float(word) for word in line.split()] for line in read_text(path).splitlines()])


_TABLE = (
    Format("glb", ".glb", "asset", _alone(glb_bytes), frozenset({"texture", "morph targets", "colors"})),
    Format("obj", ".obj", "posed asset", obj_files, frozenset({"texture", "colors"}), companions=True),
    Format("ply", ".ply", "posed asset", _alone(ply_bytes), frozenset({"colors"})),
    Format("stl", ".stl", "posed asset", _alone(stl_bytes)),
    Format(
        "mesh-npz",
        ".npz",
        "asset",
        _alone(asset_npz_bytes),
        frozenset({"texture", "morph targets", "colors"}),
        read=read_npz,
    ),
    Format("mat", ".mat", "official arrays", _alone(mat_bytes), read=read_mat),
    Format("npz", ".npz", "arrays", _alone(npz_bytes), read=read_npz),
    Format("json", ".json", "document", _alone(json_bytes), frozenset({"faces"}), read=read_json),
    Format("overlay", "_overlay.png", "overlay picture", _picture("overlay"), frozenset({"faces"}), read=read_photo),
    Format("mesh", "_mesh.png", "sheet picture", _picture("sheet"), read=read_photo),
    Format("depth", "_depth.png", "depth map", _alone(depth_png_bytes), read=read_depth_png),
    Format("depth-npz", "_depth.npz", "depth arrays", _alone(npz_bytes), read=read_npz),
    Format("pncc", "_pncc.png", "coordinate picture", _picture("pncc"), read=read_photo),
    Format("texture", "_texture.png", "texture picture", _picture("texture"), read=read_photo),
    Format("neutral", "_neutral.ply", "neutral asset", _alone(ply_bytes), frozenset({"colors"})),
    Format(
        "neutral-ascii",
        "_neutral_ascii.ply",
        "neutral asset",
        _alone(partial(ply_bytes, encoding="ascii")),
        frozenset({"colors"}),
    ),
    Format("kpt", "_kpt.txt", "points", _alone(_points_bytes), read=_read_points),
    Format("png", ".png", "picture", _picture("picture"), read=read_photo),
    Format("clip-glb", ".glb", "moving asset", _alone(moving_glb_bytes), frozenset({"texture", "morph targets"})),
    Format("clip-csv", ".csv", "motion", _alone(capture_bytes)),
    Format("clip-npz", ".npz", "arrays", _alone(npz_bytes), read=read_npz),
    Format("clip-overlay", "_overlay.mp4", "film", _alone(film_bytes), frozenset({"faces"})),
)
FORMATS: dict[str, Format] = {entry.name: entry for entry in _TABLE}
MESH_FORMATS = tuple(entry.name for entry in _TABLE if entry.content in MESH_CONTENTS)
"""Names of the formats that ``export_mesh`` writes."""


def format_of(
    path: str | os.PathLike[str], among: Iterable[str], *, error: type[FacewrightError] = ExportError
) -> Format:
    """The format that a path's suffix means, in either case.

    Args:
        path: of a file to write or to read.
        among: names of the formats in question, of which no two end alike.
        error: what to raise.

    Raises:
        FacewrightError: the suffix is of none of them; of class ``error``.
    """
    known = {FORMATS[name].extension: FORMATS[name] for name in among}
    found = known.get(Path(path).suffix.lower())
    if found is None:
        expected = ", ".join(known)
        raise error(f"expected a file name that ends in one of {expected}, received {os.fspath(path)!r}")
    return found


def export_mesh(
    asset: MeshAsset,
    destination: Destination,
    *,
    units: Unit | Literal["default"] = "default",
    name: str | None = None,
) -> list[Path]:
    """Write a face in the format that the path's suffix names.

    Args:
        asset: the face.
        destination: a path, whose missing folders are made; or a stream (``Format.write``).
        units: of the vertices; ``default`` is the format's own: metres in GLB, millimetres in OBJ, PLY and STL,
            decimetres in NPZ. GLB takes metres alone.
        name: of the format (``MESH_FORMATS``) instead of the suffix; streams have none.

    Returns:
        The files written, the named one first; none on a stream.

    Raises:
        ExportError: the suffix is unknown, the asset is not fit to be written, or the file cannot be written.
    """
    options = {} if units == "default" else {"units": units}
    if name is None:
        if not isinstance(destination, str | os.PathLike):
            raise ExportError(f"expected the name of a format beside a stream: one of {', '.join(MESH_FORMATS)}")
        return format_of(destination, MESH_FORMATS).write(asset, destination, **options)
    if name not in MESH_FORMATS:
        raise ExportError(f"expected one of {', '.join(MESH_FORMATS)}, received {name!r}")
    return FORMATS[name].write(asset, destination, **options)
