"""Method ``prnet`` with a network that knows the truth: what is lost between a position map and the results."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import facewright
from facewright.align import align_face
from facewright.align.square import (
    WEAK_DISTANCE_DM,
    Square,
    crop_square,
    face_in_square,
    square_of_box,
    square_of_five,
    square_of_points,
)
from facewright.assets import embedded_path
from facewright.errors import LandmarksError, ReconstructionError, SettingsError
from facewright.geometry.five_points import five_from_68
from facewright.geometry.frames import apply_homogeneous, crop_camera, pose_points, project_points
from facewright.geometry.map_pose import aflw_angles, frontal_points, map_of_world, map_pose, released_pose
from facewright.geometry.rotations import geodesic_angle, rotation_from_angles
from facewright.morphable.uv import map_topology, position_space
from facewright.photo import photo_from_array
from facewright.pipeline.answers import speaks_against
from facewright.pipeline.coefficient_files import read_camera
from facewright.pipeline.estimator import Candidate, Estimate
from facewright.pipeline.known_faces import KnownFaces
from facewright.pipeline.methods import load_estimator
from facewright.pipeline.outputs import OutputOptions, save_face, write_outputs
from facewright.pipeline.prnet_estimator import PRNetEstimator
from facewright.pipeline.reconstruction import Reconstruction
from facewright.records import FaceDetection
from facewright.regress.cards import DEEP3D_CROPS
from facewright.regress.prnet import SQUARE_CROPS, PRNet, PRNetPrediction
from facewright.regress.weights import WeightsCard, save_weights

SIZE = 48


class Knowing(PRNet):
    """A network that answers with given maps."""

    def __init__(self, maps, crop_size):
        super().__init__(architecture="resnet18", width=0.0625, crop_size=crop_size, map_size=maps.shape[-1])
        self.maps = maps

    def predict(self, crops):
        assert crops.shape[-1] == self.crop_size
        return PRNetPrediction(self.maps)


@pytest.fixture(scope="module")
def space(toy_model):
    return position_space(toy_model, SIZE)


@pytest.fixture(scope="module")
def photo():
    return photo_from_array(np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8))


def posed(model, surface, angles, translation=(0.1, -0.05, 0.3)):
    """Points of the map of the mean face in the world."""
    points = surface.of(model.mean_shape[None])
    return pose_points(points, torch.tensor([angles]), torch.tensor([translation]))[0]


def estimate(space, template, maps, crop_size, candidate):
    estimator = PRNetEstimator(Knowing(maps, crop_size), space, map_topology(space), template)
    (answer,) = estimator.estimates([candidate])
    return answer


ANGLES = [(0.0, 0.0, 0.0), (0.3, -0.7, 0.2), (-0.2, 1.4, -0.4)]


@pytest.mark.parametrize("angles", ANGLES)
def test_a_known_map_becomes_its_mesh_pose_and_landmarks_again(toy_model, space, photo, angles):
    space, surface = space
    world = posed(toy_model, surface, angles)
    marks = pose_points(toy_model.mean_shape[None, toy_model.annotations.ibug68], torch.zeros(1, 3), torch.zeros(1, 3))
    five = five_from_68(marks[0])[:, :2] * torch.tensor([60.0, -60.0]) + torch.tensor([200.0, 150.0])
    aligned = align_face(photo, five)
    net_camera = crop_camera(size=112)
    positions = space.map_of(map_of_world(world[None], net_camera)[0])[None]
    detection = FaceDetection(torch.tensor([100.0, 50, 300, 250]), 1.0, five)
    answer = estimate(space, DEEP3D_CROPS, positions, 112, Candidate(photo, detection, aligned))
    assert isinstance(answer, Estimate)
    expected = torch.tensor(angles)
    error = geodesic_angle(rotation_from_angles(answer.pose.angles[0]), rotation_from_angles(expected))
    assert math.degrees(float(error)) < 0.01
    torch.testing.assert_close(answer.pose.translation[0], torch.tensor([0.1, -0.05, 0.3]), atol=1e-3, rtol=0)
    torch.testing.assert_close(answer.mesh.vertices, surface.of(toy_model.mean_shape[None]), atol=1e-3, rtol=0)
    face = Reconstruction(photo, detection, aligned, answer.topology, answer.mesh, answer.pose, "prnet")
    ids = answer.topology.annotations.ibug68
    seen = project_points(world[None, ids], aligned.camera_photo)[0, :, :2]
    torch.testing.assert_close(face.landmarks, seen, atol=0.02, rtol=0)


@pytest.mark.parametrize("angles", ANGLES)
def test_a_map_in_weak_perspective_is_seen_exactly_where_it_says(toy_model, space, photo, angles, tmp_path):
    """Crops by squares; depth from any zero; a face that is smaller than the mean face's crop would have it."""
    space, surface = space
    square = Square(210.0, 140.0, 180.0)
    five = torch.tensor([[180.0, 120.0], [240.0, 120.0], [210.0, 150.0], [190.0, 180.0], [230.0, 180.0]])
    aligned = crop_square(photo, square, five, size=64)
    turned = posed(toy_model, surface, angles, (0.0, 0.0, 0.0))
    points = 20.0 * turned * torch.tensor([1.0, -1.0, 1.0]) + torch.tensor([30.0, 33.0, 47.0])
    detection = FaceDetection(torch.tensor([100.0, 50, 300, 250]), 1.0, five)
    candidate = Candidate(photo, detection, aligned)
    answer = estimate(space, SQUARE_CROPS, space.map_of(points)[None], 64, candidate)
    assert isinstance(answer, Estimate)
    face = Reconstruction(photo, detection, answer.aligned, answer.topology, answer.mesh, answer.pose, "prnet")
    seen = project_points(face.mesh_world.vertices, face.camera)[0, :, :2]
    torch.testing.assert_close(seen, apply_homogeneous(aligned.T_photo_crop, points[:, :2]), atol=0.02, rtol=0)
    assert (
        math.degrees(
            float(geodesic_angle(rotation_from_angles(face.pose.angles[0]), rotation_from_angles(torch.tensor(angles))))
        )
        < 0.1
    )
    torch.testing.assert_close(answer.mesh.vertices[0], surface.of(toy_model.mean_shape[None])[0], atol=5e-3, rtol=0)
    write_outputs([face], tmp_path, "me", OutputOptions(("json",)))
    told = read_camera(tmp_path / "me.json")
    assert told is not None
    assert told.distance_dm == face.camera.distance_dm == WEAK_DISTANCE_DM


