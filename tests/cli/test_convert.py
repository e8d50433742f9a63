"""``facewright convert``: results for EG3D, talking heads, NoW and REALY."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from facewright.export import eg3d
from facewright.export.eg3d import eg3d_camera
from facewright.files import write_arrays
from facewright.geometry.rotations import rotation_from_angles
from facewright.morphable.container import save_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.readers.bfm2009 import import_bfm2009
from facewright.records import FaceCoefficients
from facewright.render.lighting import sh_shading
from tests.cli.conftest import Run
from tests.morphable.readers.synthetic_bfm import small_bfm, write_bfm2009

TRANS_PARAMS = np.array([[640.0, 480.0, 0.5, 300.0, 200.0]])


@pytest.fixture(scope="module")
def bfm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FaceModel]:
    folder = tmp_path_factory.mktemp("bfm")
    model, _ = import_bfm2009(**write_bfm2009(folder, small_bfm(np.random.default_rng(0))))
    save_face_model(model, folder / "bfm.npz")
    return folder / "bfm.npz", model


def write_results(folder: Path, model: FaceModel, count: int) -> tuple[list[Path], FaceCoefficients]:
    """Frames in the three kinds of files that we write, one after the other."""
    vectors = 0.3 * torch.randn(count, model.layout.size)
    faces = model.layout.unpack(vectors)
    paths = [folder / f"frame_{k:03d}.{('npz', 'mat', 'json')[k % 3]}" for k in range(count)]
    for k, path in enumerate(paths):
        c, place = faces.one(k), TRANS_PARAMS + k
        if path.suffix == ".npz":
            write_arrays(path, {name: value.numpy() for name, value in vars(c).items()} | {"trans_params": place[0]})
        elif path.suffix == ".mat":
            scipy.io.savemat(path, {"coeff": vectors[k : k + 1].numpy(), "trans_params": place})
        else:
            path.write_text(json.dumps({"faces": [_document(c) | {"trans_params": place[0].tolist()}]}))
    return paths, faces


def _document(c: FaceCoefficients) -> dict[str, object]:
    pitch, yaw, roll = torch.rad2deg(c.angles[0]).tolist()
    pose = {"pitch_deg": pitch, "yaw_deg": yaw, "roll_deg": roll, "translation_dm": c.translation[0].tolist()}
    return {"coefficients": {name: getattr(c, name)[0].tolist() for name in ("id", "exp", "tex", "sh")}, "pose": pose}


def test_talking_heads_get_a_row_a_frame(run: Run, bfm: tuple[Path, FaceModel], tmp_path: Path) -> None:
    file, model = bfm
    paths, faces = write_results(tmp_path, model, 4)
    out = tmp_path / "clip.mat"
    done = run("convert", *paths, "--to", "talking-head", "--face-model", file, "--out", out)
    assert (done.code, done.lines) == (0, [str(out)])
    read = scipy.io.loadmat(out)
    np.testing.assert_allclose(read["full_3dmm"], model.layout.pack(faces).numpy(), atol=1e-5)
    crops = TRANS_PARAMS[:, 2:] + np.arange(4)[:, None]
    expected = np.concatenate([faces.exp, faces.angles, faces.translation, crops], 1)
    np.testing.assert_allclose(read["coeff_3dmm"], expected, atol=1e-5)


def test_a_folder_stands_for_its_results(run: Run, bfm: tuple[Path, FaceModel], tmp_path: Path) -> None:
    file, model = bfm
    paths, faces = write_results(tmp_path, model, 6)
    (tmp_path / "report.json").write_text("{}")
    out = tmp_path / "clip.mat"
    assert run("convert", tmp_path, "--to", "talking-head", "--face-model", file, "--out", out).code == 0
    expected = model.layout.pack(faces)[[k for k, path in enumerate(paths) if path.suffix == ".json"]]
    np.testing.assert_allclose(scipy.io.loadmat(out)["full_3dmm"], expected.numpy(), atol=1e-5)
    (tmp_path / "empty").mkdir()
    failed = run("convert", tmp_path / "empty", "--to", "talking-head", "--face-model", file, "--out", out)
    assert failed.code == 2
    assert "empty" in failed.err


def test_frames_are_taken_in_natural_order(run: Run, bfm: tuple[Path, FaceModel], tmp_path: Path) -> None:
    file, model = bfm
    frames = tmp_path / "frames"
    frames.mkdir()
    vectors = 0.3 * torch.randn(12, model.layout.size)
    for k, vector in enumerate(vectors):  # 0.mat .. 11.mat, as the official TensorFlow program writes them
        scipy.io.savemat(frames / f"{k}.mat", {"coeff": vector[None].numpy(), "trans_params": TRANS_PARAMS})
    out = frames / "clip.mat"  # not taken for a frame by a second run
    for _ in range(2):
        assert run("convert", frames, "--to", "talking-head", "--face-model", file, "--out", out).code == 0
        np.testing.assert_allclose(scipy.io.loadmat(out)["full_3dmm"], vectors.numpy(), atol=1e-6)


def test_crops_of_one_model_share_coefficients(run: Run, bfm: tuple[Path, FaceModel], tmp_path: Path) -> None:
    file, model = bfm
    assert model.name == "bfm2009-front"
    result = tmp_path / "me.json"
    document = _document(model.layout.unpack(0.3 * torch.randn(1, model.layout.size)))
    arguments = ("convert", result, "--to", "now", "--face-model", file, "--out", tmp_path / "now")
    for made_for, code in (("bfm2009-nomouth", 0), ("bfm2009", 0), ("bfm20091", 2), ("flame2020", 2)):
        result.write_text(json.dumps({"faces": [document | {"face_model": made_for}]}))
        assert run(*arguments).code == code, made_for


def test_official_files_without_a_crop_are_refused_by_name(
    run: Run, bfm: tuple[Path, FaceModel], tmp_path: Path
) -> None:
    scipy.io.savemat(tmp_path / "theirs.mat", {"coeff": np.zeros((1, 257))})
    arguments = ("--to", "talking-head", "--face-model", bfm[0], "--out", tmp_path / "clip.mat")
    failed = run("convert", tmp_path / "theirs.mat", *arguments)
    assert failed.code == 2
    assert "theirs.mat" in failed.err
    assert "trans_params" in failed.err


def test_eg3d_gets_its_labels(run: Run, bfm: tuple[Path, FaceModel], tmp_path: Path) -> None:
    file, model = bfm
    paths, faces = write_results(tmp_path, model, 3)
    out = tmp_path / "dataset.json"
    assert run("convert", *paths, "--to", "eg3d", "--face-model", file, "--out", out).code == 0
    content = json.loads(out.read_text())
    for k, (name, label) in enumerate(content["labels"]):
        assert name == f"{paths[k].stem}.png"
        np.testing.assert_allclose(label, eg3d_camera(faces.one(k))["label"], atol=1e-5)
    assert set(content["cameras"]["frame_000.png"]) == {"pose", "intrinsics", "label", "label_mirrored"}


def test_eg3d_crops_show_what_their_labels_say(run: Run, bfm: tuple[Path, FaceModel], tmp_path: Path) -> None:
    """A camera in the middle of a photo of dots: the crop has each where the label's pinhole camera sees it."""
    file, model = bfm
    photos, out = tmp_path / "photos", tmp_path / "eg3d" / "dataset.json"
    photos.mkdir()
    focal, cx, cy = (
        2 * eg3d.CROP_PX * eg3d.FOCAL,
        700.0,
        500.0,
    )  # twice the crop's size; part of it outside of the photo
    dots = np.array([[700, 500], [400, 20], [900, 700]])
    picture = np.zeros((760, 1000, 3), np.uint8)
    for x, y in dots:
        picture[y - 4 : y + 5, x - 4 : x + 5] = 255
    Image.fromarray(picture).save(photos / "me.png")
    face = _document(model.layout.zeros()) | {"camera": {"focal_px": focal, "cx": cx, "cy": cy}}
    size = {"path": "elsewhere/me.png", "width": 1000, "height": 760}
    (tmp_path / "me.json").write_text(json.dumps({"photo": size, "faces": [face]}))
    arguments = ("convert", tmp_path / "me.json", "--to", "eg3d", "--face-model", file, "--photos", photos, "--out")
    done = run(*arguments, out)
    assert (done.code, done.lines) == (0, [str(out), str(out.parent / "me.png")])
    with Image.open(out.parent / "me.png") as written:
        crop = np.asarray(written)
    assert crop.shape == (512, 512, 3)
    for x, y in dots:
        expected = 512 * (eg3d.FOCAL * (np.array([x, y]) - [cx, cy]) / focal + 0.5)  # edges of pixels: 0..512
        near = np.round(expected).astype(int)
        window = crop[near[1] - 6 : near[1] + 6, near[0] - 6 : near[0] + 6, 0].astype(float)
        weights = window / window.sum()
        rows, columns = np.mgrid[-6:6, -6:6] + 0.5
        centre = np.array([(weights * columns).sum(), (weights * rows).sum()])
        np.testing.assert_allclose(near + centre, expected, atol=0.1)
    assert not crop[512 - 120 :].any()  # below the photo
    failed = run(*arguments, photos / "dataset.json")  # the crop's place is the photo's
    assert failed.code == 2
    assert "me.png" in failed.err
    assert np.array_equal(np.asarray(Image.open(photos / "me.png")), picture)


