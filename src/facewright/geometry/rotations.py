"""Rotations by three angles, in the one order that the project uses."""

import torch
from jaxtyping import Float
from torch import Tensor


def rotation_from_angles(angles: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3 3"]:
    """R = Rz Ry Rx, acting on column vectors (docs/deep3d.md section 3; fixed axes, x first).

    Args:
        angles: radians about x, y, z. +x nods the face down, +y turns the nose to +x (image right),
            +z rolls counter-clockwise as seen by the camera.
    """
    x, y, z = angles.unbind(-1)
    cx, sx, cy, sy, cz, sz = x.cos(), x.sin(), y.cos(), y.sin(), z.cos(), z.sin()
    rows = [
        torch.stack([cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx], -1),
        torch.stack([sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx], -1),
        torch.stack([-sy, cy * sx, cy * cx], -1),
    ]
    return torch.stack(rows, -2)


def angles_from_rotation(rotation: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 3"]:
    """Angles about x, y, z with ``rotation_from_angles(angles) == rotation``; the y angle lies in -90..90 degrees.

    At |y| = 90 degrees x and z turn about one line; x is then measured with z = 0. Precise however near that lies: x
    and y are read from the matrix after z has been taken out of it.
    """
    r = rotation
    locked = torch.hypot(r[..., 0, 0], r[..., 1, 0]) < 4 * torch.finfo(r.dtype).eps
    z = torch.atan2(torch.where(locked, 0.0, r[..., 1, 0]), torch.where(locked, 1.0, r[..., 0, 0]))
    cz, sz = z.cos(), z.sin()
    y = torch.atan2(-r[..., 2, 0], cz * r[..., 0, 0] + sz * r[..., 1, 0])
    x = torch.atan2(sz * r[..., 0, 2] - cz * r[..., 1, 2], cz * r[..., 1, 1] - sz * r[..., 0, 1])
    return torch.stack([x, y, z], -1)


def geodesic_angle(a: Float[Tensor, "*B 3 3"], b: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B"]:
    """Angle of the rotation that takes ``a`` to ``b``, radians, 0..pi."""
    relative = a.transpose(-1, -2) @ b
    axis = torch.stack(
        [
            relative[..., 2, 1] - relative[..., 1, 2],
            relative[..., 0, 2] - relative[..., 2, 0],
            relative[..., 1, 0] - relative[..., 0, 1],
        ],
        -1,
    )
    trace = relative.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.atan2(axis.norm(dim=-1), trace - 1.0)


def quaternion_from_rotation(rotation: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 4"]:
    """Unit quaternions x, y, z, w, with w of 0 or more (Shepperd 1978: by the largest of four squares)."""
    r = rotation
    trace = r.diagonal(dim1=-2, dim2=-1).sum(-1)
    squares = torch.stack([r[..., 0, 0], r[..., 1, 1], r[..., 2, 2], trace], -1)
    skew = torch.stack([r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]], -1)
    sums = r + r.transpose(-1, -2)
    rows = []
    for k in range(3):
        row = [sums[..., k, j] for j in range(3)]
        row[k] = 1.0 + 2.0 * r[..., k, k] - trace
        rows.append(torch.stack([*row, skew[..., k]], -1))
    rows.append(torch.cat([skew, (1.0 + trace)[..., None]], -1))
    chosen = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    found = torch.stack(rows, -2).gather(-2, chosen)[..., 0, :]
    found = found / found.norm(dim=-1, keepdim=True)
    return torch.where(found[..., 3:] < 0, -found, found)


def vector_from_rotation(rotation: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 3"]:
    """Axis times angle, radians, 0..pi."""
    q = quaternion_from_rotation(rotation)
    size = q[..., :3].norm(dim=-1, keepdim=True)
    angle = 2.0 * torch.atan2(size, q[..., 3:])
    return torch.where(size > 1e-9, angle / size.clamp_min(1e-12), 2.0) * q[..., :3]


def rotation_from_vector(vector: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3 3"]:
    """Inverse of ``vector_from_rotation``."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [torch.stack([zero, -z, y], -1), torch.stack([z, zero, -x], -1), torch.stack([-y, x, zero], -1)]
    return torch.matrix_exp(torch.stack(rows, -2))
