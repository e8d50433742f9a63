"""One face model laid onto another: which places of the two surfaces are the same."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.errors import ReconstructionError
from facewright.fit.evidence import Ramp
from facewright.fit.plan import FitPlan
from facewright.fit.prior import prior_of
from facewright.fit.scan import ScanEvidence, fit_scan
from facewright.fit.settings import FitSettings
from facewright.geometry.closest import nearest_places
from facewright.geometry.frames import pose_points
from facewright.geometry.ibug68 import ALL_68, NOSE_TIP
from facewright.geometry.mesh import face_normals, vertex_normals
from facewright.geometry.rotations import rotation_from_angles
from facewright.morphable.linear import FaceModel
from facewright.records import Embedding, TensorRecord

FACE_RADIUS_DM = 0.95
"""The face: what lies so near to the tip of the nose, of a model's outer skin."""
SAME_DM = Ramp(none=0.08, full=0.03)
"""How much a place of one surface and the nearest of the other are the same, by their distance."""
LEAST_SAME = 0.5
"""Share of the face whose place must be the same on both, or they are no two faces."""
FACE_FROM = 0.5
"""Mask of the face from which a vertex is part of it."""
LEAST_COSINE = 0.3
"""Of the angle between the normals of places that are the same."""


@dataclass(frozen=True)
class LaidHead(TensorRecord):
    """A face model as it lies on the mean face of another.

    Attributes:
        vertices: of the model that was laid, in the other's frame, dm.
        normals: of those.
        rotation: from the laid model's frame to the other's.
        origin: of the laid model's frame, in the other's frame, dm.
        places: of the other's mean surface nearest to each vertex.
        same: 0..1: how surely each vertex and its place are the same part of a face.
    """

    vertices: Float[Tensor, "V 3"]
    normals: Float[Tensor, "V 3"]
    rotation: Float[Tensor, "3 3"]
    origin: Float[Tensor, " 3"]
    places: Embedding
    same: Float[Tensor, " V"]


def lay_on(model: FaceModel, other: FaceModel) -> LaidHead:
    """Fit a face model's identity and expression to the mean face of another, as to a scan (``fit_scan``).

    Args:
        model: with landmarks and the region ``face``: the embedded head.
        other: with iBUG-68 landmarks, its mean of the size of a head.

    Raises:
        ReconstructionError: ``other`` has no landmarks, or no face where they are.
    """
    ids = other.annotations.ibug68
    if ids is None:
        raise ReconstructionError(
            f"expected a face model with iBUG-68 landmarks, {other.name!r} has none; import it with them"
        )
    exact, target, faces = model.mapped(_double), other.mean_shape.double(), other.faces
    plan = FitPlan.of(exact)
    corners = target[faces]
    normals = face_normals(target, faces)
    evidence = ScanEvidence(
        torch.cat([target, corners.mean(1)]).cpu(),
        torch.cat([vertex_normals(target, faces), normals]).cpu(),
        target[ids].cpu(),
        torch.from_numpy(ALL_68),
    )
    on_cpu = exact.mapped(lambda tensor: tensor.cpu())
    weights = outer_face(on_cpu) * vertex_areas(on_cpu)
    plan_cpu = plan.mapped(lambda tensor: tensor.cpu())
    found = fit_scan(evidence, plan_cpu, prior_of(plan_cpu, FitSettings()), weights)
    laid = pose_points(plan_cpu.shape.vertices(found), found.angles, found.translation)[0]
    outward = vertex_normals(laid, on_cpu.faces)
    near = nearest_places(laid, target.cpu(), faces.cpu(), normals=outward, least_cosine=LEAST_COSINE)
    toward = (outward * _normals_at(near.places, target.cpu(), faces.cpu())).sum(-1)
    same = SAME_DM.of(near.distance) * (toward > LEAST_COSINE).to(laid)
    face = on_cpu.annotations.regions["face"] > FACE_FROM
    if float(same[face].mean()) < LEAST_SAME:
        raise ReconstructionError(
            f"expected {other.name!r} to be a face like that of {model.name!r}, which lies on it within 3 mm over "
            f"{100 * float(same[face].mean()):.0f} % of the face alone; are its landmarks right?"
        )
    head = LaidHead(laid, outward, rotation_from_angles(found.angles)[0], found.translation[0], near.places, same)
    return head.mapped(lambda tensor: _like(tensor, other.mean_shape))


def outer_face(model: FaceModel) -> Float[Tensor, " V"]:
    """1 on the outer skin of the face, 0 elsewhere: around the nose, without eyes, mouth and hidden lids."""
    regions, parts = model.annotations.regions, model.annotations.face_parts
    ids = model.annotations.ibug68
    assert ids is not None
    near = (model.mean_shape - model.mean_shape[ids[NOSE_TIP]]).norm(dim=1) < FACE_RADIUS_DM
    kept = near.to(model.mean_shape)
    for name in ("eyes", "mouth_inside", "lid_rim", "nostrils", "neck"):
        kept = kept * (regions.get(name, torch.zeros_like(kept)) < 0.1)
    if "head" in parts:
        skin = torch.zeros_like(kept)
        skin[model.faces[parts["head"]].flatten()] = 1.0
        kept = kept * skin
    return kept


def vertex_areas(model: FaceModel) -> Float[Tensor, " V"]:
    """A third of the area of the mean face's triangles at each vertex, dm^2."""
    corners = model.mean_shape[model.faces]
    area = 0.5 * torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1)
    areas = torch.zeros_like(model.mean_shape[:, 0])
    return areas.index_add(0, model.faces.flatten(), (area / 3.0).repeat_interleave(3))


def _normals_at(places: Embedding, vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "N 3"]:
    return torch.nn.functional.normalize(places.of(vertex_normals(vertices, faces)), dim=-1)


def _double(values: Tensor) -> Tensor:
    return values.double() if values.is_floating_point() else values


def _like(tensor: Tensor, like: Tensor) -> Tensor:
    return tensor.to(like) if tensor.is_floating_point() else tensor.to(like.device)
