"""Glue the detector's 468 points to the head: read renders of known heads, find where on the surface each point lives.

Random people with expressions are drawn from the model, rendered from several sides on varied backgrounds, and read by
the mesh network. A point of the mesh belongs to the place on the surface whose projections follow it best over all
renders: the best vertex by a truncated squared distance, then the best place in the triangles around it. Left and right
are tied to each other. How far the projections stay from the point says how far it can be trusted.

    python scripts/open_head/mesh468.py --model src/facewright/assets/open_head.npz --out scripts/open_head/mesh468.npz
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from jaxtyping import Float, Int
from torch import Tensor

from facewright.detect import MESH_MIRROR, FaceDetector, load_face_detector
from facewright.detect.dense import read_mesh, squares_around, squares_of_points
from facewright.files import write_arrays
from facewright.geometry.color import srgb_from_linear
from facewright.geometry.frames import crop_camera, project_points
from facewright.geometry.pose import posed_mesh
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.sample import sample_coefficients
from facewright.photo import photo_from_array
from facewright.records import Camera, FaceMesh, Photo
from facewright.render.renderer import render

SIZE = 320
TRUNCATION_MM = 8.0
"""Distances beyond this count as this much: one wild reading must not move a point."""
TRUST_MM = 2.5
"""Typical distance at which a point loses half of its trust."""


@dataclass(frozen=True)
class Arguments:
    """Calibrate the 468-point embedding of the open head."""

    model: Path
    """The head, with or without an earlier embedding."""
    out: Path
    """Table of corners, weights and trust."""
    people: int = 80
    """How many people to draw."""
    seed: int = 468
    """Same seed, same table."""
    yaws_deg: tuple[float, ...] = (-36.0, -18.0, 0.0, 18.0, 36.0)
    """Views of each person."""


@dataclass(frozen=True)
class Reading:
    """What one render taught: both in mm at the face's depth, so that readings compare.

    Attributes:
        points_mm: the network's points.
        vertices_mm: the projections of all vertices.
    """

    points_mm: Float[Tensor, "468 2"]
    vertices_mm: Float[Tensor, "V 2"]


def read_render(model: FaceModel, detector: FaceDetector, yaw_deg: float, rng: torch.Generator) -> Reading | None:
    """Draw a person, render, read; None if the network sees no face."""
    jitter = torch.randn(1, 3, generator=rng) * torch.tensor([0.12, 0.05, 0.08])
    c = sample_coefficients(model, rng, 1, expressions=True)
    c = replace(c, angles=jitter + torch.tensor([[0.0, yaw_deg / 180 * torch.pi, 0.0]]))
    mesh = posed_mesh(model.decode(c), c.pose)
    mesh = replace(mesh, albedo=mesh.albedo.clamp(0.005, 1.0))
    sh = 0.12 * torch.randn(1, 9, 1, generator=rng) + 0.03 * torch.randn(1, 9, 3, generator=rng)
    sh = sh + torch.tensor([0.15, -0.1, 0.2] + [0.0] * 6)[None, :, None]
    camera = crop_camera(size=SIZE)
    camera = replace(camera, focal_px=camera.focal_px * 0.62)
    drawn = render(mesh, camera, sh)
    backdrop = torch.rand(1, 3, 1, 1, generator=rng)
    picture = srgb_from_linear((drawn.image + (1 - drawn.mask) * backdrop).clamp(0, 1))[0]
    points = read_known_face(photo_from_array(picture.permute(1, 2, 0)), mesh, camera, model, detector)
    if points is None:
        return None
    mm_per_px = 100 * camera.distance_dm / float(camera.focal_px[0])
    projected = project_points(mesh.vertices, camera)[0, :, :2]
    return Reading(points[:, :2] * mm_per_px, projected * mm_per_px)


def read_known_face(
    photo: Photo, mesh: FaceMesh, camera: Camera, model: FaceModel, detector: FaceDetector
) -> Float[Tensor, "468 3"] | None:
    """The mesh network's points on a face whose place is known (no search); None if it sees no face there."""
    marks = project_points(mesh.vertices[:, model.annotations.ibug68], camera)[0, :, :2]
    low, high = marks.amin(0), marks.amax(0)
    eye_line = (marks[42:48].mean(0) - marks[36:42].mean(0))[None]
    centre = (low + high)[None] / 2 - torch.tensor([[0.0, 0.1]]) * (high - low)
    squares = squares_around(centre, (high - low).max()[None] * 1.7, eye_line)
    with torch.no_grad():
        for _ in range(3):
            points, presence = read_mesh([photo], squares, detector.mesh, mirrored=True)
            squares = squares_of_points(points)
    return points[0] if float(presence) > 0.5 else None


