"""BU-3DFE and FaceWarehouse folders in the official layouts, written from the open head."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from facewright.errors import BenchmarkError
from facewright.evaluate.benchmarks.bu3dfe import evaluate_bu3dfe, seven_of_83
from facewright.evaluate.benchmarks.facewarehouse import evaluate_facewarehouse
from facewright.evaluate.predictions import FileMeshes, MeanHead, MethodMeshes
from facewright.evaluate.results import Result
from facewright.evaluate.scan_files import read_surface
from facewright.geometry.frames import crop_camera
from facewright.geometry.ibug68 import SEVEN_OF_68
from facewright.morphable.linear import FaceModel
from tests.evaluate.benchmarks.people import (
    KnownMethod,
    blank_photo,
    case,
    front_of,
    person,
    value,
    values,
    vertices_of,
    write_obj,
)

SCANS = {"F0001/F0001_NE00WH": 21, "M0001/M0001_HA04AE": 22}


def eighty_three(shape: np.ndarray, model: FaceModel) -> np.ndarray:
    """BU-3DFE's order out of iBUG's: eight points per eye (from another corner), brows, nose, mouth, jaw."""
    marks = model.annotations.ibug68
    assert marks is not None
    p = shape[marks.numpy()]
    eyes = [p[[39, 38, 38, 37, 36, 41, 41, 40]], p[[42, 43, 43, 44, 45, 46, 46, 47]]]
    brows = [np.repeat(p[17:22], 2, 0), np.repeat(p[22:27], 2, 0)]
    nose = p[[27, 28, 29, 31, 32, 33, 34, 35, 35, 29, 28, 30]]
    return np.concatenate([*eyes, *brows, nose, p[48:60], p[60:68], np.linspace(p[0], p[16], 15)])


def write_vrml(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    points = ",\n".join("{:.6f} {:.6f} {:.6f}".format(*row) for row in vertices.tolist())
    index = ",\n".join("{}, {}, {}, -1".format(*row) for row in faces.tolist())
    path.write_text(
        "#VRML V2.0 utf8\nShape { geometry IndexedFaceSet { # a face\n"
        f"coord Coordinate {{ point [\n{points} ] }}\ncoordIndex [\n{index} ] }} }}\n"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, open_head: FaceModel) -> Path:
    root = tmp_path_factory.mktemp("bu3dfe")
    ids, faces = front_of(open_head)
    marks = open_head.annotations.ibug68
    assert marks is not None
    for name, seed in SCANS.items():
        shape = vertices_of(open_head, person(open_head, seed, expressions=True), expression=True)
        base = root / "data" / name
        write_vrml(base.with_name(base.name + "_F3D.wrl"), shape[ids], faces)
        points = eighty_three(shape, open_head)
        np.savetxt(base.with_name(base.name + "_F3D.bnd"), np.column_stack([np.arange(83), points]), fmt="%g")
        blank_photo(base.with_name(base.name + "_F2D.bmp"))
        write_obj(root / "files" / f"{name}.obj", 0.9 * shape, open_head.faces.numpy())
    np.savetxt(root / "files" / "landmark_vertices.txt", marks.numpy(), fmt="%d")
    return root


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "bu3dfe"))


@pytest.fixture(scope="module")
def intact(folder: Path, open_head: FaceModel) -> Result:
    return evaluate_bu3dfe(folder / "data", FileMeshes(folder / "files"), open_head).result


def test_exact_meshes_measure_nothing(intact: Result) -> None:
    assert intact.protocol["name"] == "deng2019-bu3dfe"
    assert value(intact, "error_mm") == pytest.approx(0.0, abs=0.03)
    assert value(intact, "error_mm", baseline=True) > 0.4
    assert [c.strata["expression"] for c in intact.cases] == ["NE", "HA"]
    assert [c.group for c in intact.cases] == ["F0001", "M0001"]


def test_the_eighty_three_points_hold_the_seven(open_head: FaceModel) -> None:
    marks = open_head.annotations.ibug68
    assert marks is not None
    for seed in range(5):
        shape = vertices_of(open_head, person(open_head, seed))
        found = seven_of_83(eighty_three(shape, open_head))
        np.testing.assert_allclose(found.seven_mm, shape[marks.numpy()[SEVEN_OF_68]], atol=2.5)
        np.testing.assert_allclose(found.nose_tip_mm, shape[marks.numpy()[30]])


def test_vrml_is_read_as_it_is(folder: Path, open_head: FaceModel) -> None:
    ids, faces = front_of(open_head)
    found = read_surface(folder / "data/F0001/F0001_NE00WH_F3D.wrl")
    shape = vertices_of(open_head, person(open_head, 21, expressions=True), expression=True)
    np.testing.assert_allclose(found.vertices_mm, shape[ids], atol=1e-5)
    assert np.array_equal(found.faces, faces)


@pytest.mark.parametrize("fault", ["landmarks", "prediction", "swapped", "damaged"])
def test_a_broken_scan_is_named_and_changes_no_other(
    fault: str, copy: Path, intact: Result, open_head: FaceModel
) -> None:
    base = copy / "data/M0001/M0001_HA04AE_F3D"
    match fault:
        case "landmarks":
            base.with_suffix(".bnd").unlink()
        case "prediction":
            (copy / "files/M0001/M0001_HA04AE.obj").rename(copy / "files/M0001/other.obj")
        case "swapped":
            rows = np.loadtxt(base.with_suffix(".bnd"))
            rows[[0, 36]] = rows[[36, 0]]
            rows[[4, 48]] = rows[[48, 4]]
            np.savetxt(base.with_suffix(".bnd"), rows, fmt="%g")
        case _:
            base.with_suffix(".wrl").write_text("#VRML V2.0 utf8\n")
    broken = evaluate_bu3dfe(copy / "data", FileMeshes(copy / "files"), open_head).result
    assert case(broken, "M0001/M0001_HA04AE").problem
    assert values(broken) == {"F0001/F0001_NE00WH": values(intact)["F0001/F0001_NE00WH"]}
    assert ("other" in " ".join(broken.problems)) == (fault == "prediction")


def test_no_scans_say_what_to_obtain(tmp_path: Path, open_head: FaceModel) -> None:
    with pytest.raises(BenchmarkError, match=r"F3D.*Binghamton"):
        evaluate_bu3dfe(tmp_path, MeanHead(open_head), open_head)


# ------------------------------------------------------------------------------------------------- FaceWarehouse


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, open_head: FaceModel) -> Path:
    root = tmp_path_factory.mktemp("facewarehouse")
    for tester in (1, 2):
        for pose in (0, 10):
            shape = vertices_of(open_head, person(open_head, 100 * tester + pose))
            write_obj(root / f"correspondence/Tester_{tester}/pose_{pose}.obj", shape, open_head.faces.numpy())
            blank_photo(root / f"Tester_{tester}/TrainingPose/pose_{pose}.png")
    face = (open_head.annotations.regions["face"] > 0.5).nonzero()[:, 0]
    np.savetxt(root / "correspondence/region_small.txt", face.numpy(), fmt="%d")
    return root


def exact(model: FaceModel) -> KnownMethod:
    return KnownMethod(
        model,
        {
            f"Tester_{tester}/TrainingPose/pose_{pose}.png": (person(model, 100 * tester + pose), crop_camera())
            for tester in (1, 2)
            for pose in (0, 10)
        },
    )


def test_vertices_are_compared_one_by_one(warehouse: Path, open_head: FaceModel) -> None:
    evaluation = evaluate_facewarehouse(warehouse, MethodMeshes(exact(open_head)), open_head)
    result = evaluation.result
    assert result.protocol["name"] == "tewari2018-small"
    assert value(result, "error_mm") == pytest.approx(0.0, abs=1e-3)
    assert value(result, "error_mm", baseline=True) > 1.0
    assert "176 of the 180" in result.missing[0]
    assert evaluation.heat is not None


def test_an_offset_along_one_axis_is_its_own_size(warehouse: Path, tmp_path: Path, open_head: FaceModel) -> None:
    """Half of the region 1 mm forward, half backward: rigid alignment can do nothing about random signs."""
    rng = np.random.default_rng(0)
    for path in (warehouse / "correspondence").glob("Tester_*/*.obj"):
        truth = read_surface(path).vertices_mm
        moved = truth + rng.choice([-1.0, 1.0], (len(truth), 1)) * [0.0, 0.0, 1.0]
        write_obj(tmp_path / path.parent.name / path.name, moved, open_head.faces.numpy())
    marks = open_head.annotations.ibug68
    assert marks is not None
    np.savetxt(tmp_path / "landmark_vertices.txt", marks.numpy(), fmt="%d")
    result = evaluate_facewarehouse(warehouse, FileMeshes(tmp_path), open_head).result
    assert value(result, "error_mm") == pytest.approx(1.0, abs=0.01)


def test_another_topology_is_named(warehouse: Path, tmp_path: Path, open_head: FaceModel) -> None:
    root = Path(shutil.copytree(warehouse, tmp_path / "data"))
    ids, faces = front_of(open_head)
    write_obj(root / "correspondence/Tester_2/pose_10.obj", np.random.default_rng(0).random((len(ids), 3)), faces)
    (root / "Tester_1/TrainingPose/pose_0.png").unlink()
    result = evaluate_facewarehouse(root, MethodMeshes(exact(open_head)), open_head, region="all").result
    assert f"expected {len(ids)} vertices" in case(result, "Tester_2/pose_10").problem
    assert "pose_0.png" in case(result, "Tester_1/pose_0").problem
    assert value(result, "error_mm") == pytest.approx(0.0, abs=1e-3)
    assert len(values(result)) == 2


def test_missing_truth_and_regions_say_what_to_obtain(warehouse: Path, tmp_path: Path, open_head: FaceModel) -> None:
    with pytest.raises(BenchmarkError, match=r"correspondence.*zjugaps"):
        evaluate_facewarehouse(tmp_path, MeanHead(open_head), open_head)
    with pytest.raises(BenchmarkError, match=r"region_large\.txt"):
        evaluate_facewarehouse(warehouse, MeanHead(open_head), open_head, region="large")


def test_random_order_of_testers_is_by_number(warehouse: Path, open_head: FaceModel) -> None:
    torch.manual_seed(0)
    result = evaluate_facewarehouse(warehouse, MeanHead(open_head), open_head).result
    assert [c.name for c in result.cases] == [
        "Tester_1/pose_0",
        "Tester_1/pose_10",
        "Tester_2/pose_0",
        "Tester_2/pose_10",
    ]
