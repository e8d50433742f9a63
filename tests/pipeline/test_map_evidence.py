"""A position map alone gives back the coefficients that it was made of."""

from dataclasses import replace

import numpy as np
import torch

from facewright.align import align_face, five_from_68
from facewright.fit import FitPlan, FitSettings, first_pose, fit_face, prior_of
from facewright.geometry.frames import pose_points, project_points
from facewright.geometry.rotations import geodesic_angle, rotation_from_angles
from facewright.morphable.uv import position_space
from facewright.photo import photo_from_array
from facewright.pipeline.evidence import fit_from
from facewright.pipeline.map_evidence import evidence_of_map
from facewright.records import FaceDetection


def scene(toy_model):
    """Coefficients, the crop that shows them, and where a map's points lie."""
    known = toy_model.layout.zeros()
    known.id[0], known.exp[0] = torch.tensor([0.8, -0.6, 0.5, -0.4]), torch.tensor([0.5, 0.2, -0.3])
    known.angles[0], known.translation[0] = torch.tensor([0.1, 0.4, -0.1]), torch.tensor([0.05, -0.04, 0.2])
    photo = photo_from_array(np.full((224, 224, 3), 128, np.uint8))
    marks = toy_model.mean_shape[toy_model.annotations.ibug68]
    five = five_from_68(marks)[:, :2] * torch.tensor([100.0, -100.0]) + 111.5
    aligned = align_face(photo, five)
    _, surface = position_space(toy_model, 48)
    shape = toy_model.shape(known.id, known.exp)
    world = pose_points(surface.of(shape), known.angles, known.translation)[0]
    return known, aligned, surface, world


def test_a_map_becomes_the_coefficients_it_was_made_of(toy_model):
    known, aligned, surface, world = scene(toy_model)
    shape = toy_model.shape(known.id, known.exp)
    plan, settings = FitPlan.of(toy_model), FitSettings(photometric_observations=0.0)
    evidence = evidence_of_map(world, known.pose, aligned, surface, plan, stride=2)
    start = first_pose(evidence, plan)
    found = fit_face(evidence, plan, prior_of(plan, settings), start, settings).coefficients
    angle = geodesic_angle(rotation_from_angles(found.angles[0]), rotation_from_angles(known.angles[0]))
    assert float(angle) < 0.01
    fitted = pose_points(toy_model.shape(found.id, found.exp), found.angles, found.translation)
    wanted = pose_points(shape, known.angles, known.translation)
    used = surface.corners.unique()
    seen = [project_points(points[:, used], aligned.camera_crop)[0, :, :2] for points in (fitted, wanted)]
    assert (seen[0] - seen[1]).norm(dim=-1).mean() < 0.5
    assert (found.id - known.id).abs().max() < 0.25
    doubted = evidence_of_map(world, known.pose, aligned, surface, plan, sigma_px=torch.full((len(world),), 9.0))
    assert (doubted.points[0].precision < evidence.points[0].precision[0] / 50).all()


def test_a_map_joins_what_others_have_seen(toy_model):
    """A refinement that starts at the mean face is drawn to the truth by the map, farther than by five points alone."""
    known, aligned, surface, world = scene(toy_model)
    plan, settings = FitPlan.of(toy_model), FitSettings(photometric_observations=0.0).refining(1)
    shape = pose_points(toy_model.shape(known.id, known.exp), known.angles, known.translation)
    marks = project_points(shape[:, toy_model.annotations.ibug68], aligned.camera_photo)[0, :, :2]
    detection = FaceDetection(torch.cat([marks.amin(0), marks.amax(0)]), 1.0, five_from_68(marks))
    more = evidence_of_map(world, known.pose, aligned, surface, plan, stride=2).points
    start = replace(toy_model.layout.zeros(), angles=known.angles, translation=known.translation)
    errors = []
    for points in ((), more):
        found = fit_from(start, aligned, detection, plan, settings, more=points).coefficients
        fitted = pose_points(toy_model.shape(found.id, found.exp), found.angles, found.translation)
        errors.append(float((surface.of(fitted)[0] - world).norm(dim=-1).mean()))
    assert errors[1] < 0.5 * errors[0]
