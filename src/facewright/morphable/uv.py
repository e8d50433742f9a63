"""The space of position maps: which point of a face each pixel is, for any face model and any resolution.

A position map (Feng et al. 2018, section 3.1) is a picture in texture space. Pixel (row r, column c) of a map of N
pixels a side has the texture coordinates u = u0 + (u1 - u0) c / (N - 1) and v = v1 - (v1 - v0) r / (N - 1), where the
window (u0, v0, u1, v1) is the whole square or the part of it that the face fills.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from facewright.errors import FaceModelError
from facewright.geometry.ibug68 import FIVE_OF_68
from facewright.geometry.mesh import face_normals
from facewright.morphable.linear import FaceModel
from facewright.morphable.seams import closing_triangles, pixels_of_triangles
from facewright.records import Annotations, TensorRecord, Topology

FACE_REGION = "face"
"""Region of a face model that its maps hold; where it has none, all of it but for these:"""
NOT_FACE = ("neck", "ears", "scalp", "mouth_inside")
HULL_MARGIN = 0.01
"""How far beyond the hull of the landmarks a map reaches at least, in texture coordinates."""
HEAD_PART = "head"
"""Part that a map can hold: eyes, teeth and tongue have places of their own in the texture."""

HOLD, MOST_UNSAID = 1e-5, 1e-3
"""Weight with which vertices are held near the pixels around them, and the largest share of that in a known one."""

WEIGHT_LANDMARK, WEIGHT_FEATURE, WEIGHT_FACE = 16.0, 4.0, 3.0
"""Weights in the loss: landmarks, eyes and nose and mouth, the rest of the face. All else weighs nothing."""
FEATURES = (range(36, 42), range(42, 48), range(27, 36), range(48, 68))
"""Landmarks around the right and left eye, on the nose, and around the mouth."""
EYES = FEATURES[:2]


@dataclass(frozen=True)
class PositionSpace(TensorRecord):
    """What the pixels of a position map are.

    Attributes:
        mask: pixels that are face; the others mean nothing.
        landmarks: row and column of the iBUG-68.
        canonical_dm: the mean face, model frame, y up; zero outside of the mask.
        window: u0, v0, u1, v1: texture coordinates of the middles of the pixels at the bottom left and top right.
    """

    mask: Bool[Tensor, "N N"]
    landmarks: Int[Tensor, "68 2"]
    canonical_dm: Float[Tensor, "3 N N"]
    window: Float[Tensor, "4"]

    @property
    def size(self) -> int:
        """Side of the maps, px."""
        return self.mask.shape[0]

    def points_of(self, positions: Float[Tensor, "*B 3 N N"]) -> Float[Tensor, "*B P 3"]:
        """What a map says of the pixels that are face, row by row: the vertices of ``map_topology``."""
        return positions.flatten(-2)[..., self.mask.flatten()].transpose(-1, -2)

    def map_of(self, points: Float[Tensor, "*B P C"]) -> Float[Tensor, "*B C N N"]:
        """The inverse: values of the vertices as a picture, zero outside of the mask."""
        picture = points.new_zeros(*points.shape[:-2], points.shape[-1], self.size**2)
        picture[..., self.mask.flatten()] = points.transpose(-1, -2)
        return picture.unflatten(-1, (self.size, self.size))

    def uv(self) -> Float[Tensor, "P 2"]:
        """Texture coordinates of the pixels that are face."""
        rows, columns = self.mask.nonzero().to(self.window).unbind(-1)
        u0, v0, u1, v1 = self.window
        last = self.size - 1
        return torch.stack([u0 + (u1 - u0) * columns / last, v1 - (v1 - v0) * rows / last], -1)


@dataclass(frozen=True)
class MapSurface(TensorRecord):
    """The pixels of a map as points on the triangles of a face model: a mesh's map is gathered by it.

    Attributes:
        corners: vertex ids of the triangle that each pixel of the mask lies in, row by row.
        weights: barycentric weights.
    """

    corners: Int[Tensor, "P 3"]
    weights: Float[Tensor, "P 3"]

    def of(self, values: Float[Tensor, "*B V C"]) -> Float[Tensor, "*B P C"]:
        """Vertex values at the pixels of the mask; differentiable."""
        rows = values.flatten(0, -3) if values.ndim > 2 else values[None]
        taken = rows.index_select(1, self.corners.flatten()).unflatten(1, tuple(self.corners.shape))
        return (
            (taken * self.weights[..., None].to(values))
            .sum(2)
            .unflatten(0, tuple(values.shape[:-2]) or (1,))
            .reshape(*values.shape[:-2], len(self.corners), values.shape[-1])
        )


def position_space(model: FaceModel, size: int) -> tuple[PositionSpace, MapSurface]:
    """The maps of a face model: what their pixels are, and where they lie on its triangles.

    A landmark's pixel is the landmark itself, not the point of the surface under its middle. The window is that of the
    region ``face`` where the model has one. What is open inside of the face, as eyes and mouth are, is closed by
    triangles between the rims.

    Args:
        model: with texture coordinates and iBUG-68.
        size: side of the maps, px.

    Raises:
        FaceModelError: it lacks one of these, or lies outside of its own texture.
    """
    uv, faces_uv, ibug68 = model.uv, model.faces_uv, model.annotations.ibug68
    if uv is None or faces_uv is None or ibug68 is None:
        lacks = "texture coordinates" if uv is None or faces_uv is None else "an iBUG-68 table"
        raise FaceModelError(
            f"position maps expect a face model with texture coordinates and landmarks, {model.name!r} has no {lacks}; "
            "import it again with them"
        )
    places = uv.double().cpu().numpy()
    chosen = _face_triangles(model, places, ibug68)
    faces, corners = model.faces[chosen].cpu().numpy(), faces_uv[chosen].cpu().numpy()
    window = _window(model, places[np.unique(corners)])
    grid = pixels_of_uv(torch.from_numpy(places), torch.from_numpy(window), size).numpy()
    closing = closing_triangles(grid, corners)
    vertex_of = np.zeros(len(places), np.int64)
    vertex_of[corners.ravel()] = faces.ravel()
    faces, corners = np.concatenate([faces, vertex_of[closing]]), np.concatenate([corners, closing])
    found, weights = pixels_of_triangles(grid[corners], size)
    mask = found >= 0
    ids = ibug68.cpu().numpy()
    landmarks = _landmarks(ids, faces, grid, corners, mask)
    held, weights = faces[found], weights.copy()
    held[tuple(landmarks.T)] = ids[:, None]
    weights[tuple(landmarks.T)] = [1.0, 0.0, 0.0]
    surface = MapSurface(
        torch.from_numpy(held[mask]).to(model.faces.device),
        torch.from_numpy(weights[mask]).to(model.mean_shape),
    )
    space = PositionSpace(
        torch.from_numpy(mask),
        torch.from_numpy(landmarks),
        torch.zeros(3, size, size),
        torch.from_numpy(window).float(),
    ).to(model.mean_shape.device)
    mean = space.map_of(surface.of(model.mean_shape))
    return PositionSpace(space.mask, space.landmarks, mean, space.window), surface


def pixels_of_uv(uv: Float[Tensor, "*N 2"], window: Float[Tensor, "4"], size: int) -> Float[Tensor, "*N 2"]:
    """Column and row in a map, px, of texture coordinates."""
    u0, v0, u1, v1 = window.to(uv)
    last = size - 1
    return torch.stack([last * (uv[..., 0] - u0) / (u1 - u0), last * (v1 - uv[..., 1]) / (v1 - v0)], -1)


def read_map(values: Float[Tensor, "B C N N"], places: Float[Tensor, "M 2"]) -> Float[Tensor, "B M C"]:
    """A map at any places (column, row), bilinear; beyond the outermost pixels these hold."""
    last = values.shape[-1] - 1
    grid = (2.0 * places / last - 1.0).to(values).expand(len(values), 1, -1, -1)
    read = torch.nn.functional.grid_sample(values, grid, padding_mode="border", align_corners=True)
    return read[:, :, 0].transpose(1, 2)


def vertices_of_points(
    points: Float[Tensor, "P C"], surface: MapSurface, num_vertices: int
) -> tuple[Int[Tensor, " M"], Float[Tensor, "M C"]]:
    """Vertices of the face model from the pixels of a map: the inverse of ``MapSurface.of``, by least squares.

    Args:
        points: what a map says of the pixels that are face.
        surface: of the model's maps.
        num_vertices: of the model.

    Returns:
        The vertices that pixels say enough of, and where they are.
    """
    from scipy.sparse import csr_matrix, identity  # here, as below: it takes its time to load, and few ask for it
    from scipy.sparse.linalg import splu

    corners, weights = surface.corners.cpu().numpy(), surface.weights.double().cpu().numpy()
    rows = np.repeat(np.arange(len(corners)), 3)
    gather = csr_matrix((weights.ravel(), (rows, corners.ravel())), (len(corners), num_vertices))
    seen = np.flatnonzero(np.asarray(gather.sum(0))[0] > 0)
    gather = gather[:, seen]
    # held a little near the mean of the pixels around them: what of that is left in a vertex, no pixel has spoken of
    values, total = points.double().cpu().numpy(), np.asarray(gather.sum(0)).T
    solver = splu((gather.T @ gather + HOLD * identity(len(seen))).tocsc())
    solved = solver.solve(gather.T @ values + HOLD * (gather.T @ values) / total)
    unsaid = solver.solve(np.full(len(seen), HOLD))
    known = np.abs(unsaid) < MOST_UNSAID
    device = points.device
    return torch.from_numpy(seen[known]).to(device), torch.from_numpy(solved[known]).to(points)


def map_triangles(mask: Bool[Tensor, "N N"]) -> Int[Tensor, "F 3"]:
    """The triangles between the pixels of a mask, which are numbered row by row.

    For each pixel (r, c), row by row: (r, c), (r + 1, c), (r + 1, c - 1), then (r, c), (r, c + 1), (r + 1, c), where
    all three are in the mask. This is the table of the published program, which leaves out the first triangle.
    """
    number = torch.where(mask, mask.flatten().cumsum(0).view_as(mask) - 1, -1)
    framed = torch.nn.functional.pad(number, (1, 1, 0, 1), value=-1)
    here, right = framed[:-1, 1:-1], framed[:-1, 2:]
    below, below_left = framed[1:, 1:-1], framed[1:, :-2]
    triangles = torch.stack([torch.stack([here, below, below_left], -1), torch.stack([here, right, below], -1)], 2)
    flat = triangles.view(-1, 3)
    return flat[(flat >= 0).all(1)]


def map_topology(space: PositionSpace) -> Topology:
    """A mesh of the pixels that are face: triangles, texture coordinates, landmarks, symmetry."""
    mask, uv = space.mask, space.uv()
    triangles = map_triangles(mask)
    toward_viewer = face_normals(space.points_of(space.canonical_dm), triangles)[:, 2].sum()
    faces = triangles if float(toward_viewer) > 0 else triangles.flip(1)
    number = (mask.flatten().cumsum(0) - 1).view_as(mask)
    ibug68 = number[space.landmarks[:, 0], space.landmarks[:, 1]]
    five = torch.full((5, 2), -1, dtype=torch.int64, device=mask.device)
    for k, points in enumerate(FIVE_OF_68):
        five[k, : len(points)] = ibug68[list(points)]
    both = mask & mask.flip(1)
    partner = torch.where(both, number.flip(1), number)[mask]
    marks = Annotations(ibug68=ibug68, five=five, regions={"eyes": _polygons(space, EYES)[mask]}, mirror=partner)
    return Topology(faces, uv, faces.clone(), marks)


def loss_weights(space: PositionSpace) -> Float[Tensor, "N N"]:
    """Landmarks : eyes, nose and mouth : the rest of the face : everything else as 16 : 4 : 3 : 0."""
    features = _polygons(space, FEATURES)
    weights = torch.where(features > 0, WEIGHT_FEATURE, WEIGHT_FACE) * space.mask
    weights[space.landmarks[:, 0], space.landmarks[:, 1]] = WEIGHT_LANDMARK
    return weights


def feature_masks(space: PositionSpace) -> dict[str, Float[Tensor, "N N"]]:
    """Parts of a map that an edit may name, 0 or 1: eyes, nose, mouth, and the whole face."""
    named = {"eyes": EYES, "nose": FEATURES[2:3], "mouth": FEATURES[3:]}
    return {name: _polygons(space, rings) for name, rings in named.items()} | {"face": space.mask.to(space.window)}


def _polygons(space: PositionSpace, rings: tuple[range, ...]) -> Float[Tensor, "N N"]:
    """1 within the hulls of landmarks, as far as they are face."""
    picture = np.zeros((space.size, space.size), np.uint8)
    for ring in rings:
        places = space.landmarks[list(ring)].flip(1).cpu().numpy().astype(np.int32)
        cv2.fillConvexPoly(picture, cv2.convexHull(places), 1)
    return torch.from_numpy(picture).to(space.window) * space.mask


def _face_triangles(model: FaceModel, places: Float[ndarray, "T 2"], ibug68: Int[Tensor, "68"]) -> Bool[Tensor, " F"]:
    """Those that a map holds: of the face, and whatever lies between the outermost landmarks in the texture."""
    from scipy.spatial import ConvexHull

    marks, none = model.annotations, torch.zeros_like(model.mean_shape[:, 0])
    assert model.faces_uv is not None
    on_head = marks.face_parts.get(HEAD_PART, torch.ones_like(model.faces[:, 0], dtype=torch.bool))
    if FACE_REGION in marks.regions:
        held = marks.regions[FACE_REGION] > 0.5
    else:
        held = torch.stack([marks.regions.get(name, none) for name in NOT_FACE]).amax(0) <= 0.5
    marked = torch.isin(model.faces, ibug68) & on_head[:, None]
    hull = ConvexHull(places[model.faces_uv[marked].cpu().numpy()])
    beyond = (places @ hull.equations[:, :2].T + hull.equations[:, 2]).max(1)
    between = torch.from_numpy(beyond <= HULL_MARGIN).to(model.faces.device)[model.faces_uv].all(1)
    return (held[model.faces].all(1) | between) & on_head


def _window(model: FaceModel, places: Float[ndarray, "M 2"]) -> Float[ndarray, "4"]:
    """Of the region ``face``, in the middle of the texture where the head is its own mirror image."""
    if FACE_REGION not in model.annotations.regions:
        return np.array([0.0, 0.0, 1.0, 1.0])
    (u0, v0), (u1, v1) = places.min(0), places.max(0)
    if model.annotations.mirror is not None:
        reach = max(0.5 - u0, u1 - 0.5)
        u0, u1 = 0.5 - reach, 0.5 + reach
    return np.array([u0, v0, u1, v1])


def _landmarks(
    ids: Int[ndarray, "68"],
    faces: Int[ndarray, "F 3"],
    grid: Float[ndarray, "T 2"],
    corners: Int[ndarray, "F 3"],
    mask: Bool[ndarray, "N N"],
) -> Int[ndarray, "68 2"]:
    """Row and column of the pixel nearest to each landmark among those that are face."""
    place_of = {
        int(vertex): grid[corner] for vertex, corner in zip(faces.ravel()[::-1], corners.ravel()[::-1], strict=True)
    }
    pixels = np.argwhere(mask)
    found = []
    for vertex in ids.tolist():
        if vertex not in place_of:
            raise FaceModelError(
                f"expected landmarks on the face that a map holds, received vertex {vertex} outside of it"
            )
        column, row = place_of[vertex]
        rounded = np.array([np.rint(row), np.rint(column)]).astype(int)
        inside = (rounded >= 0).all() and (rounded < len(mask)).all() and mask[tuple(rounded)]
        found.append(rounded if inside else pixels[np.abs(pixels - [row, column]).sum(1).argmin()])
    return np.stack(found).astype(np.int64)
