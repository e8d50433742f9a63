"""Where faces may be: BlazeFace over a photo at several sizes and orientations."""

from collections import defaultdict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from facewright.detect.anchors import FULL_LAYERS, SHORT_LAYERS, anchor_points, decode_regressions
from facewright.detect.detector import FaceDetector
from facewright.detect.networks import BlazeFaceFull, BlazeFaceShort
from facewright.detect.suppression import Candidates, joined
from facewright.geometry.frames import apply_homogeneous
from facewright.records import Photo

SHORT_SIZE, COARSE_SIZE, FINE_SIZE, WINDOW_SIZE = 128, 192, 384, 1376
"""Longer side of a photo, px: as the short-range network sees it, as the full-range one does first and second, and the
largest picture that goes through a network at once (beyond, windows)."""

SMALLEST_FOUND, LARGEST_FOUND = 16.0, 130.0
"""Width of the faces that the full-range network finds, px of its input (eye distances of 7 to 55 px, measured)."""

CANDIDATE_SCORE = 0.3
"""Weaker answers are not looked at again."""


@dataclass(frozen=True)
class View:
    """A photo as a network sees it: resized, turned, padded.

    Attributes:
        image: RGB 0..1; black where it is padded. Sides are multiples of 32 px.
        T_photo_view: maps positions measured from the view's left and top edge (px) to photo px (centres at integers).
    """

    image: Float[Tensor, "3 H W"]
    T_photo_view: Float[Tensor, "3 3"]


def resized(photo: Photo, longer_side: int, *, canvas: int = 0) -> View:
    """The photo with its longer side at ``longer_side`` px, in the middle of a black frame.

    The frame fills each side up to a multiple of 32 px, and to ``canvas`` px at least.
    """
    scale = longer_side / max(photo.width, photo.height)
    width, height = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
    image = F.interpolate(photo.srgb[None], (height, width), mode="bilinear", antialias=True)[0]
    right, below = (max(-(-side // 32) * 32, canvas) - side for side in (width, height))
    left, above = right // 2, below // 2
    image = F.pad(image, (left, right - left, above, below - above))
    across, down = photo.width / width, photo.height / height
    T_photo_view = [[across, 0, -0.5 - across * left], [0, down, -0.5 - down * above], [0, 0, 1]]
    return View(image, image.new_tensor(T_photo_view))


def turned(view: View, quarter_turns: int) -> View:
    """The view turned counter-clockwise by quarter turns."""
    image, T_photo_view = view.image, view.T_photo_view
    for _ in range(quarter_turns % 4):
        # after one turn, (x, y) shows what was at (width - y, x)
        T_before_after = image.new_tensor([[0, -1, image.shape[2]], [1, 0, 0], [0, 0, 1]])
        image, T_photo_view = image.rot90(1, (1, 2)), T_photo_view @ T_before_after
    return View(image, T_photo_view)


def windows(view: View, size: int, shared: int) -> list[View]:
    """Cut a view into windows of at most ``size`` px that share ``shared`` px with their neighbours."""
    parts = []
    for top in _starts(view.image.shape[1], size, shared):
        for left in _starts(view.image.shape[2], size, shared):
            image = view.image[:, top : top + size, left : left + size]
            T_view_window = image.new_tensor([[1, 0, left], [0, 1, top], [0, 0, 1]])
            parts.append(View(image, view.T_photo_view @ T_view_window))
    return parts


def _starts(length: int, size: int, shared: int) -> list[int]:
    """First positions of the windows that cover a length; the last one is flush with its end."""
    return [*range(0, max(length - size, 0), size - shared), max(length - size, 0)]


def candidates_in(views: list[View], network: BlazeFaceShort | BlazeFaceFull) -> list[Candidates]:
    """Run one network over views, those of one size in one batch; candidates in photo px, not suppressed."""
    layers = SHORT_LAYERS if isinstance(network, BlazeFaceShort) else FULL_LAYERS
    found: dict[int, Candidates] = {}
    same_size: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, view in enumerate(views):
        same_size[tuple(view.image.shape)].append(i)
    for (_, height, width), members in same_size.items():
        anchors = anchor_points(height, width, layers).to(views[0].image)
        regressions, logits = network(torch.stack([views[i].image for i in members]) * 2 - 1)
        for i, regression, score in zip(members, regressions, logits.sigmoid(), strict=True):
            keep = score > CANDIDATE_SCORE
            boxes, keypoints = decode_regressions(regression[keep], anchors[keep])
            corners = apply_homogeneous(views[i].T_photo_view, boxes.unflatten(-1, (2, 2)))
            boxes = torch.cat([corners.amin(-2), corners.amax(-2)], -1)
            found[i] = Candidates(boxes, apply_homogeneous(views[i].T_photo_view, keypoints), score[keep])
    return [found[i] for i in range(len(views))]


def upright_candidates(photos: list[Photo], detector: FaceDetector) -> list[Candidates]:
    """Faces as wide as a twenty-fourth of the photo's longer side, or wider."""
    coarse, fine = _coarse_and_fine(photos)
    passes = [
        candidates_in([resized(photo, SHORT_SIZE, canvas=SHORT_SIZE) for photo in photos], detector.short),
        candidates_in(coarse, detector.full),
        candidates_in(fine, detector.full),
    ]
    return [joined(list(of_photo)) for of_photo in zip(*passes, strict=True)]


def turned_candidates(photos: list[Photo], detector: FaceDetector) -> list[Candidates]:
    """The same sizes in the photo turned by 90, 180 and 270 degrees; and upright faces that fill the photo and more."""
    passes = [candidates_in([resized(photo, SHORT_SIZE // 2, canvas=SHORT_SIZE) for photo in photos], detector.short)]
    for views in _coarse_and_fine(photos):
        for quarter_turns in (1, 2, 3):
            passes.append(candidates_in([turned(view, quarter_turns) for view in views], detector.full))
    return [joined(list(of_photo)) for of_photo in zip(*passes, strict=True)]


def small_candidates(photos: list[Photo], smallest_px: list[float], detector: FaceDetector) -> list[Candidates]:
    """Small faces, down to the given width (photo px) in each photo."""
    found = []
    for photo, smallest in zip(photos, smallest_px, strict=True):
        view = resized(photo, round(max(photo.width, photo.height) * min(1.0, SMALLEST_FOUND / smallest)))
        parts = windows(view, WINDOW_SIZE, round(LARGEST_FOUND))
        found.append(joined([candidates_in([part], detector.full)[0] for part in parts]))
    return found


def _coarse_and_fine(photos: list[Photo]) -> tuple[list[View], list[View]]:
    """Views for the full-range network: squares, and larger pictures (but not larger than the photo)."""
    coarse = [resized(photo, COARSE_SIZE, canvas=COARSE_SIZE) for photo in photos]
    fine = [resized(photo, min(FINE_SIZE, max(COARSE_SIZE, photo.width, photo.height))) for photo in photos]
    return coarse, fine
