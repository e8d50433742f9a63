"""``facewright reconstruct`` on real photographs: every file that it promises, read back by other programs."""

import contextlib
import io
import json
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
import trimesh
from numpy import ndarray
from PIL import Image

from facewright.assets import embedded_path
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from tests.cli.conftest import Outcome, Run, exit_code

PORTRAITS = embedded_path("photos/astronaut.jpg").parent
PER_FACE = (".glb", ".obj", ".mtl", "_texture.png", ".ply", ".mat", ".npz", "_mesh.png")
PER_PHOTO = (".json", "_overlay.png")
FACES = ("astronaut", "pair_0", "pair_1")


@dataclass(frozen=True)
class Results:
    """What one run over a portrait and a picture of two people left."""

    photos: Path
    out: Path
    outcome: Outcome

    @cached_property
    def report(self) -> dict[str, Any]:
        return json.loads((self.out / "report.json").read_text(encoding="utf-8"))

    def document(self, face: str) -> dict[str, Any]:
        return json.loads((self.out / f"{face.split('_')[0]}.json").read_text(encoding="utf-8"))

    def entry(self, face: str) -> dict[str, Any]:
        """What the ``.json`` says of one face."""
        return self.document(face)["faces"][int(face.split("_")[1]) if "_" in face else 0]

    def arrays(self, face: str) -> dict[str, ndarray]:
        with np.load(self.out / f"{face}.npz", allow_pickle=False) as archive:
            return {name: archive[name] for name in archive}

    def mesh(self, name: str) -> Any:
        return trimesh.load_mesh(self.out / name, process=False)

    def vertices_mm(self, face: str) -> ndarray:
        return np.asarray(self.mesh(f"{face}.ply").vertices)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("results")
    photos, out = folder / "photos", folder / "out"
    photos.mkdir()
    (photos / "astronaut.jpg").write_bytes((PORTRAITS / "astronaut.jpg").read_bytes())
    with Image.open(PORTRAITS / "astronaut.jpg") as one, Image.open(PORTRAITS / "grace_hopper.jpg") as other:
        pair = Image.new("RGB", (one.width + other.width, max(one.height, other.height)), "white")
        pair.paste(one, (0, 0))
        pair.paste(other, (one.width, 0))
    pair.save(photos / "pair.png")
    said, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        code = exit_code(["reconstruct", str(photos), "--out", str(out), "--texture-size", "512"])
    return Results(photos, out, Outcome(code, said.getvalue(), complained.getvalue()))


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return load_face_model("open")


def test_every_promised_file_is_there_and_no_other(results: Results) -> None:
    assert results.outcome.code == 0
    expected = {
        "report.json",
        "report.html",
        *(f"{photo}{end}" for photo in ("astronaut", "pair") for end in PER_PHOTO),
    }
    expected |= {f"{face}{end}" for face in FACES for end in PER_FACE}
    there = {path.name: path.stat().st_size for path in results.out.iterdir()}
    assert set(there) == expected
    assert min(there.values()) > 50


def test_the_report_says_what_became_of_each_input(results: Results) -> None:
    report = results.report
    assert (report["inputs"], report["done"], report["failed"]) == (2, 2, 0)
    assert (report["method"], report["face_model"]) == ("rnet", "open")
    one, pair = report["results"]
    assert (one["faces"], pair["faces"]) == (1, 2)
    for result in (one, pair):
        assert (result["status"], result["error"]) == ("done", None)
        assert Path(result["input"]).parent == results.photos
        assert all((results.out / name).is_file() for name in result["outputs"])
        assert set(result["seconds"]) == {"read", "detect", "align", "regress", "fit", "write"}
        assert all(0 <= seconds < 180 for seconds in result["seconds"].values())
    named = {"report.json", "report.html", *one["outputs"], *pair["outputs"]}
    assert named == {path.name for path in results.out.iterdir()}


def test_a_person_reads_what_was_made(results: Results) -> None:
    assert "astronaut{.glb,.obj,.mtl" in results.outcome.out.replace("\n", "").replace(" ", "")
    assert results.outcome.lines[-1].startswith(f"written to {results.out}")
    assert "failed" not in results.outcome.err


@pytest.mark.parametrize("face", FACES)
def test_the_document_has_all_its_parts(results: Results, model: FaceModel, face: str) -> None:
    document, entry = results.document(face), results.entry(face)
    with Image.open(document["photo"]["path"]) as picture:
        width, height = picture.size
    assert (document["photo"]["width"], document["photo"]["height"]) == (width, height)
    points = np.array(entry["landmarks_68"])
    assert points.shape == (68, 2)
    assert ((points >= 0) & (points <= (width - 1, height - 1))).all()
    np.testing.assert_array_equal(np.array(entry["landmarks_68_3d"])[:, :2], points)
    left, top, right, bottom = entry["box"]
    inside = (points > (left, top)) & (points < (right, bottom))
    assert inside.all(axis=1).mean() > 0.7  # the box ends at the brows
    assert 0.5 < entry["score"] <= 1
    assert set(entry["pose"]) == {"yaw_deg", "pitch_deg", "roll_deg", "translation_dm"}
    assert all(abs(entry["pose"][name]) < 30 for name in ("yaw_deg", "pitch_deg", "roll_deg"))  # frontal portraits
    assert set(entry["camera"]) == {"focal_px", "cx", "cy"}
    counts = {name: np.shape(value) for name, value in entry["coefficients"].items()}
    assert counts == {
        "id": (model.layout.id,),
        "exp": (model.layout.exp,),
        "tex": (model.layout.tex,),
        "sh": (9, 3),
    }
    assert list(entry["expression"]) == list(model.exp_names)
    assert list(entry["expression"].values()) == entry["coefficients"]["exp"]
    assert all(0 <= weight <= 1 for weight in entry["expression"].values())
    assert (entry["face_model"], entry["method"], entry["weights"]) == ("open", "rnet", "open")
    assert entry["residuals"]


