"""Plain gestures, by hand."""

import numpy as np
import pytest

from facewright.errors import BenchmarkError
from facewright.evaluate.gestures import gesture_errors

NAMES = ("jawOpen", "eyeBlinkLeft", "mouthPucker", "eyeBlinkRight", "browDownLeft")


def test_each_gesture_counts_faces_that_make_it() -> None:
    true = np.array(
        [
            [0.0, 0.9, 0.0, 1.0, 0.3],  # a blink
            [0.0, 1.0, 0.0, 0.2, 0.0],  # a wink
            [0.8, 0.6, 0.0, 0.0, 0.0],  # a wide mouth; an eye half shut is no wink
            [0.05, 0.0, 0.75, 0.0, 0.0],  # a pout
        ]
    )
    found = true + np.array(
        [
            [0.1, -0.3, 0.0, 0.2, 0.9],
            [0.0, -0.1, 0.0, 0.4, 0.0],
            [-0.5, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.05, -0.25, 0.0, 0.0],
        ]
    )
    errors = gesture_errors(found, true, NAMES)
    expected = {
        "blink": ([0.3], [0.05]),  # its worse eye; only the pouting face has both eyes open
        "wink": ([0.4], [0.05]),  # the eye that rests counts too
        "wide_mouth": ([0.5], [0.1, 0.0, 0.05]),
        "pout": ([0.25], [0.0, 0.0, 0.0]),
    }
    assert errors.keys() == expected.keys()
    for name, (made, none) in expected.items():
        np.testing.assert_allclose(errors[name][0], made, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(errors[name][1], none, atol=1e-12, err_msg=name)


def test_a_face_may_make_nothing() -> None:
    errors = gesture_errors(np.zeros((2, 5)), np.full((2, 5), 0.4), NAMES)
    assert all(len(made) == len(none) == 0 for made, none in errors.values())


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(BenchmarkError, match="5 expressions"):
        gesture_errors(np.zeros((2, 4)), np.zeros((2, 4)), NAMES)
    with pytest.raises(BenchmarkError, match="eyeBlinkRight"):
        gesture_errors(np.zeros((1, 3)), np.zeros((1, 3)), NAMES[:3])
