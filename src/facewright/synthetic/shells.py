"""Things that people wear, as plain meshes in the head's frame: hair, glasses, masks, clothes."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

Part = Literal["head", "hair", "thing"]
"""What a shell is for those who tell a picture's parts apart (``records.PARTS``); beards and lashes are of the head."""


@dataclass(frozen=True)
class Shell:
    """A mesh that is drawn with the head. Model frame, dm; linear albedo.

    Attributes:
        vertices: positions.
        faces: either winding; shells are lit from the side that the camera sees.
        albedo: reflectance.
        places: where solid noise is read.
        grain: how much it changes the albedo (log scale).
        gloss: share of the sun that is mirrored, relative to skin.
        part: of the picture.
    """

    vertices: Float[Tensor, "N 3"]
    faces: Int[Tensor, "M 3"]
    albedo: Float[Tensor, "N 3"]
    places: Float[Tensor, "N 3"]
    grain: Float[Tensor, " N"]
    gloss: Float[Tensor, " N"]
    part: Part = "thing"


def make_shell(
    vertices: Float[ndarray, "N 3"],
    faces: Int[ndarray, "M 3"],
    color: Float[ndarray, "3"] | Float[ndarray, "N 3"],
    *,
    places: Float[ndarray, "N 3"] | None = None,
    grain: float = 0.0,
    gloss: float = 0.0,
    part: Part = "thing",
) -> Shell:
    """A shell from arrays; noise is read at the vertices' own places unless others are given."""
    count = len(vertices)
    return Shell(
        torch.from_numpy(np.asarray(vertices, np.float32)),
        torch.from_numpy(np.asarray(faces, np.int64)),
        torch.from_numpy(np.broadcast_to(np.asarray(color, np.float32), (count, 3)).copy()),
        torch.from_numpy(np.asarray(vertices if places is None else places, np.float32)),
        torch.full((count,), float(grain)),
        torch.full((count,), float(gloss)),
        part,
    )


@cache
def grid_faces(rows: int, columns: int, *, closed: bool) -> Int[ndarray, "M 3"]:
    """Triangles of a grid of vertices, row by row; ``closed`` joins the last column to the first."""
    across = columns if closed else columns - 1
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(across), indexing="ij")
    a, b = row * columns + column, row * columns + (column + 1) % columns
    c, d = a + columns, b + columns
    return np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])


def tube(path: Float[ndarray, "N 3"], radius: float, *, closed: bool, sides: int = 6) -> tuple[ndarray, ndarray]:
    """Vertices and faces of a round wire along a path."""
    ahead = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    if not closed:
        ahead[0], ahead[-1] = path[1] - path[0], path[-1] - path[-2]
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    helper = np.where(np.abs(ahead[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]])
    first = np.cross(ahead, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(ahead, first)
    turn = 2.0 * np.pi * np.arange(sides) / sides
    ring = np.cos(turn)[None, :, None] * first[:, None] + np.sin(turn)[None, :, None] * second[:, None]
    vertices = (path[:, None] + radius * ring).reshape(-1, 3)
    faces = grid_faces(len(path), sides, closed=True)
    if closed:
        last = grid_faces(2, sides, closed=True)
        faces = np.concatenate([faces, np.where(last < sides, last + (len(path) - 1) * sides, last - sides)])
    return vertices, faces


def joined(parts: list[tuple[ndarray, ndarray]]) -> tuple[ndarray, ndarray]:
    """One mesh of several."""
    starts = np.cumsum([0] + [len(vertices) for vertices, _ in parts[:-1]])
    faces = [faces + start for (_, faces), start in zip(parts, starts, strict=True)]
    return np.concatenate([vertices for vertices, _ in parts]), np.concatenate(faces)
