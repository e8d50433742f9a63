"""The tables of the 468 points."""

import json
from pathlib import Path

import pytest
import torch

from facewright.detect import MESH_MIRROR, FaceDetector, detect_faces, mesh_landmarks_68
from facewright.detect.landmarks import FOREHEAD, LEFT_EYE, RIGHT_EYE, steadied_five
from facewright.geometry.ibug68 import MESH_TO_IBUG68, MIRROR_68
from facewright.records import FaceDetection, Photo


def test_the_mirror_map_is_an_involution() -> None:
    assert sorted(MESH_MIRROR) == list(range(468))
    assert all(MESH_MIRROR[MESH_MIRROR[point]] == point for point in range(468))
    assert sum(MESH_MIRROR[point] == point for point in range(468)) == 28


def test_the_mirror_map_keeps_the_triangles() -> None:
    """All but twelve: six quads of the published topology are split differently on the two sides."""
    path = Path(__file__).parents[2] / "scripts" / "open_head" / "canonical468.json"
    triangles = json.loads(path.read_text())["triangles"]
    known = {frozenset(triangle) for triangle in triangles}
    assert len(known) == 852
    assert sum(frozenset(MESH_MIRROR[v] for v in triangle) not in known for triangle in triangles) == 12


def test_tables_are_symmetric() -> None:
    for point, partner in enumerate(MIRROR_68):
        assert MESH_MIRROR[MESH_TO_IBUG68[point]] == MESH_TO_IBUG68[partner], point
    assert sorted(MESH_MIRROR[point] for point in RIGHT_EYE) == sorted(LEFT_EYE)
    assert sorted({MESH_MIRROR[point] for point in FOREHEAD}) == sorted(set(FOREHEAD))
    assert len(set(MESH_TO_IBUG68)) == 68


def test_landmarks_lie_in_order_on_a_face(detector: FaceDetector, astronaut: Photo) -> None:
    (face,) = detect_faces(astronaut, detector)
    points = mesh_landmarks_68(face)
    assert points.shape == (68, 3)
    x, y = points[:, 0], points[:, 1]
    assert (x[:17].diff() > 0).all(), "the jaw line runs from image left to right"
    assert (x[17:27].diff() > 0).all(), "so do the brows"
    assert (y[27:31].diff() > 0).all(), "the bridge of the nose runs down"
    assert y[17:27].max() < y[36:48].min() < y[31:36].min() < y[51] < y[57] < y[8]
    assert points[:, 2].argmin().item() == 30, "the nose tip is nearest to the camera"
    assert face.mesh is not None
    forehead = face.mesh[FOREHEAD, 1]
    assert forehead.max() < y[36:48].min()
    assert forehead.mean() < face.box[1], "the box begins at the brows"


def test_the_five_points_lean_on_blazeface_as_far_as_the_mesh_doubts(rng: torch.Generator) -> None:
    five, keypoints = torch.rand(5, 2, generator=rng), torch.rand(6, 2, generator=rng)
    torch.testing.assert_close(steadied_five(five, keypoints, 1.0), five)
    leaned = steadied_five(five, keypoints, 0.0)
    torch.testing.assert_close(leaned[:3], keypoints[:3])
    torch.testing.assert_close(leaned[3:].mean(0), keypoints[3])
    torch.testing.assert_close(leaned[4] - leaned[3], five[4] - five[3])
    torch.testing.assert_close(steadied_five(five, keypoints, 0.25), 0.25 * five + 0.75 * leaned)


def test_a_detection_without_a_mesh_has_no_68_points() -> None:
    with pytest.raises(ValueError, match="five points only"):
        mesh_landmarks_68(FaceDetection(torch.zeros(4), 1.0, torch.zeros(5, 2)))
