"""Draws random albedos of the open head on its mean shape, for the documentation.

python scripts/open_head/albedo_sheet.py --out docs/images/albedo-samples.png
"""

import argparse

import numpy as np
import torch
from PIL import Image

from facewright.geometry.color import srgb_from_linear
from facewright.geometry.frames import crop_camera, pose_points
from facewright.geometry.mesh import vertex_normals
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.records import FaceMesh
from facewright.render import render

TILE_PX = (104, 134)
YAW_DEG = (0.0, -28.0, 28.0)
BACKGROUND = 0.10


def draw_sheet(model: FaceModel, rows: int, columns: int, seed: int) -> np.ndarray:
    """(H, W, 3) uint8: the mean albedo first, then random ones."""
    count = rows * columns
    draws = torch.randn(count, model.layout.tex, generator=torch.Generator().manual_seed(seed))
    draws[0] = 0.0
    angles = torch.zeros(count, 3)
    angles[:, 1] = torch.deg2rad(torch.tensor(YAW_DEG)).repeat(count)[:count]
    middle = 0.5 * (model.mean_shape.amax(0) + model.mean_shape.amin(0))
    vertices = pose_points(
        (model.mean_shape - middle).expand(count, -1, -1), angles, torch.tensor([[0.0, 0.0, -2.0]]).expand(count, 3)
    )
    mesh = FaceMesh(vertices, vertex_normals(vertices, model.faces), model.albedo(draws).clamp(0, 1), model.faces)
    light = torch.zeros(count, 9, 3)
    light[:, 0], light[:, 1], light[:, 2], light[:, 3] = -0.1, -0.22, 0.35, -0.15
    width, height = TILE_PX
    size = max(TILE_PX)
    drawn = render(mesh, crop_camera(count, size=size), light, shading="pixel")
    image = srgb_from_linear(drawn.image + (1 - drawn.mask) * BACKGROUND).clamp(0, 1)
    tiles = image[:, :, (size - height) // 2 :, (size - width) // 2 : (size + width) // 2][:, :, :height]
    sheet = tiles.unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, 3)
    return (sheet * 255).round().byte().numpy()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--face-model", default="open")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sheet = draw_sheet(load_face_model(given.face_model), given.rows, given.columns, given.seed)
    Image.fromarray(sheet).save(given.out, optimize=True)


if __name__ == "__main__":
    main()
