"""Finer triangles where the source's are coarse (skull, neck, cheeks): Loop's smooth surface through the old vertices.

The source spends its vertices on eyes, nose and mouth; its skull is facets of up to two centimetres, which show. A
triangle whose sides are long becomes four; one beside it is halved where they share a side, so that no gap opens. Old
vertices keep their ids and places: landmarks and measurements do not change.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from facewright.morphable.linear import FaceModel
from facewright.morphable.subdivide import loop_matrix
from facewright.records import Annotations, Topology

LONGEST_SIDES = (0.08, 0.085)
"""dm; per round, the second longest side (of half a quad: its longer side, not the cut) from which it is refined."""

COMPARED = "photometric"
"""The mask of skin that pictures may be compared on."""


@dataclass(frozen=True)
class Split:
    """Which edges get a vertex in their middle, and the triangles that follow.

    Attributes:
        edges: (E, 2) ends of the split edges, ascending.
        faces: (G, 3) new triangles; the k-th split edge's vertex is ``count + k``.
        parent: (G,) the old triangle that each came from.
        whole: (F,) old triangles that became four.
    """

    edges: np.ndarray
    faces: np.ndarray
    parent: np.ndarray
    whole: np.ndarray


def refine_face_model(model: FaceModel) -> FaceModel:
    """The model with its coarse skin made finer, once per entry of ``LONGEST_SIDES``."""
    for longest in LONGEST_SIDES:
        model = _refined(model, longest)
    return model


def _refined(model: FaceModel, longest: float) -> FaceModel:
    faces, count = model.faces.numpy(), len(model.mean_shape)
    skin = model.annotations.face_parts["head"].numpy()
    sides = np.sort(_side_lengths(model.mean_shape.double().numpy(), faces), axis=1)
    split = split_faces(faces, skin & (sides[:, 1] > longest), count)
    surface = Surface(faces, split, count)
    uv, faces_uv = model.uv, model.faces_uv
    if uv is not None and faces_uv is not None:
        uv, faces_uv = _refined_uv(uv, faces_uv.numpy(), faces, split, count)
    return FaceModel(
        mean_shape=surface.of(model.mean_shape),
        id_basis=surface.of(model.id_basis),
        exp_basis=surface.of(model.exp_basis),
        mean_albedo=surface.of(model.mean_albedo),
        albedo_basis=surface.of(model.albedo_basis),
        topology=Topology(
            torch.from_numpy(split.faces),
            uv,
            faces_uv,
            _refined_annotations(model.annotations, split, count),
            model.exp_names,
        ),
        metadata=model.metadata,
    )


def split_faces(faces: np.ndarray, chosen: np.ndarray, count: int) -> Split:
    """Refine the chosen triangles (F, 3), and every one that would have two or three split sides."""
    keys = _keys(faces[:, [[0, 1], [1, 2], [2, 0]]], count)
    while True:
        split = np.isin(keys, keys[chosen])
        more = split.sum(1) >= 2
        if (more == chosen).all():
            break
        chosen = more
    edges = np.unique(keys[split])
    middle = np.where(split, count + np.searchsorted(edges, keys), -1)
    halved = split.any(1) & ~chosen
    a, b, c = faces.T
    ab, bc, ca = middle.T
    quarters = np.stack([np.stack(t, 1) for t in ([a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca])], 1)
    # a halved triangle, turned so that its split side comes first
    turn = split.argmax(1)
    corner = [np.take_along_axis(faces, ((turn + k) % 3)[:, None], 1)[:, 0] for k in range(3)]
    on_side = middle.max(1)
    halves = np.stack([np.stack([corner[0], on_side, corner[2]], 1), np.stack([on_side, corner[1], corner[2]], 1)], 1)
    kept = ~chosen & ~halved
    ids = np.arange(len(faces))
    new = [faces[kept], quarters[chosen].reshape(-1, 3), halves[halved].reshape(-1, 3)]
    parent = np.concatenate([ids[kept], np.repeat(ids[chosen], 4), np.repeat(ids[halved], 2)])
    order = np.argsort(parent, kind="stable")
    return Split(np.stack([edges // count, edges % count], 1), np.concatenate(new)[order], parent[order], chosen)


def _keys(sides: np.ndarray, count: int) -> np.ndarray:
    """One number per undirected edge (..., 2)."""
    ends = np.sort(sides, axis=-1)
    return ends[..., 0] * count + ends[..., 1]


def _side_lengths(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    corners = vertices[faces]
    return np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)


class Surface:
    """Loop's surface through the old vertices: values at them and at the new ones, from values at the old.

    Loop's masks smooth the old vertices too, where every triangle about one became four. Values are sharpened first, by
    the inverse, so that the old vertices come out where they were.

    Args:
        faces: (F, 3) old triangles.
        split: what becomes of them.
        count: number of old vertices.
    """

    def __init__(self, faces: np.ndarray, split: Split, count: int) -> None:
        masks, _ = loop_matrix(faces, count)
        all_keys = np.unique(_keys(faces[:, [[0, 1], [1, 2], [2, 0]]], count))
        about = np.bincount(faces.ravel(), minlength=count)
        whole = np.bincount(faces[split.whole].ravel(), minlength=count) == about
        moving, still = (sparse.diags(kind.astype(float)) for kind in (whole, ~whole))
        smoothed = moving @ masks[:count] + still
        self._sharpen = splu(sparse.csc_matrix(smoothed))
        self._middles = masks[count + np.searchsorted(all_keys, _keys(split.edges, count))]

    def of(self, values: Tensor) -> Tensor:
        """(V + E, ...) values at old and new vertices, from (V, ...)."""
        flat = values.double().reshape(len(values), -1).numpy()
        new = torch.from_numpy(np.asarray(self._middles @ self._sharpen.solve(flat)))
        return torch.cat([values, new.reshape(-1, *values.shape[1:]).to(values)])


def _refined_uv(uv: Tensor, faces_uv: np.ndarray, faces: np.ndarray, split: Split, count: int) -> tuple[Tensor, Tensor]:
    """Texture coordinates by straight halving; a seam's two sides get a middle each."""
    size = len(uv)
    old = faces[split.parent]
    is_old = split.faces < count
    place = (old[:, None, :] == split.faces[:, :, None]).argmax(2)
    ends = split.edges[np.maximum(split.faces - count, 0)]
    first = (old[:, None, :] == ends[..., :1]).argmax(2)
    second = (old[:, None, :] == ends[..., 1:]).argmax(2)
    mine = faces_uv[split.parent]
    pair = np.stack([np.take_along_axis(mine, first, 1), np.take_along_axis(mine, second, 1)], -1)
    keys = np.where(is_old, -1, _keys(pair, size))
    middles = np.unique(keys[~is_old])
    new = np.where(is_old, np.take_along_axis(mine, place, 1), size + np.searchsorted(middles, keys))
    halfway = 0.5 * (uv[middles // size] + uv[middles % size])
    return torch.cat([uv, halfway]), torch.from_numpy(new)


def _refined_annotations(notes: Annotations, split: Split, count: int) -> Annotations:
    mirror = notes.mirror
    if mirror is not None:
        partner = _keys(mirror.numpy()[split.edges], count)
        beyond = count + np.searchsorted(_keys(split.edges, count), partner)
        mirror = torch.cat([mirror, torch.from_numpy(beyond)])
    parent = torch.from_numpy(split.parent)
    edges = torch.from_numpy(split.edges)
    # Straight means keep masks within 0..1 and apart. What lies on the border of what may be compared is not compared.
    middles = {
        name: mask[edges].amin(1) if name == COMPARED else mask[edges].mean(1) for name, mask in notes.regions.items()
    }
    return replace(
        notes,
        mirror=mirror,
        regions={name: torch.cat([mask, middles[name]]) for name, mask in notes.regions.items()},
        face_parts={name: mask[parent] for name, mask in notes.face_parts.items()},
    )
