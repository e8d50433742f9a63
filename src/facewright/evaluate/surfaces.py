"""Distances of points to a mesh: to its vertices, to their tangent planes, and exactly to its surface. numpy, mm.

Triangles are searched by libigl (extra ``evaluate``): exact to 1e-13 mm.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

from facewright.evaluate.extra import extra_package
from facewright.geometry.mesh import face_normals, vertex_normals

Distance = Literal["point", "plane", "surface"]
"""What a point's distance is measured to: nearest vertex, that vertex's tangent plane, or the triangles themselves."""


@dataclass(frozen=True)
class Surface:
    """A triangle mesh that distances are measured to. Search structures are made when first needed.

    Attributes:
        vertices_mm: positions, mm.
        faces: vertex ids, counter-clockwise from outside; degenerate triangles are allowed.

    Raises:
        ValueError: no triangle, a vertex id out of range, or a position that is not finite.
    """

    vertices_mm: Float[ndarray, "V 3"]
    faces: Int[ndarray, "F 3"]

    def __post_init__(self) -> None:
        if not len(self.faces) or self.faces.min() < 0 or self.faces.max() >= len(self.vertices_mm):
            raise ValueError(
                f"expected at least one face with vertex ids in 0..{len(self.vertices_mm) - 1}, received "
                f"{len(self.faces)} faces{f' with ids up to {self.faces.max()}' if len(self.faces) else ''}; "
                "give the mesh that the vertices belong to"
            )
        if not np.isfinite(self.vertices_mm).all():
            raise ValueError("expected finite vertex positions, received NaN or infinity; leave such vertices out")
        object.__setattr__(self, "vertices_mm", np.ascontiguousarray(self.vertices_mm, dtype=np.float64))
        object.__setattr__(self, "faces", np.ascontiguousarray(self.faces, dtype=np.int64))

    @cached_property
    def tree(self) -> Any:
        """Boxes over the triangles: libigl's ``AABB``.

        Raises:
            MissingExtraError: libigl is not installed.
        """
        tree = extra_package("igl").AABB()
        tree.init(self.vertices_mm, self.faces)
        return tree

    @cached_property
    def vertex_tree(self) -> KDTree:
        """For the nearest vertex."""
        return KDTree(self.vertices_mm)

    @cached_property
    def vertex_normals(self) -> Float[ndarray, "V 3"]:
        """Unit normals of the vertices; zero where a vertex has no proper face."""
        return vertex_normals(torch.from_numpy(self.vertices_mm), torch.from_numpy(self.faces)).numpy()

    @cached_property
    def face_normals(self) -> Float[ndarray, "F 3"]:
        """Unit normals of the faces; zero for degenerate ones."""
        return face_normals(torch.from_numpy(self.vertices_mm), torch.from_numpy(self.faces)).numpy()

    @cached_property
    def open_edges(self) -> Bool[ndarray, "F 3"]:
        """Whether the edge from corner i to the next belongs to one face alone: the rim of the mesh and its holes."""
        edges = np.sort(np.stack([self.faces, np.roll(self.faces, -1, axis=1)], -1), -1).reshape(-1, 2)
        _, inverse, counts = np.unique(edges, axis=0, return_inverse=True, return_counts=True)
        return (counts == 1)[inverse].reshape(-1, 3)

    @cached_property
    def open_vertices(self) -> Bool[ndarray, " V"]:
        """Whether a vertex ends an open edge."""
        ends = np.stack([self.faces, np.roll(self.faces, -1, axis=1)], -1)[self.open_edges]
        return np.isin(np.arange(len(self.vertices_mm)), ends)


@dataclass(frozen=True)
class ClosestPoints:
    """Where points meet a surface.

    Attributes:
        points_mm: closest points on the surface.
        distances_mm: how far they are.
        face_index: the face of each.
        barycentrics: weights of the face's corners.
    """

    points_mm: Float[ndarray, "N 3"]
    distances_mm: Float[ndarray, " N"]
    face_index: Int[ndarray, " N"]
    barycentrics: Float[ndarray, "N 3"]


def closest_points(points_mm: Float[ndarray, "N 3"], surface: Surface) -> ClosestPoints:
    """Exact closest points on a triangle mesh.

    Args:
        points_mm: queries.
        surface: the mesh.

    Raises:
        MissingExtraError: libigl is not installed.
        ValueError: a query is not finite.
    """
    points = np.ascontiguousarray(points_mm, dtype=np.float64)
    if not np.isfinite(points).all():
        raise ValueError("expected finite points, received NaN or infinity; leave such points out")
    _, nearest, _ = surface.tree.squared_distance(surface.vertices_mm, surface.faces, points)
    face_index = nearest.astype(np.int64)  # of another name for 64 bits
    corners = surface.vertices_mm[surface.faces[face_index]]
    weights = _closest_weights(corners, points)  # libigl's weights have no exact zeros, by which rims are told
    closest = np.einsum("nc,ncd->nd", weights, corners)
    return ClosestPoints(closest, np.linalg.norm(points - closest, axis=-1), face_index, weights)


def _closest_weights(corners: Float[ndarray, "N 3 3"], points: Float[ndarray, "N 3"]) -> Float[ndarray, "N 3"]:
    """Weights of the corners at the closest point of each triangle: the best of its inside and its three edges.

    Every candidate lies on the triangle, so that slivers, segments and single points need no case of their own.
    """
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    ab, ac, ap = b - a, c - a, points - a
    normal = np.cross(ab, ac)
    area2 = np.square(normal).sum(-1)
    safe = np.where(area2 > 0, area2, 1.0)
    at_b, at_c = (np.cross(ap, ac) * normal).sum(-1) / safe, (np.cross(ab, ap) * normal).sum(-1) / safe
    inside = (area2 > 0) & (at_b >= 0) & (at_c >= 0) & (at_b + at_c <= 1)
    candidates = [np.where(inside[:, None], np.stack([1 - at_b - at_c, at_b, at_c], -1), [1.0, 0.0, 0.0])]
    for i, j in ((0, 1), (1, 2), (2, 0)):
        edge = corners[:, j] - corners[:, i]
        length2 = np.square(edge).sum(-1)
        along = ((points - corners[:, i]) * edge).sum(-1) / np.where(length2 > 0, length2, 1.0)
        weights = np.zeros((len(points), 3))
        weights[:, j] = along.clip(0.0, 1.0)
        weights[:, i] = 1.0 - weights[:, j]
        candidates.append(weights)
    stacked = np.stack(candidates)
    places = np.einsum("knc,ncd->knd", stacked, corners)
    best = np.square(places - points).sum(-1).argmin(0)
    return stacked[best, np.arange(len(points))]


def on_rim(closest: ClosestPoints, surface: Surface) -> Bool[ndarray, " N"]:
    """Whether closest points lie on an open edge: there the surface ended and the true partner is probably missing."""
    weights, index = closest.barycentrics, closest.face_index
    on_edge = np.roll(weights, 1, axis=1) <= 0  # the corner opposite of edge i is i + 2, that is i - 1
    at_corner = weights >= 1  # of a face, perhaps, that has no open edge of its own
    at_end = at_corner & surface.open_vertices[surface.faces[index]]
    return np.any((on_edge & surface.open_edges[index]) | at_end, axis=1)


def point_to_point_mm(points_mm: Float[ndarray, "N 3"], surface: Surface) -> Float[ndarray, " N"]:
    """Distance to the nearest vertex; it over-estimates by up to the mesh's spacing."""
    return surface.vertex_tree.query(points_mm)[0]


def point_to_plane_mm(points_mm: Float[ndarray, "N 3"], surface: Surface) -> Float[ndarray, " N"]:
    """Distance to the tangent plane at the nearest vertex: |n.(p - q)|.

    Blind to tangential error and near zero on flat parts for wrong pairs: report
    ``point_to_surface_mm`` beside it.
    """
    nearest = surface.vertex_tree.query(points_mm)[1]
    offset = points_mm - surface.vertices_mm[nearest]
    return np.abs((surface.vertex_normals[nearest] * offset).sum(-1))


def point_to_surface_mm(points_mm: Float[ndarray, "N 3"], surface: Surface) -> Float[ndarray, " N"]:
    """Exact distance to the triangles."""
    return closest_points(points_mm, surface).distances_mm


def distances_mm(points_mm: Float[ndarray, "N 3"], surface: Surface, kind: Distance) -> Float[ndarray, " N"]:
    """Distances of points to a mesh, by the named kind."""
    measure = {"point": point_to_point_mm, "plane": point_to_plane_mm, "surface": point_to_surface_mm}
    return measure[kind](points_mm, surface)
