"""Weighted non-maximum suppression against a loop in float64."""

import pytest
import torch
from torch import Tensor

from facewright.detect.suppression import Candidates, joined, overlap, weighted_nms


def random_candidates(rng: torch.Generator, count: int) -> Candidates:
    corner = torch.rand(count, 2, generator=rng) * 100
    size = 20 + 30 * torch.rand(count, 2, generator=rng)
    keypoints = torch.rand(count, 6, 2, generator=rng) * 100
    return Candidates(torch.cat([corner, corner + size], 1), keypoints, torch.rand(count, generator=rng))


def slow_iou(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def slow_weighted_nms(candidates: Candidates, min_overlap: float) -> list[tuple[list[float], float]]:
    rows = [
        (b, s) for b, s in zip(candidates.boxes.double().tolist(), candidates.scores.double().tolist(), strict=True)
    ]
    rows.sort(key=lambda row: -row[1])
    result = []
    while rows:
        best = rows[0]
        group = [row for row in rows if slow_iou(best[0], row[0]) > min_overlap]
        total = sum(score for _, score in group)
        result.append(([sum(b[k] * s for b, s in group) / total for k in range(4)], best[1]))
        rows = [row for row in rows if row not in group]
    return result


@pytest.mark.parametrize("min_overlap", [0.1, 0.3, 0.6])
def test_agrees_with_the_loop(rng: torch.Generator, min_overlap: float) -> None:
    candidates = random_candidates(rng, 80)
    fast, slow = weighted_nms(candidates, min_overlap=min_overlap), slow_weighted_nms(candidates, min_overlap)
    assert len(fast) == len(slow)
    torch.testing.assert_close(fast.boxes.double(), torch.tensor([b for b, _ in slow]).double(), rtol=0, atol=1e-3)
    torch.testing.assert_close(fast.scores.double(), torch.tensor([s for _, s in slow]).double(), rtol=0, atol=1e-6)


def test_order_of_candidates_does_not_matter(rng: torch.Generator) -> None:
    candidates = random_candidates(rng, 50)
    order = torch.randperm(50, generator=rng)
    shuffled = Candidates(candidates.boxes[order], candidates.keypoints[order], candidates.scores[order])
    torch.testing.assert_close(weighted_nms(shuffled).keypoints, weighted_nms(candidates).keypoints)


def test_the_mean_is_weighted_by_the_scores() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [2, 0, 12, 10], [50, 50, 60, 60]])
    keypoints = boxes[:, None, :2].expand(3, 6, 2)
    merged = weighted_nms(Candidates(boxes, keypoints, torch.tensor([0.9, 0.3, 0.5])))
    assert len(merged) == 2
    torch.testing.assert_close(merged.boxes[0], torch.tensor([0.5, 0, 10.5, 10]))
    torch.testing.assert_close(merged.keypoints[0, 3], torch.tensor([0.5, 0]))
    assert merged.scores.tolist() == pytest.approx([0.9, 0.5])


def test_nothing_in_nothing_out() -> None:
    none = Candidates(torch.zeros(0, 4), torch.zeros(0, 6, 2), torch.zeros(0))
    assert len(weighted_nms(none)) == 0
    assert len(joined([none, none])) == 0


def test_overlaps() -> None:
    def pair(a: Tensor, b: Tensor) -> tuple[float, float]:
        union, inside = overlap(a[None], b[None])
        return union.item(), inside.item()

    box = torch.tensor([0.0, 0, 10, 10])
    assert pair(box, box) == (1, 1)
    assert pair(box, torch.tensor([2.0, 2, 7, 4])) == (pytest.approx(0.1), 1)
    assert pair(box, torch.tensor([10.0, 0, 20, 10])) == (0, 0)
    assert pair(box, torch.tensor([5.0, 5, 5, 5])) == (0, 0), "an empty box overlaps nothing"
