"""Readers of other people's face model files. They check everything, decide nothing silently, and report.

Each kind has a frozen dataclass of arguments and a function with the same names; ``KINDS`` lists them, and
``import_face_model`` calls the right one. All models come out in the Deep3D frame (dm, y up, face along +z), so crops,
cameras and networks fit; ``frame.source_from_model`` takes points back to the source's own frame.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from facewright.morphable.linear import FaceModel
from facewright.morphable.readers.bfm2009 import Bfm2009Arguments, import_bfm2009
from facewright.morphable.readers.bfm_face3d import BfmFace3dArguments, import_bfm_face3d
from facewright.morphable.readers.bfm_front import BfmFrontArguments, import_bfm_front
from facewright.morphable.readers.bfm_h5 import Bfm2017Arguments, Bfm2019Arguments, import_bfm_h5
from facewright.morphable.readers.flame import FlameArguments, import_flame
from facewright.morphable.readers.gnm import GnmArguments, import_gnm
from facewright.morphable.readers.ict import IctArguments, import_ict
from facewright.morphable.readers.own_npz import OwnNpzArguments, import_own_npz
from facewright.morphable.readers.report import ImportProgress, ImportReport, MissingPart, silent

__all__ = ["KINDS", "ImportArguments", "ImportReport", "MissingPart", "ModelKind", "import_face_model"]

ImportArguments = (
    Bfm2009Arguments
    | BfmFrontArguments
    | BfmFace3dArguments
    | Bfm2017Arguments
    | Bfm2019Arguments
    | FlameArguments
    | IctArguments
    | GnmArguments
    | OwnNpzArguments
)


@dataclass(frozen=True)
class ModelKind:
    """One kind of files that can be imported.

    Attributes:
        arguments: dataclass of what the command line asks for.
        read: function with those arguments by name, and ``progress``.
    """

    arguments: type[ImportArguments]
    read: Callable[..., tuple[FaceModel, ImportReport]]


KINDS: dict[str, ModelKind] = {
    "bfm2009": ModelKind(Bfm2009Arguments, import_bfm2009),
    "bfm-front": ModelKind(BfmFrontArguments, import_bfm_front),
    "bfm-face3d": ModelKind(BfmFace3dArguments, import_bfm_face3d),
    "bfm2017": ModelKind(Bfm2017Arguments, partial(import_bfm_h5, year="2017")),
    "bfm2019": ModelKind(Bfm2019Arguments, partial(import_bfm_h5, year="2019")),
    "flame": ModelKind(FlameArguments, import_flame),
    "ict": ModelKind(IctArguments, import_ict),
    "gnm": ModelKind(GnmArguments, import_gnm),
    "npz": ModelKind(OwnNpzArguments, import_own_npz),
}
"""Name on the command line -> reader."""


def import_face_model(
    arguments: ImportArguments, *, progress: ImportProgress = silent
) -> tuple[FaceModel, ImportReport]:
    """Read the files that the arguments name.

    Args:
        arguments: one of the dataclasses in ``KINDS``.
        progress: called with what is being done and the fraction done.

    Raises:
        AssetNotFoundError: files are missing; the message says where each can be obtained.
        FaceModelError: a file is malformed, or is not the one it was taken for.
        MissingExtraError: a file needs an optional dependency.
    """
    kind = next(kind for kind in KINDS.values() if kind.arguments is type(arguments))
    values: dict[str, Any] = {field.name: getattr(arguments, field.name) for field in fields(arguments)}
    return kind.read(**values, progress=progress)
