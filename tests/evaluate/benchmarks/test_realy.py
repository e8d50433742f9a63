"""REALY folders in the official layout, written from the open head."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from facewright.errors import BenchmarkError
from facewright.evaluate.benchmarks.realy import REGIONS, KeypointTemplate, evaluate_realy, read_template
from facewright.evaluate.predictions import FileMeshes, MeanHead, MethodMeshes, outer_surface
from facewright.evaluate.results import Result
from facewright.evaluate.surfaces import Surface, closest_points
from facewright.geometry.frames import crop_camera
from facewright.morphable.linear import FaceModel
from tests.evaluate.benchmarks.people import (
    KnownMethod,
    blank_photo,
    case,
    person,
    value,
    values,
    vertices_of,
    write_obj,
)

SUBJECTS = {"1": 11, "2": 12}
SCALES = (9.0, 8.5)
# The 17 points beyond the 68: places on the mean head, mm (beside the nose, on the cheeks, at the jaw ...).
EXTRA = np.random.default_rng(5).uniform([-55, -60, 20], [55, 60, 40], (17, 3))


def template_of(model: FaceModel) -> KeypointTemplate:
    ids, faces = outer_surface(model.topology, 100.0 * model.mean_shape.double().numpy())
    marks = model.annotations.ibug68
    assert marks is not None
    mean = 100.0 * model.mean_shape.double().numpy()
    found = closest_points(np.concatenate([mean[marks.numpy()], EXTRA]), Surface(mean[ids], faces))
    return KeypointTemplate(ids[faces][found.face_index], found.barycentrics)


def region_faces(model: FaceModel) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Four patches of the head's front, by place: smaller than a scanner's, so that they bend quickly."""
    outside, faces = outer_surface(model.topology, 100.0 * model.mean_shape.double().numpy())
    mean = 100.0 * model.mean_shape.numpy()[outside]
    x, y, z = mean.T
    masks = {
        "nose": (np.abs(x) < 15) & (y > -15) & (y < 20) & (z > 18),
        "mouth": (np.abs(x) < 20) & (y < -28) & (y > -48) & (z > 10),
        "forehead": (np.abs(x) < 25) & (y > 40) & (y < 62) & (z > 0),
        "cheek": (np.abs(x) > 34) & (np.abs(x) < 52) & (y < 0) & (y > -25) & (z > -10),
    }
    patches = {}
    for name, mask in masks.items():
        ids, flat = np.unique(faces[mask[faces].all(1)], return_inverse=True)
        patches[name] = (outside[ids], flat.reshape(-1, 3))
    return patches


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, open_head: FaceModel) -> Path:
    root = tmp_path_factory.mktemp("realy")
    template = template_of(open_head)
    (root / "data").mkdir()
    np.savetxt(root / "data" / "metrical_scale.txt", SCALES)
    one_face = np.array([[0, 1, 2]])
    for (name, seed), scale in zip(SUBJECTS.items(), SCALES, strict=True):
        shape = vertices_of(open_head, person(open_head, seed, expressions=True), expression=True)
        for region, (ids, faces) in region_faces(open_head).items():
            write_obj(root / "data/REALY_scan_region" / name / f"{region}.obj", shape[ids] / scale, faces)
        write_obj(root / "data/REALY_HIFI3D_keypoints" / f"{name}.obj", template.of(shape) / scale, one_face)
        blank_photo(root / "data/images" / f"{name}.png")
        write_obj(root / "files" / f"{name}.obj", 0.01 * shape[:, [2, 0, 1]], open_head.faces.numpy())
    write_template(root / "files" / "template.txt", template, open_head)
    return root


def write_template(path: Path, template: KeypointTemplate, model: FaceModel) -> None:
    rows = {tuple(sorted(row)): k for k, row in enumerate(model.faces.numpy().tolist())}
    lines = []
    for corners, weights in zip(template.corners.tolist(), template.weights, strict=True):
        number = rows[tuple(sorted(corners))]
        order = model.faces[number].tolist()
        first, second = (weights[corners.index(order[k])] for k in (0, 1))
        lines.append(f"{number} {first:.10g} {second:.10g}")
    path.write_text("\n".join(lines))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "realy"))


@pytest.fixture(scope="module")
def intact(folder: Path, open_head: FaceModel) -> Result:
    return evaluate_realy(folder / "data", FileMeshes(folder / "files"), open_head).result


