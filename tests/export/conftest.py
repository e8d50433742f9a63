"""A small textured ball with a uv seam: the asset that every writer is tried on."""

import math

import pytest
import torch

from facewright.geometry.mesh import vertex_normals
from facewright.records import MeshAsset

COLUMNS, ROWS = 12, 8


def ball(*, morphs: bool = True, texture: bool = True, colors: bool = True) -> MeshAsset:
    """An ellipsoid of about a head's size (dm), uv unwrapped around y with its seam at the back (-z)."""
    vertices, grid = [[0.0, 1.2, 0.0]], []
    for row in range(1, ROWS):
        latitude = math.pi * row / ROWS
        grid.append([len(vertices) + column for column in range(COLUMNS)])
        for column in range(COLUMNS):
            longitude = 2 * math.pi * column / COLUMNS - math.pi  # column 0 looks at -z
            vertices.append(
                [
                    0.8 * math.sin(latitude) * math.sin(longitude),
                    1.2 * math.cos(latitude),
                    math.sin(latitude) * math.cos(longitude),
                ]
            )
    vertices.append([0.0, -1.2, 0.0])
    points = torch.tensor(vertices, dtype=torch.float64).float()
    uv_width = COLUMNS + 1
    uv = torch.tensor([[c / COLUMNS, 1 - r / ROWS] for r in range(ROWS + 1) for c in range(uv_width)])
    faces, faces_uv = [], []
    for row in range(ROWS):
        for column in range(COLUMNS):
            after = (column + 1) % COLUMNS
            top, bottom = row * uv_width + column, (row + 1) * uv_width + column
            upper = grid[row - 1] if row else [0] * COLUMNS
            lower = grid[row] if row < ROWS - 1 else [len(vertices) - 1] * COLUMNS
            if row:
                faces.append([upper[column], lower[column], upper[after]])
                faces_uv.append([top, bottom, top + 1])
            if row < ROWS - 1:
                faces.append([upper[after], lower[column], lower[after]])
                faces_uv.append([top + 1, bottom, bottom + 1])
    triangles = torch.tensor(faces)
    opened = torch.zeros_like(points)
    opened[60:64, 1] = -0.1
    grown = points * 0.05
    generator = torch.Generator().manual_seed(3)
    return MeshAsset(
        vertices=points,
        normals=vertex_normals(points, triangles),
        faces=triangles,
        uv=uv,
        faces_uv=torch.tensor(faces_uv),
        colors=torch.rand(len(points), 3, generator=generator) if colors else None,
        texture=torch.rand(3, 32, 64, generator=generator) if texture else None,
        morph_targets={"jawOpen": opened, "cheekPuff": grown, "still": torch.zeros_like(points)} if morphs else {},
        morph_weights={"jawOpen": 0.5} if morphs else {},
        name="ball",
        metadata={"face_model": "ball", "licence": "CC0", "scores": [0.5, 1.0]},
    )


@pytest.fixture
def asset() -> MeshAsset:
    return ball()
