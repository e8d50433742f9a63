"""What is found in a turned crop, said in the photo's frame: pose, place and light turn together."""

import math

import pytest
import torch

from facewright.geometry.five_points import deep3d_template
from facewright.geometry.frames import crop_camera, pose_points, project_points
from facewright.geometry.rotations import rotation_from_angles
from facewright.geometry.turning import roll_of_five, turn_of_face, turned_light, turned_pose
from facewright.morphable.linear import FaceModel
from facewright.records import FaceCoefficients, Pose
from facewright.render.lighting import sh_shading

ROLLS = (-math.pi, -2.2, -0.7, 0.3, math.pi / 2, 3.0)


def some_face(model: FaceModel, rng: torch.Generator) -> FaceCoefficients:
    packed = 0.3 * torch.randn(1, model.layout.size, generator=rng, dtype=torch.float64)
    return model.layout.unpack(packed)


@pytest.mark.parametrize("roll", ROLLS)
def test_the_pose_is_turned_about_the_cameras_axis(roll: float, rng: torch.Generator) -> None:
    angles, translation = torch.randn(7, 3, generator=rng).double(), torch.randn(7, 3, generator=rng).double()
    turned = turned_pose(Pose(angles, translation), roll)
    there, moved = turned.angles, turned.translation
    about_z = rotation_from_angles(torch.tensor([0.0, 0.0, roll], dtype=torch.float64))
    torch.testing.assert_close(rotation_from_angles(there), about_z @ rotation_from_angles(angles))
    torch.testing.assert_close(moved, translation @ about_z.T)
    assert float(there[:, 2].abs().max()) <= math.pi
    assert torch.equal(there[:, :2], angles[:, :2])


@pytest.mark.parametrize("roll", ROLLS)
def test_light_turns_with_the_normals(roll: float, rng: torch.Generator) -> None:
    sh = torch.randn(2, 9, 3, generator=rng).double()
    normals = torch.nn.functional.normalize(torch.randn(2, 50, 3, generator=rng).double(), dim=-1)
    about_z = rotation_from_angles(torch.tensor([0.0, 0.0, roll], dtype=torch.float64))
    torch.testing.assert_close(sh_shading(normals @ about_z.T, turned_light(sh, roll)), sh_shading(normals, sh))


@pytest.mark.parametrize("roll", ROLLS)
def test_a_face_is_drawn_turned_about_the_pictures_middle(
    toy_model: FaceModel, roll: float, rng: torch.Generator
) -> None:
    model, camera = toy_model.to("cpu"), crop_camera(like=torch.zeros((), dtype=torch.float64))
    face = some_face(model, rng)
    turned = turn_of_face(face, roll)

    def drawn(c: FaceCoefficients) -> torch.Tensor:
        return project_points(pose_points(model.mean_shape[None].double(), c.angles, c.translation), camera)[0, :, :2]

    x, y = (drawn(face) - 111.5).unbind(-1)
    cosine, sine = math.cos(roll), math.sin(roll)
    expected = torch.stack([cosine * x + sine * y, cosine * y - sine * x], -1)  # counter-clockwise, y down
    torch.testing.assert_close(drawn(turned) - 111.5, expected)
    assert torch.equal(turned.id, face.id)


def test_a_turn_and_back_is_the_same_face(toy_model: FaceModel, rng: torch.Generator) -> None:
    face = some_face(toy_model, rng)
    back = turn_of_face(turn_of_face(face, 2.5), -2.5)
    for name in ("angles", "translation", "sh"):
        torch.testing.assert_close(getattr(back, name), getattr(face, name))
    assert turn_of_face(face, 0.0) is face


@pytest.mark.parametrize("roll", [-3.1, -1.5, -0.2, 0.0, 0.9, 2.0])
@pytest.mark.parametrize("yaw", [-1.5, 0.0, 0.8])
def test_the_roll_of_five_points_holds_in_profile(roll: float, yaw: float) -> None:
    turned = deep3d_template() @ rotation_from_angles(torch.tensor([0.0, yaw, roll], dtype=torch.float64)).T
    five = torch.stack([300 + 80 * turned[:, 0], 200 - 80 * turned[:, 1]], -1)
    off = math.remainder(roll_of_five(five, deep3d_template()) - roll, 2 * math.pi)
    assert abs(off) < (1e-9 if yaw == 0.0 else 0.35)
