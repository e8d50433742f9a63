"""Basel 2017 and 2019: units, variances, the mean expression and the frame, against the formulas."""

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from facewright.errors import AssetNotFoundError, FaceModelError, MissingExtraError
from facewright.morphable.readers.bfm_h5 import import_bfm_h5
from facewright.morphable.readers.frame import source_from_model
from tests.morphable.model_tensors import tensors_of
from tests.morphable.readers.synthetic_head import (
    SyntheticHead,
    assert_stands_in_the_deep3d_frame,
    parts,
    synthetic_head,
    turn,
)

NAMED = {
    "right.eye.corner_outer": 36,
    "right.eye.corner_inner": 39,
    "left.eye.corner_inner": 42,
    "left.eye.corner_outer": 45,
    "center.nose.tip": 30,
    "right.lips.corner": 48,
    "left.lips.corner": 54,
    "center.chin.tip": 8,
}
STD = {
    "id": np.array([9.0, 4.0, 2.0, 1.0, 0.5]),
    "exp": np.array([5.0, 2.0, 1.0, 0.5]),
    "tex": np.array([0.5, 0.2, 0.1]),
}


def contents(head: SyntheticHead, *, mean_expression: float = 0.0) -> dict[str, Any]:
    """Datasets of a Statismo file: modes divided by their deviations, which are kept as variances."""
    rng = np.random.default_rng(2)
    landmarks = [{"id": name, "coordinates": head.mean[head.ibug68[k]].tolist()} for name, k in NAMED.items()]
    flat = {
        "shape": (head.mean.ravel(), head.id_modes, STD["id"]),
        "expression": (mean_expression * rng.standard_normal(3 * head.count), head.exp_modes, STD["exp"]),
        "color": (rng.uniform(0.1, 0.9, 3 * head.count), 0.01 * rng.standard_normal((head.count, 3, 3)), STD["tex"]),
    }
    stored: dict[str, Any] = {
        "shape/representer/cells": head.faces.T.astype(np.int32),
        "shape/representer/points": head.mean.T,
        "metadata/landmarks/json": json.dumps(landmarks).encode(),
    }
    for group, (mean, modes, std) in flat.items():
        stored[f"{group}/model/mean"] = mean.astype(np.float32)
        stored[f"{group}/model/pcaBasis"] = (modes.reshape(3 * head.count, -1) / std).astype(np.float32)
        stored[f"{group}/model/pcaVariance"] = (std**2).astype(np.float32)
        stored[f"{group}/model/noiseVariance"] = np.zeros(1)
    return stored


def write(path: Path, stored: dict[str, Any]) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in stored.items():
            file[name] = np.void(value) if isinstance(value, bytes) and name.endswith("raw") else value
    return path


@pytest.fixture(scope="module")
def head() -> SyntheticHead:
    return synthetic_head(100.0, rotation=turn(0.2, -0.1, 0.05), shift_dm=0.7)


@pytest.mark.parametrize("year", ["2017", "2019"])
def test_decodes_as_the_formulas_say(year: Any, head: SyntheticHead, tmp_path: Path) -> None:
    model, report = import_bfm_h5(write(tmp_path / "model.h5", contents(head)), year=year)
    coefficients = model.layout.unpack(torch.randn(1, model.layout.size))
    mesh = model.decode(coefficients)
    millimetres = source_from_model(mesh.vertices[0].double().numpy(), model.metadata)
    id_, exp, tex = parts(coefficients)
    assert np.abs(millimetres - head.vertices(id_, exp)).max() < 1e-3
    stored = contents(head)
    albedo = stored["color/model/mean"] + stored["color/model/pcaBasis"] @ (STD["tex"] * tex)
    assert np.abs(mesh.albedo[0].numpy().ravel() - albedo).max() < 1e-5
    assert model.name == f"bfm{year}-{head.count}"
    assert report.kind == f"bfm{year}"
    assert model.annotations.five is not None
    assert_stands_in_the_deep3d_frame(model.mean_shape.double().numpy(), model.annotations.five.numpy())
    assert any("68" in part.name for part in report.missing)


def test_the_same_model_elsewhere_gives_the_same_result(head: SyntheticHead, tmp_path: Path) -> None:
    first, _ = import_bfm_h5(write(tmp_path / "a.h5", contents(head)), year="2019")
    other = contents(synthetic_head(100.0, rotation=turn(-0.5, 0.9, 2.0), shift_dm=-3.0))
    second, _ = import_bfm_h5(write(tmp_path / "b.h5", other), year="2019")
    torch.testing.assert_close(tensors_of(first), tensors_of(second), atol=1e-5, rtol=1e-5)


def test_mean_expression_is_the_first_mode(head: SyntheticHead, tmp_path: Path) -> None:
    stored = contents(head, mean_expression=3.0)
    model, _ = import_bfm_h5(write(tmp_path / "model.h5", stored), year="2019")
    assert model.exp_names[0] == "mean_expression"
    assert model.layout.exp == 5
    neutral = source_from_model(model.mean_shape.double().numpy(), model.metadata)
    assert np.abs(neutral - head.mean).max() < 1e-3
    exp = torch.eye(5)[:1]
    full = source_from_model(model.shape(torch.zeros(1, 5), exp)[0].double().numpy(), model.metadata)
    assert np.abs((full - neutral).ravel() - stored["expression/model/mean"]).max() < 1e-3


