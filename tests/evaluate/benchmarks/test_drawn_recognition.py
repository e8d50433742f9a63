"""Drawn recognition with a method that knows the truth, and one that knows nothing."""

import numpy as np
import torch

from facewright.cli import main
from facewright.evaluate.benchmarks.drawn_recognition import _Described, _pairs, plans_of
from facewright.synthetic import open_studio


def test_turned_pictures_are_of_one_person_up_to_sixty_degrees_in_other_lights():
    studio = open_studio()
    plans = plans_of(studio, 970_001, 5, "turned")
    assert sorted(round(plan.yaw_deg) for plan in plans) == [-60, -30, 0, 30, 60]
    first = plans[0].coefficients
    assert all(torch.equal(plan.coefficients.id, first.id) for plan in plans)
    assert len({plan.coefficients.sh.numpy().tobytes() for plan in plans}) == 5


def test_pairs_are_balanced_and_stay_in_their_folds():
    found = [_Described(k // 3, str(k), np.zeros(1), np.zeros(1)) for k in range(60)]
    pairs = _pairs(found, 20)
    same = [pair for pair in pairs if pair.same]
    assert len(same) == 20 * 3
    assert len(pairs) == 2 * len(same)
    for pair in pairs:
        people = int(pair.first) // 3, int(pair.second) // 3
        assert (people[0] == people[1]) == pair.same
        assert {person * 5 // 20 for person in people} == {pair.fold}


def test_too_few_people_are_refused(tmp_path):
    out = ["--out", str(tmp_path / "out")]
    assert main(["evaluate", "recognition", "--people", "3", *out]) == 2
    assert main(["evaluate", "recognition", "--method", "mean", *out]) == 2
    assert not (tmp_path / "out").exists()
