"""One's own archive: every documented array, both layouts of modes, units, and clear errors."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facewright.errors import AssetNotFoundError, FaceModelError
from facewright.morphable.readers.frame import source_from_model
from facewright.morphable.readers.own_npz import DM_PER_UNIT, import_own_npz
from tests.morphable.readers.synthetic_head import (
    SyntheticHead,
    assert_stands_in_the_deep3d_frame,
    parts,
    synthetic_head,
    turn,
)


def contents(head: SyntheticHead) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(6)
    return {
        "mean_shape": head.mean,
        "faces": head.faces,
        "id_basis": head.id_modes / np.arange(1, 6),
        "id_std": np.arange(1.0, 6.0),
        "exp_basis": head.exp_modes.reshape(3 * head.count, -1),
        "mean_albedo": rng.random((head.count, 3)),
        "albedo_basis": 0.1 * rng.standard_normal((head.count, 3, 2)),
        "uv": head.uv,
        "faces_uv": head.faces_uv,
        "ibug68": head.ibug68,
        "exp_names": np.array(["a", "b", "c", "d"]),
        "mirror": np.arange(head.count),
        "region_lips": (np.arange(head.count) < 9).astype(float),
    }


def write(path: Path, arrays: dict[str, Any]) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("unit", list(DM_PER_UNIT))
def test_decodes_as_the_formula_says(unit: Any, tmp_path: Path) -> None:
    head = synthetic_head(1.0 / DM_PER_UNIT[unit], rotation=turn(1.0, 0.5, -2.0), shift_dm=1.0)
    model, report = import_own_npz(write(tmp_path / "mine.npz", contents(head)), unit=unit, exp_prior="box")
    coefficients = model.layout.unpack(torch.randn(1, model.layout.size))
    id_, exp, tex = parts(coefficients)
    mesh = model.decode(coefficients)
    back = source_from_model(mesh.vertices[0].double().numpy(), model.metadata)
    assert np.abs(back - head.vertices(id_, exp)).max() * DM_PER_UNIT[unit] < 1e-5
    stored = contents(head)
    assert np.allclose(mesh.albedo[0], stored["mean_albedo"] + stored["albedo_basis"] @ tex, atol=1e-5)
    assert np.array_equal(model.faces, head.faces)
    assert model.annotations.five is not None
    assert_stands_in_the_deep3d_frame(model.mean_shape.double().numpy(), model.annotations.five.numpy())
    assert model.exp_names == ("a", "b", "c", "d")
    assert model.exp_is_box
    assert model.name == "mine"
    assert model.albedo_space == "display"
    assert model.annotations.regions["lips"].sum() == 9
    assert not report.missing


def test_the_least_that_is_needed(tmp_path: Path) -> None:
    head = synthetic_head(1.0)
    least = {"mean_shape": head.mean, "faces": head.faces[:, ::-1]}
    path = write(tmp_path / "least.npz", least)
    model, report = import_own_npz(path, unit="dm", frame="keep", name="least", licence="MIT")
    assert (model.layout.id, model.layout.exp, model.layout.tex) == (0, 0, 0)
    assert np.allclose(model.mean_shape, head.mean, atol=1e-6)
    assert np.array_equal(model.faces, head.faces)
    assert model.metadata["licence"] == "MIT"
    assert {part.name for part in report.missing} == {
        "expression modes",
        "albedo",
        "texture coordinates",
        "68 landmarks",
    }
    with pytest.raises(FaceModelError, match=r"expected an array 'ibug68'.*--frame keep"):
        import_own_npz(path, unit="dm")


def test_a_kept_frame_is_kept(tmp_path: Path) -> None:
    head = synthetic_head(100.0, rotation=turn(0.1, 0.2, 0.3))
    model, _ = import_own_npz(write(tmp_path / "mine.npz", contents(head)), frame="keep")
    assert np.allclose(model.mean_shape, head.mean / 100.0, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("faces"), "expected an array 'faces', found albedo_basis"),
        (lambda a: a.update(mean_shape=a["mean_shape"].T), r"mean_shape: expected shape \(any, 3\).*transposed"),
        (lambda a: a.update(faces=a["faces"] + 1), "faces: expected ids 0"),
        (lambda a: a.update(ibug68=a["ibug68"][:60]), r"ibug68: expected shape \(68\)"),
        (lambda a: a.update(ibug68=a["ibug68"][::-1]), "human face in mm"),
        (lambda a: a.update(exp_basis=a["exp_basis"].T), r"exp_basis: expected shape \(\d+, any\).*transposed"),
        (lambda a: a.update(id_basis=a["id_basis"][1:]), r"id_basis: expected shape \(\d+, 3, any\)"),
        (lambda a: a.update(id_std=a["id_std"][1:]), r"id_std: expected shape \(5\)"),
        (lambda a: a.update(exp_names=np.array(["a"])), "expected 4 exp_names"),
        (lambda a: a.update(uv=a["uv"][:5]), "faces_uv: expected ids 0..4"),
        (lambda a: (a.pop("faces_uv"), a.update(uv=a["uv"][:5])), "expected 'faces_uv', or one texture"),
        (lambda a: a.update(region_lips=a["region_lips"][1:]), r"region_lips: expected shape"),
        (lambda a: a.update(mean_albedo=np.array(["red"])), "mean_albedo: expected shape"),
        (lambda a: a["mean_shape"].__setitem__((0, 0), np.nan), "mean_shape: expected finite"),
        (lambda a: a.update(mirror=a["mirror"] * 2), "mirror: expected ids 0"),
        (lambda a: a.update(faces=np.array([["a", "b", "c"]])), "faces: expected numbers, received <U1"),
    ],
)
def test_spoilt_archives(change: Any, message: str, tmp_path: Path) -> None:
    arrays = {key: np.array(value) for key, value in contents(synthetic_head(100.0)).items()}
    change(arrays)
    with pytest.raises(FaceModelError, match=message):
        import_own_npz(write(tmp_path / "mine.npz", arrays))


def test_wrong_unit_damaged_and_missing_files(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.npz", contents(synthetic_head(100.0)))
    with pytest.raises(FaceModelError, match=r"human face in m .*check the unit"):
        import_own_npz(path, unit="m")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FaceModelError, match=r"expected a whole \.npz"):
        import_own_npz(path)
    np.save(tmp_path / "single.npy", np.arange(3))
    with pytest.raises(FaceModelError, match="a single array"):
        import_own_npz(tmp_path / "single.npy")
    with pytest.raises(AssetNotFoundError, match=r"face-models\.md"):
        import_own_npz(tmp_path / "absent.npz")
