"""One line in ``METHODS`` is all that a new method takes: even one that knows meshes alone, without coefficients.

And with a line each in ``KINDS`` and ``TRAINEES`` it is trained, and found by its weights.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import trimesh
from PIL import Image

from facewright.assets import embedded_path
from facewright.errors import ExportError, ReconstructionError
from facewright.evaluate.predictions import outer_surface
from facewright.export.formats import ALL_FORMATS
from facewright.fit import FitSettings
from facewright.geometry.ibug68 import SEVEN_OF_68
from facewright.morphable.toy import toy_face_model
from facewright.photo import read_photo
from facewright.pipeline.estimator import Estimator
from facewright.pipeline.flow import Reconstructor, load_reconstructor
from facewright.pipeline.methods import METHODS, Method, MethodParts
from facewright.pipeline.outputs import SAVED_FORMATS
from facewright.pipeline.reconstruction import Reconstruction
from facewright.regress.kinds import KINDS
from facewright.train.make import make_data
from facewright.train.trainees import TRAINEES
from facewright.untrusted import read_mat, read_npz
from tests.cli.conftest import Outcome, Run, exit_code
from tests.evaluate.benchmarks.people import write_obj, write_picked_points
from tests.toy_method import ToyEstimator, load_bare_toy, load_toy, toy_mesh
from tests.toy_network import TOY_KIND, TOY_TRAINEE
from tests.train.samples import PHOTOGRAPHS, Dots

PORTRAIT = embedded_path("photos/astronaut.jpg")
COEFFICIENTS = {"coeff", "id", "exp", "tex", "angle", "gamma", "trans", "coefficients", "expression", "face_model"}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "toy", Method(load_toy))
    monkeypatch.setitem(METHODS, "bare", Method(load_bare_toy))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str | Path) -> Outcome:
        code = exit_code([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return command


@pytest.fixture(scope="module")
def couple(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A large and a small face beside each other."""
    portrait = Image.open(PORTRAIT).convert("RGB")
    picture = Image.new("RGB", (768, 512))
    picture.paste(portrait, (0, 0))
    picture.paste(portrait.resize((256, 256)), (512, 128))
    path = tmp_path_factory.mktemp("photos") / "couple.png"
    picture.save(path)
    return path


def report(out: Path) -> dict[str, dict[str, Any]]:
    return {Path(entry["input"]).name: entry for entry in json.loads((out / "report.json").read_text())["results"]}


def faces_by(load: Callable[[MethodParts], Estimator]) -> list[Reconstruction]:
    flow = load_reconstructor(method="fit")
    return Reconstructor(flow.detector, load(parts())).faces_in(read_photo(PORTRAIT))


def parts() -> MethodParts:
    model = toy_face_model()
    return MethodParts(model, model, FitSettings())


def test_all_files_of_several_faces_are_written_and_read_back(couple: Path, run: Run, tmp_path: Path) -> None:
    done = run("reconstruct", couple, "--method", "toy", "--out", tmp_path, "--texture-size", "128")
    assert (done.code, done.err) == (0, "")
    assert report(tmp_path)["couple.png"]["faces"] == 2
    topology, mesh = toy_mesh()
    for k in range(2):
        name = tmp_path / f"couple_{k}"
        (glb,) = trimesh.load(name.with_suffix(".glb")).geometry.values()  # pyright: ignore[reportAttributeAccessIssue]
        assert len(glb.faces) == len(topology.faces)
        picture = np.asarray(glb.visual.material.baseColorTexture)
        assert picture.std() > 20  # of the photo, and not grey
        for suffix in (".obj", ".ply"):
            read: Any = trimesh.load(name.with_suffix(suffix), process=False)
            np.testing.assert_allclose(
                np.unique(read.vertices, axis=0), np.unique(100.0 * mesh.vertices[0].numpy(), axis=0), atol=1e-3
            )
        arrays = read_npz(name.with_suffix(".npz"))
        np.testing.assert_array_equal(arrays["vertices_model"], mesh.vertices[0].numpy())
        assert not COEFFICIENTS & set(arrays)
        mat = scipy.io.loadmat(name.with_suffix(".mat"))
        assert mat["face_shape"].shape == mesh.vertices[0].shape
        assert not COEFFICIENTS & set(mat)
        assert set(read_mat(name.with_suffix(".mat"))) >= {"lm68", "recon_img", "trans_params"}
        assert read_photo(f"{name}_mesh.png").width > 1000
    document = json.loads((tmp_path / "couple.json").read_text())
    assert [face["method"] for face in document["faces"]] == ["toy", "toy"]
    for face, arrays in zip(document["faces"], (read_npz(tmp_path / f"couple_{k}.npz") for k in range(2)), strict=True):
        assert not COEFFICIENTS & set(face)
        np.testing.assert_allclose(face["landmarks_68"], arrays["landmarks_68"], atol=1e-3)
        left, top, right, bottom = face["box"]
        middle = np.mean(face["landmarks_68"], 0)
        assert left < middle[0] < right
        assert top < middle[1] < bottom
    before, after = read_photo(couple).srgb, read_photo(tmp_path / "couple_overlay.png").srgb
    changed = (before - after).abs().amax(0) > 0.05
    for face in document["faces"]:
        column, row = np.mean(face["landmarks_68"], 0).astype(int)
        assert changed[row, column]


