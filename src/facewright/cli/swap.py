"""``facewright swap``: the looks of a face on the faces of another photo."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from facewright.apps.swap import Part, SwapSettings, checked_mask, swap_face
from facewright.bounds import Use, bounded, only
from facewright.cli.console import DONE, CommandError, say
from facewright.export.formats import FORMATS
from facewright.photo import read_photo
from facewright.pipeline.flow import FacesChoice, load_reconstructor
from facewright.pipeline.reconstruction import Reconstruction
from facewright.records import Photo

OF_TWO = Use("with two photos", lambda options: options["first"].resolve() != options["second"].resolve())


@dataclass(frozen=True)
class Swap:
    """Give faces of one photo the looks of a face in another; shape, pose, expression and light stay."""

    first: Annotated[Path, tyro.conf.Positional]
    """A photo."""
    second: Annotated[Path, tyro.conf.Positional]
    """Another, or the same: then its two largest faces change places."""
    out: Path
    """Folder for ``<name>_swapped.png``; made if absent."""
    direction: Literal["both", "first", "second"] = only(OF_TWO, "both")
    """Which photo is changed."""
    part: Part = only(Use("without --mask", lambda o: o["mask"] is None), "face")
    """What is taken over."""
    mask: Path | None = None
    """A picture over the texture instead of a part: white is taken over (8-bit, of --texture-size)."""
    faces: FacesChoice = only(OF_TWO, "largest")
    """Which faces of a changed photo get the looks of the other's largest."""
    match_tone: bool = True
    """Bring the looks to the light and tone of the face that they are laid on."""
    blend: bool = True
    """Blend by gradients, without a seam; else paste."""
    method: str = "auto"
    """How faces are reconstructed, as for ``reconstruct``."""
    weights: str | None = None
    """Weights of the method's network."""
    face_model: str = "open"
    """``open``, or the file of an imported model."""
    texture_size: int = bounded(1024, least=16, most=8192)
    """Side of the texture that looks are carried by, px."""
    device: str = "cpu"
    """Torch device."""

    def run(self) -> int:
        """Reconstruct, swap, write."""
        mask = None if self.mask is None else checked_mask(_grey(read_photo(self.mask)), self.texture_size)
        flow = load_reconstructor(
            face_model=self.face_model, method=self.method, weights=self.weights, device=self.device
        )
        settings = SwapSettings(self.part, self.texture_size, self.match_tone, self.blend)
        photos = [read_photo(path) for path in (self.first, self.second)]
        found = [flow.faces_in(photo) for photo in photos]
        alone = self.first.resolve() == self.second.resolve()
        if alone:
            jobs = [(self.first, self._within(found[0]))]
        else:
            jobs = [
                (path, [(face, other[0]) for face in (mine if self.faces == "all" else mine[:1])])
                for path, mine, other, name in (
                    (self.first, found[0], found[1], "first"),
                    (self.second, found[1], found[0], "second"),
                )
                if self.direction in ("both", name)
            ]
        suffix = FORMATS["png"].suffix
        names = [f"{path.stem}_swapped{suffix}" for path, _ in jobs]
        if len(set(names)) < len(names):
            names = [f"{path.stem}_{k}_swapped{suffix}" for k, (path, _) in enumerate(jobs, start=1)]
        for name, (_, pairs) in zip(names, jobs, strict=True):
            picture = None
            for target, source in pairs:
                picture = swap_face(target, source, settings, picture=picture, mask=mask)
            assert picture is not None
            FORMATS["png"].write(picture.float() / 255.0, self.out / name)
            say(self.out / name)
        return DONE

    def _within(self, faces: list[Reconstruction]) -> list[tuple[Reconstruction, Reconstruction]]:
        if len(faces) < 2:
            raise CommandError(
                f"expected two photos, or one with two faces, received {self.first} twice, which has one"
            )
        return [(faces[0], faces[1]), (faces[1], faces[0])]


def _grey(photo: Photo) -> torch.Tensor:
    return photo.srgb.mean(0)
