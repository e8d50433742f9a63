"""The whole fit on renders of the toy head, where the truth is known."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from facewright.align import align_face, five_from_68
from facewright.errors import ReconstructionError
from facewright.fit import (
    ContourEvidence,
    Evidence,
    FitPlan,
    FitSettings,
    PointEvidence,
    Ramp,
    first_pose,
    fit_face,
    prior_of,
)
from facewright.geometry.color import srgb_from_linear
from facewright.geometry.frames import crop_camera, pose_points, project_points
from facewright.geometry.pose import posed_mesh
from facewright.geometry.rotations import geodesic_angle, rotation_from_angles
from facewright.morphable.container import load_face_model
from facewright.morphable.toy import toy_face_model
from facewright.photo import photo_from_array
from facewright.pipeline.evidence import evidence_of, fit_detection
from facewright.records import FaceCoefficients, FaceDetection
from facewright.render.renderer import render

BACKDROP = 0.2


@pytest.fixture(scope="module")
def plan(toy_model):
    return FitPlan.of(toy_model)


def rendered_face(model, seed):
    """A photo of a random toy face, its detection (five exact points), and the truth."""
    generator = torch.Generator().manual_seed(seed)
    layout = model.layout
    draw = lambda *size: torch.randn(*size, generator=generator)  # noqa: E731 - a local abbreviation
    truth = FaceCoefficients(
        draw(1, layout.id),
        0.5 * draw(1, layout.exp),
        draw(1, layout.tex),
        torch.tensor([[0.1, 0.35, 0.1]]) * draw(1, 3),
        0.1 * draw(1, 9, 1).expand(1, 9, 3) + 0.02 * draw(1, 9, 3),
        0.1 * draw(1, 3),
    )
    mesh = posed_mesh(model.decode(truth), truth.pose)
    camera = crop_camera()
    drawn = render(mesh, camera, truth.sh)
    srgb = srgb_from_linear(drawn.image + (1 - drawn.mask) * BACKDROP)[0].clamp(0, 1)
    photo = photo_from_array(srgb.permute(1, 2, 0))
    landmarks = project_points(mesh.vertices[:, model.annotations.ibug68], camera)[0, :, :2]
    five = five_from_68(landmarks)
    box = torch.cat([landmarks.amin(0), landmarks.amax(0)])
    return photo, FaceDetection(box, 1.0, five.float()), truth


def misfit_px(model, aligned, found, photo_truth):
    """Mean distance of the found vertices from the true ones, photo px (the photo is drawn with the crop camera)."""
    pixels = [
        project_points(posed_mesh(model.decode(c), c.pose).vertices, camera)[0, :, :2]
        for c, camera in ((found, aligned.camera_photo), (photo_truth, crop_camera()))
    ]
    return float((pixels[0] - pixels[1]).norm(dim=-1).mean())


def test_a_render_is_explained(toy_model, plan):
    """Place, pose and colour come back from five points and the pixels."""
    for seed in range(4):
        photo, detection, truth = rendered_face(toy_model, seed)
        aligned = align_face(photo, detection.five)
        result = fit_detection(aligned, detection, plan)
        found = result.coefficients
        turn = geodesic_angle(rotation_from_angles(found.angles), rotation_from_angles(truth.angles))
        assert torch.rad2deg(turn).item() < 4.0
        assert misfit_px(toy_model, aligned, found, truth) < 1.0
        assert result.residuals["photometric"] < 0.01


def test_fit_gives_the_same_bits_from_four_threads_at_once_as_from_one(toy_model, plan):
    settings = FitSettings(blurs_px=(0.7,), photometric_iterations=2)  # every kind of step, few of each
    faces = [rendered_face(toy_model, seed)[:2] for seed in (5, 6)]
    crops = [(align_face(photo, detection.five), detection) for photo, detection in faces]

    def fitted(turn):
        aligned, detection = crops[turn % 2]
        return toy_model.layout.pack(fit_detection(aligned, detection, plan, settings).coefficients)

    alone = [fitted(0), fitted(1)]
    with ThreadPoolExecutor(4) as four:
        together = list(four.map(fitted, range(12)))
    assert all(torch.equal(found, alone[turn % 2]) for turn, found in enumerate(together))


def test_a_plan_moves_whole(toy_model, plan):
    """A fit in doubles, with plan and evidence cast, is the same face: nothing in it is of another kind."""
    photo, detection, _ = rendered_face(toy_model, 5)
    aligned = align_face(photo, detection.five)
    twice = plan.to(torch.float64)
    settings = FitSettings(blurs_px=(0.7,), photometric_iterations=2)
    single = fit_detection(aligned, detection, plan, settings).coefficients
    double = fit_detection(aligned.to(torch.float64), detection.to(torch.float64), twice, settings).coefficients
    assert toy_model.layout.pack(double).dtype == torch.float64
    torch.testing.assert_close(toy_model.layout.pack(double).float(), toy_model.layout.pack(single), atol=2e-2, rtol=0)


def test_pixels_improve_on_points(toy_model, plan):
    """Turning the photometric term off must cost accuracy: it is what finds the shape between five points."""
    with_pixels, without = [], []
    for seed in range(4):
        photo, detection, truth = rendered_face(toy_model, seed)
        aligned = align_face(photo, detection.five)
        for settings, errors in ((None, with_pixels), (FitSettings(photometric_observations=0.0), without)):
            result = fit_detection(aligned, detection, plan, settings)
            errors.append(misfit_px(toy_model, aligned, result.coefficients, truth))
    assert sum(with_pixels) < 0.5 * sum(without)


def test_a_fit_without_pixels_is_a_fit_to_points(toy_model, plan):
    """Evidence of points alone, of any source: here three times as many as the alignment needs."""
    _, _, truth = rendered_face(toy_model, 2)
    ids = torch.arange(0, len(toy_model.mean_shape), 40)
    camera = crop_camera()
    pixels = project_points(posed_mesh(toy_model.decode(truth), truth.pose).vertices[:, ids], camera)[0, :, :2]
    points = PointEvidence("any_px", plan.shape.means(ids[:, None]), pixels, torch.ones(len(ids)))
    evidence = Evidence(camera, (points,))
    result = fit_face(evidence, plan, prior_of(plan, FitSettings()), first_pose(evidence, plan))
    assert result.residuals.keys() == {"any_px", "id", "exp", "tex"}
    assert result.residuals["any_px"] < 0.2
    assert torch.equal(result.coefficients.tex, torch.zeros_like(truth.tex))
    torch.testing.assert_close(result.coefficients.angles, truth.angles, atol=0.02, rtol=0)


def test_bounded_expressions_stay_in_their_box():
    model = toy_face_model(exp_prior="box")
    photo, detection, _ = rendered_face(model, 1)
    exp = fit_detection(align_face(photo, detection.five), detection, FitPlan.of(model)).coefficients.exp
    assert exp.min() >= 0
    assert exp.max() <= 1


@pytest.mark.parametrize("exp_prior", ["normal", "box"])
def test_expressions_are_held_at_zero_where_asked(exp_prior):
    """On any model, wherever the fit begins; the baseline of a mean head has no expression."""
    model = toy_face_model(exp_prior=exp_prior)
    plan = FitPlan.of(model)
    photo, detection, truth = rendered_face(model, 1)
    aligned = align_face(photo, detection.five)
    held = FitSettings(exp_sigma=0.0, photometric_observations=0.0)
    start = replace(truth, exp=torch.full_like(truth.exp, 0.4))
    evidence = evidence_of(aligned, detection, plan, held)
    found = fit_face(evidence, plan, prior_of(plan, held), start, held).coefficients
    assert torch.equal(found.exp, torch.zeros_like(found.exp))
    assert not torch.equal(found.id, start.id)
    nearly = FitSettings(exp_sigma=1e-4, photometric_observations=0.0)
    assert fit_detection(aligned, detection, plan, nearly).coefficients.exp.abs().max() < 1e-4


def test_points_in_one_place_are_refused(toy_model, plan):
    photo, detection, _ = rendered_face(toy_model, 1)
    aligned = align_face(photo, detection.five)
    nowhere = FaceDetection(detection.box, 1.0, torch.full((5, 2), 100.0))
    with pytest.raises(ReconstructionError, match="one place"):
        fit_detection(aligned, nowhere, plan)


def test_no_points_fix_no_pose(plan):
    with pytest.raises(ReconstructionError, match="received none"):
        first_pose(Evidence(crop_camera(), ()), plan)


def test_the_far_jaw_slides_as_the_head_turns():
    """On the open head: a turned head's far jaw rows are matched at their outermost vertices, the near ones are not."""
    model = load_face_model()
    plan, camera = FitPlan.of(model), crop_camera()
    assert plan.contours is not None
    sides = torch.tensor([-1.0] * 8 + [0.0] + [1.0] * 8)
    seen = torch.arange(34.0).view(17, 2)
    jaw = ContourEvidence("jaw_px", plan.contours, sides, seen, torch.full((17,), 3.0), Ramp(0.3, 0.7))
    straight = model.layout.zeros()
    assert jaw.seen_in(straight, plan, camera) is None
    for yaw, far in ((0.9, slice(9, 17)), (-0.9, slice(0, 8))):
        turned = replace(straight, angles=torch.tensor([[0.0, yaw, 0.0]]))
        contour = jaw.seen_in(turned, plan, camera)
        assert contour is not None
        posed = posed_mesh(model.decode(turned), turned.pose).vertices
        rows, sign = plan.contours[far], 1 if yaw > 0 else -1
        columns = sign * project_points(posed, camera)[0, rows.clamp_min(0), 0]
        outermost = pose_points(contour.points.of(turned)[None], turned.angles, turned.translation)
        found = sign * project_points(outermost, camera)[0, :, 0]
        torch.testing.assert_close(found, torch.where(rows >= 0, columns, -torch.inf).amax(1))
        assert torch.equal(contour.pixels, seen[far])
        torch.testing.assert_close(contour.precision, torch.full((8,), 3.0))
        assert contour.across is not None
        assert (sign * contour.across[:, 0] > 0.5).all()  # outward
    half = jaw.seen_in(replace(straight, angles=torch.tensor([[0.0, 0.5, 0.0]])), plan, camera)
    assert half is not None
    torch.testing.assert_close(half.precision, torch.full((8,), 1.5))


def test_points_lose_their_trust_as_they_turn_away(toy_model, plan):
    somewhere = plan.shape.means(torch.tensor([[0], [1], [2]]))
    normals = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    points = PointEvidence(
        "some_px", somewhere, torch.zeros(3, 2), torch.full((3,), 2.0), normals=normals, facing=Ramp(-1.0, 0.0)
    )
    turned = replace(toy_model.layout.zeros(), angles=torch.tensor([[0.0, torch.pi / 6, 0.0]]))
    for seen, share in ((points.seen_in(turned), 0.5), (replace(points, facing=None).seen_in(turned), 1.0)):
        torch.testing.assert_close(seen.precision, torch.tensor([2.0, 2.0 * share, 2.0]))
    torch.testing.assert_close(points.precision, torch.full((3,), 2.0))
