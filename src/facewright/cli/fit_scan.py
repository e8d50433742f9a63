"""``facewright model fit-scan``: a face model fitted to a scan of any topology."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from facewright.cli.console import DONE, CommandError, say
from facewright.export.asset import UNIT_PER_DM, Unit
from facewright.export.formats import FORMATS, MESH_FORMATS, export_mesh, format_of
from facewright.export.json import write_json
from facewright.export.npz import npz_bytes
from facewright.files import put
from facewright.morphable.container import load_face_model
from facewright.pipeline.outputs import model_asset


@dataclass(frozen=True)
class ModelFitScan:
    """Fit a face model to a scan: mesh and landmarks in, coefficients and error out."""

    mesh: Annotated[Path, tyro.conf.Positional]
    """Mesh of a head or a face in any pose: .obj, .ply, .stl, .glb or .wrl, triangles of any topology."""
    landmarks: Path
    """Points on it, in the mesh's own coordinates: .txt (x y z a line), .npy, .pp or .bnd. All 68 of iBUG, the inner 51
    (without the jaw), or NoW's seven: outer and inner corner of the right eye, inner and outer of the left, the bottom
    of the nose, right and left corner of the mouth."""
    out: Path
    """Coefficients and error: .json or .npz, read by ``decode``."""
    units: Unit = "mm"
    """Unit of the mesh and the landmarks."""
    face_model: str = "open"
    """``open`` or a file."""
    neutral: bool = False
    """The face has no expression: fit identity alone."""
    fitted: Path | None = None
    """The fitted mesh too: .glb, .obj, .ply, .stl or .npz, in the model's own pose."""

    def run(self) -> int:
        """Fit, measure, write."""
        from facewright.evaluate.scan_files import read_points, read_surface  # takes its time to load
        from facewright.evaluate.scan_model import LANDMARK_SETS, fit_model_to_scan

        chosen = format_of(self.out, ("json", "npz"), error=CommandError)
        if self.fitted is not None:
            format_of(self.fitted, MESH_FORMATS, error=CommandError)
        scale = 100.0 / UNIT_PER_DM[self.units]
        model = load_face_model(self.face_model)
        scan = read_surface(self.mesh, mm_per_unit=scale)
        landmarks_mm = read_points(self.landmarks, tuple(LANDMARK_SETS), mm_per_unit=scale)
        found = fit_model_to_scan(scan, landmarks_mm, model, expression=not self.neutral)
        if chosen is FORMATS["json"]:
            write_json(self.out, found.document(model))
        else:
            put(self.out, npz_bytes(found.arrays()))
        errors = found.errors()
        say(
            f"scan to model over the face: mean {errors['mean_mm']:.2f} mm, median {errors['median_mm']:.2f} mm, "
            f"90 % within {errors['p90_mm']:.2f} mm"
        )
        say(self.out)
        if self.fitted is not None:
            coefficients = found.coefficients.to(model.mean_shape.dtype)
            export_mesh(model_asset(model, coefficients, 0, name=self.fitted.stem), self.fitted)
            say(self.fitted)
        return DONE