def best_vertices(readings: list[Reading], mirror: Int[Tensor, " V"], allowed: Tensor) -> Int[Tensor, " 468"]:
    """The vertex that follows each point best; a pair of mirrored points is judged together."""
    cost = torch.zeros(468, len(mirror))
    for reading in readings:
        cost += torch.cdist(reading.points_mm, reading.vertices_mm).square().clamp_max(TRUNCATION_MM**2)
    cost = cost + cost[MESH_MIRROR][:, mirror]
    cost[:, ~allowed] = torch.inf
    return cost.argmin(1)


def best_places(
    readings: list[Reading], vertices: Int[Tensor, " 468"], faces: Int[Tensor, "F 3"]
) -> tuple[Int[Tensor, "468 3"], Float[Tensor, "468 3"], Float[Tensor, " 468"]]:
    """Corners and weights of the best place in the triangles around each vertex, and its typical distance, mm."""
    corners, weights, misses = [], [], []
    points = torch.stack([reading.points_mm for reading in readings])
    projected = torch.stack([reading.vertices_mm for reading in readings])
    grid = torch.tensor([[i, j, 8 - i - j] for i in range(9) for j in range(9 - i)]) / 8.0
    for k, vertex in enumerate(vertices.tolist()):
        ring = faces[(faces == vertex).any(1)]
        near = faces[torch.isin(faces, ring.flatten()).any(1)]
        places = torch.einsum("gw,nfwc->nfgc", grid, projected[:, near])
        distance = (places - points[:, k, None, None]).norm(dim=-1)
        cost = distance.square().clamp_max(TRUNCATION_MM**2).mean(0)
        best = int(cost.argmin())
        face, place = divmod(best, len(grid))
        corners.append(near[face])
        weights.append(grid[place])
        misses.append(distance[:, face, place].median())
    return torch.stack(corners), torch.stack(weights), torch.stack(misses)


def symmetric(
    model: FaceModel, corners: Int[Tensor, "468 3"], weights: Float[Tensor, "468 3"], misses: Float[Tensor, " 468"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Give each pair of mirrored points the place of its better-followed side; trust both alike."""
    partner = torch.tensor(MESH_MIRROR)
    mirrored = model.annotations.mirror[corners[partner]]
    borrow = (misses[partner] < misses) | ((misses[partner] == misses) & (partner < torch.arange(468)))
    corners = torch.where(borrow[:, None], mirrored, corners)
    weights = torch.where(borrow[:, None], weights[partner], weights)
    return corners, weights, torch.minimum(misses, misses[partner])


def main(arguments: Arguments) -> None:
    """Read renders, place, write."""
    model, detector = load_face_model(arguments.model), load_face_detector()
    rng = torch.Generator().manual_seed(arguments.seed)
    views = [(person, yaw) for person in range(arguments.people) for yaw in arguments.yaws_deg]
    readings = [reading for _, yaw in views if (reading := read_render(model, detector, yaw, rng)) is not None]
    print(f"{len(readings)} of {len(views)} renders were read as faces")
    skin = model.faces[model.annotations.face_parts["head"]]
    allowed = torch.zeros(len(model.mean_shape), dtype=torch.bool)
    allowed[skin.flatten()] = True
    vertices = best_vertices(readings, model.annotations.mirror, allowed)
    corners, weights, misses = symmetric(model, *best_places(readings, vertices, skin))
    trust = 1.0 / (1.0 + (misses / TRUST_MM) ** 2)
    median, most, worst = misses.median(), misses.quantile(0.9), misses.max()
    print(f"typical distance mm: median {median:.2f}, 90 % {most:.2f}, worst {worst:.2f}")
    arrays = {"corners": corners.int(), "weights": weights.float(), "trust": trust.float()}
    write_arrays(arguments.out, {name: np.ascontiguousarray(array.numpy()) for name, array in arrays.items()})


if __name__ == "__main__":
    main(tyro.cli(Arguments))