def test_pose_by_all_points_and_as_released(toy_model, space):
    """AFLW's angles, against matrices written as 300W-LP writes them; what the published program makes of them."""
    space, surface = space
    mean = surface.of(toy_model.mean_shape[None])[0].double()
    pitch, yaw, roll = 0.2, -1.0, 0.35
    c, s = np.cos, np.sin
    rx = np.array([[1, 0, 0], [0, c(pitch), s(pitch)], [0, -s(pitch), c(pitch)]])
    ry = np.array([[c(yaw), 0, -s(yaw)], [0, 1, 0], [s(yaw), 0, c(yaw)]])
    rz = np.array([[c(roll), s(roll), 0], [-s(roll), c(roll), 0], [0, 0, 1]])
    rotation = torch.from_numpy(rx @ ry @ rz)
    down = torch.tensor([1.0, -1.0, 1.0]).double()
    points = (90.0 * mean @ rotation.T + torch.tensor([120.0, -130.0, 40.0])) * down
    pose = map_pose(points, mean)
    torch.testing.assert_close(aflw_angles(pose.rotation), torch.tensor([pitch, yaw, roll]).double())
    matrix = pose.camera_matrix()
    torch.testing.assert_close(mean @ matrix[:, :3].T + matrix[:, 3], points)
    old = released_pose(points, mean * down)
    torch.testing.assert_close(old.camera_matrix[:, :3].norm(dim=1), torch.full((3,), 90.0).double())
    torch.testing.assert_close(old.camera_matrix[:, 3], points.mean(0) - (mean * down).mean(0))
    assert abs(float(old.angles[2]) - roll) > 0.1  # its order is another one, which shows where the yaw is large
    upright = map_pose(mean * down * 90.0, mean)
    assert aflw_angles(upright.rotation).abs().max() < 1e-6


def test_frontal_points_keep_proportions_and_the_affine_ones_do_not(toy_model, space):
    space, surface = space
    mean = surface.of(toy_model.mean_shape[None])[0].double()
    wide = mean * torch.tensor([1.2, 1.0, 1.0])
    points = 50.0 * wide @ rotation_from_angles(torch.tensor([0.2, 0.5, 0.1]).double()).T + 7.0
    rigid, affine = frontal_points(points, mean), frontal_points(points, mean, affine=True)
    torch.testing.assert_close(affine, mean, atol=1e-6, rtol=0)
    sides = (rigid.amax(0) - rigid.amin(0)) / (wide.amax(0) - wide.amin(0))
    assert sides.max() / sides.min() < 1.01


