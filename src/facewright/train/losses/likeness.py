"""Losses that make a network tell people apart: who it is in millimetres, alike over pictures, apart between people.

Codes are compared as points of the face: a sample of vertices, spread evenly, from which all that a rigid motion and a
size could explain is taken out (nobody can see in one picture how large a head is or where its origin lies).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from facewright.geometry.mesh import vertex_normals
from facewright.geometry.rotations import rotation_from_angles
from facewright.morphable.linear import FaceModel
from facewright.records import TensorRecord
from facewright.train.seen_points import spread_over

MM_PER_DM = 100.0
SAMPLED = 500
"""Points of the face that identities are compared at."""
HIDDEN_SHARE = 0.4
"""What a point counts that looks away from the camera: others, and symmetry, still say something about it."""
TURNED_FROM, TURNED_TO = -0.2, 0.3
"""The z of a posed normal below which a point looks away, and above which it is seen in full."""
_ROUNDING_MM2 = 1e-4


@dataclass(frozen=True)
class FaceSample(TensorRecord):
    """Points of the face, and how identity codes move them.

    Attributes:
        ids: of the vertices.
        basis_mm: movement per unit of code, less what a small rigid motion and a change of size could do.
        normals: of the mean face, model frame.
    """

    ids: Int[Tensor, " N"]
    basis_mm: Float[Tensor, "N 3 K"]
    normals: Float[Tensor, "N 3"]

    def moved_mm(self, codes: Float[Tensor, "*B K"]) -> Float[Tensor, "*B N 3"]:
        """Where codes move the points, mm."""
        return (codes @ self.basis_mm.flatten(0, 1).T).unflatten(-1, (-1, 3))

    def seen(self, angles: Float[Tensor, "B 3"]) -> Float[Tensor, "B N"]:
        """Share of each point, summing to one over a face: what faces the camera counts most."""
        toward = self.normals @ rotation_from_angles(angles)[:, 2, :, None]
        ramp = ((toward[..., 0] - TURNED_FROM) / (TURNED_TO - TURNED_FROM)).clamp(0.0, 1.0)
        share = HIDDEN_SHARE + (1.0 - HIDDEN_SHARE) * ramp
        return share / share.sum(-1, keepdim=True)

    def codes_mm(self, codes: Float[Tensor, "B K"]) -> Float[Tensor, "B D"]:
        """The same codes in a space whose distances are root-mean-square movements, mm."""
        flat = self.basis_mm.flatten(0, 1)
        return codes @ (flat / len(self.normals) ** 0.5).T


def sample_face(model: FaceModel, count: int = SAMPLED) -> FaceSample:
    """Choose points of the region ``face`` (of all vertices where there is none), farthest first.

    Args:
        model: whose identities are compared.
        count: how many at most.
    """
    face = model.annotations.regions.get("face")
    inside = torch.ones(len(model.mean_shape), dtype=torch.bool) if face is None else face.cpu() > 0.5
    ids = spread_over(model.mean_shape.double().cpu(), inside.nonzero()[:, 0], count).to(model.mean_shape.device)
    place, basis = model.mean_shape[ids].double(), model.id_basis[ids].double()
    centred = place - place.mean(0)
    axes = torch.eye(3, dtype=centred.dtype, device=centred.device)
    motions = [axes[k].expand_as(centred) for k in range(3)]
    motions += [torch.linalg.cross(axes[k].expand_as(centred), centred) for k in range(3)] + [centred]
    explained = torch.linalg.qr(torch.stack([motion.flatten() for motion in motions], -1)).Q
    flat = basis.flatten(0, 1)
    left = flat - explained @ (explained.T @ flat)
    normals = vertex_normals(model.mean_shape[None], model.faces)[0, ids]
    return FaceSample(ids, MM_PER_DM * left.unflatten(0, (-1, 3)).to(model.mean_shape), normals)


def likeness_error(
    sample: FaceSample, found: Float[Tensor, "B K"], truth: Float[Tensor, "B K"], angles: Float[Tensor, "B 3"]
) -> Float[Tensor, " B"]:
    """Mean distance of the points of two identities, mm, each weighed by how well it is seen in its pose.

    Args:
        sample: of the face.
        found: codes.
        truth: codes.
        angles: true pose.
    """
    distance = (sample.moved_mm(found - truth).square().sum(-1) + _ROUNDING_MM2).sqrt()
    return (sample.seen(angles) * distance).sum(-1)


def people_of(truth: Float[Tensor, "B K"]) -> Int[Tensor, " B"]:
    """A number per person of a batch: pictures of one person have the very same identity code."""
    return torch.unique(truth, dim=0, return_inverse=True)[1]


def same_person_error(
    sample: FaceSample, found: Float[Tensor, "B K"], people: Int[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """How far each picture's identity is from the mean of its person's pictures, RMS mm; 0 where there is but one."""
    alike = (people[:, None] == people).to(found)
    middle = (alike @ found) / alike.sum(1, keepdim=True)
    apart = (sample.codes_mm(found - middle).square().sum(-1) + _ROUNDING_MM2).sqrt()
    return torch.where(alike.sum(1) > 1, apart, torch.zeros_like(apart))


def spread_error(
    sample: FaceSample, found: Float[Tensor, "B K"], truth: Float[Tensor, "B K"], people: Int[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """How wrongly far apart each picture's identity is from those of other people, mean |RMS mm|; 0 without others.

    Regression alone answers with the mean of all who could look so, and people come out alike; here their distances are
    asked for, whatever the direction.
    """
    others = (people[:, None] != people).to(found)
    wrong = (_distances(sample.codes_mm(found)) - _distances(sample.codes_mm(truth))).abs()
    return (others * wrong).sum(1) / others.sum(1).clamp_min(1.0)


def _distances(points: Float[Tensor, "B D"]) -> Float[Tensor, "B B"]:
    """Between all pairs; rounded at zero, where a distance has no slope."""
    return ((points[:, None] - points).square().sum(-1) + _ROUNDING_MM2).sqrt()


def share_of(known: Bool[Tensor, " B"], like: Tensor) -> Float[Tensor, " B"]:
    """Weights of a mean over some of a batch; all zero where there are none."""
    known = known.to(like)
    return known / known.sum().clamp_min(1.0)
