from dataclasses import replace

import numpy as np
import pytest
import torch

from facewright.geometry.frames import project_points
from facewright.geometry.pose import posed_mesh
from facewright.geometry.rotations import angles_from_rotation, rotation_from_angles
from facewright.morphable.linear import FaceModel
from facewright.render.renderer import render
from facewright.synthetic import (
    HELD_OUT_SEED,
    Scene,
    Studio,
    Wish,
    photograph,
    plan_scene,
    plan_scenes,
    require_training_seed,
)
from facewright.synthetic.light import harmonics_of_lights
from facewright.synthetic.plan import ScenePlan, ray_rotations, viewed_rotation
from facewright.synthetic.studio import Studio as StudioClass


def small(studio: Studio, seed: int, **options: object) -> ScenePlan:
    return plan_scene(studio, seed, width=160, height=140, eye_px=(28.0, 34.0), **options)  # pyright: ignore[reportArgumentType]


def frontal(studio: Studio, seed: int = 5, **options: object) -> ScenePlan:
    return small(studio, seed, **({"yaw_deg": 0.0, "plain": True, "light": "even", "prop": "none"} | options))


def test_a_seed_is_one_picture(studio: Studio) -> None:
    first, again, other = (photograph(studio, small(studio, seed)) for seed in (11, 11, 12))
    assert torch.equal(first.photo.srgb, again.photo.srgb)
    assert torch.equal(first.landmarks, again.landmarks)
    assert not torch.equal(first.photo.srgb, other.photo.srgb)


def test_a_plain_scene_is_the_renderers_own_picture(studio: Studio) -> None:
    """Without grain, gloss and shadows, lit pixels equal those of ``render``: the truth explains the picture."""
    plan = frontal(studio)
    light = replace(plan.light, sun=np.zeros(3), gloss=0.0)
    plan = replace(plan, light=light, coefficients=replace(plan.coefficients, sh=harmonics_of_lights([light])))
    scene = photograph(studio, plan, oversampling=4)
    mesh = posed_mesh(studio.model.decode(plan.coefficients), plan.coefficients.pose)
    drawn = render(mesh, plan.camera, plan.coefficients.sh, shading="pixel")
    linear = ((scene.photo.srgb + 0.055) / 1.055) ** 2.4
    inside = scene.face_seen & (drawn.mask[0, 0] > 0.99)
    assert int(inside.sum()) > 2000
    difference = (linear - drawn.image[0])[:, inside].abs()
    assert float(difference.median()) < 0.012  # skin grain of 5 %


def test_landmarks_are_the_models_own_vertices(studio: Studio) -> None:
    plan = small(studio, 21)
    scene = photograph(studio, plan)
    mesh = posed_mesh(studio.model.decode(plan.coefficients), plan.coefficients.pose)
    points = project_points(mesh.vertices[:, studio.ibug68], plan.camera)[0]
    torch.testing.assert_close(scene.landmarks[:, :2], points[:, :2], atol=1e-3, rtol=0)
    order = scene.landmarks[:, 2].argsort()
    assert torch.equal(order, points[:, 2].argsort())  # depth grows away from the camera


def test_visibility_follows_the_turn(studio: Studio) -> None:
    front = photograph(studio, frontal(studio))
    side = photograph(studio, frontal(studio, yaw_deg=85.0))
    other = photograph(studio, frontal(studio, yaw_deg=-85.0))
    assert int(front.landmarks_visible[17:].sum()) > 46
    right, left = [36, 48, 17], [45, 54, 26]
    assert not side.landmarks_visible[left].any()  # the nose is at image right: the subject's left side is hidden
    assert side.landmarks_visible[right].all()
    assert not other.landmarks_visible[right].any()
    assert other.landmarks_visible[left].all()


@pytest.mark.parametrize(("prop", "least"), [("none", 0.0), ("sunglasses", 0.08), ("mask", 0.2)])
def test_what_is_worn_hides_the_face(studio: Studio, prop: str, least: float) -> None:
    bare = photograph(studio, frontal(studio))
    worn = photograph(studio, frontal(studio, prop=prop))
    assert bare.face_share_hidden < 0.02
    assert least <= worn.face_share_hidden < 0.6
    assert worn.landmarks_visible.sum() <= bare.landmarks_visible.sum()
    if prop == "mask":
        assert not worn.landmarks_visible[48:68].any()
        assert worn.landmarks_visible[36:48].float().mean() > 0.8
    if prop == "sunglasses":
        assert worn.landmarks_visible[36:48].float().mean() < 0.5
        assert worn.landmarks_visible[48:60].float().mean() > 0.8


def test_strata_name_what_was_drawn(studio: Studio) -> None:
    scenes = [photograph(studio, small(studio, seed)) for seed in range(40, 46)]
    for scene in scenes:
        assert scene.strata.keys() == {"yaw", "light", "occlusion", "resolution", "distance", "expression"}
        assert scene.strata["resolution"] == "small"
    turned = photograph(studio, frontal(studio, yaw_deg=45.0, light="dark"))
    assert turned.strata["yaw"] == "(30,60]"
    assert turned.strata["light"] == "dark"
    assert turned.strata["occlusion"] == "clear"
    selfie = photograph(studio, frontal(studio, distance_dm=5.0, expression=False))
    assert selfie.strata["distance"] == "selfie"
    assert selfie.strata["expression"] == "neutral"


