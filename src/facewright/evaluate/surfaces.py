"""Distances of points to a mesh: to its vertices, to their tangent planes, and exactly to its surface. numpy, mm."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.spatial import KDTree

from facewright.evaluate.bounding_tree import BoundingTree, build_tree, search_numpy
from facewright.evaluate.closest_point_numba import search_numba
from facewright.geometry.mesh import face_normals, vertex_normals
from facewright.render.compiled import can_compile

Distance = Literal["point", "plane", "surface"]
"""What a point's distance is measured to: nearest vertex, that vertex's tangent plane, or the triangles themselves."""
Backend = Literal["auto", "numpy", "numba"]


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

    @cached_property
    def tree(self) -> BoundingTree:
        """Boxes over the triangles."""
        return build_tree(self.vertices_mm[self.faces])

    @cached_property
    def vertex_tree(self) -> KDTree:
        """For the nearest vertex."""
        return KDTree(self.vertices_mm)

    @cached_property
    def vertex_normals(self) -> Float[ndarray, "V 3"]:
        """Unit normals of the vertices; zero where a vertex has no proper face."""
        return vertex_normals(torch.from_numpy(self.vertices_mm), torch.from_numpy(self.faces.astype(np.int64))).numpy()

    @cached_property
    def face_normals(self) -> Float[ndarray, "F 3"]:
        """Unit normals of the faces; zero for degenerate ones."""
        return face_normals(torch.from_numpy(self.vertices_mm), torch.from_numpy(self.faces.astype(np.int64))).numpy()

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


def closest_points(points_mm: Float[ndarray, "N 3"], surface: Surface, *, backend: Backend = "auto") -> ClosestPoints:
    """Exact closest points on a triangle mesh.

    Args:
        points_mm: queries.
        surface: the mesh.
        backend: ``numba`` (extra ``fast``), ``numpy``, or ``auto``: numba where it is installed.

    Raises:
        MissingExtraError: numba is asked for and not installed.
    """
    search = search_numba if backend == "numba" or (backend == "auto" and can_compile()) else search_numpy
    tree = surface.tree
    points = np.ascontiguousarray(points_mm, dtype=np.float64)
    slots, weights = search(tree, points)
    closest = np.einsum("nc,ncd->nd", weights, tree.corners[slots])
    distances = np.linalg.norm(points - closest, axis=-1)
    return ClosestPoints(closest, distances, tree.face_index[slots], weights)


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
