"""Shares of what faces do, over plans; nothing is drawn."""

from collections import Counter

import numpy as np
import pytest
import torch

from facewright.synthetic import Studio, plan_plain_scene, plan_scene
from facewright.synthetic.gestures import BROWS, FULL, LIDS, MOUTHS, WHOLE_FACES, expression_weights

NAMED = {gesture.name for table in (LIDS, BROWS, MOUTHS, WHOLE_FACES) for gesture in table}


Drawn = tuple[dict[str, np.ndarray], list[str]]


@pytest.fixture(scope="module")
def drawn(studio: Studio) -> Drawn:
    """A thousand faces that do something: weights by name, and their gestures."""
    rows, gestures = [], []
    for seed in range(1000):
        weights, gesture = expression_weights(np.random.default_rng(seed), studio.model.exp_names)
        rows.append(weights[0].numpy())
        gestures.append(gesture)
    return dict(zip(studio.model.exp_names, np.stack(rows).T, strict=True)), gestures


def test_shares_are_those_of_the_tables(drawn: Drawn) -> None:
    weights, gestures = drawn
    left, right = weights["eyeBlinkLeft"] >= FULL - 0.05, weights["eyeBlinkRight"] >= FULL - 0.05
    assert 0.13 < (left | right).mean() < 0.2  # of the faces that do something; 0.15 of all
    assert 0.02 < (left ^ right).mean() < 0.08
    assert 0.08 < (weights["jawOpen"] > 0.5).mean() < 0.3
    assert (weights["jawOpen"] > 0.9).sum() >= 15
    assert 0.12 < (weights["mouthSmileLeft"] > 0.6).mean() < 0.35
    assert 0.04 < (weights["mouthPucker"] > 0.5).mean() < 0.15
    assert 0.1 < (weights["browInnerUp"] > 0.4).mean() < 0.45
    assert 0.04 < (weights["eyeSquintLeft"] > 0.5).mean() < 0.3
    told = Counter(name for gesture in gestures for name in gesture.split(" + "))
    assert told.keys() == NAMED
    assert min(told.values()) >= 3


def test_weights_reach_one_and_stay_possible(drawn: Drawn) -> None:
    weights, _ = drawn
    everything = np.stack(list(weights.values()))
    assert everything.min() >= 0.0
    assert everything.max() <= 1.0
    for name in ("jawOpen", "eyeBlinkLeft", "mouthPucker", "mouthSmileRight", "browDownLeft", "eyeWideRight"):
        assert weights[name].max() > 0.95, name
    for side in ("Left", "Right"):  # a shut lid is neither wide nor squinting
        shut = weights["eyeBlink" + side] >= FULL
        assert weights["eyeWide" + side][shut].max() < 0.11
        assert weights["eyeSquint" + side][shut].max() < 0.11


def test_both_eyes_look_the_same_way_whatever_the_face_does(drawn: Drawn) -> None:
    weights, gestures = drawn
    open_eyes = (weights["eyeBlinkLeft"] < 0.1) & (weights["eyeBlinkRight"] < 0.1)
    aside = weights["eyeLookOutLeft"] - weights["eyeLookInLeft"]
    np.testing.assert_allclose(aside, weights["eyeLookInRight"] - weights["eyeLookOutRight"], atol=1e-6)
    smiling = np.array(["smile" in gesture for gesture in gestures])
    assert abs(np.corrcoef(aside[open_eyes], smiling[open_eyes])[0, 1]) < 0.12
    assert 0.2 < aside.std() < 0.5


def test_scenes_say_what_their_faces_do(studio: Studio) -> None:
    plans = [plan_scene(studio, seed) for seed in range(60)]
    neutral = [plan for plan in plans if plan.gesture == "neutral"]
    assert 2 <= len(neutral) <= 20
    assert not any(plan.coefficients.exp.any() for plan in neutral)
    assert all(set(plan.gesture.split(" + ")) <= NAMED for plan in plans if plan.gesture != "neutral")
    assert all(float(plan_plain_scene(studio, seed).coefficients.exp.max()) < 0.601 for seed in range(10))


def test_equal_seeds_do_the_same(studio: Studio) -> None:
    first, again, other = (
        expression_weights(np.random.default_rng(seed), studio.model.exp_names)[0] for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
