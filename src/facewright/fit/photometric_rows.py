"""Rows of the photometric term's derivatives by compiled loops: each triangle by itself, no table of all vertices.

The colour of a triangle depends on its corners and on the ring of points around them, which turn its normals: a dozen
points. Its derivative by their positions is a dozen short vectors, found backward, from the colour to the points; times
the rows of the basis it is the derivative by the coefficients.
"""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from facewright.compiled import compiled
from facewright.fit.motion import MeshNormals

if TYPE_CHECKING:
    from facewright.fit.photometric import ColoredPatch


def add_shape_rows(
    patch: "ColoredPatch",
    surface: MeshNormals,
    turned: Float[Tensor, "P 3"],
    rotation: Float[Tensor, "3 3"],
    by_normal: Float[Tensor, "N 3 3"],
    slopes: Float[Tensor, "G 3"],
    by_corner: Float[Tensor, "G 3 3"],
    rows: Float[Tensor, "G 3 Q"],
) -> None:
    """Add derivatives by turn, move, identity and expression: the first columns of the rows.

    Args:
        patch: what is compared.
        surface: its triangles and normals, turned.
        turned: its points before the translation, dm.
        rotation: that turned them.
        by_normal: derivative of each channel of a vertex' radiance by its normal.
        slopes: of the colour coding, times a corner's share of the triangle.
        by_corner: derivative of what the photo shows, subtracted, by the position of each corner.
        rows: in place.
    """
    values = (
        turned,
        rotation,
        patch.points.basis,
        patch.faces,
        surface.units,
        surface.lengths,
        patch.vertex_faces,
        surface.normals,
        surface.sizes,
        patch.compared,
        patch.around,
        patch.spokes,
        by_normal,
        slopes,
        by_corner,
    )
    arrays = [value.detach().contiguous().numpy() for value in values]
    compiled(_shape_rows, contract=True)(*arrays, rows.numpy())


def add_appearance_rows(
    compared: Int[Tensor, "G 3"],
    albedo_basis: Float[Tensor, "N 3 K"],
    albedo: Float[Tensor, "N 3"],
    light: Float[Tensor, "N 3"],
    sh: Float[Tensor, "N 9"],
    slopes: Float[Tensor, "G 3"],
    first: int,
    rows: Float[Tensor, "G 3 Q"],
) -> None:
    """Add derivatives by albedo and light.

    Args:
        compared: the triangles.
        albedo_basis: of their vertices.
        albedo: present albedo.
        light: present shading.
        sh: basis functions at their normals.
        slopes: of the colour coding, times a corner's share of the triangle.
        first: column of the first albedo coefficient.
        rows: in place.
    """
    values = (compared, albedo_basis, albedo, light, sh, slopes)
    arrays = [value.detach().contiguous().numpy() for value in values]
    compiled(_appearance_rows, contract=True)(*arrays, first, rows.numpy())


