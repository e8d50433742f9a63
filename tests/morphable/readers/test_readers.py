"""The table of readers: arguments and functions fit each other, and what they give can be stored and used."""

import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tyro

from facewright.errors import FaceModelError
from facewright.morphable.container import load_face_model, save_face_model
from facewright.morphable.readers import KINDS, import_face_model
from facewright.morphable.readers.frame import source_from_model
from facewright.morphable.readers.own_npz import OwnNpzArguments
from facewright.morphable.readers.report import ImportReport, MissingPart
from facewright.morphable.toy import toy_face_model
from tests.morphable.model_tensors import tensors_of
from tests.morphable.readers.synthetic_bfm import small_bfm, write_bfm2009
from tests.morphable.readers.synthetic_head import synthetic_head


@pytest.mark.parametrize("name", list(KINDS))
def test_arguments_are_those_of_the_function(name: str) -> None:
    kind = KINDS[name]
    function = inspect.signature(kind.read)
    wanted = {p.name: p.default for p in function.parameters.values() if p.name not in ("progress", "year")}
    given = {f.name: f.default for f in fields(kind.arguments)}
    assert given.keys() == wanted.keys()
    for key, default in given.items():
        required = default is fields(kind.arguments)[0].default and wanted[key] is inspect.Parameter.empty
        assert required or default == wanted[key]


@pytest.mark.parametrize("name", list(KINDS))
def test_every_argument_is_explained_on_the_command_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = KINDS[name].arguments
    with pytest.raises(SystemExit) as stop:
        tyro.cli(arguments, args=["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for field in fields(arguments):
        assert f"--{field.name.replace('_', '-')}" in text
    assert (inspect.getdoc(arguments) or "?").split(".")[0][:30] in " ".join(text.replace("│", " ").split())


def test_command_line_values_arrive(tmp_path: Path) -> None:
    bfm = small_bfm(np.random.default_rng(0))
    files = write_bfm2009(tmp_path, bfm)
    line = [f"--{key.replace('_', '-')}={path}" for key, path in files.items()]
    arguments: Any = tyro.cli(KINDS["bfm2009"].arguments, args=[*line, "--crop=full", "--num-id=7"])
    model, report = import_face_model(arguments)
    assert len(model.mean_shape) == 360
    assert model.layout.id == 7
    assert report.kind == "bfm2009"


def test_an_imported_model_is_stored_and_loaded_again(tmp_path: Path) -> None:
    model, _ = import_face_model(
        KINDS["bfm2009"].arguments(**write_bfm2009(tmp_path, small_bfm(np.random.default_rng(0))))
    )
    save_face_model(model, tmp_path / "bfm.npz")
    loaded = load_face_model(tmp_path / "bfm.npz")
    torch.testing.assert_close(tensors_of(loaded), tensors_of(model), rtol=0, atol=0)
    assert loaded.metadata["source_frame"] == model.metadata["source_frame"]
    assert loaded.metadata["source_files"].keys() >= {"01_MorphableModel.mat", "Exp_Pca.bin", "std_exp.txt"}
    assert loaded.annotations.regions.keys() == {"photometric", "skin"}
    assert loaded.annotations.face_parts["photometric"].dtype == torch.bool


def test_a_model_without_modes_or_albedo_is_stored_too(tmp_path: Path) -> None:
    head = synthetic_head(1.0)
    np.savez(tmp_path / "least.npz", mean_shape=head.mean, faces=head.faces)
    model, _ = import_face_model(OwnNpzArguments(tmp_path / "least.npz", unit="dm", frame="keep"))
    save_face_model(model, tmp_path / "stored.npz")
    loaded = load_face_model(tmp_path / "stored.npz")
    assert loaded.layout == model.layout
    assert loaded.decode(loaded.layout.zeros()).vertices.shape == (1, head.count, 3)


def test_a_model_that_was_not_imported_has_no_source_frame() -> None:
    with pytest.raises(FaceModelError, match="only imported models have one"):
        source_from_model(np.zeros((1, 3)), toy_face_model().metadata)


def test_report_reads_as_plain_lines() -> None:
    part = MissingPart("albedo", "apply at example.org", "the other file")
    report = ImportReport("kind", ("1 thing",), (part,), ("a remark",))
    assert report.lines() == [
        "found    1 thing",
        "missing  albedo: apply at example.org (not: the other file)",
        "note     a remark",
    ]


DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGES = [(DOCS / page).read_text() for page in ("face-models.md", "coming-from-prnet.md")]


def documented_commands() -> list[str]:
    return [line for page in PAGES for line in page.splitlines() if line.startswith("facewright model import ")]


def test_every_kind_is_documented() -> None:
    assert {command.split()[3] for command in documented_commands()} == KINDS.keys()