@pytest.mark.parametrize("face", FACES)
def test_landmarks_are_projections_of_the_written_vertices(results: Results, model: FaceModel, face: str) -> None:
    entry, arrays = results.entry(face), results.arrays(face)
    assert model.annotations.ibug68 is not None
    x, y, z = arrays["vertices_world"][model.annotations.ibug68].astype(np.float64).T
    camera = entry["camera"]
    scale = camera["focal_px"] / (10.0 - z)
    projected = np.stack([camera["cx"] + scale * x, camera["cy"] - scale * y], 1)
    np.testing.assert_allclose(entry["landmarks_68"], projected, atol=0.01)


def test_the_same_face_is_found_alone_and_beside_another(results: Results) -> None:
    alone = np.array(results.entry("astronaut")["landmarks_68"])
    beside = min((results.entry(face) for face in FACES[1:]), key=lambda entry: entry["box"][0])
    size = np.ptp(np.array(beside["box"])[[0, 2]])
    assert np.linalg.norm(np.array(beside["landmarks_68"]) - alone, axis=1).mean() < 0.03 * size


@pytest.mark.parametrize("face", FACES)
def test_the_glb_holds_a_textured_face_that_can_move(results: Results, model: FaceModel, face: str) -> None:
    path = results.out / f"{face}.glb"
    tree, binary = glb_chunks(path)
    mesh = tree["meshes"][0]
    assert mesh["extras"]["targetNames"] == list(model.exp_names)
    assert len(mesh["primitives"][0]["targets"]) == len(mesh["weights"]) == 52
    np.testing.assert_allclose(mesh["weights"], list(results.entry(face)["expression"].values()), atol=1e-6)
    read = trimesh.load_mesh(path, process=False)
    neutral = np.asarray(read.vertices)[: len(model.mean_shape)]
    expected = model.shape(torch.tensor([results.entry(face)["coefficients"]["id"]]), torch.zeros(1, 52))[0]
    np.testing.assert_allclose(neutral * 10, expected, atol=1e-4)
    moved = neutral.copy()
    for weight, target in zip(mesh["weights"], mesh["primitives"][0]["targets"], strict=True):
        moved += weight * accessor(tree, binary, target["POSITION"])[: len(neutral)]
    np.testing.assert_allclose(moved * 1000, results.vertices_mm(face), atol=0.02)
    texture: Any = read.visual
    assert texture.material.baseColorTexture.size == (512, 512)


def glb_chunks(path: Path) -> tuple[dict[str, Any], bytes]:
    """The JSON and the binary of a GLB file (glTF 2.0, section 4.4)."""
    content = path.read_bytes()
    assert struct.unpack("<4sII", content[:12]) == (b"glTF", 2, len(content))
    (length,) = struct.unpack("<I", content[12:16])
    return json.loads(content[20 : 20 + length]), content[28 + length :]


def accessor(tree: dict[str, Any], binary: bytes, index: int) -> ndarray:
    """Rows of three floats, sparse or not (glTF 2.0, section 3.6.2)."""
    entry = tree["accessors"][index]

    def numbers(view: int, kind: str, count: int) -> ndarray:
        return np.frombuffer(binary, kind, count, tree["bufferViews"][view].get("byteOffset", 0))

    if "sparse" not in entry:
        return numbers(entry["bufferView"], "<f4", 3 * entry["count"]).reshape(-1, 3)
    sparse, rows = entry["sparse"], np.zeros((entry["count"], 3))
    ids = numbers(sparse["indices"]["bufferView"], "<u2", sparse["count"])
    rows[ids] = numbers(sparse["values"]["bufferView"], "<f4", 3 * sparse["count"]).reshape(-1, 3)
    return rows


@pytest.mark.parametrize("face", FACES)
def test_all_meshes_are_the_same_face(results: Results, model: FaceModel, face: str) -> None:
    vertices, arrays = results.vertices_mm(face), results.arrays(face)
    assert vertices.shape == model.mean_shape.shape
    assert 120 < np.ptp(vertices[:, 0]) < 220  # mm, a head with its ears
    np.testing.assert_allclose(arrays["vertices_model"] * 100, vertices, atol=1e-3)
    wavefront = results.mesh(f"{face}.obj")
    np.testing.assert_allclose(wavefront.triangles, vertices[model.faces], atol=1e-3)
    assert wavefront.visual.material.image.size == (512, 512)
    np.testing.assert_array_equal(results.mesh(f"{face}.ply").faces, model.faces)
    np.testing.assert_array_equal(arrays["faces"], model.faces)
    assert all(np.isfinite(array).all() for array in arrays.values())
    with Image.open(results.out / f"{face}_texture.png") as picture:
        assert np.asarray(picture).std() > 10


