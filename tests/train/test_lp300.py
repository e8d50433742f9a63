"""Maps of 300W-LP by its published recipe, checked with the recipe written out once more, number by number."""

import numpy as np
import pytest
import scipy.io
import torch

from facewright.align.square import Square, crop_square
from facewright.errors import TrainingDataError
from facewright.geometry.frames import apply_homogeneous
from facewright.geometry.map_pose import aflw_angles, map_pose
from facewright.photo import photo_from_array
from facewright.train.lp300 import (
    FittedBasis,
    fitted_points,
    points_in_square,
    read_300wlp,
    rotation_3ddfa,
    training_square,
)

RNG = np.random.default_rng(4)
MEAN, SHAPE, EXP = (RNG.standard_normal(s) * 1e5 for s in ((90, 3), (90, 3, 5), (90, 3, 2)))
BASIS = FittedBasis(*(torch.from_numpy(values) for values in (MEAN, 0.1 * SHAPE, 0.1 * EXP)))
POSE = np.array([[0.2, -0.6, 0.1, 220.0, 210.0, -60.0, 1.1e-3]])


@pytest.fixture
def file(tmp_path):
    content = {"Shape_Para": RNG.standard_normal((5, 1)), "Exp_Para": RNG.standard_normal((2, 1)), "Pose_Para": POSE}
    scipy.io.savemat(tmp_path / "a.mat", content)
    return tmp_path / "a.mat", content


def test_points_are_where_matlab_counted_them(file):
    path, content = file
    face = read_300wlp(path)
    exact, theirs = (fitted_points(face, BASIS, 450, origin=origin) for origin in ("exact", "face3d"))
    for k in (0, 41, 89):
        vertex = MEAN[k] + 0.1 * SHAPE[k] @ content["Shape_Para"][:, 0] + 0.1 * EXP[k] @ content["Exp_Para"][:, 0]
        x, y, z = 1.1e-3 * rotation_3ddfa(torch.tensor(POSE[0, :3])).numpy() @ vertex + POSE[0, 3:6]
        np.testing.assert_allclose(exact[k].numpy(), [x - 1, 450 - y, z])
        np.testing.assert_allclose(theirs[k].numpy(), [x, 450 - y - 1, z])


def test_its_angles_are_those_that_poses_of_maps_give_back(file):
    path, _ = file
    points = fitted_points(read_300wlp(path), FittedBasis(BASIS.mean, 0 * BASIS.shape, 0 * BASIS.exp), 450)
    np.testing.assert_allclose(aflw_angles(map_pose(points, BASIS.mean).rotation).numpy(), POSE[0, :3], atol=1e-9)


def test_the_square_is_cut_and_jittered_as_published():
    marks = torch.tensor([[100.7, 50.2, 9.0], [180.9, 130.9, 3.0]]).repeat(34, 1)
    assert training_square(marks) == Square(140.0, 90.0, 120.0)
    squares = [training_square(marks, np.random.default_rng(seed)) for seed in range(200)]
    moves = np.array([[s.x - 140, s.y - 90, s.side / 120 - 1] for s in squares])
    assert (np.abs(moves) <= [8, 8, 0.1]).all()
    assert (np.abs(moves).max(0) > [7, 7, 0.09]).all()
    points = torch.rand(90, 3).double() * 100
    placed = points_in_square(points, Square(140.0, 90.0, 120.0))
    assert placed[:, 2].min() == 0
    torch.testing.assert_close(placed[:, 2].max(), (points[:, 2].max() - points[:, 2].min()) * 255 / 120)
    photo = photo_from_array(np.zeros((200, 300, 3), np.uint8))
    aligned = crop_square(photo, Square(140.0, 90.0, 120.0), torch.zeros(5, 2))
    torch.testing.assert_close(apply_homogeneous(aligned.T_photo_crop, placed[:, :2]), points[:, :2])


def test_what_is_no_fitted_face_is_refused(file, tmp_path):
    path, content = file
    with pytest.raises(TrainingDataError, match="expected 4 shape and 2 expression"):
        fitted_points(read_300wlp(path), FittedBasis(BASIS.mean, BASIS.shape[..., :4], BASIS.exp), 450)
    scipy.io.savemat(tmp_path / "b.mat", content | {"Pose_Para": POSE[:, :6]})
    with pytest.raises(TrainingDataError, match="6 numbers of a pose"):
        read_300wlp(tmp_path / "b.mat")
    scipy.io.savemat(tmp_path / "c.mat", {"pt2d": np.zeros((2, 68))})
    with pytest.raises(TrainingDataError, match=r"c\.mat"):
        read_300wlp(tmp_path / "c.mat")
