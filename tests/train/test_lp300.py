"""Maps of 300W-LP by its published recipe, checked with the recipe written out once more, number by number."""

import shutil

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from facewright.align.square import Square, crop_square
from facewright.cli import main
from facewright.errors import TrainingDataError
from facewright.geometry.frames import apply_homogeneous
from facewright.geometry.map_pose import aflw_angles, map_pose
from facewright.morphable.container import load_face_model
from facewright.morphable.uv import position_space
from facewright.photo import photo_from_array
from facewright.regress.weights import describe_weights
from facewright.train.lp300 import (
    FittedBasis,
    FittedSampler,
    fitted_card,
    fitted_points,
    points_in_square,
    read_300wlp,
    rotation_3ddfa,
    training_square,
)
from facewright.train.map_truth import MapTruth
from facewright.train.shards import load_data

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


STDS = {"id": np.array([3.0, 0.5]), "exp": np.array([2.0])}
"""Deviations of the first modes of the toy model, as if its basis had been stored without them."""
HEIGHT, SIDE = 120, 48


@pytest.fixture(scope="module")
def official(toy_model, tmp_path_factory):
    """Pictures in the layout of 300W-LP, and the toy as face3d's BFM.mat, imported; its basis as the files mean it."""
    root = tmp_path_factory.mktemp("lp300")
    modes = {"id": toy_model.id_basis[..., :2], "exp": toy_model.exp_basis[..., :1]}
    raw = {name: 1e5 * basis.double().numpy() / STDS[name] for name, basis in modes.items()}
    mean = 1e5 * toy_model.mean_shape.double().numpy()
    members = {
        "shapeMU": 0.75 * mean.reshape(-1, 1),
        "shapePC": raw["id"].reshape(-1, 2),
        "shapeEV": STDS["id"][:, None],
        "expMU": 0.25 * mean.reshape(-1, 1),
        "expPC": raw["exp"].reshape(-1, 1),
        "expEV": STDS["exp"][:, None],
        "tri": toy_model.faces.numpy().T[::-1] + 1.0,
        "kpt_ind": toy_model.annotations.ibug68.numpy()[None] + 1.0,
    }
    scipy.io.savemat(root / "BFM.mat", {"model": members})
    scipy.io.savemat(root / "BFM_UV.mat", {"UV": toy_model.uv.double().numpy()})
    files = ["--model", str(root / "BFM.mat"), "--uv", str(root / "BFM_UV.mat")]
    assert main(["model", "import", "--out", str(root / "model.npz"), "bfm-face3d", "--no-borrow", *files]) == 0
    rng, folder = np.random.default_rng(0), root / "300W_LP"
    folder.mkdir()
    for k in range(4):
        shape, exp = STDS["id"][:, None] * rng.normal(size=(2, 1)), np.array([[0.7]])
        pose = np.array([[0.1, 0.5 * k - 0.3, 0.1, 61.0, 62.0, -20.0, 4.0e-4]])
        scipy.io.savemat(folder / f"face_{k}.mat", {"Shape_Para": shape, "Exp_Para": exp, "Pose_Para": pose})
        Image.fromarray(rng.integers(0, 256, (HEIGHT, 130, 3), np.uint8)).save(folder / f"face_{k}.png")
    return root, FittedBasis(*(torch.from_numpy(part) for part in (mean, raw["id"], raw["exp"])))


