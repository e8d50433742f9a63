"""Glue the detector's 468 points to the head: detect renders of known heads, carry what was found back to the surface.

Random people are drawn from the model, rendered from several sides on varied backgrounds, and read by the detector. A
point that lands on pixel p lies on the triangle drawn there; the same place on the mean head is one vote. Votes of all
views are averaged robustly, made symmetric, and snapped to the surface. How much the votes scatter says how far a point
can be trusted.

    python scripts/open_head/mesh468.py --model src/facewright/assets/open_head.npz --out scripts/open_head/mesh468.npz
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import trimesh
import tyro
from jaxtyping import Float
from torch import Tensor

from facewright.detect import MESH_MIRROR, FaceDetector, detect_faces, load_face_detector
from facewright.files import write_arrays
from facewright.geometry.color import srgb_from_linear
from facewright.geometry.frames import clip_from_world, crop_camera, pose_points
from facewright.geometry.rotations import rotation_from_angles
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.sample import sample_coefficients
from facewright.records import FaceMesh, Photo
from facewright.render.renderer import render

SIZE = 320
TRUST_MM = 3.0
"""Scatter at which a point loses half of its trust."""


@dataclass(frozen=True)
class Arguments:
    """Calibrate the 468-point embedding of the open head."""

    model: Path
    """The head, with or without an earlier embedding."""
    out: Path
    """Table of corners, weights and trust."""
    people: int = 60
    """How many people to draw."""
    seed: int = 468
    """Same seed, same table."""
    yaws_deg: tuple[float, ...] = (-35.0, -18.0, 0.0, 18.0, 35.0)
    """Views of each person."""


def votes_of_view(
    model: FaceModel, detector: FaceDetector, yaw_deg: float, generator: torch.Generator
) -> Float[Tensor, "468 3"] | None:
    """Places on the mean head (dm) where the detector's points fell; NaN where they missed the head. None: no face."""
    c = sample_coefficients(model, generator, 1, expressions=False)
    jitter = torch.randn(3, generator=generator) * torch.tensor([0.12, 0.05, 0.08])
    angles = torch.tensor([[0.0, np.deg2rad(yaw_deg), 0.0]]) + jitter
    mesh = model.decode(c)
    posed = FaceMesh(
        pose_points(mesh.vertices, angles, torch.zeros(1, 3)),
        mesh.normals @ rotation_from_angles(angles).transpose(-1, -2),
        mesh.albedo.clamp(0.005, 1.0),
        mesh.faces,
    )
    sh = 0.12 * torch.randn(1, 9, 1, generator=generator) + 0.03 * torch.randn(1, 9, 3, generator=generator)
    sh = sh + torch.tensor([0.15, -0.1, 0.2] + [0.0] * 6)[None, :, None]
    camera = crop_camera(size=SIZE)
    camera = type(camera)(camera.focal_px * 0.62, camera.cx, camera.cy, SIZE, SIZE)
    drawn = render(posed, camera, sh)
    backdrop = torch.rand(1, 3, 1, 1, generator=generator).expand_as(drawn.image)
    picture = srgb_from_linear((drawn.image + (1 - drawn.mask) * backdrop).clamp(0, 1))[0]
    faces = detect_faces(Photo(picture), detector, max_faces=1, try_turned=False)
    if not faces or faces[0].mesh is None:
        return None
    return _surface_places(faces[0].mesh[:, :2], drawn.fragments.face_index[0], posed, camera, model)


def _surface_places(points, face_index, posed, camera, model) -> Float[Tensor, "468 3"]:
    cell = points.round().long().clamp(0, SIZE - 1)
    face = face_index[cell[:, 1], cell[:, 0]]
    clip = clip_from_world(posed.vertices, camera)
    corners = model.faces[face.clamp_min(0)]
    ndc = (points * 2 + 1) / SIZE - 1
    x, y, _, w = clip[0][corners].unbind(-1)
    u, v = x - ndc[:, :1] * w, y - ndc[:, 1:] * w
    areas = u.roll(-1, 1) * v.roll(-2, 1) - u.roll(-2, 1) * v.roll(-1, 1)  # the renderer's perspective-correct weights
    bary = areas / areas.sum(-1, keepdim=True)
    place = (model.mean_shape[corners] * bary[..., None]).sum(1)
    missed = (face < 0) | (bary < -1.0).any(-1) | ~bary.isfinite().all(-1)
    return torch.where(missed[:, None], torch.nan, place)


def robust_mean(votes: Float[Tensor, "N 468 3"]) -> tuple[Float[Tensor, "468 3"], Float[Tensor, "468"]]:
    """Mean of the half of the votes nearest their median, and the scatter of all votes around it, dm."""
    median = votes.nanmedian(0).values
    distance = (votes - median).norm(dim=-1)
    near = distance <= distance.nanmedian(0).values
    kept = torch.where(near[..., None], votes, torch.nan)
    mean = kept.nanmean(0)
    scatter = (votes - mean).norm(dim=-1).nanmedian(0).values
    missing = votes.isnan().any(-1).float().mean(0)
    return mean, scatter + missing  # a point that often misses the head is no point of it


def symmetric(places: Float[Tensor, "468 3"]) -> Float[Tensor, "468 3"]:
    """Average with the mirrored partner's place."""
    return (places + places[MESH_MIRROR] * torch.tensor([-1.0, 1.0, 1.0])) / 2


def main(arguments: Arguments) -> None:
    """Collect votes, average, snap, write."""
    model, detector = load_face_model(arguments.model), load_face_detector()
    generator = torch.Generator().manual_seed(arguments.seed)
    votes = []
    for _ in range(arguments.people):
        for yaw in arguments.yaws_deg:
            vote = votes_of_view(model, detector, yaw, generator)
            if vote is not None:
                votes.append(vote)
    print(f"{len(votes)} of {arguments.people * len(arguments.yaws_deg)} renders were read as faces")
    places, scatter = robust_mean(torch.stack(votes))
    places, scatter = symmetric(places), (scatter + scatter[MESH_MIRROR]) / 2
    head = model.annotations.face_parts["head"]
    surface = trimesh.Trimesh(model.mean_shape.numpy(), model.faces[head].numpy(), process=False)
    nearest, distance, triangle = trimesh.proximity.closest_point(surface, places.numpy())
    corners = model.faces[head][torch.from_numpy(triangle)]
    weights = trimesh.triangles.points_to_barycentric(model.mean_shape[corners].numpy(), nearest)
    trust = 1.0 / (1.0 + (scatter * 100 / TRUST_MM) ** 2)
    print(
        f"scatter mm: median {100 * scatter.median():.2f}, 90 % {100 * scatter.quantile(0.9):.2f}; "
        f"snapped by median {100 * np.median(distance):.2f} mm"
    )
    write_arrays(
        arguments.out,
        {
            "corners": corners.numpy().astype(np.int32),
            "weights": weights.astype(np.float32),
            "trust": trust.numpy().astype(np.float32),
        },
    )


if __name__ == "__main__":
    main(tyro.cli(Arguments))