def test_fewer_modes_and_68_landmarks(head: SyntheticHead, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text(", ".join(map(str, head.ibug68)))
    model, report = import_bfm_h5(
        write(tmp_path / "model.h5", contents(head)), year="2017", landmarks=tmp_path / "ids.txt", num_id=2, num_tex=1
    )
    assert (model.layout.id, model.layout.exp, model.layout.tex) == (2, 4, 1)
    assert model.annotations.ibug68 is not None
    assert np.array_equal(model.annotations.ibug68, head.ibug68)
    assert not report.missing


def test_landmarks_as_a_mapping_read_alike(head: SyntheticHead, tmp_path: Path) -> None:
    stored = contents(head)
    listed = json.loads(stored["metadata/landmarks/json"])
    mapping = {entry["id"]: entry["coordinates"] for entry in listed}
    first, _ = import_bfm_h5(write(tmp_path / "a.h5", stored), year="2017")
    second, _ = import_bfm_h5(
        write(tmp_path / "b.h5", stored | {"metadata/landmarks/json": json.dumps(mapping)}), year="2017"
    )
    torch.testing.assert_close(tensors_of(first), tensors_of(second))


def test_inside_out_triangles_are_turned(head: SyntheticHead, tmp_path: Path) -> None:
    stored = contents(head)
    stored["shape/representer/cells"] = stored["shape/representer/cells"][::-1]
    model, report = import_bfm_h5(write(tmp_path / "model.h5", stored), year="2017")
    assert np.array_equal(model.faces, head.faces)
    assert any("counter-clockwise" in note for note in report.notes)


def drop(stored: dict[str, Any], prefix: str) -> None:
    for name in [name for name in stored if name.startswith(prefix)]:
        del stored[name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: drop(s, "shape"), "expected a Statismo file with groups shape, expression and color, found color"),
        (lambda s: drop(s, "color"), "expected an array 'color', found expression"),
        (lambda s: drop(s, "shape/model/pcaVariance"), "expected an array 'pcaVariance', found mean"),
        (lambda s: s.update({"shape/model/pcaBasis": s["shape/model/pcaBasis"].T}), "pcaBasis: expected.*transposed"),
        (lambda s: s["shape/model/mean"].__setitem__(4, np.nan), "shape/model/mean: expected finite"),
        (lambda s: s["expression/model/pcaVariance"].__imul__(-1), "expected values from 0 up, received -"),
        (
            lambda s: s.update({"shape/representer/cells": s["shape/representer/cells"].T}),
            r"cells: expected shape \(3, a",
        ),
        (lambda s: s["shape/representer/cells"].__iadd__(1), "cells: expected ids 0..*, received 1"),
        (lambda s: s["color/model/mean"].__imul__(255), "expected colours 0..1"),
        (lambda s: s["shape/model/mean"].__imul__(1000), "is their unit the model's"),
        (
            lambda s: s.update({"metadata/landmarks/json": b"[{"}),
            "landmarks/json: expected named points",
        ),
        (lambda s: drop(s, "metadata"), "expected landmarks right.eye.corner_outer, .*--landmarks"),
    ],
)
def test_spoilt_files(change: Any, message: str, head: SyntheticHead, tmp_path: Path) -> None:
    stored = contents(head)
    change(stored)
    with pytest.raises(FaceModelError, match=message):
        import_bfm_h5(write(tmp_path / "model.h5", stored), year="2017")


def test_another_unit_is_noticed(tmp_path: Path) -> None:
    metres = synthetic_head(0.1)
    stored = contents(metres)
    with pytest.raises(FaceModelError, match=r"of a human face in millimetre.*check the unit"):
        import_bfm_h5(write(tmp_path / "model.h5", stored), year="2017")


def test_spoilt_landmark_files(head: SyntheticHead, tmp_path: Path) -> None:
    path, ids = write(tmp_path / "model.h5", contents(head)), tmp_path / "ids.txt"
    for text, message in {
        "1 2 3": r"expected shape \(68\), received \(3,\)",
        "one two": "expected 68 vertex ids, received one that cannot be read",
        " ".join(["999999"] * 68): "expected ids 0",
    }.items():
        ids.write_text(text)
        with pytest.raises(FaceModelError, match=message):
            import_bfm_h5(path, year="2017", landmarks=ids)


def test_truncated_missing_and_foreign_files(head: SyntheticHead, tmp_path: Path) -> None:
    path = write(tmp_path / "model.h5", contents(head))
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(FaceModelError, match="expected a whole HDF5 file"):
        import_bfm_h5(path, year="2019")
    path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(FaceModelError, match="expected a whole HDF5 file"):
        import_bfm_h5(path, year="2019")
    with pytest.raises(AssetNotFoundError, match=r"bfm2019\.html"):
        import_bfm_h5(tmp_path / "absent.h5", year="2019")


def test_without_h5py_the_line_that_installs_it_is_named(
    head: SyntheticHead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "model.h5", contents(head))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'facewright\[import\]'"):
        import_bfm_h5(path, year="2017")
