"""Glasses, sunglasses, face masks, fitted to one person. Frame: model, dm."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse import coo_array, csr_array, diags_array

from facewright.geometry.mesh import vertex_normals
from facewright.morphable.linear import FaceModel
from facewright.synthetic.dice import picked
from facewright.synthetic.shells import Shell, joined, make_shell, tube

PropKind = Literal["none", "glasses", "sunglasses", "mask", "object"]
PROP_KINDS: dict[PropKind, float] = {"none": 0.6, "glasses": 0.15, "sunglasses": 0.05, "mask": 0.07, "object": 0.13}
"""What covers faces and how often; ``object`` is a flat thing before the camera, drawn on the picture."""

SMOOTHINGS = 12


@dataclass(frozen=True)
class MaskRig:
    """The part of the head that a face mask covers.

    Attributes:
        vertex_ids: of the head.
        faces: ids into ``vertex_ids``, and beyond them one vertex for the middle of each hole.
        holes: rims of the holes (the mouth) that cloth spans: ids into ``vertex_ids``.
        neighbours: averages a vertex with those around it: sparse, row-stochastic.
    """

    vertex_ids: Int[ndarray, " N"]
    faces: Int[ndarray, "M 3"]
    holes: tuple[Int[ndarray, " _"], ...]
    neighbours: csr_array

    @classmethod
    def of(cls, model: FaceModel, landmark_ids: Int[ndarray, "68"]) -> "MaskRig":
        """Choose the lower face of a model by its iBUG-68 landmarks."""
        mean = model.mean_shape.numpy()
        marks = mean[landmark_ids]
        inside = model.annotations.regions["mouth_inside"].numpy() < 0.5
        low = mean[:, 1] < 0.45 * marks[27, 1] + 0.55 * marks[30, 1]
        kept = inside & low & (mean[:, 1] > marks[8, 1] - 0.03) & (mean[:, 2] > marks[3, 2] + 0.15)
        faces = model.faces.numpy()
        faces = faces[kept[faces].all(1) & model.annotations.face_parts["head"].numpy()]
        ids, flat = np.unique(faces, return_inverse=True)
        faces = flat.reshape(-1, 3)
        own = np.arange(len(ids))
        rows = np.concatenate([faces.ravel(), np.roll(faces, 1, 1).ravel(), own])
        columns = np.concatenate([np.roll(faces, 1, 1).ravel(), faces.ravel(), own])
        adjacency = coo_array((np.ones(len(rows)), (rows, columns)), (len(ids), len(ids))).tocsr()
        adjacency.data[:] = 1.0
        holes = _holes(faces)
        spanned = [
            np.stack([rim, np.roll(rim, -1), np.full(len(rim), len(ids) + k)], -1) for k, rim in enumerate(holes)
        ]
        return cls(
            ids, np.concatenate([faces, *spanned]), holes, csr_array(diags_array(1.0 / adjacency.sum(1)) @ adjacency)
        )

    def smooth(self, values: Float[ndarray, "..."]) -> Float[ndarray, "..."]:
        """Spreads values of the vertices as cloth spreads over nose and lips."""
        for _ in range(SMOOTHINGS):
            values = self.neighbours @ values
        return values


def draw_prop(rng: np.random.Generator) -> PropKind:
    """What covers the face."""
    return picked(rng, PROP_KINDS)


def glasses(rng: np.random.Generator, marks: Float[ndarray, "68 3"], ear: Float[ndarray, "3"], *, dark: bool) -> Shell:
    """A frame around both eyes with temples to the ears; with dark lenses for the sun.

    Args:
        rng: random state; it advances.
        marks: iBUG-68 of the person.
        ear: top of the left ear (x > 0).
        dark: sunglasses.
    """
    eyes = np.stack([marks[36:42].mean(0), marks[42:48].mean(0)])
    grown = 1.15 if dark else 1.0
    width, height = grown * rng.uniform(0.23, 0.29), grown * rng.uniform(0.15, 0.24)
    power, wire = rng.uniform(1.8, 4.5), rng.uniform(0.01, 0.035)
    front = max(float(marks[27, 2]), float(eyes[:, 2].max())) + rng.uniform(0.06, 0.12)
    turn = 2.0 * np.pi * np.arange(28) / 28
    shape = np.stack([_power(np.cos(turn), 2 / power) * width, _power(np.sin(turn), 2 / power) * height], -1)
    parts, lenses = [], []
    for eye in eyes:
        rim = _on_face(eye[:2] + shape + [0.0, -0.02], front)
        parts.append(tube(rim, wire, closed=True))
        lenses.append((np.concatenate([rim, rim.mean(0, keepdims=True)]), _fan(len(rim))))
        outer = rim[np.abs(rim[:, 0]).argmax()]
        end = ear * [np.sign(eye[0]), 1.0, 1.0] + [0.03 * np.sign(eye[0]), 0.0, 0.0]
        parts.append(tube(np.linspace(outer, end, 6), wire, closed=False))
    inner = _on_face(np.linspace([eyes[0, 0] + width, eyes[0, 1]], [eyes[1, 0] - width, eyes[1, 1]], 5), front)
    parts.append(tube(inner + np.array([0.0, 0.04, 0.02]), wire, closed=False))
    color = rng.beta(0.7, 2.0) * np.exp(0.3 * rng.standard_normal(3))
    frame, faces = joined(parts)
    if not dark:
        return make_shell(frame, faces, color, gloss=2.0)
    glass, glass_faces = joined(lenses)
    colors = np.concatenate([np.broadcast_to(color, frame.shape), np.full(glass.shape, rng.uniform(0.005, 0.04))])
    return make_shell(*joined([(frame, faces), (glass, glass_faces)]), colors, gloss=3.0)


def face_mask(rng: np.random.Generator, rig: MaskRig, vertices: Float[ndarray, "V 3"]) -> Shell:
    """Cloth over nose, mouth and chin."""
    skin = vertices[rig.vertex_ids]
    smooth = rig.smooth(skin)
    bare = rig.faces[(rig.faces < len(skin)).all(1)]
    normals = vertex_normals(torch.from_numpy(smooth), torch.from_numpy(bare)).numpy()
    height = ((skin - smooth) * normals).sum(1)
    tight = np.maximum(rig.smooth(height.clip(0.0)), height)  # stretched over what stands out
    cloth = smooth + (0.07 + tight)[:, None] * normals
    cloth = np.concatenate([cloth, *(cloth[rim].mean(0, keepdims=True) for rim in rig.holes)])
    color = np.array([0.35, 0.55, 0.65]) if rng.random() < 0.5 else rng.beta(1.0, 1.5) * rng.uniform(0.5, 1.2, 3)
    return make_shell(cloth, rig.faces, color, places=8.0 * cloth, grain=0.05)


def _holes(faces: Int[ndarray, "M 3"]) -> tuple[Int[ndarray, " _"], ...]:
    """Rims of a surface, in order, without the longest, which is its outline."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
    inner = {(b, a) for a, b in edges}
    following = {b: a for a, b in edges if (a, b) not in inner}
    rims = []
    while following:
        start, at = following.popitem()
        rim = [start]
        while at != start and at in following:
            rim.append(at)
            at = following.pop(at)
        rims.append(np.array(rim))
    rims.sort(key=len)
    return tuple(rims[:-1])


def _on_face(flat: ndarray, front: float) -> ndarray:
    """Points of a plane bent around the face."""
    return np.concatenate([flat, front - 0.35 * np.square(flat[:, :1])], 1)


def _fan(count: int) -> ndarray:
    around = np.arange(count)
    return np.stack([around, np.roll(around, -1), np.full(count, count)], -1)


def _power(values: ndarray, exponent: float) -> ndarray:
    return np.sign(values) * np.abs(values) ** exponent
