"""AFLW2000-3D pairs, written from the open head."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from scipy.spatial.transform import Rotation

from facewright.errors import BenchmarkError
from facewright.evaluate.benchmarks.aflw2000 import (
    FileLandmarks,
    MethodLandmarks,
    evaluate_aflw2000,
    read_labels,
)
from facewright.evaluate.landmarks import aflw21_from_ibug68
from facewright.evaluate.methods import MeasuredFace
from facewright.evaluate.results import Result
from facewright.geometry.frames import crop_camera
from facewright.morphable.linear import FaceModel
from facewright.records import FaceCoefficients
from tests.evaluate.benchmarks.people import (
    KnownMethod,
    assert_others_unchanged,
    blank_photo,
    case,
    person,
    value,
    values,
)

YAWS = {"image00002": 5.0, "image00006": -20.0, "image00013": 45.0, "image00043": -75.0}


def turned(model: FaceModel, name: str) -> FaceCoefficients:
    who = person(model, int(name[-3:]))
    angles = torch.deg2rad(torch.tensor([[8.0, YAWS[name], -4.0]]))
    return FaceCoefficients(who.id, who.exp, who.tex, angles, who.sh, who.translation)


def estimate(model: FaceModel, name: str) -> MeasuredFace:
    return MeasuredFace.of_coefficients(model, turned(model, name), crop_camera(size=450))


def official_pose(who: FaceCoefficients) -> np.ndarray:
    """R = Rx Ry Rz of transposed factors, solved here from the matrix, element by element."""
    r = Rotation.from_euler("xyz", who.angles[0].numpy()).as_matrix()
    return np.array([np.arctan2(r[1, 2], r[2, 2]), np.arcsin(-r[0, 2]), np.arctan2(r[0, 1], r[0, 0])])


def write_pair(folder: Path, model: FaceModel, name: str) -> None:
    """As the data set has it: pixels from 1, z toward the camera, hidden points -1."""
    found = estimate(model, name)
    points = found.landmarks_px
    given = points * [1.0, 1.0, -1.0] + [1.0, 1.0, 0.0]
    visible = aflw21_from_ibug68(points[None, :, :2])[0] + 1.0
    visible[:4] = -1.0
    pose = np.concatenate([official_pose(found.coefficients), [10.0, 20.0, 0.0, 1e-3]])
    blank_photo(folder / f"{name}.jpg")
    scipy.io.savemat(folder / f"{name}.mat", {"pt3d_68": given.T, "pt2d": visible.T, "Pose_Para": pose[None]})


def known(model: FaceModel) -> KnownMethod:
    answers = {f"{name}.jpg": (turned(model, name), crop_camera(size=450)) for name in YAWS}
    return KnownMethod(model, answers)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, open_head: FaceModel) -> Path:
    root = tmp_path_factory.mktemp("aflw")
    for name in YAWS:
        write_pair(root, open_head, name)
    return root


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "data"))


@pytest.fixture(scope="module")
def intact(folder: Path, open_head: FaceModel) -> Result:
    return evaluate_aflw2000(folder, MethodLandmarks(known(open_head))).result


def write_predictions(folder: Path, model: FaceModel, shift_px: float) -> None:
    folder.mkdir()
    for name in YAWS:
        np.savetxt(folder / f"{name}.txt", estimate(model, name).landmarks_px[:, :2] + [shift_px, 0.0])


def test_the_truth_measures_nothing(intact: Result) -> None:
    for name in ("nme_68", "nme_51", "nme_68_3d", "nme_21", "pitch_deg", "yaw_deg", "roll_deg", "rotation_deg"):
        assert intact.figures[name].value == pytest.approx(0.0, abs=0.02), name
    assert len(values(intact)) == 4
    assert not intact.problems
    assert [c.strata["yaw"] for c in intact.cases] == ["[0,30]", "[0,30]", "(30,60]", "(60,90]"]
    assert "1996 of the 2,000" in intact.missing[0]


def test_a_shift_measures_its_share_of_the_box(folder: Path, tmp_path: Path, open_head: FaceModel) -> None:
    write_predictions(tmp_path / "files", open_head, 3.0)
    result = evaluate_aflw2000(folder, FileLandmarks(tmp_path / "files", "shifted")).result
    errors = {}
    for name in YAWS:
        width, height = np.ptp(estimate(open_head, name).landmarks_px[:, :2], axis=0)
        errors[name] = 300.0 / np.sqrt(width * height)
        assert values(result)[name]["nme_68"] == pytest.approx(errors[name], rel=1e-4)
    bins = [(errors["image00002"] + errors["image00006"]) / 2, errors["image00013"], errors["image00043"]]
    assert value(result, "nme_68_balanced") == pytest.approx(np.mean(bins), rel=1e-4)
    assert value(result, "nme_68_yaw_[0,30]") == pytest.approx(bins[0], rel=1e-4)
    assert "rotation_deg" not in result.figures


def test_faces_that_are_not_found_count_in_one_reading_only(folder: Path, open_head: FaceModel) -> None:
    method = known(open_head)
    half = KnownMethod(open_head, {name: method.answers[name] for name in ("image00002.jpg", "image00013.jpg")})
    result = evaluate_aflw2000(folder, MethodLandmarks(half)).result
    assert result.figures["nme_68"].n == 2
    assert value(result, "nme_68") == pytest.approx(0.0, abs=0.02)
    assert value(result, "failures_10") == 50.0
    assert value(result, "auc_7") == pytest.approx(50.0, abs=0.5)
    assert value(result, "faces_not_found") == 50.0
    assert "NoFaceFoundError" in case(result, "image00043").problem
    both = evaluate_aflw2000(folder, MethodLandmarks(half), MethodLandmarks(half)).result
    assert value(both, "failures_10", baseline=True) == 50.0


def test_dense_points_where_they_are_given(copy: Path, open_head: FaceModel) -> None:
    name = "image00013"
    points = estimate(open_head, name).points_px
    np.save(copy / f"{name}_dense.npy", points + np.array([0.0, 4.0, 0.0]))
    result = evaluate_aflw2000(copy, MethodLandmarks(known(open_head))).result
    box = np.ptp(estimate(open_head, name).landmarks_px[:, :2], axis=0)
    assert values(result)[name]["nme_dense"] == pytest.approx(400.0 / np.sqrt(box.prod()), rel=1e-4)
    assert result.figures["nme_dense"].n == 1


def test_another_list_of_yaws_bins_otherwise(folder: Path, tmp_path: Path, open_head: FaceModel) -> None:
    np.save(tmp_path / "yaws.npy", np.array([70.0, 10.0, 10.0, 10.0]))
    source = MethodLandmarks(known(open_head))
    result = evaluate_aflw2000(folder, source, yaw_list=tmp_path / "yaws.npy").result
    assert case(result, "image00002").strata["yaw"] == "(60,90]"
    assert result.protocol["yaw_bins"] == "yaws.npy"
    np.save(tmp_path / "short.npy", np.zeros(3))
    with pytest.raises(BenchmarkError, match="expected 4 yaws"):
        evaluate_aflw2000(folder, source, yaw_list=tmp_path / "short.npy")


@pytest.mark.parametrize("fault", ["damaged", "no points", "nan", "no picture"])
def test_broken_labels_are_named_and_change_no_other(
    fault: str, copy: Path, intact: Result, open_head: FaceModel
) -> None:
    name = "image00006"
    path = copy / f"{name}.mat"
    content = {key: value for key, value in scipy.io.loadmat(path).items() if not key.startswith("__")}
    match fault:
        case "damaged":
            path.write_bytes(path.read_bytes()[:100])
        case "no points":
            scipy.io.savemat(path, {"Pose_Para": content["Pose_Para"]})
        case "nan":
            content["pt3d_68"][0, 3] = np.nan
            scipy.io.savemat(path, content)
        case _:
            (copy / f"{name}.jpg").unlink()
    broken = evaluate_aflw2000(copy, MethodLandmarks(known(open_head))).result
    assert_others_unchanged(intact, broken, name)


@pytest.mark.parametrize("fault", ["missing", "count", "text"])
def test_broken_predictions_are_named_and_change_no_other(
    fault: str, folder: Path, tmp_path: Path, open_head: FaceModel
) -> None:
    write_predictions(tmp_path / "files", open_head, 1.0)
    before = evaluate_aflw2000(folder, FileLandmarks(tmp_path / "files")).result
    path = tmp_path / "files" / "image00002.txt"
    match fault:
        case "missing":
            path.unlink()
        case "count":
            np.savetxt(path, np.zeros((67, 2)))
        case _:
            path.write_text("no numbers")
    (tmp_path / "files" / "image09999.txt").write_text("0 0")
    broken = evaluate_aflw2000(folder, FileLandmarks(tmp_path / "files")).result
    assert_others_unchanged(before, broken, "image00002")
    assert any("image09999" in problem for problem in broken.problems)


def test_mirrored_labels_are_named_and_counted(copy: Path, open_head: FaceModel) -> None:
    from facewright.geometry.ibug68 import MIRROR_68

    path = copy / "image00002.mat"
    content = {key: value for key, value in scipy.io.loadmat(path).items() if not key.startswith("__")}
    content["pt3d_68"] = content["pt3d_68"][:, MIRROR_68]
    scipy.io.savemat(path, content)
    result = evaluate_aflw2000(copy, MethodLandmarks(known(open_head))).result
    assert any("image00002" in problem and "exchanged" in problem for problem in result.problems)
    assert values(result)["image00002"]["nme_68"] > 10.0


def test_labels_are_moved_to_pixels_from_zero(folder: Path, open_head: FaceModel) -> None:
    labels = read_labels(folder / "image00013.mat")
    np.testing.assert_allclose(labels.points, estimate(open_head, "image00013").landmarks_px, atol=1e-9)
    assert labels.visible_21 is not None
    assert np.isnan(labels.visible_21[:4]).all()
    assert np.isfinite(labels.visible_21[4:]).all()


def test_an_empty_folder_says_what_to_obtain(tmp_path: Path, open_head: FaceModel) -> None:
    with pytest.raises(BenchmarkError, match=r"imageNNNNN\.jpg.*AFLW2000-3D\.zip"):
        evaluate_aflw2000(tmp_path, MethodLandmarks(known(open_head)))
