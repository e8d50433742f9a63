"""``facewright reconstruct --method rnet``: from the published files to coefficients, the official way."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from facewright.align import align_face, five_from_68
from facewright.align.official import official_crop_points
from facewright.cli import main
from facewright.photo import read_photo
from facewright.pipeline.flow import Reconstructor, load_reconstructor
from facewright.regress.official import coefficients_from_official
from tests.cli.conftest import Outcome, Run
from tests.cli.test_model import options
from tests.morphable.readers.synthetic_bfm import SyntheticBfm, decode_float64, small_bfm, write_bfm2009
from tests.regress.references import official_forward, random_official_state

PORTRAIT = Path(__file__).resolve().parents[2] / "src" / "facewright" / "assets" / "photos" / "astronaut.jpg"
FIVE = torch.tensor([[80.0, 90.0], [122.0, 88.0], [100.0, 115.0], [85.0, 135.0], [118.0, 134.0]])


@dataclass(frozen=True)
class Official:
    """What somebody coming from Deep3D has, imported: a Basel model, R-Net's weights, photos with detections."""

    bfm: SyntheticBfm
    state: dict[str, torch.Tensor]
    model: Path
    weights: Path
    photos: Path

    def coefficients(self, photo: Path) -> np.ndarray:
        """The 257 numbers that the official network gives for the official crop."""
        aligned = align_face(read_photo(photo), FIVE)
        return official_forward(self.state, aligned.crop[None])[0].numpy()


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Official:
    folder = tmp_path_factory.mktemp("official")
    rng = np.random.default_rng(3)
    bfm, state = small_bfm(rng), random_official_state(6, width=0.125)
    files = write_bfm2009(folder, bfm)
    torch.save({"net_recon": state}, folder / "epoch_20.pth")
    assert main(["model", "import", "bfm2009", *options(files), "--out", str(folder / "bfm.npz")]) == 0
    weights = folder / "epoch_20.safetensors"
    assert main(["weights", "import", str(folder / "epoch_20.pth"), "--out", str(weights)]) == 0
    detections = folder / "photos" / "detections"
    detections.mkdir(parents=True)
    for name in ("five", "more", "none"):
        Image.fromarray(rng.integers(0, 255, (200, 220, 3), np.uint8)).save(folder / "photos" / f"{name}.png")
    np.savetxt(detections / "five.txt", FIVE, fmt="%.2f", delimiter="\t")
    np.savetxt(detections / "more.txt", sixty_eight(rng), fmt="%.3f")
    return Official(bfm, state, folder / "bfm.npz", weights, folder / "photos")


