"""Anchors and decoding against loops written out."""

import torch

from facewright.detect.anchors import FULL_LAYERS, SHORT_LAYERS, anchor_points, decode_regressions


def test_anchors_of_the_short_range_network() -> None:
    expected = [((x + 0.5) * 8, (y + 0.5) * 8) for y in range(16) for x in range(16) for _ in range(2)]
    expected += [((x + 0.5) * 16, (y + 0.5) * 16) for y in range(8) for x in range(8) for _ in range(6)]
    assert len(expected) == 896
    assert anchor_points(128, 128, SHORT_LAYERS).tolist() == [list(point) for point in expected]


def test_anchors_of_the_full_range_network_in_a_wide_picture() -> None:
    assert len(anchor_points(192, 192, FULL_LAYERS)) == 2304
    points = anchor_points(64, 96, FULL_LAYERS)
    assert len(points) == 16 * 24
    assert points[25].tolist() == [1.5 * 4, 1.5 * 4], "the second row's second anchor"


def test_decoding() -> None:
    regression = torch.tensor([[10.0, -20, 40, 60, *range(12)]])
    box, keypoints = decode_regressions(regression, torch.tensor([[100.0, 50]]))
    assert box.tolist() == [[90, 0, 130, 60]]
    assert keypoints.tolist() == [[[100 + 2 * k, 50 + 2 * k + 1] for k in range(6)]]
