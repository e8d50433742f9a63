import numpy as np
import torch

from facewright.geometry.rotations import angles_from_rotation
from facewright.synthetic import Studio, plan_album, plan_clip, plan_expressions, plan_turns
from facewright.synthetic.plan import HELD_OUT_SEED, viewed_rotation


def test_an_album_is_one_person_in_different_pictures(studio: Studio) -> None:
    plans = plan_album(studio, 4, 5)
    assert {plan.person for plan in plans} == {4}
    assert len({plan.seed for plan in plans}) == 5
    for plan in plans[1:]:
        assert torch.equal(plan.coefficients.id, plans[0].coefficients.id)
        assert not torch.equal(plan.coefficients.angles, plans[0].coefficients.angles)
        assert (plan.hair is None) == (plans[0].hair is None)


def test_albums_of_held_out_people_are_held_out(studio: Studio) -> None:
    assert all(plan.seed >= HELD_OUT_SEED for plan in plan_album(studio, HELD_OUT_SEED + 3, 3))


def test_turns_differ_in_nothing_but_the_angle(studio: Studio) -> None:
    plans = plan_turns(studio, 9, (0.0, 40.0, 80.0))
    for plan, yaw in zip(plans, (0.0, 40.0, 80.0), strict=True):
        viewed = viewed_rotation(plan.coefficients, plan.camera.distance_dm)
        angles = torch.rad2deg(angles_from_rotation(torch.from_numpy(viewed)))[0].numpy()
        np.testing.assert_allclose(angles, [0.0, yaw, 0.0], atol=1e-3)
        assert torch.equal(plan.coefficients.exp, torch.zeros_like(plan.coefficients.exp))
        assert plan.light == plans[0].light
        assert plan.seed == plans[0].seed


def test_expressions_differ_in_nothing_else(studio: Studio) -> None:
    plans = plan_expressions(studio, 9, 4)
    assert not plans[0].coefficients.exp.any()
    for plan in plans[1:]:
        assert float(plan.coefficients.exp.abs().max()) > 0.1
        assert torch.equal(plan.coefficients.angles, plans[0].coefficients.angles)


def test_a_clip_moves_smoothly(studio: Studio) -> None:
    plans = plan_clip(studio, 2, 24)
    angles = torch.cat([plan.coefficients.angles for plan in plans])
    steps = angles.diff(dim=0).abs().amax()
    assert 0 < float(steps) < 0.15
    assert float(angles.diff(dim=0).diff(dim=0).abs().amax()) < 0.06
    assert {tuple(plan.coefficients.id[0].tolist()) for plan in plans} == {tuple(plans[0].coefficients.id[0].tolist())}
