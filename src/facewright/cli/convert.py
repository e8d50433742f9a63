"""``facewright convert``: results for other programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from facewright.apps.convert import Target, convert_results
from facewright.bounds import Use, only
from facewright.cli.console import DONE, CommandError, say
from facewright.morphable.container import load_face_model


@dataclass(frozen=True)
class Convert:
    """Write reconstructed faces as other programs read them."""

    results: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Results of ``reconstruct`` (.json, .npz, .mat), official .mat, or folders of either; for talking heads one per
    frame, in order (of a folder: 2 before 10)."""
    to: Target
    """deep3d: a folder of meshes as the official programs write them (posed, lit, dm). talking-head: coeff_3dmm and
    full_3dmm in one .mat. eg3d: camera labels in one .json, with --photos the crops too. now, realy: a folder of meshes
    (neutral, expressive) with their points."""
    out: Path
    """File or folder to write."""
    face_model: str = "open"
    """The model that the coefficients belong to; for NoW and REALY an uncropped one (``--crop nomouth``)."""
    face: int = 0
    """Which face of files with several."""
    photos: Path | None = only(Use("beside --to eg3d", lambda o: o["to"] == "eg3d"), None)
    """Folder of the photos, for eg3d: beside its labels their crops are written, ``<name>.png``."""

    def run(self) -> int:
        """Convert and write."""
        if not self.results:
            raise CommandError("expected at least one result, received none: facewright convert me.json --to eg3d ...")
        if self.photos is not None and not self.photos.is_dir():
            raise CommandError(f"expected --photos to be a folder, received {self.photos}")
        model = load_face_model(self.face_model)
        for path in convert_results(list(self.results), self.to, self.out, model, face=self.face, photos=self.photos):
            say(path)
        return DONE
