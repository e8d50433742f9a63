"""Which camera took a picture: a projection out of points whose places are known."""

import torch
from jaxtyping import Float
from torch import Tensor


def projection_from_points(
    points: Float[Tensor, "B N 3"], pixels: Float[Tensor, "B N 2"], weights: Float[Tensor, "B N"]
) -> Float[Tensor, "B 3 4"]:
    """Resection by the direct linear transform (Hartley & Zisserman 2004, section 7.1), least squares, in float64.

    Args:
        points: model frame, dm; not all in one plane.
        pixels: where they were seen, x right, y down.
        weights: of the points; those of 0 are left out.

    Returns:
        P with ``P [x, y, z, 1] = w (column, row, 1)``, scaled so that w is the distance along the camera's axis, dm.
    """
    x, p, share = points.double(), pixels.double(), weights.double()
    share = share / share.sum(1, keepdim=True).clamp_min(1e-12)
    middle, centre = (share[..., None] * x).sum(1), (share[..., None] * p).sum(1)
    x, p = x - middle[:, None], p - centre[:, None]
    size = (share[..., None] * p.square()).sum((1, 2)).clamp_min(1e-12).sqrt()
    p = p / size[:, None, None]
    ones, zeros = torch.ones_like(x[..., :1]), torch.zeros_like(torch.cat([x, x[..., :1]], -1))
    place = torch.cat([x, ones], -1)
    rows = torch.cat(
        [
            torch.cat([place, zeros, -p[..., :1] * place], -1),
            torch.cat([zeros, place, -p[..., 1:] * place], -1),
        ],
        1,
    )
    weighed = rows * share.sqrt().repeat(1, 2)[..., None]
    found = torch.linalg.eigh(weighed.transpose(1, 2) @ weighed)[1][..., 0].unflatten(-1, (3, 4))
    # back to the units of the pixels, then of the points
    found = torch.cat([size[:, None, None] * found[:, :2] + centre[..., None] * found[:, 2:], found[:, 2:]], 1)
    last = found[..., 3] - (found[..., :3] * middle[:, None]).sum(-1)
    found = torch.cat([found[..., :3], last[..., None]], -1)
    length = found[:, 2, :3].norm(dim=-1).clamp_min(1e-30)
    ahead = torch.sign((found[:, 2, :3] * middle).sum(-1) + found[:, 2, 3])
    return (found * (ahead / length)[:, None, None]).to(points)


def project_by(projection: Float[Tensor, "B 3 4"], points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
    """Pixel column and row, and how much farther than the model's origin each point is, in pixels at the origin's size.

    Args:
        projection: as ``projection_from_points`` gives it.
        points: model frame, dm.
    """
    seen = points @ projection[:, :, :3].transpose(1, 2) + projection[:, None, :, 3]
    focal = torch.linalg.cross(projection[:, 0, :3], projection[:, 2, :3]).norm(dim=-1)
    origin = projection[:, 2, 3]
    depth = (seen[..., 2] - origin[:, None]) * (focal / origin)[:, None]
    return torch.cat([seen[..., :2] / seen[..., 2:], depth[..., None]], -1)
