"""Small scenes that the renderer's tests share."""

import math

import numpy as np
import torch
import trimesh
from torch import Tensor

from facewright.render.rasterizers import Backend, rasterize

CPU_BACKENDS: tuple[Backend, ...] = ("torch", "numba")


def assert_same_pixels(
    clip: Tensor, faces: Tensor, size: tuple[int, int], backends: tuple[Backend, ...] = CPU_BACKENDS
) -> Tensor:
    """All backends give the reference's face ids and depths, to the bit, and its weights to rounding."""
    reference = rasterize(clip, faces, size, backend="reference")
    for backend in backends:
        fragments = rasterize(clip, faces, size, backend=backend)
        differing = int((fragments.face_index != reference.face_index).sum())
        assert differing == 0, f"{backend}: {differing} of {reference.face_index.numel()} pixels show another face"
        torch.testing.assert_close(fragments.depth, reference.depth, rtol=0, atol=0)
        torch.testing.assert_close(fragments.barycentrics, reference.barycentrics, rtol=0, atol=2e-7)
    return reference.face_index


def clip_from_pixels(points: Tensor, size: tuple[int, int], w: float | Tensor = 1.0) -> Tensor:
    """Column, row (px) and z / w to clip coordinates with the given w."""
    height, width = size
    ndc = torch.stack([(2 * points[..., 0] + 1) / width - 1, (2 * points[..., 1] + 1) / height - 1, points[..., 2]], -1)
    w = torch.as_tensor(w, dtype=points.dtype).expand(points.shape[:-1])[..., None]
    return torch.cat([ndc * w, w], -1)


def random_triangles(
    rng: torch.Generator, size: tuple[int, int], num: int, *, batch: int = 2, spread: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Separate triangles of many sizes, some reaching beyond the picture, in perspective."""
    height, width = size
    scale = torch.tensor([width, height, 1.0])
    centre = torch.rand(batch, num, 1, 3, generator=rng) * scale
    reach = spread * torch.rand(batch, num, 1, 1, generator=rng) ** 3
    points = centre + reach * scale * torch.randn(batch, num, 3, 3, generator=rng)
    points[..., 2] = points[..., 2].clamp(-0.99, 0.99)
    w = 1 + torch.rand(batch, num * 3, generator=rng)
    return clip_from_pixels(points.flatten(1, 2), size, w), torch.arange(num * 3).view(-1, 3)


def sphere(subdivisions: int, radius: float = 0.7, *, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Vertices (1, V, 3) and faces of a sphere around the world's origin."""
    mesh = trimesh.creation.icosphere(subdivisions, radius)
    return torch.tensor(np.asarray(mesh.vertices), dtype=dtype)[None], torch.tensor(np.asarray(mesh.faces))


def gridded_sphere(rows: int = 40, columns: int = 60) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """A sphere of latitudes and longitudes, radius 0.9 dm: vertices, faces, uv, faces_uv, mirror map.

    u runs once around, with +z at u = 1/2 and the seam behind; v runs from the lower to the upper pole. The seam's
    vertices have two texture coordinates. All quads are cut along the same diagonal: the two sides differ.
    """
    place: dict[tuple[int, int], int] = {}
    vertices, uv, mirror = [], [], []

    def vertex(i: int, j: int) -> tuple[int, int]:
        return (i, 0) if i in (0, rows) else (i, j % columns)

    for i in range(rows + 1):
        for j in range(columns + 1):
            uv.append((j / columns, 1 - i / rows))
            if vertex(i, j) not in place:
                place[vertex(i, j)] = len(vertices)
                down, around = math.pi * i / rows, 2 * math.pi * vertex(i, j)[1] / columns - math.pi
                vertices.append((math.sin(down) * math.sin(around), math.cos(down), math.sin(down) * math.cos(around)))
    mirror = [place[vertex(i, columns - j)] for i, j in place]
    faces, faces_uv = [], []
    for i in range(rows):
        for j in range(columns):
            for corners in (((i, j), (i + 1, j), (i + 1, j + 1)), ((i, j), (i + 1, j + 1), (i, j + 1))):
                ids = [place[vertex(*corner)] for corner in corners]
                if len(set(ids)) == 3:
                    faces.append(ids)
                    faces_uv.append([a * (columns + 1) + b for a, b in corners])
    tables = [torch.tensor(values) for values in (faces, uv, faces_uv, mirror)]
    return 0.9 * torch.tensor(vertices), tables[0], tables[1], tables[2], tables[3]
