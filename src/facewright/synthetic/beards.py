"""Beards, moustaches and eyelashes as small shells that move with the face. Frame: model, dm."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from facewright.geometry.mesh import vertex_normals
from facewright.morphable.linear import FaceModel
from facewright.synthetic.dice import picked
from facewright.synthetic.shells import Shell, make_shell

BeardKind = Literal["full", "goatee", "moustache", "sideburns"]
BEARD_SHARE = 0.14
BEARD_KINDS: dict[BeardKind, float] = {"full": 0.5, "goatee": 0.22, "moustache": 0.2, "sideburns": 0.08}
LASHES = 22
"""Per lid."""
_SWEEP = np.sin(np.linspace(0.5, 2.6, LASHES))[:, None]
_BEND = np.array([0.35, -0.3, 0.35, -0.3])[:, None, None] * [0.0, 1.0, 0.0]
LASH_COLOR = np.array([0.012, 0.010, 0.009])


@dataclass(frozen=True)
class HairyRig:
    """Where beards and lashes grow on a head model.

    Attributes:
        ids: vertices of beard and moustache.
        faces: ids into ``ids``.
        beard, moustache: how thick it grows there, 0..1.
        aside: distance from the middle, in units of half the mouth's width; below: the same, below the mouth's corners.
        lashes: vertices before and after the root of each lash, by lid (upper and lower of the right eye, then of the
            left) and from the outer corner to the inner; between: where between them the root is, 0..1.
        eyes: some vertices of each lid's eyeball.
    """

    ids: Int[ndarray, " N"]
    faces: Int[ndarray, "M 3"]
    beard: Float[ndarray, " N"]
    moustache: Float[ndarray, " N"]
    aside: Float[ndarray, " N"]
    below: Float[ndarray, " N"]
    lashes: Int[ndarray, "2 4 L"]
    between: Float[ndarray, "4 L 1"]
    eyes: Int[ndarray, "4 E"]

    @classmethod
    def of(cls, model: FaceModel, landmark_ids: Int[ndarray, "68"]) -> "HairyRig":
        """Measure a model by its regions (none: nothing grows) and its iBUG-68 landmarks."""
        mean, regions = model.mean_shape.numpy(), model.annotations.regions
        nothing = torch.zeros(len(mean))
        beard, moustache = (regions.get(name, nothing).numpy() for name in ("beard", "moustache"))
        kept = np.maximum(beard, moustache) > 0.25
        faces = model.faces.numpy()
        faces = faces[kept[faces].all(1) & model.annotations.face_parts["head"].numpy()]
        ids, flat = np.unique(faces, return_inverse=True)
        marks = mean[landmark_ids]
        half = 0.5 * float(marks[54, 0] - marks[48, 0])
        corner = float(marks[[48, 54], 1].mean())
        ends = ((36, 37, 38, 39), (36, 41, 40, 39), (45, 44, 43, 42), (45, 46, 47, 42))
        roots = [_roots(_path_through(mean, model.faces.numpy(), landmark_ids[list(end)])) for end in ends]
        ball = np.flatnonzero(regions["eyes"].numpy() > 0.5)
        sides = [ball[np.sign(mean[ball, 0]) == side] for side in (-1.0, 1.0)]
        eyes = np.stack([sides[k // 2][:: max(1, len(sides[0]) // 32)][:32] for k in range(4)])
        place = np.abs(mean[ids, 0]) / half, (corner - mean[ids, 1]) / half
        lashes, between = (np.stack(part) for part in zip(*roots, strict=True))
        between = between.astype(np.float32)[..., None]
        moved = lashes.transpose(1, 0, 2)
        return cls(ids, flat.reshape(-1, 3), beard[ids], moustache[ids], *place, moved, between, eyes)


@dataclass(frozen=True)
class Beard:
    """A grown beard.

    Attributes:
        kind: what of it is left standing.
        length: dm, at the chin.
        color: linear albedo.
        seed: of its strands and its ragged rim.
    """

    kind: BeardKind
    length: float
    color: Float[ndarray, "3"]
    seed: int


def draw_beard(rng: np.random.Generator, painted: Float[ndarray, "3"]) -> Beard | None:
    """Mostly none.

    Args:
        rng: random state; it advances.
        painted: linear albedo of the person's hair.
    """
    if rng.random() >= BEARD_SHARE:
        return None
    kind = picked(rng, BEARD_KINDS)
    greyer = rng.uniform(0.3, 1.0) if rng.random() < 0.12 else 0.0  # beards turn grey before hair does
    color = painted * rng.uniform(0.5, 1.1) * [1.05, 1.0, 0.95]
    color = (1.0 - greyer) * color + greyer * rng.uniform(0.05, 0.2)
    length = float(np.exp(rng.normal(np.log(0.06), 0.7)).clip(0.02, 0.5))
    return Beard(kind, length, color.clip(0.004, 0.6), int(rng.integers(2**31)))


def beard_growth(beard: Beard, rig: HairyRig) -> Float[ndarray, " N"]:
    """How densely it stands at the rig's vertices, 0..1."""
    full = np.maximum(rig.beard, rig.moustache)
    if beard.kind == "moustache":
        return rig.moustache
    if beard.kind == "goatee":
        return np.maximum(rig.moustache, rig.beard * (rig.aside < 1.15) * (rig.below > -0.2))
    if beard.kind == "sideburns":
        return rig.beard * (rig.aside > 1.7)
    return full


