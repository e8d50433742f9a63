"""``facewright decode``: official coefficients and a Basel model against a float64 decoding of the source files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
import trimesh

from facewright.align.official import official_points_from_pixels
from facewright.geometry.frames import crop_camera, project_points
from facewright.morphable.container import save_face_model
from facewright.morphable.readers.bfm2009 import import_bfm2009
from tests.cli.conftest import Run
from tests.cli.test_model import options
from tests.morphable.readers.full_size import full_size_bfm
from tests.morphable.readers.synthetic_bfm import SyntheticBfm, decode_float64, small_bfm, write_bfm2009


def check_decoding(run: Run, bfm: SyntheticBfm, folder: Path) -> None:
    """From the published files and a .mat of 257 values to a mesh, by the command line alone."""
    rng = np.random.default_rng(7)
    files = write_bfm2009(folder, bfm)
    assert run("model", "import", "bfm2009", *options(files), "--out", folder / "bfm.npz").code == 0
    coeff = rng.standard_normal((1, 257))
    scipy.io.savemat(folder / "coeff.mat", {"coeff": coeff})
    out = folder / "m.ply"
    done = run("decode", folder / "coeff.mat", "--face-model", folder / "bfm.npz", "--out", out, "--units", "dm")
    assert (done.code, done.lines, done.err) == (0, [str(out)], "")
    expected = decode_float64(bfm, coeff[0, :80], coeff[0, 80:144], coeff[0, 144:224])
    mesh: Any = trimesh.load_mesh(out, process=False)
    assert np.abs(mesh.vertices - expected.vertices_dm).max() < 1e-5
    np.testing.assert_array_equal(mesh.faces, bfm.front_faces)
    table = mesh.metadata["_ply_raw"]["vertex"]["data"]
    colors = np.stack([np.asarray(table[f"srgb_{channel}"]).reshape(-1) for channel in "rgb"], 1)
    assert np.abs(colors - expected.albedo.clip(0, 1)).max() < 1e-4
    assert np.abs(mesh.visual.vertex_colors[:, :3] / 255 - expected.albedo.clip(0, 1)).max() <= 0.5 / 255 + 1e-4
    pixels = project_points(torch.tensor(np.asarray(mesh.vertices)[None, bfm.keypoints]), crop_camera())[0, :, :2]
    assert np.abs(official_points_from_pixels(pixels).numpy() - expected.landmarks_uv_up).max() < 1e-3


def test_official_coefficients_decode_as_in_float64(run: Run, tmp_path: Path) -> None:
    check_decoding(run, small_bfm(np.random.default_rng(0)), tmp_path)


@pytest.mark.slow
def test_official_coefficients_decode_as_in_float64_at_full_size(run: Run, tmp_path: Path) -> None:
    check_decoding(run, full_size_bfm(), tmp_path)


@pytest.fixture(scope="module")
def bfm_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An imported small Basel model."""
    folder = tmp_path_factory.mktemp("bfm")
    model, _ = import_bfm2009(**write_bfm2009(folder, small_bfm(np.random.default_rng(0))))
    save_face_model(model, folder / "bfm.npz")
    return folder / "bfm.npz"


def decoded(run: Run, source: Path, model: Path, *more: str) -> np.ndarray:
    out = source.with_name(f"{source.stem}_{source.suffix[1:]}.npz")
    done = run("decode", source, "--face-model", model, "--out", out, *more)
    assert done.code == 0, done.err
    with np.load(out) as arrays:
        return np.concatenate([arrays["vertices"], arrays["colors"]])


def test_all_spellings_of_one_face_decode_alike(run: Run, bfm_file: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    vector = rng.standard_normal((2, 257)).astype(np.float32)
    white = np.concatenate([vector[:, :236], vector[:, 254:]], 1)
    named = dict(zip(("id", "exp", "tex", "angle", "gamma", "trans"), _parts(vector), strict=True))
    spellings = {
        "coeff": {"coeff": vector},
        "named": named,
        "longer": {"coeff": np.concatenate([vector, rng.standard_normal((2, 1))], 1)},  # what Deep3dPortrait emits
        "white": {"coeff": white},
        "white_named": named | {"gamma": vector[:, 227:236]},
    }
    for face in ("0", "1"):
        results = []
        for name, content in spellings.items():
            scipy.io.savemat(tmp_path / f"{name}.mat", content)
            results.append(decoded(run, tmp_path / f"{name}.mat", bfm_file, "--face", face))
        np.savez(tmp_path / "packed.npz", coeff=vector)
        results.append(decoded(run, tmp_path / "packed.npz", bfm_file, "--face", face))
        for result in results[1:]:
            np.testing.assert_allclose(result, results[0], atol=1e-6)


def _parts(vector: np.ndarray) -> list[np.ndarray]:
    return np.split(vector, [80, 144, 224, 227, 254], axis=1)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"coeff": np.zeros((1, 256))}, "257"),
        ({"coeff": np.zeros((1, 261))}, "257"),
        ({"coeff": np.full((1, 257), np.nan)}, "NaN"),
        ({"id": np.zeros((1, 80)), "exp": np.zeros((1, 64))}, "'tex'"),
        ({"id": np.zeros((1, 79)), "exp": np.zeros((1, 64)), "tex": np.zeros((1, 80))}, "'id'"),
        ({"something": np.zeros(3)}, "'id'"),
    ],
)
def test_malformed_coefficients_are_wrong_commands(
    run: Run, bfm_file: Path, tmp_path: Path, content: dict[str, np.ndarray], complaint: str
) -> None:
    scipy.io.savemat(tmp_path / "bad.mat", content)
    failed = run("decode", tmp_path / "bad.mat", "--face-model", bfm_file, "--out", tmp_path / "m.ply")
    assert failed.code == 2
    assert failed.out == ""
    assert "bad.mat" in failed.err
    assert complaint in failed.err
    assert not (tmp_path / "m.ply").exists()


def test_files_that_are_no_coefficients_are_wrong_commands(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "broken.json").write_text('{"faces": 3}')
    (tmp_path / "face.txt").write_text("1 2 3")
    for name in ("broken.mat", "broken.npz", "broken.json", "face.txt", "absent.mat"):
        failed = run("decode", tmp_path / name, "--out", tmp_path / "m.ply")
        assert failed.code == 2, name
        assert name in failed.err
