"""The 468 points of a face: an upright square is cut out around it, the mesh network reads it, and reads it again.

The square follows mediapipe 0.10.14 (FaceDetectionFrontDetectionToRoi, FaceLandmarkLandmarksToRoi): turned along the
eye line, 1.5 times the face. The first square comes from BlazeFace, the next from the points themselves.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from facewright.detect.landmarks import MESH_MIRROR
from facewright.detect.networks import FaceMeshNet
from facewright.detect.suppression import Candidates
from facewright.geometry.pixels import reduced_part
from facewright.records import Photo

SQUARE_PER_FACE = 1.5
EYE_OUTER_CORNERS = (33, 263)
MAX_TOGETHER = 64

RESTING_TURN, MAX_MORE_PASSES = 0.1, 4
"""Most change of the eye line, radians, between two passes over a face that is read; passes spent on the others."""
RESTING_MOVE, RESTING_PRESENCE, UPRIGHT = 0.005, 0.9999, math.cos(math.radians(30))
"""Most change of a square, as a share of its side, after which an upright face whose presence is sure is not read
again. On drawn people points wander no more with that (``scripts/detector_thresholds.py``); with 0.02, 6 % more."""

ADRIFT_MOVE = 0.05
"""Change of the square, as a share of its side, with which the last reading of a face that is not upright is not sure,
whatever the network says: another orientation may have read it better. Of sure readings of turned drawn people those
that move more are up to half a face off, those that move less 3 % at most (``scripts/detector_thresholds.py``)."""


def squares_around(
    centres: Float[Tensor, "N 2"], sides: Float[Tensor, " N"], eye_lines: Float[Tensor, "N 2"]
) -> Float[Tensor, "N 3 3"]:
    """Maps from unit squares to photo px, for squares of these sides whose x axis is along the eye line.

    Args:
        centres: photo px.
        sides: photo px.
        eye_lines: from the right eye to the left eye (image left to right in an upright face), any length.
    """
    across = F.normalize(eye_lines, dim=-1, eps=1e-6) * sides[:, None]
    down = torch.stack([-across[:, 1], across[:, 0]], -1)
    corner = centres - (across + down) / 2
    T_photo_square = torch.stack([across, down, corner], -1)
    last = torch.tensor([0.0, 0.0, 1.0]).to(T_photo_square).expand(len(centres), 1, 3)
    return torch.cat([T_photo_square, last], 1)


def squares_of_candidates(candidates: Candidates) -> Float[Tensor, "N 3 3"]:
    """Squares from BlazeFace's boxes and eyes."""
    size = candidates.boxes[:, 2:] - candidates.boxes[:, :2]
    centres = (candidates.boxes[:, 2:] + candidates.boxes[:, :2]) / 2
    eye_lines = candidates.keypoints[:, 1] - candidates.keypoints[:, 0]
    return squares_around(centres, size.amax(-1) * SQUARE_PER_FACE, eye_lines)


def squares_of_points(points: Float[Tensor, "N 468 3"]) -> Float[Tensor, "N 3 3"]:
    """Squares from the dense points (photo px): around their bounding box in the eye line's own axes."""
    right, left = EYE_OUTER_CORNERS
    across = F.normalize(points[:, left, :2] - points[:, right, :2], dim=-1, eps=1e-6)
    axes = torch.stack([across, torch.stack([-across[:, 1], across[:, 0]], -1)], -1)
    in_axes = points[..., :2] @ axes
    low, high = in_axes.amin(1), in_axes.amax(1)
    centres = (axes @ ((low + high) / 2)[..., None])[..., 0]
    return squares_around(centres, (high - low).amax(-1) * SQUARE_PER_FACE, across)


def cut_square(photo: Photo, T_photo_square: Float[Tensor, "3 3"], size: int) -> Float[Tensor, "3 S S"]:
    """The square, resampled to ``size`` px, black outside of the photo; shrunk by area first, so nothing aliases."""
    across, corner = T_photo_square[:2, :2], T_photo_square[:2, 2]
    shrink = max(1, int(across[:, 0].norm() / size))
    corners = corner + torch.tensor([[0.0, 0.0], [1, 0], [0, 1], [1, 1]]).to(across) @ across.T
    low = (corners.amin(0) - 2 * shrink).floor().long().clamp_min(0)
    high = (corners.amax(0) + 2 * shrink).ceil().long()
    left, top = (int(v) for v in low)
    right, bottom = min(int(high[0]), photo.width), min(int(high[1]), photo.height)
    if right <= left or bottom <= top:
        return across.new_zeros(3, size, size)
    region = reduced_part(photo, left, top, right, bottom, shrink).to(across)
    steps = (torch.arange(size).to(across) + 0.5) / size
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1) @ across.T + corner
    # photo px to edge-measured px of the region, to the -1..1 of grid_sample
    grid = (grid + 0.5 - low) / shrink
    grid = grid / grid.new_tensor([region.shape[2], region.shape[1]]) * 2 - 1
    return F.grid_sample(region[None], grid[None], "bilinear", "zeros", align_corners=False)[0]


