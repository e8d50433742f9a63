"""Draw what the embedded network sees on people it has never met: held-out synthetic scenes, frontal to profile.

    python scripts/draw_network_picture.py [--out docs/images/network-sheet.jpg]

Per person: the picture, the network's answer drawn on it, the same after refinement, and the fit without a network.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from facewright.errors import FacewrightError
from facewright.export.sheets import contact_sheet
from facewright.pipeline.flow import Reconstructor, load_reconstructor
from facewright.pipeline.views import overlay_of_faces
from facewright.synthetic import HELD_OUT_SEED, Scene, open_studio, photograph, plan_scene

YAWS_DEG = (0.0, -20.0, 35.0, -50.0, 65.0, -80.0)
FIRST_SEED = HELD_OUT_SEED + 70_000
PICTURE_PX, TILE_PX = 420, 210


@dataclass(frozen=True)
class Arguments:
    """Draw the sheet."""

    out: Path = Path("docs/images/network-sheet.jpg")
    """The picture."""


def drawn(flow: Reconstructor, scene: Scene) -> Float[Tensor, "3 H W"]:
    """The scene's picture with the face on it; the picture alone where none is found."""
    try:
        return overlay_of_faces(flow.faces_in(scene.photo, faces="largest")) / 255.0
    except FacewrightError:
        return scene.photo.srgb


def main(arguments: Arguments) -> None:
    """Draw and write."""
    studio = open_studio()
    flows = {
        "network": load_reconstructor(method="rnet", weights="open", refine=0),
        "network, refined": load_reconstructor(method="rnet", weights="open"),
        "fit alone": load_reconstructor(method="fit"),
    }
    tiles = []
    for number, yaw in enumerate(YAWS_DEG):
        eyes = (0.17 * PICTURE_PX, 0.18 * PICTURE_PX)
        plan = plan_scene(
            studio, FIRST_SEED + number, width=PICTURE_PX, height=PICTURE_PX, eye_px=eyes, yaw_deg=yaw, distance_dm=10.0
        )
        scene = photograph(studio, plan)
        tiles.append((f"turned by {yaw:.0f} degrees", scene.photo.srgb))
        tiles += [(name, drawn(flow, scene)) for name, flow in flows.items()]
    sheet = contact_sheet(tiles, columns=2 * (1 + len(flows)), tile_px=TILE_PX)
    levels = (sheet.permute(1, 2, 0) * 255.0).round().clamp(0, 255).to(torch.uint8).numpy()
    Image.fromarray(levels).save(arguments.out, quality=85)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