def test_official_meshes_are_posed_and_lit(run: Run, bfm: tuple[Path, FaceModel], tmp_path: Path) -> None:
    file, model = bfm
    (path, *_), faces = write_results(tmp_path, model, 1)
    assert run("convert", path, "--to", "deep3d", "--face-model", file, "--out", tmp_path / "meshes").code == 0
    lines = (tmp_path / "meshes" / "frame_000.obj").read_text().splitlines()
    rows = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
    mesh = model.decode(faces)
    rotation = rotation_from_angles(faces.angles)[0]
    np.testing.assert_allclose(rows[:, :3], mesh.vertices[0] @ rotation.T + faces.translation[0], atol=1e-5)
    lit = mesh.albedo[0] * sh_shading(mesh.normals @ rotation.T, faces.sh)[0]
    np.testing.assert_allclose(rows[:, 3:], lit.clamp(0, 1), atol=1e-4)
    assert not any(line.startswith(("vt", "mtllib")) for line in lines)


@pytest.mark.parametrize(("target", "expressive"), [("now", False), ("realy", True)])
def test_benchmarks_get_meshes_in_vertex_order_with_their_points(
    run: Run, bfm: tuple[Path, FaceModel], tmp_path: Path, target: str, expressive: bool
) -> None:
    file, model = bfm
    paths, faces = write_results(tmp_path, model, 2)
    done = run("convert", *paths, "--to", target, "--face-model", file, "--out", tmp_path / "meshes")
    assert done.code == 0
    assert [Path(line).name for line in done.lines[:3]] == ["frame_000.obj", "frame_000.npy", "frame_000.txt"]
    ids = model.annotations.ibug68
    assert ids is not None
    for k, path in enumerate(paths):
        exp = faces.one(k).exp if expressive else torch.zeros_like(faces.one(k).exp)
        shape_mm = 100 * model.shape(faces.one(k).id, exp)[0].numpy()
        lines = (tmp_path / "meshes" / f"{path.stem}.obj").read_text().splitlines()
        vertices = np.array([line.split()[1:4] for line in lines if line.startswith("v ")], float)
        np.testing.assert_allclose(vertices, shape_mm, atol=1e-3)
        np.testing.assert_allclose(np.loadtxt(tmp_path / "meshes" / f"{path.stem}.txt"), shape_mm[ids], atol=1e-3)
        seven = np.load(tmp_path / "meshes" / f"{path.stem}.npy")
        np.testing.assert_allclose(seven, shape_mm[ids][[36, 39, 42, 45, 33, 48, 54]], atol=1e-3)


