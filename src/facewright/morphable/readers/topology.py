"""Facts of triangle lists: crops, incident faces, orientation."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import splu

from facewright.errors import FaceModelError


def cropped_faces(faces: Int[np.ndarray, "F 3"], kept: Int[np.ndarray, " N"], count: int) -> Int[np.ndarray, "G 3"]:
    """Faces whose three corners are all kept, renumbered to the order of ``kept``.

    Args:
        faces: ids into the whole mesh.
        kept: ids of the vertices that stay, in their new order.
        count: number of vertices of the whole mesh.

    Raises:
        FaceModelError: no face is left.
    """
    renumbered = np.full(count, -1, np.int64)
    renumbered[kept] = np.arange(len(kept))
    mapped = renumbered[faces]
    left = mapped[(mapped >= 0).all(1)]
    if not len(left):
        raise FaceModelError(
            f"expected triangles on the {len(kept)} chosen vertices, found none among {len(faces)}; choose other "
            "parts, or download the files again"
        )
    return left


def faces_inside(faces: Int[np.ndarray, "F 3"], mask: Bool[np.ndarray, " V"]) -> Bool[np.ndarray, " F"]:
    """Which faces have all three corners in a vertex mask."""
    return np.logical_and.reduce(mask[faces], axis=1)


def incident_faces(faces: Int[np.ndarray, "F 3"], count: int, width: int) -> Int[np.ndarray, "V width"]:
    """Faces around each vertex, padded with F: the ``point_buf`` table of Deep3D (docs/deep3d.md section 1.2).

    The order is theirs: first the faces that name the vertex first, then second, then third; by face id within each.

    Raises:
        ValueError: a vertex has more than ``width`` faces.
    """
    corners = faces.T.ravel()
    order = np.argsort(corners, kind="stable")
    vertex = corners[order]
    place = np.arange(len(vertex)) - np.searchsorted(vertex, np.arange(count))[vertex]
    if place.size and place.max() >= width:
        raise ValueError(f"expected at most {width} faces around a vertex, found {place.max() + 1}")
    table = np.full((count, width), len(faces), np.int64)
    table[vertex, place] = order % len(faces)
    return table


def winds_outwards(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> bool:
    """Whether faces are counter-clockwise seen from outside: area-weighted normals point away from the middle."""
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    centroids = (a + b + c) / 3.0
    return float((np.cross(b - a, c - a) * (centroids - vertices[np.unique(faces)].mean(0))).sum()) >= 0.0


def fan(polygons: Int[np.ndarray, "F N"]) -> Int[np.ndarray, "G 3"]:
    """Convex polygons of one size as triangles around their first corner, polygon by polygon."""
    count = polygons.shape[1]
    parts = [polygons[:, [0, i, i + 1]] for i in range(1, count - 1)]
    return np.stack(parts, 1).reshape(-1, 3)


def extend_smoothly(
    basis: Float[np.ndarray, "N 3 K"], unknown: Bool[np.ndarray, " N"], faces: Int[np.ndarray, "F 3"]
) -> Float[np.ndarray, "N 3 K"]:
    """Modes whose unknown rows are the harmonic continuation of the others over the mesh (uniform graph Laplacian)."""
    count = len(basis)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    ends = np.concatenate([edges, edges[:, ::-1]])
    adjacency = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (count, count)).tocsr()
    adjacency.data[:] = 1.0  # an edge of two faces is one edge
    degree = np.asarray(adjacency.sum(1)).ravel()
    laplacian = (diags(degree + 1e-9) - adjacency).tocsr()  # the small diagonal: loose vertices stay put
    inner = laplacian[unknown][:, unknown]
    pull = adjacency[unknown] @ np.where(unknown[:, None], 0.0, basis.reshape(count, -1))
    extended = basis.copy()
    extended[unknown] = splu(inner.tocsc()).solve(pull).reshape(-1, 3, basis.shape[2])
    return extended
