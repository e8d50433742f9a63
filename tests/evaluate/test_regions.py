"""Crops: the published constants, frames, and that a cut mesh is a part of the whole one."""

import numpy as np
import pytest

from facewright.evaluate.regions import below_forehead, cut_out, now_region, within_radius
from facewright.evaluate.surfaces import point_to_surface_mm

# Outer eye corners 90 mm apart, bridge 48 mm above the nose bottom.
SEVEN = np.array([[-45.0, 48, 0], [-15, 48, 0], [15, 48, 0], [45, 48, 0], [0, 0, 20], [-25, -30, 0], [25, -30, 0]])


def test_now_radius_and_centre_by_hand():
    """r = 1.4 (90 + |b - n|) / 2 around n + 0.3 (b - n), b - n = (0, 48, -20): length 52."""
    centre, radius = np.array([0.0, 14.4, 14.0]), 1.4 * (90 + 52) / 2
    directions = np.random.default_rng(0).normal(size=(100, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    assert now_region(centre + directions * (radius - 1e-6), SEVEN).all()
    assert not now_region(centre + directions * (radius + 1e-6), SEVEN).any()
    assert not now_region(centre + directions * (radius * 1.2 / 1.4 + 1e-6), SEVEN, factor=1.2).any()


def test_micc_radius_is_95_mm():
    points = np.array([[94.9, 0, 0], [95.1, 0, 0], [0, -94.9, 0]])
    assert within_radius(points, np.zeros(3)).tolist() == [True, False, True]


def test_forehead_plane_by_hand():
    """The plane is square to n -> b, and lies 0.6 of 52 mm beyond the bridge."""
    bridge, up = np.array([0.0, 48, 0]), np.array([0.0, 48, -20]) / 52
    for height, inside in ((31.1, True), (31.3, False), (-200.0, True)):
        assert below_forehead((bridge + height * up + [30, 0, 0])[None], SEVEN)[0] == inside


def test_crops_move_with_the_face(head, motion):
    """Turning, moving and scaling the scan and its points keeps the same vertices."""
    vertices, seven = head.vertices_mm, SEVEN
    for crop in (now_region, below_forehead):
        np.testing.assert_array_equal(crop(motion.apply(vertices), motion.apply(seven)), crop(vertices, seven))


def test_cut_mesh_is_a_part_of_the_whole(head):
    keep = head.vertices_mm[:, 2] > 0
    part, ids = cut_out(head, keep)
    np.testing.assert_array_equal(part.vertices_mm, head.vertices_mm[ids])
    assert keep[ids].all()
    assert {tuple(f) for f in ids[part.faces]} <= {tuple(f) for f in head.faces}
    assert len(part.faces) == keep[head.faces].all(1).sum()
    assert point_to_surface_mm(part.vertices_mm[part.faces].mean(1), head).max() < 1e-9
    assert part.open_edges.any()


def test_empty_region_is_named(head):
    with pytest.raises(ValueError, match=r"0 of \d+ vertices"):
        cut_out(head, np.zeros(len(head.vertices_mm), bool))
