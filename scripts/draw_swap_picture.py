"""Draw the page's picture of swapped faces: the bundled portraits, and drawn people in profile, with glasses, dark.

    python scripts/draw_swap_picture.py [--out docs/images/swap.jpg]

A row per pair: both photos, each with the other's looks, and the first with the second's eyes.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import tyro
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from facewright.apps.swap import SwapSettings, swap_face
from facewright.assets import embedded_path
from facewright.export.pictures import crop_around
from facewright.export.sheets import contact_sheet
from facewright.photo import read_photo
from facewright.pipeline.flow import Reconstructor, load_reconstructor
from facewright.pipeline.reconstruction import Reconstruction
from facewright.synthetic import Studio, open_studio, photograph, plan_scene

DRAWN_PX = 480
EYE_PX = (70.0, 80.0)
SEEDS = {"profile": 700_001, "glasses": 700_003, "dark": 700_010, "plain": 700_019}
"""Scenes; neither trained on nor measured on."""


@dataclass(frozen=True)
class Arguments:
    """Draw the picture."""

    out: Path = Path("docs/images/swap.jpg")
    """The picture."""
    method: str = "auto"
    """As for ``facewright swap``."""
    weights: str | None = None
    """Of the method."""
    tile: int = 240
    """Side of a tile, px."""
    quality: int = 88
    """Of the JPEG."""
    rows: tuple[str, ...] = ("portraits", "profile", "glasses", "dark")
    """What to draw."""


def drawn_face(flow: Reconstructor, studio: Studio, kind: str) -> Reconstruction:
    """A drawn person, as the flow finds it."""
    plan = plan_scene(
        studio,
        SEEDS[kind],
        width=DRAWN_PX,
        height=DRAWN_PX,
        eye_px=EYE_PX,
        yaw_deg=62.0 if kind == "profile" else 12.0,
        prop="glasses" if kind == "glasses" else "none",
        expression=False,
        light="even",
    )
    return flow.faces_in(photograph(studio, plan).photo, faces="largest")[0]


def portrait(flow: Reconstructor, name: str) -> Reconstruction:
    """A bundled photo's face."""
    return flow.faces_in(read_photo(embedded_path(f"photos/{name}")), faces="largest")[0]


def row(first: Reconstruction, second: Reconstruction, name: str) -> list[tuple[str, Float[Tensor, "3 _ _"]]]:
    """Five tiles."""
    pictures = [
        (name, first.photo.pixels, first),
        ("", second.photo.pixels, second),
        ("looks of the 2nd", swap_face(first, second), first),
        ("looks of the 1st", swap_face(second, first), second),
        ("eyes of the 2nd", swap_face(first, second, SwapSettings("eyes")), first),
    ]
    return [
        (text, crop_around(pixels.float() / 255, face.detection.box, margin=0.45)) for text, pixels, face in pictures
    ]


def main(arguments: Arguments) -> None:
    """Write the picture."""
    logging.basicConfig(level=logging.WARNING)
    flow, studio = load_reconstructor(method=arguments.method, weights=arguments.weights), open_studio()
    first = portrait(flow, "astronaut.jpg")
    tiles: list[tuple[str, Float[Tensor, "3 _ _"]]] = []
    for name in arguments.rows:
        second = portrait(flow, "grace_hopper.jpg") if name == "portraits" else drawn_face(flow, studio, name)
        start = first if name == "portraits" else drawn_face(flow, studio, "plain")
        tiles += row(start, second, name)
    sheet = contact_sheet(tiles, columns=5, tile_px=arguments.tile)
    pixels = (sheet.permute(1, 2, 0) * 255).round().byte().numpy()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(arguments.out, quality=arguments.quality)
    print(f"{arguments.out}: {arguments.out.stat().st_size} bytes")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