@pytest.fixture(autouse=True)
def believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an untrained network says contradicts all that is seen; it is to be written as it is."""

    def loaded(**options: Any) -> Reconstructor:
        return replace(load_reconstructor(**options), check=None)

    monkeypatch.setattr("facewright.cli.reconstruct.load_reconstructor", loaded)


def sixty_eight(rng: np.random.Generator) -> np.ndarray:
    """iBUG-68 points whose five are ``FIVE``; the lids between the corners lie elsewhere."""
    points = torch.tensor(rng.uniform(60, 140, (68, 2)), dtype=torch.float32)
    for (outer, inner), eye in (((36, 39), FIVE[0]), ((42, 45), FIVE[1])):
        points[outer], points[inner] = eye - 10, eye + 10
    points[30], points[48], points[54] = FIVE[2:]
    torch.testing.assert_close(five_from_68(points), FIVE)
    return points.numpy()


def reconstruct(run: Run, official: Official, out: Path, *arguments: str | Path) -> Outcome:
    first = ("reconstruct", "--face-model", official.model, "--weights", official.weights, "--method", "rnet")
    return run(*first, "--out", out, *arguments)


def report(out: Path) -> dict[str, dict[str, Any]]:
    results = json.loads((out / "report.json").read_text())["results"]
    return {Path(result["input"]).stem: result for result in results}


@pytest.mark.parametrize("landmarks", ["photos", "detections"])
def test_the_official_flow_gives_the_official_numbers(
    run: Run, official: Official, tmp_path: Path, landmarks: str
) -> None:
    folder = official.photos if landmarks == "photos" else official.photos / "detections"
    formats = ("--formats", "json", "mat", "npz")
    done = reconstruct(run, official, tmp_path, official.photos, "--landmarks", folder, *formats)
    results = report(tmp_path)
    assert done.code == 1
    assert (results["five"]["status"], results["more"]["status"]) == ("done", "done")
    assert results["none"]["status"] == "failed"
    assert results["none"]["error"].startswith("LandmarksError")
    assert "none.txt" in results["none"]["error"]
    assert "none.png" in done.err
    for name in ("five", "more"):
        expected = official.coefficients(official.photos / f"{name}.png")
        stored = scipy.io.loadmat(tmp_path / f"{name}.mat")
        assert np.linalg.norm(stored["coeff"][0] - expected) / np.linalg.norm(expected) < 1e-5
        face = json.loads((tmp_path / f"{name}.json").read_text())["faces"][0]
        written = np.concatenate([face["coefficients"][part] for part in ("id", "exp", "tex")])
        np.testing.assert_allclose(written, expected[:224], atol=1e-5)
        assert (face["method"], face["weights"]) == ("rnet", "epoch_20.safetensors")


def test_landmarks_land_where_the_official_formula_puts_them(run: Run, official: Official, tmp_path: Path) -> None:
    """Decode, pose and project in float64 by docs/deep3d.md section 3; official landmarks are (u, 223 - v_up)."""
    photo, landmarks = official.photos / "five.png", official.photos
    assert reconstruct(run, official, tmp_path, photo, "--landmarks", landmarks, "--formats", "mat", "json").code == 0
    stored = scipy.io.loadmat(tmp_path / "five.mat")
    vector = stored["coeff"][0].astype(np.float64)
    points = decode_float64(official.bfm, vector[:80], vector[80:144], np.zeros(0)).vertices_dm[official.bfm.keypoints]
    (cx, cy, cz), (sx, sy, sz) = np.cos(vector[224:227]), np.sin(vector[224:227])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    world = points @ (about_z @ about_y @ about_x).T + vector[254:257]
    u, v_up = (1015 * world[:, :2] / (10 - world[:, 2:]) + 112).T
    assert np.abs(stored["lm68"][0] - np.stack([u, 223 - v_up], 1)).max() < 1e-3
    assert np.abs(stored["lm_68p"] - np.stack([u, v_up], 1)).max() < 1e-3
    # Ours lie on the rendering, in photo pixels: no half pixel, through the photo's own camera.
    face = json.loads((tmp_path / "five.json").read_text())["faces"][0]
    scale = face["camera"]["focal_px"] / (10 - world[:, 2])
    x, y = face["camera"]["cx"] + scale * world[:, 0], face["camera"]["cy"] - scale * world[:, 1]
    assert np.abs(np.array(face["landmarks_68"]) - np.stack([x, y], 1)).max() < 1e-3


def test_results_of_one_run_place_the_faces_of_the_next(run: Run, official: Official, tmp_path: Path) -> None:
    params = align_face(read_photo(official.photos / "five.png"), FIVE).trans_params
    crop_up = official_crop_points(FIVE.double(), params)
    five_down = torch.stack([crop_up[:, 0], 223 - crop_up[:, 1]], 1)
    scipy.io.savemat(tmp_path / "five.mat", {"trans_params": params.numpy()[None], "lm_5p": five_down.numpy()})
    scipy.io.savemat(tmp_path / "more.mat", {"lm_5p": five_down.numpy()})
    arguments = (official.photos, "--landmarks", tmp_path, "--formats", "mat")
    assert reconstruct(run, official, tmp_path / "out", *arguments).code == 1
    received = scipy.io.loadmat(tmp_path / "out" / "five.mat")["coeff"][0]
    np.testing.assert_allclose(received, official.coefficients(official.photos / "five.png"), atol=1e-3)
    assert "trans_params" in report(tmp_path / "out")["more"]["error"]


def test_detections_beside_the_photos_are_not_taken_unasked(run: Run, official: Official, tmp_path: Path) -> None:
    done = reconstruct(run, official, tmp_path, official.photos, "--formats", "json")
    assert done.code == 1
    assert all(result["error"].startswith("NoFaceFoundError") for result in report(tmp_path).values())


def test_without_points_the_detector_finds_the_face(run: Run, official: Official, tmp_path: Path) -> None:
    done = reconstruct(run, official, tmp_path, PORTRAIT, official.photos / "five.png", "--formats", "json")
    assert done.code == 1
    results = report(tmp_path)
    assert (results["astronaut"]["status"], results["five"]["status"]) == ("done", "failed")
    assert {"read", "detect", "align", "regress", "write"} == set(results["astronaut"]["seconds"])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("--face-model", "open"), "bfm2009"),
        (("--weights", "absent.safetensors"), "absent.safetensors"),
        (("--face-model", "absent.npz"), "absent.npz"),
        (("--landmarks", "absent"), "--landmarks"),
        (("--device", "nonsense"), "nonsense"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_photo_is_opened(
    run: Run, official: Official, tmp_path: Path, change: tuple[str, str], complaint: str
) -> None:
    failed = reconstruct(run, official, tmp_path / "out", "unopened.jpg", *change)
    assert failed.code == 2
    assert complaint in failed.err
    assert not (tmp_path / "out").exists()


def test_a_model_of_ones_own_needs_weights_of_ones_own(run: Run, official: Official, tmp_path: Path) -> None:
    failed = run("reconstruct", PORTRAIT, "--out", tmp_path, "--method", "rnet", "--face-model", official.model)
    assert failed.code == 2
    assert "facewright weights import" in failed.err


def test_extra_official_values_are_dropped_alike(official: Official) -> None:
    vector = torch.tensor(official.coefficients(official.photos / "five.png"))[None]
    longer = torch.cat([vector, torch.ones(1, 3)], 1)
    assert torch.equal(coefficients_from_official(longer).translation, vector[:, 254:257])
