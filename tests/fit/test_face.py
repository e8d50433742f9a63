"""The whole fit on renders of the toy head, where the truth is known."""

from dataclasses import replace

import pytest
import torch
from facewright.fit.landmarks import MESH_TERM, PointTarget, linear_points, turned_targets

from facewright.align import align_face, five_from_68
from facewright.errors import ReconstructionError
from facewright.fit import FitSettings, fit_face
from facewright.geometry.color import srgb_from_linear
from facewright.geometry.frames import crop_camera, pose_points, project_points
from facewright.geometry.pose import posed_mesh
from facewright.geometry.rotations import geodesic_angle, rotation_from_angles
from facewright.morphable.container import load_face_model
from facewright.records import FaceCoefficients, FaceDetection, Photo
from facewright.render.renderer import render

BACKDROP = 0.2


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
    photo = Photo(srgb_from_linear(drawn.image + (1 - drawn.mask) * BACKDROP)[0].clamp(0, 1))
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


def test_a_render_is_explained(toy_model):
    """Place, pose and colour come back from five points and the pixels."""
    for seed in range(4):
        photo, detection, truth = rendered_face(toy_model, seed)
        aligned = align_face(photo, detection.five)
        result = fit_face(aligned, detection, toy_model)
        found = result.coefficients
        turn = geodesic_angle(rotation_from_angles(found.angles), rotation_from_angles(truth.angles))
        assert torch.rad2deg(turn).item() < 4.0
        assert misfit_px(toy_model, aligned, found, truth) < 1.0
        assert result.residuals["photometric"] < 0.01


def test_fit_is_deterministic(toy_model):
    photo, detection, _ = rendered_face(toy_model, 5)
    aligned = align_face(photo, detection.five)
    first, second = (fit_face(aligned, detection, toy_model).coefficients for _ in range(2))
    for name in ("id", "exp", "tex", "angles", "sh", "translation"):
        # Not bit-equal: a BLAS may sum in another order when memory lies elsewhere.
        torch.testing.assert_close(getattr(first, name), getattr(second, name), atol=2e-4, rtol=0)


def test_pixels_improve_on_points(toy_model):
    """Turning the photometric term off must cost accuracy: it is what finds the shape between five points."""
    with_pixels, without = [], []
    for seed in range(4):
        photo, detection, truth = rendered_face(toy_model, seed)
        aligned = align_face(photo, detection.five)
        for settings, errors in ((None, with_pixels), (FitSettings(photometric_observations=0.0), without)):
            result = fit_face(aligned, detection, toy_model, settings)
            errors.append(misfit_px(toy_model, aligned, result.coefficients, truth))
    assert sum(with_pixels) < 0.5 * sum(without)


def test_bounded_expressions_stay_in_their_box():
    from facewright.morphable.toy import toy_face_model

    model = toy_face_model(exp_prior="box")
    photo, detection, _ = rendered_face(model, 1)
    exp = fit_face(align_face(photo, detection.five), detection, model).coefficients.exp
    assert exp.min() >= 0
    assert exp.max() <= 1


def test_points_in_one_place_are_refused(toy_model):
    photo, detection, _ = rendered_face(toy_model, 1)
    aligned = align_face(photo, detection.five)
    nowhere = FaceDetection(detection.box, 1.0, torch.full((5, 2), 100.0))
    with pytest.raises(ReconstructionError, match="one place"):
        fit_face(aligned, nowhere, toy_model)


def test_the_far_jaw_slides_as_the_head_turns():
    """On the open head: a turned head's far jaw rows are matched at their outermost vertices, the near ones are not."""
    model = load_face_model()
    camera = crop_camera()
    somewhere = linear_points(model, torch.zeros(468, 1).long(), torch.ones(468, 1))
    mesh = PointTarget(MESH_TERM, somewhere, torch.zeros(468, 2), torch.ones(468))
    straight = model.layout.zeros()
    turned = replace(straight, angles=torch.tensor([[0.0, 0.9, 0.0]]))
    assert [target.name for target in turned_targets([mesh], model, straight, camera)] == [MESH_TERM]
    faded, contour = turned_targets([mesh], model, turned, camera)
    posed = posed_mesh(model.decode(turned), turned.pose).vertices
    assert model.annotations.contours is not None
    rows = model.annotations.contours[9:]
    columns = torch.where(rows >= 0, project_points(posed, camera)[0, rows.clamp_min(0), 0], -torch.inf)
    outermost = pose_points(contour.points.of(turned)[None], turned.angles, turned.translation)
    found = project_points(outermost, camera)[0, :, 0]
    torch.testing.assert_close(found, columns.amax(1))
    assert faded.precision.max() <= mesh.precision.max()
