"""What a face model that is brought borrows from the open head that was laid on it: marks, regions, colours."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.errors import ReconstructionError
from facewright.fit.laying import LEAST_COSINE, SAME_DM, LaidHead, lay_on
from facewright.geometry.closest import NearestPlaces, nearest_places
from facewright.geometry.mesh import vertex_normals
from facewright.morphable.linear import FaceModel

COLOR_REACH_DM = 0.15
"""Farther from the laid head than that a vertex keeps the mean colour: shoulders and hair have no skin of a face."""


def borrowed(other: FaceModel, model: FaceModel) -> tuple[FaceModel, tuple[str, ...]]:
    """A face model with what it lacks and another knows, and a line about each part; what it has it keeps.

    Args:
        other: the model that was brought.
        model: the open head.
    """
    if other.annotations.mesh468 is not None and other.layout.tex > 0:
        return other, ()
    try:
        laid = lay_on(model, other)
    except ReconstructionError as error:
        return other, (f"nothing is borrowed from the head {model.name!r}: {error}",)
    notes, near = [], _places_of(laid, model, other)
    if other.annotations.mesh468 is None:
        other = _with_marks(laid, near, model, other)
        notes.append(f"borrowed the detector's 468 points and soft regions from the head {model.name!r}, laid on it")
    if other.layout.tex == 0:
        other = _with_albedo(near, model, other)
        notes.append(f"borrowed {other.layout.tex} albedo modes from the head {model.name!r}")
    return other, tuple(notes)


def _places_of(laid: LaidHead, model: FaceModel, other: FaceModel) -> NearestPlaces:
    """The place of the laid head that is nearest to each vertex of the other."""
    normals = vertex_normals(other.mean_shape, other.faces)
    return nearest_places(other.mean_shape, laid.vertices, model.faces, normals=normals, least_cosine=LEAST_COSINE)


def _with_marks(laid: LaidHead, near: NearestPlaces, model: FaceModel, other: FaceModel) -> FaceModel:
    """The detector's points where they are on the laid head, and its soft regions where the surfaces are the same."""
    marks, lent = other.annotations, model.annotations
    regions = {name: _mask_of(near, mask) for name, mask in lent.regions.items() if name not in marks.regions}
    changed = replace(
        marks,
        regions=regions | marks.regions,
        five=_vertices_at(laid, lent.five) if marks.five is None else marks.five,
        contours=_vertices_at(laid, lent.contours) if marks.contours is None else marks.contours,
    )
    if lent.mesh468 is not None:
        points = lent.mesh468.of(laid.vertices)
        normals = torch.nn.functional.normalize(lent.mesh468.of(laid.normals), dim=-1)
        found = nearest_places(points, other.mean_shape, other.faces, normals=normals, least_cosine=LEAST_COSINE)
        trust, own = SAME_DM.of(found.distance), lent.mesh468_trust
        changed = replace(changed, mesh468=found.places, mesh468_trust=trust if own is None else trust * own.to(trust))
    return FaceModel(
        **dict(other.named_buffers()),
        topology=replace(other.topology, annotations=changed),
        metadata=other.metadata | {"marks_from": model.name},
    )


def _vertices_at(laid: LaidHead, ids: Int[Tensor, "N M"] | None) -> Int[Tensor, "N M"] | None:
    """The vertices that are nearest to those of the laid head; padding stays."""
    if ids is None:
        return None
    nearest = laid.places.corners.gather(1, laid.places.weights.argmax(1, keepdim=True))[:, 0]
    return torch.where(ids >= 0, nearest[ids.clamp_min(0)], ids)


def _with_albedo(near: NearestPlaces, model: FaceModel, other: FaceModel) -> FaceModel:
    """Each vertex with the colours of the nearest place; what is far from all keeps one mean colour."""
    kept = (near.distance < COLOR_REACH_DM).to(other.mean_shape)[:, None]
    lent = near.places.of(model.mean_albedo)
    middle = (kept * lent).sum(0) / kept.sum().clamp_min(1.0)
    basis = near.places.of(model.albedo_basis.flatten(1)).unflatten(1, (3, -1))
    return FaceModel(
        mean_shape=other.mean_shape,
        id_basis=other.id_basis,
        exp_basis=other.exp_basis,
        mean_albedo=kept * lent + (1.0 - kept) * middle,
        albedo_basis=kept[..., None] * basis,
        topology=other.topology,
        metadata=other.metadata | {"albedo_space": model.albedo_space, "albedo_from": model.name},
    )


def _mask_of(near: NearestPlaces, mask: Float[Tensor, " V"]) -> Float[Tensor, " W"]:
    """A soft mask of one surface on another; 0 where the two are not the same."""
    return (near.places.of(mask[:, None])[:, 0] * SAME_DM.of(near.distance)).clamp(0.0, 1.0)