def _shape_rows(  # noqa: C901 - a kernel: numba inlines nothing that is not in one function as well
    turned,
    rotation,
    basis,
    faces,
    units,
    lengths,
    vertex_faces,
    normals,
    sizes,
    compared,
    around,
    spokes,
    by_normal,
    slopes,
    by_corner,
    rows,
):
    """For numba."""
    pull = np.zeros((around.shape[1], 3, 3), turned.dtype)  # by point, channel, axis
    back = np.zeros((3, 3), turned.dtype)
    for g in range(compared.shape[0]):
        pull[:] = 0
        for i in range(3):
            v = compared[g, i]
            x, y, z = normals[v, 0], normals[v, 1], normals[v, 2]
            for c in range(3):
                s = slopes[g, c] / sizes[v]
                p, q, r = by_normal[v, c, 0], by_normal[v, c, 1], by_normal[v, c, 2]
                along = x * p + y * q + z * r
                back[c, 0], back[c, 1], back[c, 2] = s * (p - along * x), s * (q - along * y), s * (r - along * z)
            for m in range(vertex_faces.shape[1]):
                f = vertex_faces[v, m]
                if f == faces.shape[0]:
                    break
                a, b, d = faces[f, 0], faces[f, 1], faces[f, 2]
                at_a, at_b, at_d = spokes[g, i, m, 0], spokes[g, i, m, 1], spokes[g, i, m, 2]
                ex, ey, ez = turned[b, 0] - turned[a, 0], turned[b, 1] - turned[a, 1], turned[b, 2] - turned[a, 2]
                hx, hy, hz = turned[d, 0] - turned[a, 0], turned[d, 1] - turned[a, 1], turned[d, 2] - turned[a, 2]
                x, y, z = units[f, 0], units[f, 1], units[f, 2]
                for c in range(3):
                    along = x * back[c, 0] + y * back[c, 1] + z * back[c, 2]
                    p = (back[c, 0] - along * x) / lengths[f]
                    q = (back[c, 1] - along * y) / lengths[f]
                    r = (back[c, 2] - along * z) / lengths[f]
                    bx, by, bz = hy * r - hz * q, hz * p - hx * r, hx * q - hy * p
                    dx, dy, dz = q * ez - r * ey, r * ex - p * ez, p * ey - q * ex
                    pull[at_b, c, 0] += bx
                    pull[at_b, c, 1] += by
                    pull[at_b, c, 2] += bz
                    pull[at_d, c, 0] += dx
                    pull[at_d, c, 1] += dy
                    pull[at_d, c, 2] += dz
                    pull[at_a, c, 0] -= bx + dx
                    pull[at_a, c, 1] -= by + dy
                    pull[at_a, c, 2] -= bz + dz
            place = 0
            while around[g, place] != v:
                place += 1
            for c in range(3):
                for k in range(3):
                    pull[place, c, k] += by_corner[g, c, k]
        first, second, third = rows[g, 0], rows[g, 1], rows[g, 2]
        for n in range(around.shape[1]):
            v = around[g, n]
            if n > 0 and v == around[g, 0]:
                break
            x, y, z = turned[v, 0], turned[v, 1], turned[v, 2]
            for c in range(3):
                p, q, r = pull[n, c, 0], pull[n, c, 1], pull[n, c, 2]
                rows[g, c, 0] += y * r - z * q
                rows[g, c, 1] += z * p - x * r
                rows[g, c, 2] += x * q - y * p
                rows[g, c, 3] += p
                rows[g, c, 4] += q
                rows[g, c, 5] += r
            for k in range(3):
                p = pull[n, 0, 0] * rotation[0, k] + pull[n, 0, 1] * rotation[1, k] + pull[n, 0, 2] * rotation[2, k]
                q = pull[n, 1, 0] * rotation[0, k] + pull[n, 1, 1] * rotation[1, k] + pull[n, 1, 2] * rotation[2, k]
                r = pull[n, 2, 0] * rotation[0, k] + pull[n, 2, 1] * rotation[1, k] + pull[n, 2, 2] * rotation[2, k]
                line = basis[v, k]
                for j in range(line.shape[0]):
                    value = line[j]
                    first[6 + j] += p * value
                    second[6 + j] += q * value
                    third[6 + j] += r * value


def _appearance_rows(compared, albedo_basis, albedo, light, sh, slopes, first, rows):
    """For numba."""
    last = first + albedo_basis.shape[2]
    for g in range(compared.shape[0]):
        for i in range(3):
            v = compared[g, i]
            for c in range(3):
                row, line = rows[g, c], albedo_basis[v, c]
                lit, shaded = slopes[g, c] * light[v, c], slopes[g, c] * albedo[v, c]
                for k in range(line.shape[0]):
                    row[first + k] += lit * line[k]
                for k in range(9):
                    row[last + 3 * k + c] += shaded * sh[v, k]