@pytest.mark.parametrize("face", FACES)
def test_the_matlab_file_is_the_official_one(results: Results, model: FaceModel, face: str) -> None:
    stored = scipy.io.loadmat(results.out / f"{face}.mat")
    layout, vertices = model.layout, len(model.mean_shape)
    shapes = {name: value.shape for name, value in stored.items() if not name.startswith("__")}
    assert shapes == {
        "cropped_img": (224, 224, 3),
        "recon_img": (224, 224, 4),
        "coeff": (1, layout.size),
        "face_shape": (vertices, 3),
        "face_texture": (vertices, 3),
        "face_color": (vertices, 3),
        "lm_68p": (68, 2),
        "lm_5p": (5, 2),
        "id": (1, layout.id),
        "exp": (1, layout.exp),
        "tex": (1, layout.tex),
        "angle": (1, 3),
        "gamma": (1, 27),
        "trans": (1, 3),
        "lm68": (1, 68, 2),
        "trans_params": (1, 5),
    }
    assert stored["cropped_img"].dtype == np.uint8
    assert set(np.unique(stored["recon_img"][..., 3])) == {0, 1}
    coefficients = results.entry(face)["coefficients"]
    sh = np.array(coefficients["sh"]).T.ravel()
    angles = np.deg2rad([results.entry(face)["pose"][f"{axis}_deg"] for axis in ("pitch", "yaw", "roll")])
    translation = results.entry(face)["pose"]["translation_dm"]
    parts = [coefficients["id"], coefficients["exp"], coefficients["tex"], angles, sh, translation]
    np.testing.assert_allclose(stored["coeff"][0], np.concatenate(parts), atol=1e-5)
    np.testing.assert_allclose(stored["face_shape"], results.arrays(face)["vertices_world"], atol=1e-5)


def test_the_overlay_changes_the_faces_and_nothing_else(results: Results) -> None:
    for photo in ("astronaut", "pair"):
        document = results.document(photo)
        with Image.open(document["photo"]["path"]) as before, Image.open(results.out / f"{photo}_overlay.png") as after:
            assert after.size == before.size
            changed = (np.asarray(before.convert("RGB")) != np.asarray(after)).any(axis=2)
        for face in document["faces"]:
            left, top, right, bottom = (round(value) for value in face["box"])
            width, height = right - left, bottom - top
            assert changed[top:bottom, left:right].mean() > 0.6
            changed[max(0, top - height) : bottom + height, max(0, left - width) : right + width] = False
        assert not changed.any()


@pytest.mark.parametrize("face", FACES)
def test_the_sheet_shows_eight_pictures(results: Results, face: str) -> None:
    with Image.open(results.out / f"{face}_mesh.png") as sheet:
        assert sheet.width > 4 * 384
        assert sheet.height > 2 * 384
        pixels = np.asarray(sheet.convert("RGB"), dtype=np.float64)
    tiles = [tile for row in np.array_split(pixels, 2) for tile in np.array_split(row, 4, axis=1)]
    assert all(tile.std() > 15 for tile in tiles)
    assert min(np.abs(a - b).mean() for k, a in enumerate(tiles) for b in tiles[:k]) > 1


@pytest.mark.parametrize(("face", "source"), [("astronaut", "npz"), ("pair_1", "json"), ("pair_0", "mat")])
def test_decoding_the_coefficients_gives_the_mesh_again(
    run: Run, results: Results, tmp_path: Path, face: str, source: str
) -> None:
    stem, _, k = face.partition("_")
    name, which = (stem, ("--face", k or "0")) if source == "json" else (face, ())
    assert run("decode", results.out / f"{name}.{source}", "--out", tmp_path / "again.ply", *which).code == 0
    again = trimesh.load_mesh(tmp_path / "again.ply", process=False)
    np.testing.assert_allclose(again.vertices, results.vertices_mm(face), atol=2e-3)


def test_a_face_cut_by_the_border_is_still_a_face(run: Run, results: Results, tmp_path: Path) -> None:
    cut_px = 195  # between the temple and the eye
    with Image.open(PORTRAITS / "astronaut.jpg") as whole:
        whole.crop((cut_px, 0, whole.width, whole.height)).save(tmp_path / "cut.png")
    done = run("reconstruct", tmp_path / "cut.png", "--out", tmp_path, "--formats", "json", "ply")
    assert done.code == 0, done.err
    (face,) = json.loads((tmp_path / "cut.json").read_text(encoding="utf-8"))["faces"]
    expected = np.array(results.entry("astronaut")["landmarks_68"])
    misses = np.linalg.norm(np.array(face["landmarks_68"]) + np.array([cut_px, 0]) - expected, axis=1)
    assert misses.mean() < 0.12 * np.linalg.norm(expected[36] - expected[45])