@pytest.mark.parametrize("load", [load_toy, load_bare_toy])
def test_a_face_saves_itself_in_every_format(load: Callable[[MethodParts], Estimator], tmp_path: Path) -> None:
    (face,) = faces_by(load)
    for suffix in (".glb", ".obj", ".ply", ".stl", ".mat", ".npz", ".json", ".png"):
        first, *others = face.save(tmp_path / f"me{suffix}")
        assert first.stat().st_size > 1000
        assert bool(others) == (suffix == ".obj" and face.topology.uv is not None)
    assert len(SAVED_FORMATS) == 8
    ply = trimesh.load(tmp_path / "me.ply", process=False)
    assert ply.visual.vertex_colors[:, :3].std(0).min() > 10  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ExportError, match="expected a file name that ends in one of"):
        face.save(tmp_path / "me.gltf")
    with pytest.raises(ReconstructionError, match="method 'toy' finds a mesh alone"):
        _ = face.coefficients


def test_what_fails_is_named_and_what_is_done_is_not_done_again(
    couple: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimator = load_bare_toy(parts())
    monkeypatch.setitem(METHODS, "bare", Method(lambda _: estimator))
    album = tmp_path / "album"
    album.mkdir()
    (album / "couple.png").write_bytes(couple.read_bytes())
    (album / "alone.jpg").write_bytes(PORTRAIT.read_bytes())
    (album / "cut.jpg").write_bytes(PORTRAIT.read_bytes()[:5000])
    Image.new("RGB", (300, 200), (90, 120, 150)).save(album / "empty.png")
    line = ("reconstruct", album, "--method", "bare", "--out", tmp_path / "out", "--texture-size", "64", "--resume")
    failed = run(*line)
    assert failed.code == 1
    entries = report(tmp_path / "out")
    assert {name: entry["status"] for name, entry in entries.items()} == {
        "alone.jpg": "done",
        "couple.png": "partial",
        "cut.jpg": "failed",
        "empty.png": "failed",
    }
    assert "this toy is shy" in failed.err
    assert [failure["stage"] for failure in entries["couple.png"]["failures"]] == ["estimate"]
    assert len(entries["couple.png"]["outputs"]) == len(ALL_FORMATS)

    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir() if path.suffix != ".json"}
    estimator.seen.clear()
    assert run(*line).code == 1
    again = report(tmp_path / "out")
    assert again["alone.jpg"] == entries["alone.jpg"]  # to its seconds
    assert {name: entry["status"] for name, entry in again.items()} == {
        name: entry["status"] for name, entry in entries.items()
    }
    assert "alone" not in " ".join(estimator.seen)
    kept = [path for path in written if path.name.startswith("alone")]
    assert kept
    assert all(path.stat().st_mtime_ns == written[path] for path in kept)


def test_it_is_measured_on_landmarks(run: Run, tmp_path: Path) -> None:
    (face,) = faces_by(load_toy)
    data = tmp_path / "data"
    data.mkdir()
    Image.open(PORTRAIT).save(data / "image00002.jpg", quality=95)
    points = face.landmarks_3d.double().numpy() * [1.0, 1.0, -1.0] + [1.0, 1.0, 0.0]  # as the data set counts
    scipy.io.savemat(data / "image00002.mat", {"pt3d_68": points.T, "Pose_Para": np.zeros((1, 7))})
    done = run("evaluate", "aflw2000", "--data", data, "--method", "toy", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["method"], result["face_model"]) == ("toy", "")
    assert result["figures"]["nme_68"]["value"] < 0.5  # its own answer, but for the picture's compression
    assert result["baseline"]["nme_68"]["value"] > 1.0


def test_it_is_measured_on_scans(run: Run, tmp_path: Path) -> None:
    topology, mesh = toy_mesh()
    vertices = 100.0 * mesh.vertices[0].double().numpy()
    ids, faces = outer_surface(topology, vertices)
    release, picture = tmp_path / "data" / "final_release_version", "FaMoS_0001_TA/selfie/IMG_0002.jpg"
    write_obj(release / "scans" / "FaMoS_0001_TA" / "scan.obj", vertices[ids], faces)
    marks = topology.annotations.ibug68
    assert marks is not None
    write_picked_points(
        release / "scans_lmks_onlypp" / "FaMoS_0001_TA" / "scan.pp", vertices[marks.numpy()[SEVEN_OF_68]]
    )
    path = release / "iphone_pictures" / picture
    path.parent.mkdir(parents=True)
    path.write_bytes(PORTRAIT.read_bytes())
    (tmp_path / "data" / "imagepathsvalidation.txt").write_text(f"{picture}\n")
    done = run("evaluate", "now", "--data", tmp_path / "data", "--method", "toy", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert not result["problems"]
    assert result["figures"]["mean_mm"]["value"] == pytest.approx(0.0, abs=0.01)
    assert result["baseline"]["mean_mm"]["value"] > 0.5


def test_it_is_trained_and_found_by_its_weights(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "toy", TOY_KIND)
    monkeypatch.setitem(TRAINEES, "toy", TOY_TRAINEE)
    monkeypatch.setitem(METHODS, "toy", Method(load_toy, kind="toy"))
    data, trained, out = tmp_path / "data", tmp_path / "run", tmp_path / "out"
    make_data(data, PHOTOGRAPHS, range(8), Dots(PHOTOGRAPHS))
    assert run("train", "toy", "--data", data, "--out", trained, "--steps", "1").code == 0
    weights = trained / "weights.safetensors"
    assert json.loads(run("weights", "info", weights).out)["kind"] == "toy"
    line = ("reconstruct", PORTRAIT, "--weights", weights, "--formats", "json")
    done = run(*line, "--out", out)
    assert (done.code, done.err) == (0, "")
    (face,) = json.loads((out / "astronaut.json").read_text())["faces"]
    assert face["method"] == "toy"
    assert face["weights"].endswith("weights.safetensors")
    other = run(*line, "--method", "rnet", "--out", tmp_path / "other")
    assert other.code == 2
    assert "holds weights for method 'toy'" in other.err
    assert isinstance(load_reconstructor(weights=weights).estimator, ToyEstimator)
