"""The tables of the 68 points, on the toy head, which is symmetric."""

import numpy as np

from facewright.geometry.ibug68 import ALL_68, FIVE_OF_68, INNER_51, MIRROR_68, NOSE_TIP, SEVEN_OF_68
from facewright.morphable.linear import FaceModel


def points_of(model: FaceModel) -> np.ndarray:
    assert model.annotations.ibug68 is not None
    return model.mean_shape.double().numpy()[model.annotations.ibug68.numpy()]


def test_a_mirror_is_its_own_inverse_and_keeps_the_sets(toy_model: FaceModel) -> None:
    assert np.array_equal(MIRROR_68[MIRROR_68], ALL_68)
    for kept in (INNER_51, SEVEN_OF_68, np.arange(17), [NOSE_TIP], np.concatenate(FIVE_OF_68)):
        assert sorted(MIRROR_68[kept]) == sorted(kept)
    points = points_of(toy_model)
    np.testing.assert_allclose(points[MIRROR_68] * [-1, 1, 1], points, atol=1e-6)


def test_seven_points_run_from_the_subject_s_right_eye(toy_model: FaceModel) -> None:
    seven = points_of(toy_model)[SEVEN_OF_68]
    assert (np.diff(seven[:4, 0]) > 0).all()
    assert seven[5, 0] < seven[4, 0] < seven[6, 0]


def test_the_nose_tip_is_foremost(toy_model: FaceModel) -> None:
    assert points_of(toy_model)[:, 2].argmax() == NOSE_TIP
