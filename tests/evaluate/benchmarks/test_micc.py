"""MICC folders in the official layout, written from the open head."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from facewright.errors import BenchmarkError
from facewright.evaluate.album_meshes import AlbumMeshes
from facewright.evaluate.benchmarks.florence_prnet import evaluate_florence_prnet
from facewright.evaluate.benchmarks.micc import RULES, evaluate_micc
from facewright.evaluate.benchmarks.photos import frames_of
from facewright.evaluate.methods import FlowMethod
from facewright.evaluate.predictions import FileMeshes, MeanHead, MethodMeshes, outer_surface
from facewright.evaluate.results import Result
from facewright.evaluate.scan_protocol import SCAN_PROTOCOLS
from facewright.geometry.frames import crop_camera
from facewright.morphable.linear import FaceModel
from facewright.pipeline.album import Weighing
from facewright.records import FaceCoefficients, Photo
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
from tests.pipeline.albums import known_flow

SUBJECTS = {"subject_01": 1, "subject_02": 2}
VIDEOS = ("Indoor-Cooperative", "PTZ-Indoor")


def write_subject(folder: Path, model: FaceModel, seed: int) -> None:
    """One scan with 68 points and two videos of two frames."""
    ids, faces = front_of(model)
    shape = vertices_of(model, person(model, seed))
    marks = model.annotations.ibug68
    assert marks is not None
    scan = folder / "Model" / "frontal1" / "obj" / "110920150452.obj"
    write_obj(scan, shape[ids], faces)
    np.savetxt(scan.with_suffix(".txt"), shape[marks.numpy()])
    for video in VIDEOS:
        for k in range(2):
            blank_photo(folder / "Video" / video / f"frame_{k}.jpg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, open_head: FaceModel) -> Path:
    root = tmp_path_factory.mktemp("micc")
    for name, seed in SUBJECTS.items():
        write_subject(root / "data" / name, open_head, seed)
        shape = vertices_of(open_head, person(open_head, seed))
        for video in VIDEOS:
            path = root / "files" / name / f"{video}.obj"
            write_obj(path, shape * 1.08, open_head.faces.numpy())
    marks = open_head.annotations.ibug68
    assert marks is not None
    np.savetxt(root / "files" / "landmark_vertices.txt", marks.numpy(), fmt="%d")
    return root


def outer(folder: Path, model: FaceModel) -> FileMeshes:
    """The predictions without what no scanner sees, in a folder of their own."""
    ids, faces = outer_surface(model.topology, 100.0 * model.mean_shape.double().numpy())
    marks = model.annotations.ibug68
    assert marks is not None
    target = folder / "outer"
    for name, seed in SUBJECTS.items():
        shape = 1.08 * vertices_of(model, person(model, seed))
        for video in VIDEOS:
            write_obj(target / name / f"{video}.obj", shape[ids], faces)
            np.savetxt(target / name / f"{video}.txt", shape[marks.numpy()])
    return FileMeshes(target)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "micc"))


@pytest.fixture(scope="module")
def intact(folder: Path, open_head: FaceModel) -> Result:
    return evaluate_micc(folder / "data", FileMeshes(folder / "files"), open_head, preset="deng2019").result


def test_own_scale_forgives_a_larger_head(intact: Result) -> None:
    assert intact.protocol["name"] == "deng2019"
    assert intact.protocol["crop_radius_mm"] == 95.0
    assert value(intact, "error_mm") == pytest.approx(0.0, abs=0.02)
    assert intact.figures["indoor_cooperative_mm"].n == 2
    assert value(intact, "error_mm", baseline=True) > 0.5
    assert len(values(intact)) == 4
    assert all("PTZ-Outdoor" in note for note in intact.missing)


def test_no_scale_does_not(copy: Path, open_head: FaceModel) -> None:
    for path in ("data/subject_02", "data/subject_01/Video/PTZ-Indoor"):
        shutil.rmtree(copy / path)
    (copy / "files/subject_01/PTZ-Indoor.obj").unlink()
    result = evaluate_micc(copy / "data", FileMeshes(copy / "files"), open_head, preset="tran2017").result
    assert result.protocol["scale"] == "none"
    assert value(result, "error_mm") > 1.2


def test_a_global_scale_is_found_over_all_meshes(folder: Path, open_head: FaceModel) -> None:
    result = evaluate_micc(folder / "data", outer(folder, open_head), open_head, preset="genova2018").result
    assert value(result, "error_mm") == pytest.approx(0.0, abs=0.05)


def test_every_preset_is_a_protocol() -> None:
    assert RULES.keys() == SCAN_PROTOCOLS.keys()


def test_frames_are_averaged_before_they_are_measured(folder: Path, open_head: FaceModel) -> None:
    """Two frames with opposite errors: their mean shape is right."""
    answers = {}
    for name, seed in SUBJECTS.items():
        truth = person(open_head, seed)
        for k, sign in enumerate((1.0, -1.0)):
            wrong = FaceCoefficients(truth.id + 0.7 * sign, *_rest(truth))
            answers[f"{name}/Video/Indoor-Cooperative/frame_{k}.jpg"] = (wrong, crop_camera())
    source = MethodMeshes(KnownMethod(open_head, answers))
    averaged = evaluate_micc(folder / "data", source, open_head, preset="deng2019").result
    each = evaluate_micc(folder / "data", source, open_head, preset="tran2017").result
    name = "subject_01/Indoor-Cooperative"
    assert values(averaged)[name]["error_mm"] < 0.03
    assert values(each)[name]["error_mm"] > 0.3
    assert "found none" in case(averaged, "subject_01/PTZ-Indoor").problem


def test_frames_become_one_face_by_the_album_flow(folder: Path, open_head: FaceModel) -> None:
    """As above, and the more confident frame is believed more; a video without a face is named."""
    known = {}
    for name, seed in SUBJECTS.items():
        truth = person(open_head, seed)
        for k, sign in enumerate((1.0, -1.0)):
            wrong = FaceCoefficients(truth.id + 0.7 * sign, *_rest(truth))
            known[f"{name}/Video/Indoor-Cooperative/frame_{k}.jpg"] = [wrong]
    flow = known_flow(open_head, known)
    source = AlbumMeshes(FlowMethod("known", flow), Weighing())
    result = evaluate_micc(folder / "data", source, open_head, preset="deng2019").result
    name = "subject_01/Indoor-Cooperative"
    assert values(result)[name]["error_mm"] < 0.15
    assert "found none" in case(result, "subject_01/PTZ-Indoor").problem
    assert result.method == "known, album by alike"
    photos = [(lambda: blank_at(name), None)]
    with pytest.raises(BenchmarkError, match="neutral faces for --album"):
        source.mesh(name, photos, expression=True)


def blank_at(path: str) -> Photo:
    return Photo(torch.full((3, 64, 64), 128, dtype=torch.uint8), path=path)


def _rest(who: FaceCoefficients) -> tuple[torch.Tensor, ...]:
    return who.exp, who.tex, who.angles, who.sh, who.translation


def test_the_better_scan_counts_for_ganfit(copy: Path, open_head: FaceModel) -> None:
    ids, faces = front_of(open_head)
    marks = open_head.annotations.ibug68
    assert marks is not None
    first = copy / "data/subject_01/Model/frontal1/obj/110920150452.obj"
    second = copy / "data/subject_01/Model/frontal2/obj/110920150500.obj"
    shutil.copytree(first.parent, second.parent)
    (second.parent / first.name).rename(second)
    (second.parent / first.with_suffix(".txt").name).rename(second.with_suffix(".txt"))
    other = vertices_of(open_head, person(open_head, 9))
    write_obj(first, other[ids], faces)
    np.savetxt(first.with_suffix(".txt"), other[marks.numpy()])
    shutil.rmtree(copy / "data/subject_02")
    result = evaluate_micc(copy / "data", outer(copy, open_head), open_head, preset="ganfit2019").result
    assert value(result, "error_mm") < 0.1


@pytest.mark.parametrize("fault", ["scan", "landmarks", "swapped", "count"])
def test_a_broken_subject_is_named_and_changes_no_other(
    fault: str, copy: Path, intact: Result, open_head: FaceModel
) -> None:
    scan = next((copy / "data/subject_01/Model/frontal1/obj").glob("*.obj"))
    marks = np.loadtxt(scan.with_suffix(".txt"))
    match fault:
        case "scan":
            scan.unlink()
        case "landmarks":
            scan.with_suffix(".txt").unlink()
        case "swapped":
            marks[[36, 45]] = marks[[45, 36]]
            np.savetxt(scan.with_suffix(".txt"), marks)
        case _:
            np.savetxt(scan.with_suffix(".txt"), marks[:60])
    broken = evaluate_micc(copy / "data", FileMeshes(copy / "files"), open_head, preset="deng2019").result
    assert any(problem.startswith("subject_01") for problem in broken.problems), broken.problems
    assert values(broken) == {name: row for name, row in values(intact).items() if "subject_02" in name}


def test_extra_and_missing_predictions_are_named(copy: Path, intact: Result, open_head: FaceModel) -> None:
    (copy / "files/subject_02/PTZ-Indoor.obj").rename(copy / "files/subject_02/PTZ-Moon.obj")
    broken = evaluate_micc(copy / "data", FileMeshes(copy / "files"), open_head, preset="deng2019").result
    assert any("PTZ-Moon" in problem for problem in broken.problems)
    assert "PTZ-Indoor.obj" in case(broken, "subject_02/PTZ-Indoor").problem
    assert values(broken) == {k: v for k, v in values(intact).items() if k != "subject_02/PTZ-Indoor"}


def test_nothing_to_measure_says_what_to_obtain(tmp_path: Path, open_head: FaceModel) -> None:
    with pytest.raises(BenchmarkError, match=r"subject_NN.*micc"):
        evaluate_micc(tmp_path, MeanHead(open_head), open_head)


def test_frames_of_video_files(tmp_path: Path) -> None:
    path = tmp_path / "PTZ-Indoor.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5.0, (64, 48))  # pyright: ignore[reportAttributeAccessIssue]
    for k in range(7):
        writer.write(np.full((48, 64, 3), (10, 20, 30 * k), np.uint8))
    writer.release()
    frames = frames_of(path, 3)
    assert len(frames) == 3
    reds = [float(load().srgb[0].mean()) * 255 for load, _ in frames]
    np.testing.assert_allclose(reds, [0, 90, 180], atol=6)
    assert len(frames_of(path, 0)) == 7
    (tmp_path / "broken.avi").write_bytes(b"no video")
    with pytest.raises(BenchmarkError, match="no frame"):
        frames_of(tmp_path / "broken.avi", 2)


def textured_scan(folder: Path, model: FaceModel, seed: int) -> None:
    from PIL import Image

    shape = vertices_of(model, person(model, seed))
    marks = model.annotations.ibug68
    assert marks is not None
    path = folder / "Model" / "frontal1" / "obj" / "scan.obj"
    uv = np.random.default_rng(0).uniform(0.2, 0.8, (len(shape), 2))
    write_obj(path, shape, model.faces.numpy(), uv=uv, material="scan.mtl")
    path.with_suffix(".mtl").write_text("newmtl skin\nmap_Kd scan.png\n")
    Image.new("RGB", (16, 16), (190, 150, 130)).save(path.with_suffix(".png"))
    np.savetxt(path.with_suffix(".txt"), shape[marks.numpy()])


def test_florence_renders_scans_and_measures_posed_faces(tmp_path: Path, open_head: FaceModel) -> None:
    """The method knows the face and its pose exactly: what is left is that it sits where the scan does."""
    from facewright.evaluate.benchmarks.florence_prnet import _read, _rendered  # the pictures and their truth
    from facewright.evaluate.evaluation import CaseRecorder
    from facewright.evaluate.predictions import mean_mesh

    textured_scan(tmp_path / "subject_01", open_head, 3)
    who = person(open_head, 3)
    read = _read(tmp_path / "subject_01", CaseRecorder("", "", {"name": ""}, ()), mean_mesh(open_head).seven_mm)
    photo, truth, marks = _rendered(read, 0.0, 40.0)
    assert photo.srgb.shape == (3, 450, 450)
    face = photo.srgb[:, 215:235, 215:235].mean((1, 2))
    torch.testing.assert_close(face, torch.tensor([190, 150, 130]) / 255.0, atol=0.05, rtol=0)
    assert marks[30, 0] > marks[27, 0]  # turned to image right
    middle = (vertices_of(open_head, who) / 100.0 - read.mesh.vertices[0].numpy())[0]
    angles = torch.deg2rad(torch.tensor([[0.0, 40.0, 0.0]]))
    from facewright.geometry.rotations import rotation_from_angles

    translation = -torch.from_numpy(middle).float() @ rotation_from_angles(angles)[0].T
    posed = FaceCoefficients(who.id, who.exp, who.tex, angles, who.sh, translation[None])
    from facewright.records import Camera

    half = torch.tensor([224.5])
    camera = Camera(torch.tensor([1800.0]), half, half, 450, 450, 12.0)
    method = KnownMethod(open_head, {"": (posed, camera)})
    baseline = KnownMethod(open_head, {"": (FaceCoefficients(0 * who.id, *_rest(posed)), camera)}, "mean")
    evaluation = evaluate_florence_prnet(tmp_path, method, baseline, pitches_deg=(0.0,), yaws_deg=(40.0,))
    result = evaluation.result
    assert value(result, "nme_aligned") == pytest.approx(0.0, abs=0.6)  # nearest vertices of the same mesh
    assert value(result, "nme_aligned", baseline=True) > 2 * value(result, "nme_aligned")
    assert value(result, "nme_pairs_only") < 3.0
    assert truth.vertices_mm.shape[0] > 1000


def test_florence_needs_texture(tmp_path: Path, open_head: FaceModel) -> None:
    textured_scan(tmp_path / "subject_01", open_head, 3)
    (tmp_path / "subject_01/Model/frontal1/obj/scan.png").unlink()
    method = KnownMethod(open_head, {})
    result = evaluate_florence_prnet(tmp_path, method, method, yaws_deg=(0.0,)).result
    assert "no texture" in case(result, "subject_01").problem
    with pytest.raises(BenchmarkError, match="subject_NN"):
        evaluate_florence_prnet(tmp_path / "nowhere", method, method)