def read_mesh(
    photos: list[Photo], T_photo_square: Float[Tensor, "N 3 3"], network: FaceMeshNet, *, mirrored: bool = False
) -> tuple[Float[Tensor, "N 468 3"], Float[Tensor, " N"]]:
    """Dense points (photo px; z in the same px) and face confidence (0..1) of one square per photo.

    Args:
        photos: one per square; a photo with several faces comes several times.
        T_photo_square: from ``squares_around``.
        network: the mesh network.
        mirrored: read the squares in a mirror as well, and average: halves the jitter at twice the cost.
    """
    size = FaceMeshNet.SIZE
    crops = torch.stack([cut_square(p, T, size) for p, T in zip(photos, T_photo_square, strict=True)])
    crops = torch.cat([crops, crops.flip(-1)]) if mirrored else crops
    answers = [network.infer(some) for some in crops.to(network.weight).split(MAX_TOGETHER)]
    points, logits = (torch.cat(parts).to(crops) for parts in zip(*answers, strict=True))
    points = points / size
    if mirrored:
        straight, mirror = points.chunk(2)
        mirror = mirror[:, MESH_MIRROR] * mirror.new_tensor([-1, 1, 1]) + mirror.new_tensor([1, 0, 0])
        points, logits = (straight + mirror) / 2, torch.stack(logits.chunk(2)).mean(0)
    side = T_photo_square[:, :2, 0].norm(dim=-1)
    flat = points[..., :2] @ T_photo_square[:, :2, :2].transpose(-1, -2) + T_photo_square[:, None, :2, 2]
    return torch.cat([flat, points[..., 2:] * side[:, None, None]], -1), logits.sigmoid()


def read_candidates(
    photos: list[Photo], candidates: list[Candidates], network: FaceMeshNet, *, passes: int, mirrored: bool
) -> list[tuple[Float[Tensor, "N 468 3"], Float[Tensor, " N"]]]:
    """Dense points and face confidence of every candidate of every photo, all in one batch per pass.

    The first pass only steers the next one, so it is never mirrored (unless it is the last). From the second on, a face
    that is sure and whose square rests is not read again; those that BlazeFace met far from upright are read on until
    their eye line rests.
    """
    counts = [len(group) for group in candidates]
    if not sum(counts):
        nothing = network.weight.new_zeros(0)
        return [(nothing.reshape(0, 468, 3), nothing) for _ in photos]
    repeated = [photo for photo, count in zip(photos, counts, strict=True) for _ in range(count)]
    squares = torch.cat([squares_of_candidates(group) for group in candidates])
    points, presence = read_mesh(repeated, squares, network, mirrored=mirrored and passes == 1)
    for k in range(passes - 1 + MAX_MORE_PASSES if passes > 1 else 0):
        following = squares_of_points(points)
        if k == 0:  # BlazeFace's squares are rough, and the first pass was not mirrored
            again = torch.ones_like(presence, dtype=torch.bool)
        elif k < passes - 1:
            again = ~(_upright(following) & (_move(squares, following) < RESTING_MOVE) & (presence > RESTING_PRESENCE))
        else:
            again = (_turn(squares, following) > RESTING_TURN) & (presence > 0.5)
        chosen = again.nonzero().flatten().tolist()
        if not chosen:
            continue
        squares = torch.where(again[:, None, None], following, squares)
        read = read_mesh([repeated[i] for i in chosen], squares[again], network, mirrored=mirrored)
        points, presence = points.index_put((again,), read[0]), presence.index_put((again,), read[1])
    if passes > 1:
        following = squares_of_points(points)
        adrift = ~_upright(following) & (_move(squares, following) > ADRIFT_MOVE)
        presence = torch.where(adrift, presence.clamp_max(RESTING_PRESENCE), presence)
    return list(zip(points.split(counts), presence.split(counts), strict=True))


def _turn(a: Float[Tensor, "N 3 3"], b: Float[Tensor, "N 3 3"]) -> Float[Tensor, " N"]:
    """Angle between the x axes of squares, radians."""
    return F.cosine_similarity(a[:, :2, 0], b[:, :2, 0], dim=-1).clamp(-1, 1).acos()


def _upright(squares: Float[Tensor, "N 3 3"]) -> Bool[Tensor, " N"]:
    """Whether the x axes of squares are nearly those of the photo."""
    return F.normalize(squares[:, :2, 0], dim=-1)[:, 0] > UPRIGHT


def _move(a: Float[Tensor, "N 3 3"], b: Float[Tensor, "N 3 3"]) -> Float[Tensor, " N"]:
    """Largest distance between the same corners of two squares, as a share of the first one's side."""
    corners = a.new_tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    apart = ((a - b)[:, :2] @ corners.T).norm(dim=1).amax(-1)
    return apart / a[:, :2, 0].norm(dim=-1).clamp_min(1e-6)
