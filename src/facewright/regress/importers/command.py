"""What ``facewright weights import`` takes, and what it answers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from facewright.regress.importers import ImportReport, convert_weights
from facewright.regress.official import OFFICIAL_FACE_MODEL


@dataclass(frozen=True)
class WeightsImport:
    """Convert the R-Net of another project (Deep3D, SadTalker, 3DDFA-V3, ...) into a weights file."""

    file: Annotated[Path, tyro.conf.Positional]
    """epoch_20.pth, net_recon.pth, a state dict, a safetensors bundle, FaceReconModel.pb or a checkpoint's .index."""
    out: Path
    """Weights file to write (.safetensors)."""
    face_model: str = OFFICIAL_FACE_MODEL
    """Name of the face model that its coefficients belong to; its crops (bfm2009-front, ...) fit too."""
    half: bool = False
    """Store float16: half the size, results change in the fourth digit."""


def run_import(arguments: WeightsImport) -> list[str]:
    """Do it.

    Returns:
        Lines for people: what was found, what was changed, what was written.

    Raises:
        AssetNotFoundError: no such file.
        WeightsError: truncated, unsafe, or not such a network.
        ExportError: the output cannot be written.
    """
    report = convert_weights(arguments.file, arguments.out, face_model=arguments.face_model, half=arguments.half)
    return [*report_lines(report), f"wrote {arguments.out}"]


def report_lines(report: ImportReport) -> list[str]:
    """What was found, one fact a line."""
    found = f"found {report.kind} {report.card.source}: R-Net for {report.card.face_model}, {report.card.light} light"
    return [found, *(f"note: {note}" for note in report.notes)]