def test_stored_truth_is_the_published_recipes(official):
    """Coefficients, square and landmarks of a sample give the map that the recipe gives, at every pixel."""
    root, basis = official
    model = load_face_model(str(root / "model.npz"))
    space, surface = position_space(model, 32)
    truth = MapTruth.of(model, surface)
    for name in ("face_0.png", "face_3.png"):
        (sample,) = FittedSampler(root / "300W_LP", str(root / "model.npz"), SIDE)(name)
        face = read_300wlp(root / "300W_LP" / name.replace("png", "mat"))
        vertices = fitted_points(face, basis, HEIGHT)
        square = training_square(vertices[model.annotations.ibug68])
        wanted = surface.of(points_in_square(vertices, square, SIDE))
        packed, marks = (torch.from_numpy(part)[None] for part in (sample.truth, sample.landmarks))
        points = truth.points_px(model.layout.unpack(packed), marks, SIDE)[0].double()
        torch.testing.assert_close(points[:, :2], wanted[:, :2].to(points), atol=2e-3, rtol=0)
        depth = points[:, 2] - wanted[:, 2]  # theirs is counted from the deepest vertex, ours from the head's origin
        torch.testing.assert_close(depth, depth.mean().expand_as(depth), atol=2e-3, rtol=0)
        assert len(points) == int(space.mask.sum())


def test_a_picture_is_cut_where_its_points_are(official, tmp_path):
    """A bright spot at the nose tip is at the stored nose tip; the published labels lie a pixel right and above."""
    root, basis = official
    model = str(root / "model.npz")
    ids = load_face_model(model).annotations.ibug68
    assert ids is not None
    face = read_300wlp(root / "300W_LP/face_1.mat")
    tip = fitted_points(face, basis, HEIGHT)[ids[30]]
    row, column = np.mgrid[:HEIGHT, :130]
    spot = np.exp(-((row - float(tip[1])) ** 2 + (column - float(tip[0])) ** 2) / 8.0)
    shutil.copy(root / "300W_LP/face_1.mat", tmp_path / "a.mat")
    Image.fromarray((255 * spot[..., None].repeat(3, -1)).astype(np.uint8)).save(tmp_path / "a.png")
    (exact,), (theirs,) = (FittedSampler(tmp_path, model, SIDE, o)("a.png") for o in ("exact", "face3d"))
    weights = exact.window_srgb[..., 0].astype(float)
    rows, columns = np.mgrid[: len(weights), : len(weights)]
    middle = np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum() - exact.margin
    np.testing.assert_allclose(middle, exact.landmarks[30], atol=0.05)
    marks = fitted_points(face, basis, HEIGHT)[ids]
    shifts = [training_square(marks + marks.new_tensor([*move, 0.0])) for move in ((0.0, 0.0), (1.0, -1.0))]
    steps = [square.side / (SIDE - 1) for square in shifts]
    places = [
        [(s.x - s.side / 2), (s.y - s.side / 2)] + step * sample.landmarks[30]
        for s, step, sample in zip(shifts, steps, (exact, theirs), strict=True)
    ]
    np.testing.assert_allclose(places[1] - places[0], [1.0, -1.0], atol=1e-3)


def test_a_folder_of_300w_lp_trains_a_network(official, tmp_path, capsys):
    """From pictures and files to a step; a picture without its file is named, the others are taken."""
    root, _ = official
    data, model = tmp_path / "data", str(root / "model.npz")
    prepare = ["train", "prepare-300wlp", str(root / "300W_LP"), "--out", str(data), "--workers", "1"]
    assert main([*prepare, "--face-model", model, "--crop-size", str(SIDE)]) == 0
    learn = ["train", "prnet", "--preset", "smoke", "--data", str(data), "--face-model", model, "--device", "cpu"]
    assert (
        main([*learn, "--steps", "2", "--batch-size", "4", "--sheet-every", "0", "--out", str(tmp_path / "run")]) == 0
    )
    assert describe_weights(tmp_path / "run/weights.safetensors")["template"] == "prnet-square"
    broken = tmp_path / "broken"
    shutil.copytree(root / "300W_LP", broken)
    (broken / "face_2.mat").unlink()
    assert main([*prepare[:2], str(broken), *prepare[3:4], str(tmp_path / "rest"), "--face-model", model]) == 1
    assert "face_2.png" in capsys.readouterr().err
    assert len(load_data(tmp_path / "rest")) == 3
    with pytest.raises(TrainingDataError, match="import bfm-face3d"):
        fitted_card(FittedSampler(broken, "open"))
