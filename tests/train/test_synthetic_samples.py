"""Samples of people who do not exist: the stored truth draws them where the picture shows them."""

import random
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy import ndarray

from facewright.align import CROP_RESCALE, deep3d_template
from facewright.align.crop import crop_by_trans_params, fit_trans_params
from facewright.compiled import can_compile
from facewright.geometry.frames import CAMERA_DISTANCE_DM, crop_camera, pose_points, project_points
from facewright.geometry.rotations import geodesic_angle, rotation_from_angles
from facewright.records import Camera, FaceCoefficients, Photo
from facewright.render.lighting import sh_shading
from facewright.synthetic import HELD_OUT_SEED, Stage, Studio, open_studio
from facewright.synthetic.dice import stream
from facewright.synthetic.plan import ScenePlan
from facewright.train import synthetic as synthetic_module
from facewright.train.samples import TrainingSample
from facewright.train.synthetic import (
    BORDER_SHARE,
    POINT_NOISE,
    POSE_STRIDE,
    SceneSampler,
    _detected,
    _developed,
    _plans,
    crops_by_five,
    data_card,
    frame_people,
    synthetic_samples,
)

pytestmark = pytest.mark.skipif(not can_compile(), reason="numba is not installed")

SIZE, SEEDS = 128, range(10)
BLOBS = (36, 45, 8)
"""Landmarks that are painted red, green and blue: outer eye corners and chin."""


@pytest.fixture(scope="module")
def studio() -> Studio:
    return open_studio()


@pytest.fixture(scope="module")
def plans(studio: Studio) -> list[ScenePlan]:
    return _plans(studio, list(SEEDS), SIZE)


@pytest.fixture(scope="module")
def samples() -> list[TrainingSample]:
    sampler = SceneSampler(SIZE)
    return [sample for seed in SEEDS for sample in sampler(seed)]


def unpacked(studio: Studio, sample: TrainingSample) -> FaceCoefficients:
    assert sample.truth is not None
    return studio.model.layout.unpack(torch.from_numpy(sample.truth)[None])


def test_a_seed_is_one_sample_whatever_came_before(samples: list[TrainingSample]) -> None:
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - the state that must not matter
    random.seed(99)
    for again, first in zip(SceneSampler(SIZE)(SEEDS[4]), samples[4:5], strict=True):
        assert again.key == first.key
        for name in ("window_srgb", "skin", "landmarks", "landmark_weights", "points", "point_weights", "truth"):
            np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    assert len({sample.key for sample in samples}) == len(samples)
    assert not np.array_equal(samples[0].window_srgb, samples[1].window_srgb)


def test_held_out_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="for measuring"):
        SceneSampler(SIZE)(HELD_OUT_SEED)


