"""How near drawn skin is to the skin of the photographs: CIEDE2000, median over the visible skin of each face.

    python benchmarks/skin_color.py PHOTOS [--method rnet --refine 1] [--weights F]

Prints a line per photo (median difference; how much lighter, redder and yellower the drawing is than the photo, CIELAB)
and the median of all.
"""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import tyro

from facewright.errors import FacewrightError
from facewright.geometry.color import display_from_albedo, linear_from_srgb
from facewright.geometry.frames import window_camera
from facewright.geometry.lab import ciede2000, lab_from_linear
from facewright.photo import read_photo
from facewright.pipeline.face import FaceInPhoto
from facewright.pipeline.flow import load_reconstructor
from facewright.records import FaceMesh
from facewright.render.renderer import render, render_attributes

SUFFIXES = (".jpg", ".jpeg", ".png")
MOST_PX = 400
"""Photos are looked at no larger than this: skin is compared, not pores."""


@dataclass(frozen=True)
class Arguments:
    """Measure the colour of reconstructions on photographs."""

    photos: Annotated[Path, tyro.conf.Positional]
    """Folder of pictures."""
    method: str = "auto"
    """How coefficients are found."""
    weights: str | None = None
    """R-Net's: a file, open or fast."""
    refine: int | None = None
    """Rounds of the fit after R-Net."""


@dataclass(frozen=True)
class SkinColor:
    """Of one face.

    Attributes:
        difference: median CIEDE2000.
        apart: medians of drawing less photo: L*, a*, b*.
        levels: median of drawing less photo, mean of the channels, 0..255.
    """

    difference: float
    apart: tuple[float, float, float]
    levels: float


@torch.no_grad()
def skin_color(face: FaceInPhoto) -> SkinColor:
    """Compare what is drawn with what is there, where skin is seen.

    Raises:
        ValueError: no skin is seen.
    """
    shrink = min(1.0, MOST_PX / max(face.photo.width, face.photo.height))
    size = round(face.photo.height * shrink), round(face.photo.width * shrink)
    photo = F.interpolate(face.photo.srgb[None], size=size, mode="area")[0]
    camera = window_camera(face.camera, 0.0, 0.0, shrink, size[1], size[0])
    mesh: FaceMesh = face.mesh_world
    drawn = display_from_albedo(render(mesh, camera, face.sh).image, mesh.albedo_space)[0].clamp(0.0, 1.0)
    regions = face.topology.annotations.regions
    skin = (regions["skin"] * regions["photometric"])[None, :, None]
    seen = render_attributes(skin, mesh, camera)[0, 0] > 0.9
    if int(seen.sum()) < 20:
        raise ValueError("no skin is seen")
    ours, theirs = drawn[:, seen].T, photo[:, seen].T
    labs = [lab_from_linear(linear_from_srgb(color)) for color in (ours, theirs)]
    apart = (labs[0] - labs[1]).median(0).values.tolist()
    return SkinColor(
        float(ciede2000(*labs).median()), (apart[0], apart[1], apart[2]), 255 * float((ours - theirs).mean(1).median())
    )


def main(arguments: Arguments) -> None:
    """Print a line per photo and the medians."""
    flow = load_reconstructor(method=arguments.method, weights=arguments.weights, refine=arguments.refine)
    found: list[SkinColor] = []
    for path in sorted(p for p in arguments.photos.iterdir() if p.suffix.lower() in SUFFIXES):
        try:
            face = flow.faces_in(read_photo(str(path)))[0]
            color = skin_color(face)
        except (FacewrightError, ValueError) as error:
            print(f"{path.name}: {error}")
            continue
        found.append(color)
        lightness, red, yellow = color.apart
        print(
            f"{path.name:24} dE {color.difference:5.1f}   L {lightness:+5.1f}   a {red:+5.1f}   b {yellow:+5.1f}   "
            f"levels {color.levels:+5.0f}"
        )
    summary = {
        "photos": len(found),
        "median_de2000": round(statistics.median(color.difference for color in found), 2),
        "levels": round(statistics.median(color.levels for color in found), 1),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main(tyro.cli(Arguments))