def beard_shell(beard: Beard, rig: HairyRig, vertices: Float[ndarray, "V 3"]) -> Shell:
    """Its surface over the skin, longest at the chin.

    Args:
        beard: what grows.
        rig: of the model.
        vertices: of the person, with expression.
    """
    rng = np.random.default_rng(beard.seed)
    growth = beard_growth(beard, rig)
    skin = vertices[rig.ids]
    normals = vertex_normals(torch.from_numpy(skin), torch.from_numpy(rig.faces)).numpy()
    longer = 0.35 + 0.65 * ((rig.below + 0.3) / 1.5).clip(0.0, 1.0)
    noise = rng.standard_normal(len(skin))
    out = growth * (beard.length * longer * (1.0 + 0.15 * noise)).clip(0.008)
    fall = (0.5 * longer if beard.length > 0.1 else 0.0 * longer)[:, None] * np.array([0.0, -1.0, 0.0])
    hair = skin + out[:, None] * (normals + fall)
    standing = growth > 0.45 + 0.12 * noise
    faces = rig.faces[standing[rig.faces].all(1)]
    streaks = beard.color * np.exp(0.2 * noise)[:, None]
    return make_shell(hair, faces, streaks, places=9.0 * skin, grain=0.3, gloss=0.3, part="head")


def lash_shell(length_dm: float, rig: HairyRig, vertices: Float[ndarray, "V 3"]) -> Shell:
    """Thin triangles along the rims of the lids that lead away from the eyeball; the lower ones are shorter.

    Args:
        length_dm: of the upper lashes.
        rig: of the model.
        vertices: of the person, with expression.
    """
    before, after = vertices[rig.lashes]
    along = after - before
    root = before + rig.between * along
    along = along / np.linalg.norm(along, axis=-1, keepdims=True).clip(1e-6)
    outward = root - vertices[rig.eyes].mean(1)[:, None]
    outward = outward / np.linalg.norm(outward, axis=-1, keepdims=True)
    reach = length_dm * np.array([1.0, 0.45, 1.0, 0.45])[:, None, None] * _SWEEP
    tip = root + reach * (outward + _BEND - 0.25 * along * np.linspace(1.0, -1.0, LASHES)[:, None])
    base, width = root + 0.004 * outward, 0.005 * along
    corners = np.stack([base - width, base + width, tip], -2).reshape(-1, 3)
    return make_shell(corners, np.arange(len(corners)).reshape(-1, 3), LASH_COLOR, part="head")


def _roots(rim: Int[ndarray, " R"]) -> tuple[Int[ndarray, "2 L"], Float[ndarray, " L"]]:
    """Even places along a path of vertices: the vertices before and after each, and the share of the way between."""
    at = np.linspace(0.06, 0.98, LASHES) * (len(rim) - 1)
    low = np.floor(at).astype(int).clip(0, len(rim) - 2)
    return np.stack([rim[low], rim[low + 1]]), at - low


def _path_through(
    vertices: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"], stops: Int[ndarray, " S"]
) -> Int[ndarray, " R"]:
    """Vertices of the shortest way along edges from stop to stop."""
    near = np.linalg.norm(vertices - vertices[stops].mean(0), axis=1) < 0.45
    kept = np.flatnonzero(near)
    back = np.full(len(vertices), -1)
    back[kept] = np.arange(len(kept))
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = edges[near[edges].all(1)]
    lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    graph = coo_array((lengths, (back[edges[:, 0]], back[edges[:, 1]])), (len(kept), len(kept))).tocsr()
    path = [int(back[stops[0]])]
    for start, stop in zip(back[stops[:-1]].tolist(), back[stops[1:]].tolist(), strict=True):
        _, before = dijkstra(graph, directed=False, indices=start, return_predecessors=True)
        leg = [stop]
        while leg[-1] != start:
            leg.append(int(before[leg[-1]]))
        path += leg[-2::-1]
    return kept[path]
