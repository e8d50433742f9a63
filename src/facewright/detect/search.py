"""Where faces may be: BlazeFace over a photo at several sizes and orientations."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from facewright.detect.anchors import FULL_LAYERS, SHORT_LAYERS, anchor_points, decode_regressions
from facewright.detect.detector import FaceDetector
from facewright.detect.networks import BlazeFaceFull, BlazeFaceShort
from facewright.detect.suppression import Candidates, joined, weighted_nms
from facewright.geometry.frames import apply_homogeneous
from facewright.geometry.pixels import reduced_part
from facewright.records import Photo

SHORT_SIZE, COARSE_SIZE, FINE_SIZE = 128, 192, 384
"""Longer side of the photo in the first passes, px: for the short-range network, and twice for the full-range one."""

SMALLEST_FOUND = 16.0
"""Width of the smallest faces that the networks find, px of their input (7 px of eye distance)."""

WINDOW_SIZE, WINDOW_SHARE = 1376, 160
"""Largest picture that goes through a network at once, px, a multiple of 32; and what neighbours share of one."""

AMPLE_SIDES = 4
"""How much longer than what is asked a photo stays when it is averaged before it is shrunk: bilinear shrinking of what
is left is then nearly what it would be of the whole."""

CANDIDATE_SCORE, HINT_SCORE = 0.3, 0.05
"""Weaker answers are not looked at again; and of a coarse pass, do not even hint at a face that a finer one may find:
of 160 drawn pictures of one to four people (``scripts/detector_thresholds.py``) three lose a small face by that, four
at 0.1, nine at 0.2."""


@dataclass(frozen=True)
class View:
    """A photo as a network sees it: resized, turned, framed.

    Attributes:
        image: RGB 0..1; black where it is padded.
        T_photo_view: maps positions measured from the view's left and top edge (px) to photo px (centres at integers).
    """

    image: Float[Tensor, "3 H W"]
    T_photo_view: Float[Tensor, "3 3"]


@dataclass(frozen=True)
class Views:
    """One photo at the sizes of the first passes; sides are multiples of 32 px.

    Attributes:
        far: half the size of ``short``, in the middle of as large a frame: for faces that fill the photo and more.
        short: for the short-range network.
        coarse: a square, for the full-range network.
        fine: larger, but not larger than the photo; for the same network.
    """

    far: View
    short: View
    coarse: View
    fine: View


def whole(photo: Photo, longer_side: int) -> View:
    """The photo itself, to be shrunk to this side; large ones are averaged on the way to no less than ``AMPLE_SIDES``.

    Args:
        photo: of any size.
        longer_side: px, of what is made of it.
    """
    factor = max(1, max(photo.width, photo.height) // (AMPLE_SIDES * longer_side))
    # whole squares only: what is left over at the right and lower border is less than one of them
    right, bottom = (side // factor * factor or side for side in (photo.width, photo.height))
    image = reduced_part(photo, 0, 0, right, bottom, factor)
    return View(image, image.new_tensor([[factor, 0, -0.5], [0, factor, -0.5], [0, 0, 1]]))


def views_of(photo: Photo) -> Views:
    """Make the views of the first passes; each is shrunk from the next larger one, so a large photo is read once."""
    side = min(FINE_SIZE, max(COARSE_SIZE, photo.width, photo.height))
    fine = shrunk(photo, side)
    return Views(
        far=framed(resized(fine, SHORT_SIZE // 2), SHORT_SIZE),
        short=framed(resized(fine, SHORT_SIZE), SHORT_SIZE),
        coarse=framed(resized(fine, COARSE_SIZE), COARSE_SIZE),
        fine=framed(fine),
    )


def shrunk(photo: Photo, longer_side: int) -> View:
    """The photo with its longer side at ``longer_side`` px, free of aliasing; as bytes as long as it is whole."""
    if max(photo.width, photo.height) >= 2 * AMPLE_SIDES * longer_side or max(photo.width, photo.height) < longer_side:
        return resized(whole(photo, longer_side), longer_side)
    scale = longer_side / max(photo.width, photo.height)
    width, height = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
    picture = Image.fromarray(np.ascontiguousarray(photo.pixels.detach().permute(1, 2, 0).cpu().numpy()))
    small = np.array(picture.resize((width, height), Image.Resampling.BILINEAR))
    image = (torch.from_numpy(small).permute(2, 0, 1).to(photo.pixels.device) / 255.0).contiguous()
    step = image.new_tensor([photo.width / width, photo.height / height, 1.0]).diag()
    return View(image, _shift(image, -0.5, -0.5) @ step)


def resized(view: View, longer_side: int) -> View:
    """The view with its longer side at ``longer_side`` px; shrinking is free of aliasing."""
    _, old_height, old_width = view.image.shape
    scale = longer_side / max(old_width, old_height)
    width, height = max(1, round(old_width * scale)), max(1, round(old_height * scale))
    image = F.interpolate(view.image[None], (height, width), mode="bilinear", antialias=True)[0]
    old_from_new = image.new_tensor([old_width / width, old_height / height, 1]).diag()
    return View(image, view.T_photo_view @ old_from_new)


def framed(view: View, canvas: int = 0) -> View:
    """The view in the middle of a black frame, its sides filled up to multiples of 32 px and to ``canvas`` at least."""
    _, height, width = view.image.shape
    right, below = (max(-(-side // 32) * 32, canvas) - side for side in (width, height))
    left, above = right // 2, below // 2
    image = F.pad(view.image, (left, right - left, above, below - above))
    return View(image, view.T_photo_view @ _shift(image, -left, -above))


def _shift(like: Tensor, x: float | int, y: float | int) -> Float[Tensor, "3 3"]:
    return like.new_tensor([[1, 0, x], [0, 1, y], [0, 0, 1]])


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
            parts.append(View(image, view.T_photo_view @ _shift(image, left, top)))
    return parts


def _starts(length: int, size: int, shared: int) -> list[int]:
    """First positions of the windows that cover a length; the last one is flush with its end."""
    return [*range(0, max(length - size, 0), size - shared), max(length - size, 0)]


def candidates_in(
    views: list[View], network: BlazeFaceShort | BlazeFaceFull, *, least: float = CANDIDATE_SCORE
) -> list[Candidates]:
    """Run one network over views, those of one size together; candidates in photo px, not yet suppressed.

    Args:
        views: of any sizes.
        network: that is to see them.
        least: score of a candidate.
    """
    layers = SHORT_LAYERS if isinstance(network, BlazeFaceShort) else FULL_LAYERS
    found: dict[int, Candidates] = {}
    for members in _batches(views):
        images = torch.stack([views[i].image for i in members])
        anchors = anchor_points(images.shape[2], images.shape[3], layers).to(images)
        regressions, logits = (answer.to(images) for answer in network.infer(images.to(network.weight) * 2 - 1))
        for i, regression, score in zip(members, regressions, logits.sigmoid(), strict=True):
            keep = score > least
            boxes, keypoints = decode_regressions(regression[keep], anchors[keep])
            corners = apply_homogeneous(views[i].T_photo_view, boxes.unflatten(-1, (2, 2)))
            boxes = torch.cat([corners.amin(-2), corners.amax(-2)], -1)
            found[i] = Candidates(boxes, apply_homogeneous(views[i].T_photo_view, keypoints), score[keep])
    return [found[i] for i in range(len(views))]


def _batches(views: list[View]) -> list[list[int]]:
    """Indices of views of one size, as many together as make the largest window."""
    same_size: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, view in enumerate(views):
        same_size[tuple(view.image.shape)].append(i)
    batches: list[list[int]] = []
    for (_, height, width), members in same_size.items():
        together = max(1, WINDOW_SIZE**2 // (height * width))
        batches.extend(members[k : k + together] for k in range(0, len(members), together))
    return batches


def large_candidates(views: list[Views], detector: FaceDetector, *, hint: float = HINT_SCORE) -> list[Candidates]:
    """Faces as wide as a twelfth of the photo's longer side, or wider; smaller ones as hints, not yet suppressed.

    A third of the cost of ``upright_candidates``, which takes what is found here.
    """
    short = candidates_in([v.short for v in views], detector.short)
    coarse = candidates_in([v.coarse for v in views], detector.full, least=hint)
    return [joined(list(of_photo)) for of_photo in zip(short, coarse, strict=True)]


def upright_candidates(
    views: list[Views], detector: FaceDetector, large: list[Candidates] | None = None
) -> list[Candidates]:
    """Faces as wide as a twenty-fourth of the photo's longer side, or wider.

    Args:
        views: of the photos.
        detector: the networks.
        large: ``large_candidates`` of the same views, if already known.
    """
    large = large_candidates(views, detector) if large is None else large
    fine = candidates_in([v.fine for v in views], detector.full)
    return agreed([found.above(CANDIDATE_SCORE) for found in large], fine)


def turned_candidates(views: list[Views], detector: FaceDetector) -> list[Candidates]:
    """The same sizes in the photo turned by 90, 180 and 270 degrees; and upright faces that fill the photo and more.

    Orientations are not averaged with each other: a face may be among the candidates once per orientation.
    """
    orientations = [agreed(candidates_in([v.far for v in views], detector.short))]
    for turns in (1, 2, 3):
        coarse = candidates_in([turned(v.coarse, turns) for v in views], detector.full)
        fine = candidates_in([turned(v.fine, turns) for v in views], detector.full)
        orientations.append(agreed(coarse, fine))
    return [joined(list(of_photo)) for of_photo in zip(*orientations, strict=True)]


def small_candidates(photo: Photo, smallest_px: float, detector: FaceDetector) -> Candidates:
    """Small faces of one photo, down to a width of ``smallest_px`` photo px."""
    size = round(max(photo.width, photo.height) * min(1.0, SMALLEST_FOUND / smallest_px))
    ample = whole(photo, max(1, size // 2))  # this picture is large: half as ample as the others
    parts = windows(framed(resized(ample, size)), WINDOW_SIZE, WINDOW_SHARE)
    return agreed(*([found] for part in parts for found in candidates_in([part], detector.full)))[0]


def agreed(*passes: list[Candidates]) -> list[Candidates]:
    """Per photo, what several passes say together."""
    return [weighted_nms(joined(list(of_photo))) for of_photo in zip(*passes, strict=True)]