def test_viewing_angle_is_relative_to_the_line_of_sight(studio: Studio) -> None:
    """Heads beside the axis that look into the camera: yaw 0, whatever their rotation is."""
    for seed in range(5):
        plan = plan_scene(studio, seed, width=400, height=300, yaw_deg=20.0)
        viewed = viewed_rotation(plan.coefficients, plan.camera.distance_dm)
        yaw = torch.rad2deg(angles_from_rotation(torch.from_numpy(viewed)))[0, 1]
        assert float(yaw) == pytest.approx(20.0, abs=0.01)
    place = np.array([3.0, 1.0, 0.0])
    toward = ray_rotations(place[None], np.array([10.0]))[0] @ np.array([0.0, 0.0, 1.0])
    np.testing.assert_allclose(toward, (np.array([0, 0, 10.0]) - place) / np.linalg.norm([3, 1, 10.0]), atol=1e-12)


def test_tilt_is_as_wide_as_asked_and_leaves_the_yaw_alone(studio: Studio) -> None:
    """Pitch and roll are cut at 2.5 deviations, and scale with what is asked for; nothing else is drawn anew."""

    def seen_deg(plan: ScenePlan) -> np.ndarray:
        viewed = viewed_rotation(plan.coefficients, plan.camera.distance_dm)
        return torch.rad2deg(angles_from_rotation(torch.from_numpy(viewed)))[0].numpy()

    steady, narrow, wide = (
        np.array([seen_deg(small(studio, seed, yaw_deg=30.0, tilt_deg=tilt)) for seed in range(20)])
        for tilt in ((0.0, 0.0), (4.0, 2.0), (8.0, 6.0))
    )
    np.testing.assert_allclose(steady, np.tile([0.0, 30.0, 0.0], (20, 1)), atol=1e-3)
    np.testing.assert_allclose(wide - [0, 30, 0], (narrow - [0, 30, 0]) * [2, 1, 3], atol=1e-3)
    assert (np.abs(wide).max(0) <= [20.001, 30.001, 15.001]).all()
    np.testing.assert_allclose(wide.std(0)[[0, 2]], [8.0, 6.0], rtol=0.35)
    plain, tilted = (small(studio, 3, **options) for options in ({}, {"tilt_deg": (1.0, 1.0)}))
    assert (plain.yaw_deg, plain.prop, plain.camera) == (tilted.yaw_deg, tilted.prop, tilted.camera)
    assert torch.equal(plain.coefficients.translation, tilted.coefficients.translation)
    assert torch.equal(plain.coefficients.sh, tilted.coefficients.sh)


def test_held_out_seeds_are_refused_for_training() -> None:
    assert require_training_seed(HELD_OUT_SEED - 1) == HELD_OUT_SEED - 1
    with pytest.raises(ValueError, match="for measuring"):
        require_training_seed(HELD_OUT_SEED)


def test_people_and_scenes_are_separate_streams(studio: Studio) -> None:
    same = [small(studio, seed, person=77) for seed in (1, 2)]
    assert torch.equal(same[0].coefficients.id, same[1].coefficients.id)
    assert torch.equal(same[0].coefficients.tex, same[1].coefficients.tex)
    assert not torch.equal(same[0].coefficients.angles, same[1].coefficients.angles)
    alone = small(studio, 1)
    assert torch.equal(alone.coefficients.angles, same[0].coefficients.angles)
    assert torch.equal(alone.coefficients.exp, same[0].coefficients.exp)


def test_yaw_covers_profiles(studio: Studio) -> None:
    yaws = np.array([abs(plan.yaw_deg) for plan in plan_scenes(studio, [Wish(seed) for seed in range(80)])])
    shares = [np.mean(yaws <= 30), np.mean((yaws > 30) & (yaws <= 60)), np.mean(yaws > 60)]
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2], atol=0.15)
    assert yaws.max() <= 90.0


def test_a_model_without_regions_is_refused(toy_model: FaceModel) -> None:
    from facewright.errors import FaceModelError

    with pytest.raises(FaceModelError, match="open"):
        StudioClass(toy_model)


def test_the_pose_is_a_rotation(studio: Studio) -> None:
    for seed in range(20):
        angles = small(studio, seed).coefficients.angles.double()
        rotation = rotation_from_angles(angles)[0]
        torch.testing.assert_close(rotation @ rotation.T, torch.eye(3, dtype=torch.float64))


def test_records_move_together(studio: Studio) -> None:
    scene: Scene = photograph(studio, frontal(studio))
    assert scene.to(torch.float64).landmarks.dtype == torch.float64
    assert torch.equal(scene.to(torch.float64).photo.pixels, scene.photo.pixels)
    assert scene.to(torch.float64).seed == scene.seed