def test_samples_are_what_their_card_says(studio: Studio, samples: list[TrainingSample]) -> None:
    card = data_card(SIZE)
    assert (card.kind, card.face_model, card.layout) == ("synthetic", "open", studio.model.layout)
    assert (card.crop_size, card.margin) == (SIZE, SIZE // 8)
    for sample in samples:
        assert sample.window_srgb.shape == (SIZE + 2 * card.margin,) * 2 + (3,)
        assert (sample.crop_size, sample.margin) == (card.crop_size, card.margin)
        assert sample.truth is not None
        assert len(sample.truth) == studio.model.layout.size
        assert sample.landmark_weights.min() == sample.point_weights.min() == 1
        assert np.ptp(sample.window_srgb) > 40


def test_a_model_without_dense_points_leaves_them_unknown(studio: Studio) -> None:
    model = copy(studio.model)
    model.topology = replace(model.topology, annotations=replace(model.annotations, mesh468=None))
    (sample,) = synthetic_samples(Studio(model), [2], 48)
    assert not sample.point_weights.any()
    assert sample.points.shape == (468, 2)
    assert sample.landmark_weights.all()


def test_the_truth_lies_on_the_points(studio: Studio, samples: list[TrainingSample], plans: list[ScenePlan]) -> None:
    """By the crop's own camera, 10 dm away, although the scene's stood elsewhere; nearly exactly where it did not."""
    camera, model = crop_camera(size=SIZE), studio.model
    assert model.annotations.mesh468 is not None
    errors, at_ten = [], []
    for sample, plan in zip(samples, plans, strict=True):
        truth = unpacked(studio, sample)
        world = pose_points(model.shape(truth.id, truth.exp), truth.angles, truth.translation)
        marks, dense = (
            project_points(points, camera)[0, :, :2].numpy()
            for points in (world[:, studio.ibug68], model.annotations.mesh468.of(world))
        )
        off = [np.linalg.norm(marks - sample.landmarks, axis=1).mean()]
        off.append(np.linalg.norm(dense - sample.points, axis=1).mean())
        errors.append(off)
        at_ten += [off] if abs(np.log(plan.camera.distance_dm / CAMERA_DISTANCE_DM)) < 0.2 else []
    assert np.ptp([plan.camera.distance_dm for plan in plans]) > 5
    assert np.mean(errors, 0).max() < 0.5
    assert np.max(errors) < 2.0
    assert len(at_ten) >= 2
    assert np.max(at_ten) < 0.2  # px of 128: what is left of the perspective, in wide mouths


def test_pose_is_what_the_crops_camera_needs(studio: Studio, samples: list[TrainingSample]) -> None:
    """No pose nearby draws the face's vertices nearer to where they are."""
    framed = frame_people(studio, list(SEEDS), SIZE)
    camera, ids = crop_camera(size=SIZE), studio.face_vertices[::POSE_STRIDE]
    seen = [
        project_points(world[None], plan.camera)[0, :, :2].double()
        for world, plan in zip(framed.stage.world_of(ids), framed.stage.plans, strict=True)
    ]
    wanted = (torch.stack(seen) - torch.from_numpy(framed.starts)[:, None]) / torch.from_numpy(framed.steps)[
        :, None, None
    ]
    truth, shape = framed.truth, framed.stage.heads[:, ids].double()

    def cost(angles: torch.Tensor, translation: torch.Tensor) -> torch.Tensor:
        world = pose_points(shape, angles.double(), translation.double())
        at = torch.cat([project_points(part, camera)[..., :2] for part in world.split(1)])
        return (at - wanted).square().sum((1, 2))

    least = cost(truth.angles, truth.translation)
    for axis in range(3):
        for step in (-3e-3, 3e-3):
            nudge = step * torch.eye(3)[axis]
            assert (cost(truth.angles + nudge, truth.translation) > least).all()
            assert (cost(truth.angles, truth.translation + 10 * nudge * torch.tensor([0.1, 0.1, 1.0])) > least).all()
    for k, sample in enumerate(samples):
        torch.testing.assert_close(unpacked(studio, sample).angles[0], truth.angles[k], atol=1e-4, rtol=0)


def test_light_turns_with_the_pose(studio: Studio, rng: torch.Generator) -> None:
    normals = torch.nn.functional.normalize(torch.randn(1, 200, 3, generator=rng), dim=-1)
    framed = frame_people(studio, list(SEEDS[:4]), SIZE)
    turned_deg = []
    for k, plan in enumerate(framed.stage.plans):
        truth, c = framed.truth.one(k), plan.coefficients
        shaded, lit = (
            sh_shading(normals @ rotation_from_angles(angles)[0].T, sh)
            for angles, sh in ((truth.angles, truth.sh), (c.angles, c.sh))
        )
        torch.testing.assert_close(shaded, lit, atol=5e-3, rtol=5e-3)
        pair = (rotation_from_angles(angles.double()) for angles in (truth.angles, c.angles))
        turned_deg.append(float(torch.rad2deg(geodesic_angle(*pair))))
        for name in ("id", "exp", "tex"):
            assert torch.equal(getattr(truth, name), getattr(c, name))
    assert max(turned_deg) > 1.0


def test_crops_lie_where_the_flow_would_cut_them(rng: torch.Generator) -> None:
    five = torch.tensor([[60.0, 80.0], [121.0, 84.0], [92.0, 120.0], [66.0, 150.0], [118.0, 152.0]])
    fives = five + torch.randn(4, 5, 2, generator=rng)
    steps, starts = crops_by_five(fives, [200, 211, 320, 400], SIZE)
    for k, side in enumerate((200, 211, 320, 400)):
        rescale = CROP_RESCALE * SIZE / 224
        params = fit_trans_params(fives[k], side, side, template=deep3d_template(), rescale=rescale)
        photo = Photo(torch.zeros(3, side, side, dtype=torch.uint8))
        cut = crop_by_trans_params(photo, params, fives[k], size=SIZE, rescale=rescale)
        expected = cut.T_photo_crop.numpy()
        np.testing.assert_allclose([steps[k], *starts[k]], [expected[0, 0], *expected[:2, 2]], atol=1e-9)


def test_points_are_where_the_window_shows_them(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blobs painted where the window's own camera sees landmarks, on black, are found at the sample's landmarks."""

    def painted(stage: Stage, cameras: list[Camera]) -> list[torch.Tensor]:
        pictures = []
        for world, camera in zip(stage.world_of(studio.ibug68[list(BLOBS)]), cameras, strict=True):
            row, column = np.mgrid[: camera.height, : camera.width]
            places = project_points(world[None], camera)[0, :, :2].numpy()
            sigma = 2.0 * camera.width / (SIZE + 2 * round(SIZE / 8))
            blobs = [np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2)) for x, y in places]
            pictures.append(torch.from_numpy((255 * np.stack(blobs, -1)).round().astype(np.uint8)))
        return pictures

    def undeveloped(picture: ndarray, _: np.random.Generator) -> ndarray:
        return picture

    monkeypatch.setattr(synthetic_module, "draw_pictures", painted)
    monkeypatch.setattr(synthetic_module, "_developed", undeveloped)
    for sample in synthetic_samples(studio, list(SEEDS), SIZE):
        window = sample.window_srgb.astype(float)
        window[window < 20] = 0.0
        row, column = np.mgrid[: len(window), : len(window)]
        for k, mark in enumerate(BLOBS):
            if np.abs(sample.landmarks[mark] - SIZE / 2).max() > SIZE / 2:
                continue  # its blob is cut by the window's edge, or lies beyond the photo
            total = window[..., k].sum()
            found = [(window[..., k] * axis).sum() / total - sample.margin for axis in (column, row)]
            np.testing.assert_allclose(found, sample.landmarks[mark], atol=0.2)


def test_neighbours_may_show_one_person(studio: Studio) -> None:
    samples = synthetic_samples(studio, [4, 5, 6, 7, 8], 48, per_person=4)
    truths = [unpacked(studio, sample) for sample in samples]
    assert [sample.person for sample in samples] == [4, 4, 4, 4, 8]
    for other in truths[1:4]:
        assert torch.equal(other.id, truths[0].id)
        assert torch.equal(other.tex, truths[0].tex)
        assert not torch.equal(other.angles, truths[0].angles)
    assert not torch.equal(truths[4].id, truths[0].id)
    plans = _plans(studio, list(range(40)), 48, 40)
    cuts = [None if plan.hair is None else plan.hair.strand_seed for plan in plans]
    same = np.mean([cut == cuts[0] for cut in cuts[1:]])
    assert len(set(cuts)) > 5
    assert 0.4 < same < 0.8


def test_points_to_cut_by_err_like_a_detectors(plans: list[ScenePlan]) -> None:
    """Twice as much in profile; each its own and all together, 1.4 times the share of the eye distance in all."""
    five = torch.tensor([[30.0, 40.0], [60.0, 40.0], [45.0, 55.0], [33.0, 70.0], [57.0, 70.0]])
    plan = plans[0]
    eye_px = 0.64 * float(plan.camera.focal_px[0]) / plan.camera.distance_dm

    def errors(yaw_deg: float) -> ndarray:
        turned = replace(plan, yaw_deg=yaw_deg)
        rngs = (stream(seed, 3) for seed in range(400))
        return torch.stack([_detected(five, turned, rng) - five for rng in rngs]).numpy() / eye_px

    front, half, left, right = (errors(yaw) for yaw in (10.0, 60.0, -85.0, 95.0))
    own, together = front - front.mean(1, keepdims=True), front.mean(1)
    assert own.std() == pytest.approx(POINT_NOISE * 0.8**0.5, rel=0.15)  # four of five degrees of freedom; it grows
    assert together.std() == pytest.approx(POINT_NOISE * 1.2**0.5, rel=0.1)
    for turned, factor in ((half, 1.5), (left, 2.0), (right, 2.0)):
        assert turned.std() / front.std() == pytest.approx(factor, rel=0.02)
        assert np.abs(turned.mean((0, 1))).max() < 0.01


def test_the_darkroom_grades_and_cuts() -> None:
    ramp = np.linspace(110, 200, 20 * 20 * 3).reshape(20, 20, 3).astype(np.uint8)
    kept = ramp.copy()
    pictures = [_developed(ramp, np.random.default_rng(seed)) for seed in range(600)]
    np.testing.assert_array_equal(ramp, kept)
    sides = np.array(
        [[not edge.any() for edge in (p[0], p[-1], p[:, 0], p[:, -1])] for p in pictures if p[10, 10].any()]
    )
    assert sides.any(1).mean() == pytest.approx(BORDER_SHARE, abs=0.03)
    assert sides.any(0).all()  # every side at some time
    assert sides.sum(1).max() == 1
    untouched = np.mean([np.array_equal(picture, ramp) for picture in pictures])
    assert 0.3 < untouched < 0.6
