"""One level of Loop subdivision of a face model: four times the triangles, smooth, the same coefficients.

Loop's masks are linear in the vertices, so one sparse matrix carries mean, bases and masks over (C. Loop, "Smooth
subdivision surfaces based on triangles", 1987; boundary rules as in Hoppe et al. 1994). Ids of old vertices stay what
they were; new ones, one per edge, follow behind.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy import ndarray
from scipy import sparse
from torch import Tensor

from facewright.morphable.linear import FaceModel
from facewright.records import Annotations, Embedding, Topology


def subdivide_face_model(model: FaceModel) -> FaceModel:
    """The model on the subdivided mesh.

    Landmarks and contours keep their vertices, which move to the smooth surface; region masks are subdivided like
    positions, texture coordinates by straight halving, so that seams stay closed.

    Raises:
        ValueError: more than two faces meet at an edge, or the mirror annotation does not fit the faces.
    """
    faces = model.faces.cpu().numpy()
    matrix, new_faces = loop_matrix(faces, len(model.mean_shape))
    uv, faces_uv = model.uv, model.faces_uv
    if uv is not None and faces_uv is not None:
        halving, new_faces_uv = halving_matrix(faces_uv.cpu().numpy(), len(uv))
        uv, faces_uv = _mapped(halving, uv), torch.from_numpy(new_faces_uv).to(faces_uv.device)
    return FaceModel(
        mean_shape=_mapped(matrix, model.mean_shape),
        id_basis=_mapped(matrix, model.id_basis),
        exp_basis=_mapped(matrix, model.exp_basis),
        mean_albedo=_mapped(matrix, model.mean_albedo),
        albedo_basis=_mapped(matrix, model.albedo_basis),
        topology=Topology(
            torch.from_numpy(new_faces).to(model.faces.device),
            uv,
            faces_uv,
            _subdivided_annotations(model.annotations, matrix, faces),
            model.exp_names,
        ),
        metadata=model.metadata | {"subdivided": int(model.metadata.get("subdivided", 0)) + 1},
    )


def loop_matrix(faces: Int[ndarray, "F 3"], count: int) -> tuple[sparse.csr_matrix, Int[ndarray, "G 3"]]:
    """Loop's masks as a matrix (V + E, V), and the new faces: three corners and a middle per old face.

    Args:
        faces: vertex ids; an edge may belong to one face (boundary) or two.
        count: number of vertices V.

    Raises:
        ValueError: an edge belongs to more than two faces.
    """
    edges, edge_of_side = _edges(faces)
    uses = np.bincount(edge_of_side.reshape(-1), minlength=len(edges))
    if (uses > 2).any():
        raise ValueError(f"expected a mesh with at most two faces per edge, received {uses.max()} at one edge")
    border = uses == 1
    return sparse.csr_matrix(
        sparse.vstack([_vertex_rows(edges, border, count), _edge_rows(faces, edges, edge_of_side, border, count)])
    ), _split(faces, edge_of_side, count)


def halving_matrix(faces: Int[ndarray, "F 3"], count: int) -> tuple[sparse.csr_matrix, Int[ndarray, "G 3"]]:
    """Old points kept, the middle of every edge added: a matrix (T + E, T), and the new faces."""
    edges, edge_of_side = _edges(faces)
    middle = sparse.csr_matrix(
        (np.full(edges.size, 0.5), (np.repeat(np.arange(len(edges)), 2), edges.reshape(-1))), (len(edges), count)
    )
    return sparse.csr_matrix(sparse.vstack([sparse.identity(count), middle])), _split(faces, edge_of_side, count)


def _edges(faces: Int[ndarray, "F 3"]) -> tuple[Int[ndarray, "E 2"], Int[ndarray, "F 3"]]:
    """Undirected edges, and for each side (0-1, 1-2, 2-0) of each face the id of its edge."""
    sides = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, edge_of_side = np.unique(sides, axis=0, return_inverse=True)
    return edges, edge_of_side.reshape(-1, 3)


def _split(faces: Int[ndarray, "F 3"], edge_of_side: Int[ndarray, "F 3"], count: int) -> Int[ndarray, "G 3"]:
    """Four faces per face, in its place and orientation."""
    a, b, c = faces.T
    ab, bc, ca = (edge_of_side + count).T
    corners = [[a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca]]
    return np.stack([np.stack(corner, axis=1) for corner in corners], axis=1).reshape(-1, 3)


def _vertex_rows(edges: Int[ndarray, "E 2"], border: Bool[ndarray, " E"], count: int) -> sparse.csr_matrix:
    """Old vertices: 1 - n beta of themselves and beta per neighbour; on a border 3/4 and 1/8 per border neighbour."""
    ends = np.concatenate([edges, edges[:, ::-1]])
    twice = np.concatenate([border, border])
    on_border = np.bincount(ends[twice, 0], minlength=count) > 0
    valence = np.bincount(ends[:, 0], minlength=count)
    n = np.maximum(valence, 1)
    beta = (0.625 - (0.375 + 0.25 * np.cos(2.0 * np.pi / n)) ** 2) / n
    weight = np.where(on_border[ends[:, 0]], 0.125 * twice, beta[ends[:, 0]])
    neighbours = sparse.csr_matrix((weight, (ends[:, 0], ends[:, 1])), (count, count))
    return sparse.csr_matrix(neighbours + sparse.diags(1.0 - np.asarray(neighbours.sum(1)).reshape(-1)))


def _edge_rows(
    faces: Int[ndarray, "F 3"],
    edges: Int[ndarray, "E 2"],
    edge_of_side: Int[ndarray, "F 3"],
    border: Bool[ndarray, " E"],
    count: int,
) -> sparse.csr_matrix:
    """New vertices: 3/8 of the edge's ends and 1/8 of the opposite corners; on a border the middle."""
    ids = np.arange(len(edges))
    along = sparse.csr_matrix(
        (np.where(np.repeat(border, 2), 0.5, 0.375), (np.repeat(ids, 2), edges.reshape(-1))), (len(edges), count)
    )
    inner = ~border[edge_of_side]
    opposite = faces[:, [2, 0, 1]]
    across = sparse.csr_matrix(
        (np.full(int(inner.sum()), 0.125), (edge_of_side[inner], opposite[inner])), (len(edges), count)
    )
    return sparse.csr_matrix(along + across)