def test_exact_meshes_in_any_unit_and_frame_measure_nothing(intact: Result) -> None:
    assert intact.protocol["name"] == "realy-frontal"
    assert values(intact).keys() == {"1", "2"}
    for region in REGIONS:
        assert value(intact, f"{region}_mm") == pytest.approx(0.0, abs=0.03), region
        assert value(intact, f"{region}_mm", baseline=True) > 0.3
    assert value(intact, "all_mm", baseline=True) == pytest.approx(
        np.mean([value(intact, f"{region}_mm", baseline=True) for region in REGIONS])
    )


def test_methods_are_measured_with_expression(folder: Path, open_head: FaceModel) -> None:
    answers = {"1.png": (person(open_head, 11, expressions=True), crop_camera())}
    evaluation = evaluate_realy(folder / "data", MethodMeshes(KnownMethod(open_head, answers)), open_head)
    assert values(evaluation.result)["1"]["all_mm"] == pytest.approx(0.0, abs=0.05)
    assert "found none" in case(evaluation.result, "2").problem
    assert evaluation.heat is not None


def test_broken_cases_are_named_and_change_no_other(copy: Path, intact: Result, open_head: FaceModel) -> None:
    """A damaged mesh, one of another topology, a subject without prediction, one without a region, a stranger."""
    (copy / "files/2.obj").write_text("v 0 0 0")
    ids, faces = outer_surface(open_head.topology, 100.0 * open_head.mean_shape.double().numpy())
    write_obj(copy / "files/2_1.obj", vertices_of(open_head, person(open_head, 12))[ids], faces)
    for subject in ("3", "4"):
        shutil.copytree(copy / "data/REALY_scan_region/2", copy / "data/REALY_scan_region" / subject)
        shutil.copy(copy / "data/REALY_HIFI3D_keypoints/2.obj", copy / f"data/REALY_HIFI3D_keypoints/{subject}.obj")
    (copy / "data/REALY_scan_region/4/cheek.obj").unlink()
    np.savetxt(copy / "data/metrical_scale.txt", [*SCALES, 9.0, 9.0])
    for name in ("4", "5", "6"):
        shutil.copy(copy / "files/1.obj", copy / "files" / f"{name}.obj")
    broken = evaluate_realy(copy / "data", FileMeshes(copy / "files"), open_head).result
    for name in ("2", "2_1", "3", "4"):
        assert case(broken, name).problem, name
    assert "cheek" in case(broken, "4").problem
    assert values(broken)["1"] == pytest.approx(values(intact)["1"], abs=1e-6)
    assert len(values(broken)) == 1
    assert sum("no subject" in problem for problem in broken.problems) == 2


def test_keypoints_are_checked(copy: Path, open_head: FaceModel) -> None:
    path = copy / "data/REALY_HIFI3D_keypoints/2.obj"
    path.write_text(path.read_text().replace("v ", "# ", 1))
    with pytest.raises(BenchmarkError, match=r"85 finite points in 2\.obj"):
        evaluate_realy(copy / "data", FileMeshes(copy / "files"), open_head)


def test_templates_are_checked(copy: Path, open_head: FaceModel) -> None:
    path = copy / "files" / "template.txt"
    found = read_template(path, open_head.faces.numpy())
    shape = vertices_of(open_head, person(open_head, 11))
    np.testing.assert_allclose(found.of(shape), template_of(open_head).of(shape), atol=1e-6)
    with pytest.raises(BenchmarkError, match="85 rows"):
        read_template(path, open_head.faces.numpy()[:50])
    path.unlink()
    with pytest.raises(BenchmarkError, match=r"template\.txt"):
        evaluate_realy(copy / "data", FileMeshes(copy / "files"), open_head)


def test_an_incomplete_folder_says_what_to_obtain(copy: Path, open_head: FaceModel) -> None:
    shutil.rmtree(copy / "data/images")
    with pytest.raises(BenchmarkError, match=r"images/.*realy3dface"):
        evaluate_realy(copy / "data", MeanHead(open_head), open_head)
    (copy / "data/metrical_scale.txt").unlink()
    with pytest.raises(BenchmarkError, match=r"lacks metrical_scale\.txt"):
        evaluate_realy(copy / "data", MeanHead(open_head), open_head)
