"""``facewright decode``: coefficients to a mesh."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from facewright.cli.console import DONE, CommandError, say
from facewright.export.asset import Unit
from facewright.export.formats import MESH_FORMATS, export_mesh, format_of
from facewright.morphable.container import load_face_model
from facewright.pipeline.coefficient_files import read_coefficients
from facewright.pipeline.outputs import model_asset


@dataclass(frozen=True)
class Decode:
    """Turn coefficients into a mesh: neutral pose, model space, unlit colours."""

    coefficients: Annotated[Path, tyro.conf.Positional]
    """A ``.json``, ``.npz`` or ``.mat`` of ours, or an official ``.mat`` (``coeff``, or ``id`` ``exp`` ``tex`` ...)."""
    out: Path
    """Mesh file: .glb, .obj, .ply, .stl or .npz."""
    face_model: str = "open"
    """The model that the coefficients belong to."""
    units: Unit | Literal["default"] = "default"
    """Unit of the mesh file; by default metres in GLB, millimetres in OBJ, PLY and STL."""
    face: int = 0
    """Which face of a file with several."""

    def run(self) -> int:
        """Decode and write."""
        format_of(self.out, MESH_FORMATS, error=CommandError)
        model = load_face_model(self.face_model)
        coefficients = read_coefficients(self.coefficients, model, face=self.face)
        export_mesh(model_asset(model, coefficients, 0, name=self.out.stem), self.out, units=self.units)
        say(self.out)
        return DONE