def _mapped(matrix: sparse.csr_matrix, values: Tensor) -> Tensor:
    """``matrix @ values`` over the first axis, in the values' type and place."""
    flat = values.detach().cpu().double().reshape(len(values), -1).numpy()
    result = torch.from_numpy(np.asarray(matrix @ flat)).reshape(-1, *values.shape[1:])
    return result.to(values)


def _subdivided_embedding(embedding: Embedding, faces: Int[ndarray, "F 3"], count: int) -> Embedding:
    """The same points in the small triangles: at a corner whose weight exceeds one half, else in the middle."""
    edges, _ = _edges(faces)
    corners = embedding.corners.cpu().numpy()
    sides = np.sort(corners[:, [[1, 2], [2, 0], [0, 1]]], axis=2)  # opposite to each corner
    keys = edges[:, 0] * count + edges[:, 1]
    middles = torch.from_numpy(np.searchsorted(keys, sides[..., 0] * count + sides[..., 1]) + count)
    middles = middles.to(embedding.corners)
    weights = embedding.weights
    top = weights.argmax(1, keepdim=True)
    others = torch.cat([(top + 1) % 3, (top + 2) % 3], 1)
    # Beside corner i, towards j, lies the middle of the edge i-j, which is opposite to k.
    at_corner = torch.cat([embedding.corners.gather(1, top), middles.gather(1, others.flip(1))], 1)
    corner_weights = torch.cat([2.0 * weights.gather(1, top) - 1.0, 2.0 * weights.gather(1, others)], 1)
    is_corner = weights.gather(1, top) > 0.5
    return Embedding(
        torch.where(is_corner, at_corner, middles), torch.where(is_corner, corner_weights, 1.0 - 2.0 * weights)
    )


def _subdivided_annotations(notes: Annotations, matrix: sparse.csr_matrix, faces: Int[ndarray, "F 3"]) -> Annotations:
    mirror = notes.mirror
    if mirror is not None:
        mirror = torch.from_numpy(_subdivided_mirror(mirror.cpu().numpy(), faces)).to(mirror.device)
    mesh468 = notes.mesh468
    if mesh468 is not None:
        mesh468 = _subdivided_embedding(mesh468, faces, matrix.get_shape()[1])
    return replace(
        notes,
        mirror=mirror,
        mesh468=mesh468,
        regions={name: _mapped(matrix, mask).clamp(0.0, 1.0) for name, mask in notes.regions.items()},
        face_parts={name: mask.repeat_interleave(4) for name, mask in notes.face_parts.items()},
    )


def _subdivided_mirror(mirror: Int[ndarray, " V"], faces: Int[ndarray, "F 3"]) -> Int[ndarray, " W"]:
    """Partners of new vertices: the edge between the partners of the edge's ends.

    Raises:
        ValueError: the triangles are not their own mirror image.
    """
    edges, _ = _edges(faces)
    keys = edges[:, 0] * len(mirror) + edges[:, 1]
    twin = np.sort(mirror[edges], axis=1)
    place = np.searchsorted(keys, twin[:, 0] * len(mirror) + twin[:, 1]).clip(max=len(keys) - 1)
    if not (edges[place] == twin).all():
        raise ValueError("expected triangles that are their own mirror image; drop the mirror annotation to subdivide")
    return np.concatenate([mirror, len(mirror) + place])
