"""``facewright model``."""

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from facewright.cli import parse
from facewright.cli.model import Model, ModelImport
from facewright.morphable.container import load_face_model
from facewright.morphable.readers import KINDS
from facewright.morphable.toy import toy_face_model
from tests.cli.conftest import Run
from tests.morphable.readers.synthetic_bfm import small_bfm, write_bfm2009


def options(values: dict[str, Any]) -> list[str]:
    return [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def test_import_writes_a_model_and_reports(run: Run, tmp_path: Path) -> None:
    files = write_bfm2009(tmp_path, small_bfm(np.random.default_rng(0)))
    out = tmp_path / "made" / "bfm.npz"
    done = run("model", "import", "bfm2009", *options(files), "--out", out)
    assert done.code == 0
    assert done.lines[-1] == f"wrote    {out}"
    words = {line.split()[0] for line in done.lines}
    assert words == {"found", "missing", "note", "wrote"} or words == {"found", "missing", "wrote"}
    model = load_face_model(out)
    assert (model.layout.id, model.layout.exp, model.layout.tex) == (80, 64, 80)
    assert json.loads(run("model", "info", out).out)["name"] == model.name


def test_all_missing_files_are_named_at_once(run: Run, tmp_path: Path) -> None:
    failed = run(
        *("model", "import", "bfm2009", "--morphable-model", tmp_path / "01_MorphableModel.mat"),
        *("--expression", tmp_path / "Exp_Pca.bin", "--tables", tmp_path / "BFM", "--out", tmp_path / "bfm.npz"),
    )
    assert failed.code == 2
    assert failed.out == ""
    for word in ("01_MorphableModel.mat", "Exp_Pca.bin", "std_exp.txt", "faces.dmi.unibas.ch", "model2017"):
        assert word in failed.err
    assert not (tmp_path / "bfm.npz").exists()


def test_malformed_models_are_wrong_commands(run: Run, tmp_path: Path) -> None:
    (tmp_path / "BFM_model_front.mat").write_bytes(b"MATLAB 5.0 but not really")
    source = tmp_path / "BFM_model_front.mat"
    failed = run("model", "import", "bfm-front", "--model", source, "--out", tmp_path / "bfm.npz")
    assert failed.code == 2
    assert "BFM_model_front.mat" in failed.err


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_subcommand_with_its_readers_options(kind: str) -> None:
    required = {entry.name: "x" for entry in fields(KINDS[kind].arguments) if entry.default is MISSING}
    for arguments in ([*options(required), "--out", "y.npz"], ["--out", "y.npz", *options(required)]):
        command = parse(["model", "import", kind, *arguments])
        assert isinstance(command, Model)
        assert isinstance(command.action, ModelImport)
        assert type(command.action.kind) is KINDS[kind].arguments
        assert command.action.out == Path("y.npz")


def test_an_own_archive_becomes_a_model(run: Run, tmp_path: Path) -> None:
    toy = toy_face_model()
    ids, faces = np.asarray(toy.annotations.ibug68), toy.faces.numpy()
    np.savez(tmp_path / "mine.npz", mean_shape=100 * toy.mean_shape.numpy(), faces=faces, ibug68=ids)
    out = tmp_path / "imported.npz"
    done = run("model", "import", "npz", "--model", tmp_path / "mine.npz", "--unit", "mm", "--name", "me", "--out", out)
    assert done.code == 0
    assert any(line.startswith("missing  albedo") for line in done.lines)
    assert load_face_model(out).name == "me"


def test_samples_are_the_same_people_for_the_same_seed(run: Run, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        done = run("model", "sample", "--out", tmp_path / folder, "--count", "2", "--format", "ply", "--seed", "3")
        assert done.code == 0
        assert done.lines == [str(tmp_path / folder / f"sample_00{k}.ply") for k in range(2)]
    first, second = (tmp_path / "a" / f"sample_00{k}.ply" for k in range(2))
    assert first.read_bytes() == (tmp_path / "b" / first.name).read_bytes()
    heads: list[Any] = [trimesh.load_mesh(path, process=False) for path in (first, second)]
    assert np.abs(heads[0].vertices - heads[1].vertices).max() > 1.0  # mm