def test_squares_are_those_of_the_published_program(photo):
    box = torch.tensor([100.0, 60.0, 180.0, 160.0])
    assert square_of_box(box, whole=True) == Square(140.0, 110.0, 144.0)
    assert square_of_box(box, factor=1.58, drop=0.14, whole=True) == Square(140.0, 110.0 + 0.14 * 90, 142.0)
    points = torch.tensor([[100.0, 60.0, 5.0], [180.0, 160.0, -5.0]])
    assert square_of_points(points) == square_of_box(box)
    aligned = crop_square(photo, Square(150.0, 100.0, 63.0), torch.zeros(5, 2), size=64)
    torch.testing.assert_close(aligned.T_photo_crop, torch.tensor([[1.0, 0, 118.5], [0, 1, 68.5], [0, 0, 1]]).double())
    half = (photo.srgb[:, 68:132, 118:182] + photo.srgb[:, 69:133, 119:183]) / 4
    half += (photo.srgb[:, 68:132, 119:183] + photo.srgb[:, 69:133, 118:182]) / 4
    torch.testing.assert_close(aligned.crop, half, atol=1e-3, rtol=0)
    outside = crop_square(photo, Square(0.0, 0.0, 63.0), torch.zeros(5, 2), size=64)
    assert (outside.crop[:, :31] == 0).all()
    for bad in ([10.0, 10.0, 10.0, 30.0], [30.0, 0.0, 10.0, 10.0], [0.0, 0.0, float("nan"), 9.0]):
        with pytest.raises(ReconstructionError, match="x0, y0, x1, y1"):
            square_of_box(torch.tensor(bad))
    with pytest.raises(ReconstructionError, match="inside the photo"):
        crop_square(photo, Square(900.0, 0.0, 100.0), torch.zeros(5, 2))


def test_a_square_by_five_points_is_that_of_the_landmarks(toy_model):
    marks = toy_model.mean_shape[toy_model.annotations.ibug68]
    turned = marks @ rotation_from_angles(torch.tensor([0.2, 0.9, 0.1])).T
    seen = turned[:, :2] * torch.tensor([80.0, -80.0]) + 150.0
    found = square_of_five(five_from_68(seen), marks, five_from_68(marks))
    wanted = square_of_points(seen)
    assert (found.x, found.y, found.side) == pytest.approx((wanted.x, wanted.y, wanted.side), abs=1e-3)


def test_a_picture_that_is_a_crop_already_is_taken_whole(toy_model, space):
    """Of the network's size to the byte, divided by 255 once; of another size, resized once."""
    space, _ = space
    pixels = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    photo = photo_from_array(pixels)
    estimator = replace(PRNetEstimator.of(PRNet(width=0.0625, crop_size=64).eval(), SQUARE_CROPS), space=space)
    (face,) = KnownFaces(cropped=True).of(Path("crop.png"), photo, estimator)
    torch.testing.assert_close(estimator.crop(photo, face.five).crop, photo.srgb, atol=1e-3, rtol=0)
    assert 0 < face.box.min() < face.box.max() < 63
    double = photo_from_array(pixels.repeat(2, 0).repeat(2, 1))
    (face,) = KnownFaces(cropped=True).of(Path("crop.png"), double, estimator)
    aligned = estimator.crop(double, face.five)
    corners = apply_homogeneous(aligned.T_photo_crop, torch.tensor([[0.0, 0.0], [63.0, 63.0]]).double())
    torch.testing.assert_close(corners, torch.tensor([[0.0, 0.0], [127.0, 127.0]]).double(), atol=1e-3, rtol=0)


def test_boxes_are_squares_of_faces_that_nobody_has_seen(toy_model, space, photo, tmp_path):
    """By the published rule, the largest first; what is no box, or elsewhere, is named with its file."""
    space, _ = space
    estimator = replace(PRNetEstimator.of(PRNet(width=0.0625, crop_size=64).eval(), SQUARE_CROPS), space=space)
    file = tmp_path / "photo.txt"
    file.write_text("# x0 y0 x1 y1\n10, 20, 30, 40\n100 60 180 160\n")
    boxes = KnownFaces(boxes=tmp_path)
    faces = boxes.of(Path("photo.jpg"), photo, estimator)
    assert [face.score for face in faces] == [0.0, 0.0]
    for face, box in zip(faces, ([100.0, 60, 180, 160], [10.0, 20, 30, 40]), strict=True):
        square = square_of_box(torch.tensor(box))
        aligned = estimator.crop(photo, face.five)
        corner, step = aligned.T_photo_crop[:2, 2], aligned.T_photo_crop[0, 0]
        torch.testing.assert_close(
            corner, torch.tensor([square.x, square.y]).double() - square.side / 2, atol=0.01, rtol=0
        )
        assert float(step) == pytest.approx(square.side / 63, abs=1e-3)
    for text, message in (
        ("1 2 3", "lines of four numbers"),
        ("1 2 nan 4", "lines of four numbers"),
        ("30 20 10 40", "box 1: expected a box x0, y0, x1, y1"),
        ("500 20 600 40", "photo of 400 x 300 px, received box 1 outside"),
    ):
        file.write_text(text)
        with pytest.raises(LandmarksError, match=message):
            boxes.of(Path("photo.jpg"), photo, estimator)
    with pytest.raises(LandmarksError, match="expected where the face"):
        boxes.of(Path("other.jpg"), photo, estimator)
    with pytest.raises(SettingsError, match="one way"):
        KnownFaces(landmarks=tmp_path, cropped=True)


