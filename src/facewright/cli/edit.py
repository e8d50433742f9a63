"""``facewright edit``: a reconstructed face with another expression, pose or light."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from facewright.apps.edit import frontalise, light_from_direction, neutralise, relight, transfer_expression
from facewright.apps.edited_files import EDITED_FORMATS, require_camera, write_edited
from facewright.bounds import Use, bounded, only
from facewright.cli.console import DONE, CommandError, say
from facewright.export.formats import FORMATS, format_of
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.photo import read_photo
from facewright.pipeline.coefficient_files import read_camera, read_coefficients
from facewright.records import FaceCoefficients


def _draws(out: Sequence[Path]) -> bool:
    """Whether a picture is among what is written; a suffix that none may have is refused later."""
    return any(path.suffix.lower() == FORMATS["png"].extension for path in out)


@dataclass(frozen=True)
class Edit:
    """Change the expression, pose or light of a reconstructed face; whatever is not named stays."""

    coefficients: Annotated[Path, tyro.conf.Positional]
    """The face: a ``.json``, ``.npz`` or ``.mat``, as for ``decode``."""
    out: tuple[Path, ...]
    """Files to write: a mesh (.glb .obj .ply .stl .npz: model space, colours as lit), .json (to decode, edit or
    convert), .png (a picture, posed and lit)."""
    neutral: bool = False
    """Take the expression away."""
    expression_of: Path | None = None
    """Give it the expression of this face (.json, .npz, .mat; of the same face model)."""
    with_pose: bool = only(
        Use(
            "beside --expression-of, and not beside --frontal", lambda o: bool(o["expression_of"] and not o["frontal"])
        ),
        False,
    )
    """Take the head's rotation from there too."""
    frontal: bool = False
    """Turn it to the camera."""
    light_of: Path | None = None
    """Put it in the light of this face."""
    light_from: tuple[float, float, float] | None = bounded(None, least=-1e6, most=1e6)
    """Light it from this direction: x image right, y up, z to the camera."""
    photo: Path | None = only(Use("with a .png in --out", lambda o: _draws(o["out"])), None)
    """Draw the .png on this photo, which must be the one of the face's .json; else on a dark ground."""
    face_model: str = "open"
    """The model that the coefficients belong to."""
    face: int = 0
    """Which face of a file with several."""
    size: int = bounded(
        512,
        least=16,
        most=8192,
        use=Use("with a .png in --out and without --photo", lambda o: o["photo"] is None and _draws(o["out"])),
    )
    """Side of the .png without --photo, px."""

    def run(self) -> int:
        """Edit and write."""
        self._check()
        model = load_face_model(self.face_model)
        edited = self._edited(model, read_coefficients(self.coefficients, model, face=self.face))
        camera = read_camera(self.coefficients, face=self.face)
        photo = None if self.photo is None else read_photo(self.photo)
        if photo is not None:
            require_camera(camera, photo)  # before anything is written
        for path in self.out:
            write_edited(path, model, edited, camera=camera, photo=photo, size_px=self.size)
            say(path)
        return DONE

    def _check(self) -> None:
        if not self.out:
            raise CommandError("expected files to write, received none: --out face.glb face.png")
        for path in self.out:
            format_of(path, EDITED_FORMATS, error=CommandError)
        if self.neutral and self.expression_of is not None:
            raise CommandError("expected --neutral or --expression-of, received both")
        if self.light_of is not None and self.light_from is not None:
            raise CommandError("expected --light-of or --light-from, received both")
        if self.light_from == (0.0, 0.0, 0.0):
            raise CommandError("expected a direction for --light-from, received 0 0 0")

    def _edited(self, model: FaceModel, face: FaceCoefficients) -> FaceCoefficients:
        if self.neutral:
            face = neutralise(face)
        if self.expression_of is not None:
            face = transfer_expression(face, read_coefficients(self.expression_of, model), with_pose=self.with_pose)
        if self.frontal:
            face = frontalise(face)
        if self.light_of is not None:
            face = relight(face, read_coefficients(self.light_of, model).sh)
        if self.light_from is not None:
            face = relight(face, light_from_direction(torch.tensor([self.light_from])))
        return face