def test_wrong_commands(run: Run, bfm: tuple[Path, FaceModel], tmp_path: Path) -> None:
    file, model = bfm
    (tmp_path / "again").mkdir()
    (first, *_), _ = write_results(tmp_path, model, 1)
    (same, *_), _ = write_results(tmp_path / "again", model, 1)
    common = ("--face-model", file)
    cases = [
        (("convert", "--to", "eg3d", "--out", tmp_path / "a.json"), "at least one"),
        (("convert", first, same, "--to", "eg3d", "--out", tmp_path / "a.json"), "frame_000"),
        (("convert", first, "--to", "eg3d", "--out", tmp_path / "a.mat"), ".json"),
        (("convert", first, "--to", "talking-head", "--out", tmp_path / "a.json"), ".mat"),
        (("convert", first, "--to", "now", "--photos", tmp_path, "--out", tmp_path / "a"), "eg3d"),
        (("convert", first, "--to", "eg3d", "--photos", file, "--out", tmp_path / "a.json"), "--photos"),
        (("convert", first, "--to", "eg3d", "--photos", tmp_path, "--out", tmp_path / "a.json"), ".json"),
        (("convert", first, "--to", "elsewhere", "--out", tmp_path / "a.json"), "elsewhere"),
    ]
    for arguments, complaint in cases:
        failed = run(*arguments, *common)
        assert failed.code == 2, arguments
        assert complaint in failed.err
    toy = run("convert", first, "--to", "now", "--out", tmp_path / "meshes")  # the open head: other coefficients
    assert toy.code == 2
    assert "--face-model" in toy.err
