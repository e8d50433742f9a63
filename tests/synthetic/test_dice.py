"""Streams are numpy's own, shares are kept, and planning together changes nothing."""

from collections import Counter

import numpy as np
import pytest
import torch

from facewright.synthetic import Studio, Wish, plan_scenes
from facewright.synthetic.dice import ASPECTS, picked, sign, stream


@pytest.mark.parametrize("seed", [0, 31, 32, 900_001, 2**32 - 1, 2**32, 2**41 + 5, 2**62, 2**63 + 1])
def test_streams_are_numpys(seed: int) -> None:
    """Words with and without leading zeros, known and unknown aspects."""
    for aspect in (0, 3, ASPECTS - 1, ASPECTS, 120):
        expected = np.random.default_rng([seed, aspect]).bit_generator.state
        assert stream(seed, aspect).bit_generator.state == expected


def test_kinds_are_picked_as_numpy_chooses() -> None:
    ours, numpys = np.random.default_rng(3), np.random.default_rng(3)
    shares = {"a": 0.2, "b": 0.5, "c": 0.3}
    found = [picked(ours, shares) for _ in range(300)]
    assert found == [list(shares)[numpys.choice(3, p=list(shares.values()))] for _ in range(300)]
    assert set(Counter(found)) == set(shares)
    assert [sign(ours) for _ in range(50)] == [numpys.choice([-1.0, 1.0]) for _ in range(50)]


def test_scenes_planned_together_are_those_planned_alone(studio: Studio) -> None:
    wishes = [Wish(3), Wish(70, person=3, yaw_deg=40.0), Wish(71, person=3, plain=True), Wish(5, width=90, height=80)]
    for together, wish in zip(plan_scenes(studio, wishes), wishes, strict=True):
        (alone,) = plan_scenes(studio, [wish])
        for name in ("id", "exp", "tex", "angles", "translation", "sh"):
            found, expected = (getattr(plan.coefficients, name) for plan in (together, alone))
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
        assert (together.person, together.prop, together.lens) == (alone.person, alone.prop, alone.lens)
        assert (together.skin, together.gesture, together.yaw_deg) == (alone.skin, alone.gesture, alone.yaw_deg)
        assert (together.hair is None) == (alone.hair is None)
