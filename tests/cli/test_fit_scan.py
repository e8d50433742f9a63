"""``facewright model fit-scan``: a mesh of another topology and landmarks in, coefficients and error out."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from facewright.morphable.container import load_face_model, save_face_model
from facewright.morphable.toy import toy_face_model
from tests.cli.conftest import Run


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy model, a person of it as a PLY of four times the triangles in metres, its landmarks, its identity."""
    folder = tmp_path_factory.mktemp("scanned")
    toy = toy_face_model()
    code, ids = torch.tensor([[1.2, -0.8, 0.5, 0.3]]), toy.annotations.ibug68
    assert ids is not None
    vertices = toy.shape(code, torch.zeros(1, toy.layout.exp))[0].numpy() * 0.1
    fine, faces, *_ = trimesh.remesh.subdivide(vertices, toy.faces.numpy())
    trimesh.Trimesh(fine, np.asarray(faces), process=False).export(folder / "scan.ply")
    np.savetxt(folder / "scan.txt", vertices[ids])
    np.save(folder / "code.npy", code)
    save_face_model(toy, folder / "toy.npz")
    return folder


@pytest.mark.parametrize("suffix", ["json", "npz"])
def test_a_scan_becomes_coefficients_that_decode(run: Run, scanned: Path, tmp_path: Path, suffix: str) -> None:
    out, mesh, model = tmp_path / f"scan.{suffix}", tmp_path / "fitted.obj", scanned / "toy.npz"
    options = ("--units", "m", "--neutral", "--face-model", model)
    files = (scanned / "scan.ply", "--landmarks", scanned / "scan.txt", "--out", out, "--fitted", mesh)
    done = run("model", "fit-scan", *files, *options)
    assert done.code == 0, done.err
    said = re.fullmatch(
        r"scan to model over the face: mean ([\d.]+) mm, median [\d.]+ mm, 90 % within [\d.]+ mm", done.lines[0]
    )
    assert said is not None
    assert float(said[1]) < 0.2
    assert done.lines[1:] == [str(out), str(mesh)]
    if suffix == "json":
        content = json.loads(out.read_text())
        found, errors = content["faces"][0]["coefficients"]["id"], content["scan"]
    else:
        content = np.load(out, allow_pickle=False)
        found, errors = content["id"][0], {name: float(content[name]) for name in ("mean_mm", "median_mm", "p90_mm")}
    assert float(said[1]) == pytest.approx(errors["mean_mm"], abs=0.006)
    assert errors["median_mm"] < errors["p90_mm"]
    np.testing.assert_allclose(found, np.load(scanned / "code.npy")[0], atol=0.15)
    again = run("decode", out, "--face-model", model, "--out", tmp_path / "again.obj")
    assert again.code == 0, again.err
    vertices = [trimesh.load_mesh(path, process=False).vertices for path in (mesh, tmp_path / "again.obj")]
    assert len(vertices[0]) == len(load_face_model(model).mean_shape)
    np.testing.assert_allclose(vertices[0], vertices[1], atol=1e-2)


def test_what_is_wrong_with_a_scan_is_said_before_any_work(run: Run, scanned: Path, tmp_path: Path) -> None:
    points, model = scanned / "scan.txt", ("--face-model", scanned / "toy.npz")
    inputs = (scanned / "scan.ply", "--landmarks", points)
    wrong_out = run("model", "fit-scan", *inputs, "--out", tmp_path / "a.mat", *model)
    assert wrong_out.code == 2
    assert ".json" in wrong_out.err
    np.savetxt(tmp_path / "five.txt", np.zeros((5, 3)))
    five = run(
        "model", "fit-scan", inputs[0], "--landmarks", tmp_path / "five.txt", "--out", tmp_path / "a.json", *model
    )
    assert five.code == 2
    assert "expected 68 or 51 or 7 finite points" in five.err
    unit = run("model", "fit-scan", *inputs, "--out", tmp_path / "a.json", "--units", "mm", *model)
    assert unit.code != 0
    assert "check the landmarks' order and the unit (--units)" in unit.err
    assert not list(tmp_path.glob("a.*"))
