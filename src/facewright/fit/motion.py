"""How posed points, their pixels and their normals move with the unknowns: the analytic derivatives of the fit."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.fit.parameters import cross_matrix
from facewright.geometry.frames import project_points
from facewright.geometry.rotations import rotation_from_angles
from facewright.records import Camera, FaceCoefficients, TensorRecord


@dataclass(frozen=True)
class LinearPoints(TensorRecord):
    """Points that depend linearly on id and exp, in the model frame: mean + basis [id, exp].

    Attributes:
        mean: dm.
        basis: dm per unit coefficient, id modes first.
    """

    mean: Float[Tensor, "N 3"]
    basis: Float[Tensor, "N 3 G"]

    def of(self, coefficients: FaceCoefficients) -> Float[Tensor, "N 3"]:
        """Positions in the model frame, dm."""
        return self.mean + self.basis @ torch.cat([coefficients.id[0], coefficients.exp[0]])


@dataclass(frozen=True)
class LinearShape(TensorRecord):
    """All vertices of a face model, in the model frame, as they depend on id and exp.

    Attributes:
        mean: dm.
        id_basis: dm per unit coefficient.
        exp_basis: dm per unit coefficient.
    """

    mean: Float[Tensor, "V 3"]
    id_basis: Float[Tensor, "V 3 Kid"]
    exp_basis: Float[Tensor, "V 3 Kexp"]

    def vertices(self, coefficients: FaceCoefficients) -> Float[Tensor, "1 V 3"]:
        """Positions in the model frame, dm."""
        offset = torch.einsum("vck,bk->bvc", self.id_basis, coefficients.id)
        return self.mean + offset + torch.einsum("vck,bk->bvc", self.exp_basis, coefficients.exp)

    def blend(self, corners: Int[Tensor, "N C"], weights: Float[Tensor, "N C"]) -> LinearPoints:
        """Points that are weighted means of vertices."""
        basis = torch.cat([self.id_basis[corners], self.exp_basis[corners]], -1)
        mean = (self.mean[corners] * weights[..., None]).sum(1)
        return LinearPoints(mean, (basis * weights[..., None, None]).sum(1))

    def means(self, corners: Int[Tensor, "N C"]) -> LinearPoints:
        """Points that are plain means of vertices (ids padded with -1)."""
        weights = (corners >= 0).to(self.mean)
        return self.blend(corners.clamp_min(0), weights / weights.sum(-1, keepdim=True))


@dataclass(frozen=True)
class Motion:
    """Values and their derivatives by the geometry columns [turn, move, id, exp].

    Attributes:
        value: at the present state.
        jacobian: by the geometry columns.
    """

    value: Float[Tensor, "N D"]
    jacobian: Float[Tensor, "N D Q"]


def world_motion(points: LinearPoints, coefficients: FaceCoefficients) -> Motion:
    """World positions (dm). A left turn w moves a point by w x (R p)."""
    rotation = rotation_from_angles(coefficients.angles[0])
    turned = points.of(coefficients) @ rotation.T
    by_move = torch.eye(3, dtype=turned.dtype, device=turned.device).expand(len(turned), 3, 3)
    by_shape = torch.einsum("ij,njg->nig", rotation, points.basis)
    jacobian = torch.cat([-cross_matrix(turned), by_move, by_shape], -1)
    return Motion(turned + coefficients.translation[0], jacobian)


def moved_by(
    points: LinearPoints,
    turned: Float[Tensor, "N 3"],
    rotation: Float[Tensor, "3 3"],
    by_world: Float[Tensor, "N C 3"],
) -> Float[Tensor, "N C Q"]:
    """Derivatives by the geometry columns of what depends on world positions: ``by_world @ world_motion(...)``.

    Args:
        points: model points.
        turned: where they are before the translation, dm.
        rotation: that turned them.
        by_world: derivatives of C values of each by its position.
    """
    by_turn = torch.linalg.cross(turned[:, None].expand_as(by_world), by_world)
    return torch.cat([by_turn, by_world, (by_world @ rotation) @ points.basis], -1)


def standing_still(points: LinearPoints, coefficients: FaceCoefficients) -> Float[Tensor, "N 3"]:
    """World positions (dm) alone: for terms that look at appearance, which no point moves."""
    rotation = rotation_from_angles(coefficients.angles[0])
    return points.of(coefficients) @ rotation.T + coefficients.translation[0]


def pixel_motion(world: Motion, camera: Camera) -> Motion:
    """Pixel column and row of world points, by the chain rule through ``project_points``."""
    pixels, by_world = projected(world.value, camera)
    return Motion(pixels, by_world @ world.jacobian)


def projected(world: Float[Tensor, "N 3"], camera: Camera) -> tuple[Float[Tensor, "N 2"], Float[Tensor, "N 2 3"]]:
    """Pixel column and row of world points, and their derivatives by the positions."""
    pixels = project_points(world[None], camera)[0]
    focal, distance = camera.focal_px[0], pixels[:, 2]
    x, y = world[:, 0], world[:, 1]
    scale = focal / distance
    zero = torch.zeros_like(scale)
    column, row = (scale, zero, scale * x / distance), (zero, -scale, -scale * y / distance)
    return pixels[:, :2], torch.stack([torch.stack(column, -1), torch.stack(row, -1)], -2)


def normal_motion(world: Motion, faces: Int[Tensor, "F 3"], vertex_faces: Int[Tensor, "N M"]) -> Motion:
    """Unit vertex normals of a posed mesh and their derivatives.

    A vertex normal is the normalised sum of its incident unit face normals (docs/deep3d.md section 3); with
    m = e1 x e2 of a face, d(m/|m|) = (I - nn') dm / |m|.

    Args:
        world: posed vertices.
        faces: triangles among them.
        vertex_faces: ids of the faces around each vertex, padded with F.
    """
    a, b, c = faces.unbind(-1)
    x, dx = world.value, world.jacobian
    e1, e2 = x[b] - x[a], x[c] - x[a]
    surface = surface_of(x, faces, vertex_faces)
    d_cross = cross_matrix(e1) @ (dx[c] - dx[a]) - cross_matrix(e2) @ (dx[b] - dx[a])
    d_unit = _tangent(surface.units, d_cross) / surface.lengths[:, None, None]
    d_total = _gathered(d_unit, vertex_faces)
    return Motion(surface.normals, _tangent(surface.normals, d_total) / surface.sizes[:, None, None])


@dataclass(frozen=True)
class MeshNormals(TensorRecord):
    """Normals of triangles and of their vertices, and what they were divided by.

    Attributes:
        units: unit normals of the triangles.
        lengths: twice their areas.
        normals: unit normals of the vertices.
        sizes: length of the sum of unit normals around each.
    """

    units: Float[Tensor, "F 3"]
    lengths: Float[Tensor, " F"]
    normals: Float[Tensor, "N 3"]
    sizes: Float[Tensor, " N"]


def surface_of(
    points: Float[Tensor, "P 3"], faces: Int[Tensor, "F 3"], vertex_faces: Int[Tensor, "N M"]
) -> MeshNormals:
    """The surface of a mesh; arguments as ``normal_motion``."""
    first, second, third = (points.index_select(0, corner) for corner in faces.unbind(-1))
    cross = torch.linalg.cross(second - first, third - first)
    lengths = cross.norm(dim=-1).clamp_min(1e-12)
    units = cross / lengths[:, None]
    total = _gathered(units, vertex_faces)
    sizes = total.norm(dim=-1).clamp_min(1e-12)
    return MeshNormals(units, lengths, total / sizes[:, None], sizes)


def _tangent(unit: Float[Tensor, "N 3"], change: Float[Tensor, "N 3 Q"]) -> Float[Tensor, "N 3 Q"]:
    return change - unit[:, :, None] * torch.einsum("ni,niq->nq", unit, change)[:, None]


def _gathered(per_face: Tensor, vertex_faces: Int[Tensor, "N M"]) -> Tensor:
    """Sum over the faces around each vertex; row F, the padding, counts for nothing."""
    table = torch.nn.functional.pad(per_face.flatten(1), (0, 0, 0, 1))
    return bag(vertex_faces, table, "sum").unflatten(1, per_face.shape[1:])


def mean_of_corners(motion: Motion, triangles: Int[Tensor, "G 3"]) -> Motion:
    """Values at the centres of triangles."""
    value, jacobian = motion.value, motion.jacobian
    by_centre = bag(triangles, jacobian.flatten(1), "mean").unflatten(1, jacobian.shape[1:])
    return Motion(bag(triangles, value, "mean"), by_centre)


def bag(rows: Int[Tensor, "N M"], table: Float[Tensor, "R D"], mode: Literal["sum", "mean"]) -> Float[Tensor, "N D"]:
    """Sum or mean of chosen rows of a table, in one pass over memory."""
    if table.shape[1] == 0:  # what stands still has no derivatives; torch refuses such tables on several threads
        return table.new_zeros(len(rows), 0)
    return torch.nn.functional.embedding_bag(rows, table, mode=mode)
