"""A face model fitted to scans of other topologies, in any pose and unit of noise."""

from dataclasses import replace

import igl
import numpy as np
import pytest
import torch
import trimesh
from numpy import ndarray
from scipy.spatial.transform import Rotation

from facewright.errors import BenchmarkError, ReconstructionError
from facewright.evaluate.scan_model import ModelOnScan, fit_model_to_scan
from facewright.evaluate.surfaces import Surface
from facewright.geometry.ibug68 import SEVEN_OF_68
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.sample import sample_coefficients
from facewright.morphable.toy import toy_face_model
from facewright.records import FaceCoefficients

TURN, MOVE_MM = Rotation.from_rotvec([0.4, -1.1, 0.2]), np.array([35.0, -120.0, 410.0])


@pytest.fixture(scope="module")
def toy() -> FaceModel:
    return toy_face_model()


def scan_of(model: FaceModel, person: FaceCoefficients) -> tuple[Surface, ndarray]:
    """The person as a scanner might see them: turned, far off, on another mesh (finer, then with fewer triangles)."""
    ids = model.annotations.ibug68
    assert ids is not None
    landmarks = model.shape(person.id, person.exp)[0, ids].double().numpy() * 100.0
    vertices = model.shape(person.id, person.exp)[0].double().numpy() * 100.0
    finer, subdivided, *_ = trimesh.remesh.subdivide(vertices, model.faces.numpy())
    fine, faces = np.asarray(finer), np.asarray(subdivided)
    reduced = igl.decimate(fine, faces.astype(np.int64), int(0.6 * len(faces)), True)
    coarse, triangles = (np.asarray(part) for part in reduced[:2])
    return Surface(TURN.apply(coarse) + MOVE_MM, triangles.astype(np.int64)), TURN.apply(landmarks) + MOVE_MM


def person_of(model: FaceModel, seed: int) -> FaceCoefficients:
    return sample_coefficients(model, torch.Generator().manual_seed(seed), 1, expressions=False)


def test_a_scan_of_another_topology_gives_its_coefficients_back(toy: FaceModel) -> None:
    person = person_of(toy, 3)
    scan, landmarks = scan_of(toy, person)
    found = fit_model_to_scan(scan, landmarks, toy, expression=False)
    errors = found.errors()
    assert errors["mean_mm"] < 0.15
    assert errors["median_mm"] <= errors["p90_mm"] < 0.4
    assert (found.coefficients.id[0].float() - person.id[0]).abs().max() < 0.15
    assert not found.coefficients.exp.any()
    assert 0.1 < found.region.mean() < 0.5
    turned = fit_model_to_scan(Surface(scan.vertices_mm, scan.faces[:, ::-1]), landmarks, toy, expression=False)
    torch.testing.assert_close(turned.coefficients.id, found.coefficients.id, atol=0.12, rtol=0)  # normals inwards


def test_seven_points_are_enough_and_holes_and_neighbours_do_no_harm(toy: FaceModel) -> None:
    person = person_of(toy, 5)
    scan, landmarks = scan_of(toy, person)
    centres = scan.vertices_mm[scan.faces].mean(1)
    cheek = np.linalg.norm(centres - landmarks[3], axis=1) < 20.0
    wall = trimesh.creation.box((400.0, 400.0, 10.0)).apply_translation(
        scan.vertices_mm.mean(0) - TURN.apply([0, 0, 150])
    )
    vertices = np.concatenate([scan.vertices_mm, np.asarray(wall.vertices)])
    faces = np.concatenate([scan.faces[~cheek], np.asarray(wall.faces) + len(scan.vertices_mm)])
    found = fit_model_to_scan(Surface(vertices, faces), landmarks[SEVEN_OF_68], toy, expression=False)
    assert found.errors()["mean_mm"] < 0.3
    assert (found.coefficients.id[0].float() - person.id[0]).abs().max() < 0.3


def test_wrong_units_and_wrong_numbers_of_points_are_told(toy: FaceModel) -> None:
    scan, landmarks = scan_of(toy, person_of(toy, 3))
    with pytest.raises(BenchmarkError, match="68, 51 or 7 landmarks, received 5"):
        fit_model_to_scan(scan, landmarks[:5], toy)
    with pytest.raises(ReconstructionError, match="check the landmarks' order and the unit"):
        fit_model_to_scan(Surface(scan.vertices_mm / 25.4, scan.faces), landmarks / 25.4, toy)
    without = toy.mapped(lambda values: values)
    without.topology = replace(toy.topology, annotations=replace(toy.annotations, ibug68=None))
    with pytest.raises(ReconstructionError, match="iBUG-68"):
        fit_model_to_scan(scan, landmarks, without)


def rms(found: ModelOnScan, model: FaceModel, person: FaceCoefficients) -> float:
    """How far corresponding vertices of the face lie apart, neutral and in the model's frame, mm."""
    face = model.annotations.regions["face"] > 0.9
    still = torch.zeros_like(person.exp)
    true, fitted = (model.shape(code, still)[0, face] for code in (person.id, found.coefficients.id.float()))
    return float((true - fitted).norm(dim=1).square().mean().sqrt() * 100.0)


@pytest.mark.slow
def test_the_open_head_lies_on_a_scan_of_its_own_kind() -> None:
    head = load_face_model("open")
    person = person_of(head, 11)
    scan, landmarks = scan_of(head, person)
    found = fit_model_to_scan(scan, landmarks, head, expression=False)
    assert found.errors()["mean_mm"] < 0.25
    assert rms(found, head, person) < 1.0
    assert rms(found, head, replace(person, id=torch.zeros_like(person.id))) > 2.0
