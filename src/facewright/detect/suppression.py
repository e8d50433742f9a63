"""Many answers to one face become one: weighted non-maximum suppression (Bazarevsky et al. 2019, section 3.3)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Candidates:
    """What BlazeFace says about one photo, before the dense points confirm it.

    Attributes:
        boxes: x0, y0, x1, y1, photo px.
        keypoints: right eye, left eye, nose tip, mouth centre, right and left ear; photo px.
        scores: 0..1.
    """

    boxes: Float[Tensor, "N 4"]
    keypoints: Float[Tensor, "N 6 2"]
    scores: Float[Tensor, " N"]

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, min_score: float) -> "Candidates":
        """Those with at least this score."""
        keep = self.scores >= min_score
        return Candidates(self.boxes[keep], self.keypoints[keep], self.scores[keep])


def joined(parts: list[Candidates]) -> Candidates:
    """All candidates of several passes over one photo."""
    return Candidates(
        torch.cat([p.boxes for p in parts]),
        torch.cat([p.keypoints for p in parts]),
        torch.cat([p.scores for p in parts]),
    )


def overlap(a: Float[Tensor, "N 4"], b: Float[Tensor, "M 4"]) -> tuple[Float[Tensor, "N M"], Float[Tensor, "N M"]]:
    """Intersection over union, and intersection over the smaller box, of every box of ``a`` with every box of ``b``."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clamp_min(0).prod(-1)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(-1)[:, None], (b[:, 2:] - b[:, :2]).prod(-1)[None]
    tiny = torch.finfo(a.dtype).tiny
    return shared / (area_a + area_b - shared).clamp_min(tiny), shared / torch.minimum(area_a, area_b).clamp_min(tiny)


def weighted_nms(candidates: Candidates, *, min_overlap: float = 0.3) -> Candidates:
    """Replace each group of overlapping candidates by their score-weighted mean, best group first.

    The best candidate gathers all that overlap it by more than ``min_overlap`` (intersection over union) and keeps its
    score; then the best of the rest. Averaging, instead of picking, steadies the boxes from frame to frame.
    """
    order = candidates.scores.argsort(descending=True, stable=True)
    boxes, keypoints, scores = candidates.boxes[order], candidates.keypoints[order], candidates.scores[order]
    together = overlap(boxes, boxes)[0] > min_overlap
    left = torch.ones_like(scores, dtype=torch.bool)
    rows = []
    for best in range(len(scores)):
        if left[best]:
            group = left & together[best]
            group[best] = True
            rows.append(torch.where(group, scores, 0.0))
            left &= ~group
    if not rows:
        return candidates
    weights = torch.stack(rows)
    best_scores = weights.max(1).values
    weights = weights / weights.sum(1, keepdim=True)
    return Candidates(weights @ boxes, (weights @ keypoints.flatten(1)).unflatten(1, (-1, 2)), best_scores)
