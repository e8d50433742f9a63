"""PRNet's two readings: an ICP for pairs only, and an ICP that moves."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from facewright.evaluate.alignment import Similarity
from facewright.evaluate.paired_points import reconstruction_nme, rmse_3d_mm
from facewright.evaluate.surfaces import Surface
from tests.evaluate.heads import moved


def test_a_rigid_offset_is_forgiven_by_one_reading_only(head):
    offset = Similarity(1.0, np.eye(3), np.array([3.0, 0.0, 0.0]))
    prediction = moved(head, offset)
    assert reconstruction_nme(prediction, head, 90.0, rule="aligned", start=offset.inverse()) < 1e-9
    assert reconstruction_nme(prediction, head, 90.0, rule="pairs_only", start=offset.inverse()) == pytest.approx(
        3 / 90
    )


def test_depth_is_counted_from_its_mean(head):
    """Depth is known up to a shift: pairs alone forgive a shift in z, and not a turn."""
    deeper = Similarity(1.0, np.eye(3), np.array([0.0, 0.0, 8.0]))
    assert reconstruction_nme(moved(head, deeper), head, 90.0, rule="pairs_only", start=deeper.inverse()) < 1e-9
    turn = Similarity(1.0, Rotation.from_rotvec([0.1, 0, 0]).as_matrix(), np.zeros(3))
    turned = moved(head, turn)
    assert reconstruction_nme(turned, head, 90.0, rule="pairs_only", start=turn.inverse()) > 0.03
    assert reconstruction_nme(turned, head, 90.0, rule="aligned", start=turn.inverse()) < 1e-9


def test_size_is_no_part_of_the_alignment(head):
    large = Surface(1.05 * head.vertices_mm, head.faces)
    assert reconstruction_nme(large, head, 90.0, rule="aligned") > 0.02


def test_rmse_by_hand():
    assert rmse_3d_mm(np.zeros((2, 3)), np.array([[3.0, 4, 0], [0, 0, 1]])) == pytest.approx(np.sqrt(26 / 2))
