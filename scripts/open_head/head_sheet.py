"""Draws random people of the open head, each from the front and from the side, for the documentation.

python scripts/open_head/head_sheet.py --out docs/images/head-samples.png
"""

import argparse
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from facewright.geometry.color import srgb_from_linear
from facewright.geometry.frames import crop_camera, pose_points
from facewright.geometry.mesh import vertex_normals
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.sample import sample_coefficients
from facewright.records import FaceCoefficients, FaceMesh
from facewright.render import render

TILE_PX, ZOOM = 128, 0.86
YAWS_DEG = (0.0, -48.0)
BACKGROUND = 0.55
EXPRESSIONS = (
    (),
    ("eyeBlinkLeft", "eyeBlinkRight"),
    ("eyeBlinkLeft",),
    ("jawOpen",),
    ("mouthPucker",),
    ("mouthSmileLeft", "mouthSmileRight"),
    ("eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft", "mouthSmileRight"),
)
"""Names at full weight, a column of the sheet of expressions each."""


def portraits(model: FaceModel, people: FaceCoefficients, yaw_deg: float) -> Tensor:
    """(N, 3, TILE_PX, TILE_PX) sRGB pictures of people, all turned alike."""
    count = len(people.id)
    decoded = model.decode(people)
    angles = torch.tensor([[0.04, np.deg2rad(yaw_deg), 0.0]]).float().expand(count, 3)
    vertices = pose_points(decoded.vertices, angles, torch.tensor([[0.0, -0.15, -1.0]]).expand(count, 3))
    mesh = FaceMesh(vertices, vertex_normals(vertices, model.faces), decoded.albedo.clamp(0, 1), model.faces)
    light = torch.zeros(count, 9, 3)
    light[:, 0], light[:, 1], light[:, 2], light[:, 3] = -0.05, -0.22, 0.38, -0.14
    camera = crop_camera(count, size=TILE_PX)
    drawn = render(mesh, replace(camera, focal_px=camera.focal_px * ZOOM), light, shading="pixel")
    return srgb_from_linear(drawn.image + (1 - drawn.mask) * BACKGROUND).clamp(0, 1)


def sheet_of(pictures: Tensor, rows: int, columns: int) -> np.ndarray:
    """(H, W, 3) uint8: pictures (rows * columns, 3, h, w) row by row."""
    sheet = torch.cat(list(pictures.unflatten(0, (rows, columns)).transpose(0, 1)), dim=3)
    return (torch.cat(list(sheet), dim=1).permute(1, 2, 0) * 255).round().byte().numpy()


def draw_sheet(model: FaceModel, rows: int, columns: int, seed: int) -> np.ndarray:
    """(H, W, 3) uint8: ``rows`` by ``columns`` people, two views each."""
    people = sample_coefficients(model, torch.Generator().manual_seed(seed), rows * columns)
    views = torch.cat([portraits(model, people, yaw) for yaw in YAWS_DEG], dim=3)
    return sheet_of(views, rows, columns)


def written(sheet: np.ndarray, path: str) -> None:
    """A small PNG: 256 colours, diffused."""
    Image.fromarray(sheet).quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--face-model", default="open")
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--seed", type=int, default=4)
    given = parser.parse_args()
    model = load_face_model(given.face_model)
    written(draw_sheet(model, given.rows, given.columns, given.seed), given.out)


if __name__ == "__main__":
    main()
