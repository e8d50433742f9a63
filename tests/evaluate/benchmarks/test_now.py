"""NoW folders in the official layout, written from the open head."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from facewright.errors import BenchmarkError
from facewright.evaluate.alignment import Similarity
from facewright.evaluate.benchmarks.now import evaluate_now
from facewright.evaluate.predictions import FileMeshes, MeanHead, MethodMeshes
from facewright.evaluate.results import Result
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
    write_picked_points,
)

SUBJECTS = {"FaMoS_0001_TA": 1, "FaMoS_0002_TA": 2}
PICTURES = ("multiview_neutral/IMG_0001.jpg", "selfie/IMG_0002.jpg")
LAST = f"FaMoS_0002_TA/{PICTURES[1]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, open_head: FaceModel) -> Path:
    """Data in ``data``, exact predictions (another frame, another unit) in ``predictions``."""
    root = tmp_path_factory.mktemp("now")
    release = root / "data" / "final_release_version"
    ids, faces = front_of(open_head)
    marks = open_head.annotations.ibug68
    assert marks is not None
    listed = []
    moved = Similarity(0.01, np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([0.3, -0.1, 0.2]))
    for name, seed in SUBJECTS.items():
        shape = vertices_of(open_head, person(open_head, seed))
        write_obj(release / "scans" / name / "scan.000001.obj", shape[ids], faces)
        write_picked_points(
            release / "scans_lmks_onlypp" / name / "scan_picked_points.pp", shape[marks.numpy()[SEVEN_OF_68]]
        )
        for picture in PICTURES:
            listed.append(f"{name}/{picture}")
            blank_photo(release / "iphone_pictures" / name / picture)
            predicted = moved.apply(shape)
            path = root / "predictions" / name / picture
            write_obj(path.with_suffix(".obj"), predicted, open_head.faces.numpy())
            np.save(path.with_suffix(".npy"), predicted[marks.numpy()[SEVEN_OF_68]])
    (root / "data" / "imagepathsvalidation.txt").write_text("\n".join(listed) + "\n")
    return root


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "now"))


@pytest.fixture(scope="module")
def intact(folder: Path, open_head: FaceModel) -> Result:
    return evaluate_now(folder / "data", FileMeshes(folder / "predictions", "exact"), open_head).result


def test_exact_predictions_in_any_unit_measure_nothing(intact: Result) -> None:
    result = intact
    assert len(result.cases) == 4
    assert not result.problems
    assert result.method == "exact"
    assert value(result, "mean_mm") == pytest.approx(0.0, abs=0.01)
    assert 0.3 < value(result, "median_mm", baseline=True) < 2.7
    assert {c.strata["challenge"] for c in result.cases} == {"multiview_neutral", "selfie"}
    assert result.curves["pooled"].shares[-1] == pytest.approx(1.0, abs=1e-4)


def test_the_mean_head_as_a_method_equals_the_baseline(folder: Path, open_head: FaceModel) -> None:
    result = evaluate_now(folder / "data", MeanHead(open_head), open_head, limit=1).result
    for name, figure in result.baseline.items():
        assert result.figures[name].value == pytest.approx(figure.value, rel=1e-6)


def test_methods_see_the_pictures_and_are_measured_without_expression(folder: Path, open_head: FaceModel) -> None:
    """Of four pictures the method finds a face in two."""
    who = person(open_head, 1, expressions=True)
    answers = {f"FaMoS_0001_TA/{picture}": (who, crop_camera()) for picture in PICTURES}
    evaluation = evaluate_now(folder / "data", MethodMeshes(KnownMethod(open_head, answers)), open_head)
    result = evaluation.result
    assert len(values(result)) == 2
    assert sum("FaMoS_0002" in problem and "found none" in problem for problem in result.problems) == 2
    assert value(evaluation.result, "mean_mm") == pytest.approx(0.0, abs=0.01)
    assert evaluation.heat is not None
    assert np.nanmax(evaluation.heat.mean_mm) < 0.05


def test_metrical_predictions_keep_their_scale(copy: Path, open_head: FaceModel) -> None:
    source = FileMeshes(copy / "predictions", mm_per_unit=100.0)
    larger = FileMeshes(copy / "predictions", mm_per_unit=106.0)
    right = evaluate_now(copy / "data", source, open_head, metrical=True, limit=1).result
    wrong = evaluate_now(copy / "data", larger, open_head, metrical=True, limit=1)
    assert right.protocol["name"] == "now-validation-metrical"
    assert value(right, "mean_mm") == pytest.approx(0.0, abs=0.01)
    assert value(wrong.result, "mean_mm") > 0.5


def test_a_missing_scan_is_named(copy: Path, folder: Path, intact: Result, open_head: FaceModel) -> None:
    source = FileMeshes(folder / "predictions")
    next((copy / "data" / "final_release_version" / "scans" / "FaMoS_0001_TA").iterdir()).unlink()
    broken = evaluate_now(copy / "data", source, open_head).result
    assert "FaMoS_0001_TA has no scan" in case(broken, f"FaMoS_0001_TA/{PICTURES[0]}").problem
    kept = {name: row for name, row in values(intact).items() if "FaMoS_0001" not in name}
    assert values(broken) == kept
    assert len(kept) == 2


def damage(fault: str, mesh: Path, model: FaceModel) -> None:
    points = np.load(mesh.with_suffix(".npy"))
    match fault:
        case "missing":
            mesh.unlink()
        case "vertices":
            ids, faces = front_of(model)
            write_obj(mesh, 0.01 * vertices_of(model, person(model, 2))[ids], faces)
        case "swapped":
            np.save(mesh.with_suffix(".npy"), points[[2, 1, 0, 3, 4, 5, 6]])
        case "mirrored":
            np.save(mesh.with_suffix(".npy"), points[[3, 2, 1, 0, 4, 6, 5]])
        case "nan":
            points[4] = np.nan
            np.save(mesh.with_suffix(".npy"), points)
        case _:
            mesh.write_bytes(mesh.read_bytes()[:3000])


@pytest.mark.parametrize("faults", [("missing", "vertices", "swapped"), ("mirrored", "nan", "truncated")])
def test_broken_predictions_are_named_and_change_no_other(
    faults: tuple[str, ...], copy: Path, intact: Result, open_head: FaceModel
) -> None:
    names = [name for name in values(intact) if name != LAST]
    for name, fault in zip(names, faults, strict=True):
        damage(fault, (copy / "predictions" / name).with_suffix(".obj"), open_head)
    # so that the vertex count of most predictions is known
    for k in range(3):
        shutil.copy((copy / "predictions" / LAST).with_suffix(".obj"), copy / "predictions" / f"spare{k}.obj")
    broken = evaluate_now(copy / "data", FileMeshes(copy / "predictions"), open_head).result
    for name in names:
        assert any(name.removesuffix(".jpg") in problem for problem in broken.problems), name
        assert case(broken, name).problem
    assert values(broken) == {LAST: values(intact)[LAST]}
    assert any("spare1" in problem for problem in broken.problems)


def test_an_incomplete_folder_says_what_to_obtain(copy: Path, tmp_path: Path, open_head: FaceModel) -> None:
    with pytest.raises(BenchmarkError, match=r"iphone_pictures.*imagepathsvalidation\.txt.*now\.is\.tue\.mpg\.de"):
        evaluate_now(tmp_path / "nowhere", MeanHead(open_head), open_head)
    shutil.rmtree(copy / "data" / "final_release_version" / "scans")
    with pytest.raises(BenchmarkError, match="lacks scans/"):
        evaluate_now(copy / "data", MeanHead(open_head), open_head)
    with pytest.raises(BenchmarkError, match="imagepathstest"):
        evaluate_now(copy / "data", MeanHead(open_head), open_head, split="test")
