"""Anchors of BlazeFace and what its numbers mean (mediapipe 0.10.14: SsdAnchors and TensorsToDetections options).

Anchors are points, not boxes: every cell of a feature map holds some at its centre, and a network's regressions are
pixels of its input relative to that point.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.detect.networks import NUM_KEYPOINTS

SHORT_LAYERS = ((8, 2), (16, 6))
FULL_LAYERS = ((4, 1),)
"""Stride (px of the network's input) and anchors per cell of each feature map, in the order of the outputs."""


def anchor_points(height: int, width: int, layers: tuple[tuple[int, int], ...]) -> Float[Tensor, "A 2"]:
    """Anchor centres for an input of this size, px: column, row; 0 is the picture's left (top) edge.

    896 points for the short-range network at 128 x 128, 2304 for the full-range one at 192 x 192.
    """
    points = []
    for stride, per_cell in layers:
        rows = (torch.arange(height // stride) + 0.5) * stride
        columns = (torch.arange(width // stride) + 0.5) * stride
        grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1).reshape(-1, 2)
        points.append(grid.repeat_interleave(per_cell, 0))
    return torch.cat(points)


def decode_regressions(
    regressions: Float[Tensor, "*B A 16"], anchors: Float[Tensor, "A 2"]
) -> tuple[Float[Tensor, "*B A 4"], Float[Tensor, "*B A 6 2"]]:
    """Boxes (x0, y0, x1, y1) and keypoints (right eye, left eye, nose tip, mouth centre, right and left ear).

    Both in px of the network's input, measured from its left and top edge.
    """
    centre, size = regressions[..., :2] + anchors, regressions[..., 2:4]
    keypoints = regressions[..., 4:].unflatten(-1, (NUM_KEYPOINTS, 2)) + anchors[:, None]
    return torch.cat([centre - size / 2, centre + size / 2], -1), keypoints
