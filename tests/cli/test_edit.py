"""``facewright edit``: expression, pose and light of a face in a file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from facewright.files import write_arrays
from facewright.morphable.container import load_face_model, save_face_model
from facewright.morphable.linear import FaceModel
from facewright.records import FaceCoefficients
from tests.cli.conftest import Run


@pytest.fixture(scope="module")
def model_file(toy_model: FaceModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "toy.npz"
    save_face_model(toy_model, path)
    return path


def random_face(model: FaceModel, seed: int) -> FaceCoefficients:
    generator = torch.Generator().manual_seed(seed)
    vector = 0.5 * torch.randn(1, model.layout.size, generator=generator)
    face = model.layout.unpack(vector)
    face.angles.mul_(0.3)
    face.sh.mul_(0.2)
    face.translation.mul_(0.1)
    return face


def write_face(path: Path, face: FaceCoefficients) -> Path:
    write_arrays(path, {name: value.numpy() for name, value in vars(face).items()})
    return path


def read_face(path: Path) -> dict[str, np.ndarray]:
    (face,) = json.loads(path.read_text())["faces"]
    pose = face["pose"]
    angles = np.radians([pose["pitch_deg"], pose["yaw_deg"], pose["roll_deg"]])
    parts = {name: np.array(value) for name, value in face["coefficients"].items()}
    return parts | {"angles": angles, "translation": np.array(pose["translation_dm"])}


def assert_like(received: dict[str, np.ndarray], **expected: torch.Tensor) -> None:
    assert received.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(received[name], value[0].numpy(), atol=1e-6, err_msg=name)


def test_each_edit_changes_its_part_alone(run: Run, model_file: Path, toy_model: FaceModel, tmp_path: Path) -> None:
    face, other = random_face(toy_model, 1), random_face(toy_model, 2)
    me, you = write_face(tmp_path / "me.npz", face), write_face(tmp_path / "you.npz", other)
    nothing, still = torch.zeros_like(face.exp), torch.zeros_like(face.angles)
    edits: list[tuple[list[str | Path], dict[str, torch.Tensor]]] = [
        ([], {}),
        (["--neutral"], {"exp": nothing}),
        (["--frontal"], {"angles": still}),
        (["--expression-of", you], {"exp": other.exp}),
        (["--expression-of", you, "--with-pose"], {"exp": other.exp, "angles": other.angles}),
        (["--light-of", you], {"sh": other.sh}),
        (["--neutral", "--frontal", "--light-of", you], {"exp": nothing, "angles": still, "sh": other.sh}),
    ]
    for options, changed in edits:
        out = tmp_path / "edited.json"
        done = run("edit", me, "--face-model", model_file, "--out", out, *options)
        assert (done.code, done.lines) == (0, [str(out)])
        assert_like(read_face(out), **(vars(face) | changed))


def test_an_edited_file_can_be_edited_and_decoded(
    run: Run, model_file: Path, toy_model: FaceModel, tmp_path: Path
) -> None:
    me = write_face(tmp_path / "me.npz", random_face(toy_model, 1))
    assert run("edit", me, "--face-model", model_file, "--out", tmp_path / "a.json", "--neutral").code == 0
    again = run("edit", tmp_path / "a.json", "--face-model", model_file, "--out", tmp_path / "b.json", "--frontal")
    assert again.code == 0, again.err
    mesh = tmp_path / "b.ply"
    assert run("decode", tmp_path / "b.json", "--face-model", model_file, "--out", mesh, "--units", "dm").code == 0
    face = random_face(toy_model, 1)
    expected = toy_model.shape(face.id, torch.zeros_like(face.exp))[0]
    decoded: Any = trimesh.load_mesh(mesh, process=False)
    np.testing.assert_allclose(decoded.vertices, expected.numpy(), atol=1e-5)


def test_a_mesh_shows_the_light_and_a_picture_the_pose(
    run: Run, model_file: Path, toy_model: FaceModel, tmp_path: Path
) -> None:
    me = write_face(tmp_path / "me.npz", random_face(toy_model, 1))
    files = {side: [tmp_path / f"{side}.npz", tmp_path / f"{side}.png"] for side in ("left", "right")}
    common = ("--face-model", model_file, "--frontal", "--neutral", "--size", "96")
    for side, x in (("left", "-1"), ("right", "1")):
        assert run("edit", me, *common, "--light-from", x, "0", "0", "--out", *files[side]).code == 0
    for side, sign in (("left", -1), ("right", 1)):
        with np.load(files[side][0]) as mesh:
            brightness, across = mesh["colors"].mean(1), mesh["vertices"][:, 0]
        assert np.corrcoef(sign * across, brightness)[0, 1] > 0.3
        picture = np.asarray(Image.open(files[side][1]).convert("L"), float)
        assert picture.shape == (96, 96)
        half = picture[:, :48].mean() - picture[:, 48:].mean()
        assert sign * half < 0


def test_a_face_is_drawn_on_its_photo_where_it_was(run: Run, tmp_path: Path) -> None:
    model = load_face_model("open")
    zeros = model.layout.zeros()
    photo = {"path": "me.png", "width": 160, "height": 120}
    camera = {"focal_px": 300.0, "cx": 50.0, "cy": 60.0}
    coefficients = {"id": zeros.id[0].tolist(), "exp": zeros.exp[0].tolist(), "tex": zeros.tex[0].tolist()}
    content = {"photo": photo, "faces": [{"camera": camera, "coefficients": coefficients}]}
    (tmp_path / "me.json").write_text(json.dumps(content))
    Image.new("RGB", (160, 120), (0, 0, 255)).save(tmp_path / "me.png")
    done = run("edit", tmp_path / "me.json", "--photo", tmp_path / "me.png", "--out", tmp_path / "on.png")
    assert done.code == 0, done.err
    drawn = np.asarray(Image.open(tmp_path / "on.png").convert("RGB"), float)
    columns = np.nonzero((drawn - (0, 0, 255)).any(-1))[1]
    assert drawn.shape == (120, 160, 3)
    assert abs(columns.mean() - 50) < 4
    assert 20 < np.ptp(columns) < 80
    Image.new("RGB", (161, 120)).save(tmp_path / "other.png")
    failed = run("edit", tmp_path / "me.json", "--photo", tmp_path / "other.png", "--out", tmp_path / "on.png")
    assert failed.code == 2
    assert "161 x 120" in failed.err


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--neutral", "--expression-of", "you.npz"), "both"),
        (("--light-of", "you.npz", "--light-from", "1", "0", "0"), "both"),
        (("--with-pose",), "--expression-of"),
        (("--light-from", "0", "0", "0"), "direction"),
        (("--expression-of", "absent.npz"), "absent.npz"),
        (("--face", "1"), "face 1"),
        (("--photo", "absent.png"), "--photo only with a .png in --out"),
    ],
)
def test_contradictions_are_wrong_commands(
    run: Run, model_file: Path, toy_model: FaceModel, tmp_path: Path, options: tuple[str, ...], complaint: str
) -> None:
    me = write_face(tmp_path / "me.npz", random_face(toy_model, 1))
    failed = run("edit", me, "--face-model", model_file, "--out", tmp_path / "a.json", *options)
    assert failed.code == 2
    assert complaint in failed.err
    assert not (tmp_path / "a.json").exists()


def test_unknown_suffixes_are_wrong_commands(run: Run, model_file: Path, toy_model: FaceModel, tmp_path: Path) -> None:
    me = write_face(tmp_path / "me.npz", random_face(toy_model, 1))
    failed = run("edit", me, "--face-model", model_file, "--out", tmp_path / "a.json", tmp_path / "a.docx")
    assert failed.code == 2
    assert ".glb" in failed.err
    assert not (tmp_path / "a.json").exists()
