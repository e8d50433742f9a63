"""Draws random people of the open head, each from the front and from the side, for the documentation.

python scripts/open_head/head_sheet.py --out docs/images/head-samples.png
"""

import argparse
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from facewright.geometry.color import srgb_from_linear
from facewright.geometry.frames import crop_camera, pose_points
from facewright.geometry.mesh import vertex_normals
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.sample import sample_coefficients
from facewright.records import FaceMesh
from facewright.render import render

TILE_PX, ZOOM = 128, 0.86
YAWS_DEG = (0.0, -48.0)
BACKGROUND = 0.55


def draw_sheet(model: FaceModel, rows: int, columns: int, seed: int) -> np.ndarray:
    """(H, W, 3) uint8: ``rows`` by ``columns`` people, two views each."""
    count = rows * columns
    people = sample_coefficients(model, torch.Generator().manual_seed(seed), count)
    decoded = model.decode(people)
    views = []
    for yaw in YAWS_DEG:
        angles = torch.tensor([[0.04, np.deg2rad(yaw), 0.0]]).float().expand(count, 3)
        vertices = pose_points(decoded.vertices, angles, torch.tensor([[0.0, -0.15, -1.0]]).expand(count, 3))
        albedo = decoded.albedo.clamp(0, 1)
        mesh = FaceMesh(vertices, vertex_normals(vertices, model.faces), albedo, model.faces)
        light = torch.zeros(count, 9, 3)
        light[:, 0], light[:, 1], light[:, 2], light[:, 3] = -0.05, -0.22, 0.38, -0.14
        camera = crop_camera(count, size=TILE_PX)
        drawn = render(mesh, replace(camera, focal_px=camera.focal_px * ZOOM), light, shading="pixel")
        views.append(srgb_from_linear(drawn.image + (1 - drawn.mask) * BACKGROUND).clamp(0, 1))
    tiles = torch.cat(views, dim=3).unflatten(0, (rows, columns))
    sheet = tiles.permute(0, 3, 1, 4, 2).reshape(rows * TILE_PX, columns * 2 * TILE_PX, 3)
    return (sheet * 255).round().byte().numpy()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--face-model", default="open")
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--seed", type=int, default=4)
    given = parser.parse_args()
    sheet = draw_sheet(load_face_model(given.face_model), given.rows, given.columns, given.seed)
    Image.fromarray(sheet).quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(given.out, optimize=True)


if __name__ == "__main__":
    main()