def test_answers_in_boxes_are_not_held_against_guessed_points(space, photo):
    """A head in profile contradicts the mean face's five points; nobody has seen those."""
    space, _ = space
    seen = photo_from_array(np.random.default_rng(2).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    turned = rotation_from_angles(torch.tensor([0.0, 1.4, 0.0]))
    points = 16.0 * space.points_of(space.canonical_dm) @ turned.T * torch.tensor([1.0, -1.0, 1.0])
    maps = space.map_of(points + torch.tensor([31.5, 31.5, 20.0]))[None]
    estimator = PRNetEstimator(Knowing(maps, 64), space, map_topology(space), SQUARE_CROPS)
    flow = replace(facewright.load_reconstructor(method="fit"), estimator=estimator)
    (guessed,) = KnownFaces(cropped=True).of(Path("crop.png"), seen, estimator)
    (face,) = flow.faces_in(seen, detections=[guessed])
    assert face.method == "prnet"
    assert speaks_against(replace(face, detection=replace(guessed, score=1.0))) is not None


def test_its_weights_are_all_that_the_method_needs(toy_model, space, tmp_path):
    """Through the table of methods and by ``auto``; an untrained net answers with the mean face in any photo."""
    space, _ = space
    net = PRNet(architecture="resnet18", width=0.125, crop_size=48, map_size=SIZE)
    net.set_tables(space.mask, space.landmarks, space.canonical_dm, space.window)
    save_weights(net, WeightsCard(face_model="toy", licence="CC0-1.0"), tmp_path / "light.safetensors")
    flow = facewright.load_reconstructor(weights=tmp_path / "light.safetensors")
    assert flow.method == "prnet"
    photo = photo_from_array(np.full((224, 224, 3), 128, np.uint8))
    five = five_from_68(toy_model.mean_shape[toy_model.annotations.ibug68])
    places = project_points(five[None], crop_camera())[0, :, :2]
    detection = FaceDetection(torch.tensor([40.0, 40, 180, 180]), 1.0, places)
    (face,) = replace(flow, check=None).faces_in(photo, detections=[detection])  # which would not believe it
    assert face.method == "prnet"
    assert face.weights == "light.safetensors"
    assert face.landmarks.shape == (68, 2)
    assert face.belief is not None
    assert (face.five_points - places).norm(dim=-1).mean() < 8.0
    saved = save_face(face, tmp_path / "face.obj", texture_px=32)
    assert {path.suffix for path in saved} == {".obj", ".mtl", ".png"}


def test_the_open_heads_own_maps_see_a_portrait():
    """The embedded weights: where the detector sees the face, in either crop of it, and to the side it looks."""
    flow = facewright.load_reconstructor(method="prnet")
    assert (flow.method, flow.weights, flow.face_model) == ("prnet", "prnet", None)
    photo = facewright.read_photo(embedded_path("photos/astronaut.jpg"))
    (seen,) = flow.find_faces([photo])[0][:1]
    (face,) = flow.faces_in(photo, detections=[seen])
    eyes = float((seen.five[0] - seen.five[1]).norm())
    assert (face.five_points - seen.five).norm(dim=-1).mean() < 0.1 * eyes
    assert face.pose.angles.abs().max() < 0.5
    assert face.belief is not None
    known = flow.estimator.landmarks_dm
    assert known is not None
    guessed = face_in_square(square_of_box(torch.cat([face.landmarks.amin(0), face.landmarks.amax(0)])), known)
    (again,) = flow.faces_in(photo, detections=[guessed])
    assert (again.five_points - seen.five).norm(dim=-1).mean() < 0.15 * eyes


def test_the_estimator_is_loaded_by_its_name():
    with pytest.raises(facewright.FacewrightError, match="expects weights"):
        load_estimator("prnet", _parts())


def _parts():
    from facewright.fit import FitSettings
    from facewright.morphable.toy import toy_face_model
    from facewright.pipeline.methods import MethodParts

    model = toy_face_model()
    return MethodParts(model, model, FitSettings())
