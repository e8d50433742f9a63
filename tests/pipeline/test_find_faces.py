"""Faces that the detector denies are shown to the network, which knows its doubts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.accuracy_refusals import cartoon
from facewright.assets import embedded_path
from facewright.detect import detect_faces, load_face_detector
from facewright.detect.faces import possible_faces
from facewright.errors import NoFaceFoundError, ReconstructionError
from facewright.geometry.frames import apply_homogeneous
from facewright.geometry.turning import quarter_turned
from facewright.photo import photo_from_array, read_photo
from facewright.pipeline import flow as flow_module
from facewright.pipeline import rnet_estimator as rnet_module
from facewright.pipeline.answers import FRONT_PRESENCE, IDENTITY_DOUBT
from facewright.pipeline.flow import Reconstructor, load_reconstructor
from facewright.pipeline.rnet_estimator import MOST_DOUBT
from facewright.records import FaceDetection
from facewright.synthetic import Scene, open_studio, photograph, plan_scene

DENIED_SEED = 850_068
"""A head turned by more than 60 degrees whose face BlazeFace sees (0.77) and the mesh network denies (0.0002)."""


@pytest.fixture(scope="module")
def flow() -> Reconstructor:
    return load_reconstructor(refine=0)


@pytest.fixture(scope="module")
def scene() -> Scene:
    studio = open_studio()
    return photograph(studio, plan_scene(studio, DENIED_SEED, width=480, height=480))


@pytest.mark.parametrize("turns", [1, 2])
def test_it_is_found_whichever_way_up_the_photo_is(flow: Reconstructor, scene: Scene, turns: int) -> None:
    """As scans and sideways cameras give it: what nobody believes upright is read the other ways up."""
    photo, T_scene_photo = quarter_turned(scene.photo, turns)
    (face,) = flow.faces_in(photo)
    truth = scene.landmarks[:, :2]
    size = (truth.amax(0) - truth.amin(0)).prod().sqrt()
    assert (apply_homogeneous(T_scene_photo, face.landmarks) - truth).norm(dim=-1).mean() < 0.06 * size


def test_a_profile_that_the_detector_denies_is_found(flow: Reconstructor, scene: Scene) -> None:
    assert not detect_faces(scene.photo, flow.detector)
    (face,) = flow.faces_in(scene.photo)
    low, high = scene.landmarks[:, :2].amin(0), scene.landmarks[:, :2].amax(0)
    size = (high - low).prod().sqrt()
    assert (face.landmarks - scene.landmarks[:, :2]).norm(dim=-1).mean() < 0.06 * size
    assert face.detection.mesh is None
    torch.testing.assert_close(face.detection.box, torch.cat([low, high]), atol=0.15 * float(size), rtol=0)


def test_what_the_network_doubts_is_no_face(
    flow: Reconstructor, monkeypatch: pytest.MonkeyPatch, rng: torch.Generator
) -> None:
    noise = photo_from_array(torch.rand(200, 200, 3, generator=rng))
    claimed = FaceDetection(
        torch.tensor([50.0, 50.0, 150.0, 150.0]),
        0.9,
        torch.tensor([[80.0, 85.0], [120.0, 85.0], [100.0, 110.0], [85.0, 130.0], [115.0, 130.0]]),
    )
    monkeypatch.setattr(flow_module, "possible_faces", lambda *_: [claimed])
    with pytest.raises(NoFaceFoundError):
        flow.faces_in(noise)
    monkeypatch.setattr(rnet_module, "MOST_DOUBT", 10.0)
    assert len(flow.faces_in(noise)) == 1
    assert MOST_DOUBT < 0.03


def test_a_drawing_is_no_person_unless_somebody_says_so(flow: Reconstructor) -> None:
    """Though the detector takes it for a face; and the fit, which would make a person of it, is not asked."""
    photo = cartoon(np.random.default_rng([2, 1001]))
    (face,) = replace(flow, check=None).faces_in(photo)
    assert face.detection.mesh_score > FRONT_PRESENCE
    assert face.dense is not None
    assert face.dense.id_sigma.mean() > IDENTITY_DOUBT[face.weights]
    assert flow.fallback is not None
    with pytest.raises(ReconstructionError, match="whose identity the network doubts"):
        flow.faces_in(photo, detections=[face.detection])


def test_candidates_have_five_points_in_order() -> None:
    photo = read_photo(embedded_path("photos/astronaut.jpg"))
    detector = load_face_detector()
    (sure,) = detect_faces(photo, detector)
    candidates = possible_faces(photo, detector, most=2)
    assert 1 <= len(candidates) <= 2
    eyes = (sure.five[0] - sure.five[1]).norm()
    assert (candidates[0].five - sure.five).norm(dim=-1).max() < 0.3 * eyes
    assert [face.score for face in candidates] == sorted((face.score for face in candidates), reverse=True)
    assert possible_faces(photo_from_array(torch.zeros(64, 64, 3)), detector) == []
