"""The Basel Face Model 2009: every number of the import against float64 loops over the same files."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import torch

from facewright.errors import AssetNotFoundError, FaceModelError
from facewright.morphable.linear import FaceModel
from facewright.morphable.readers.bfm2009 import import_bfm2009
from facewright.morphable.readers.deep3d_topology import photometric_triangles
from facewright.morphable.readers.frame import source_from_model
from facewright.records import CoefficientLayout, FaceCoefficients
from tests.morphable.model_tensors import tensors_of
from tests.morphable.readers.synthetic_bfm import (
    SyntheticBfm,
    decode_float64,
    full_bfm,
    morphable_model_variables,
    small_bfm,
    table_variables,
    write_bfm2009,
)


@pytest.fixture(scope="module")
def bfm() -> SyntheticBfm:
    return small_bfm(np.random.default_rng(3))


@pytest.fixture(scope="module")
def files(bfm: SyntheticBfm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_bfm2009(tmp_path_factory.mktemp("bfm"), bfm)


@pytest.fixture(scope="module")
def front(files: dict[str, Any]) -> FaceModel:
    return import_bfm2009(**files)[0]


@pytest.fixture
def broken(files: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """A copy of the files that a test may spoil."""
    shutil.copytree(files["tables"].parent, tmp_path / "copy")
    return {name: tmp_path / "copy" / path.name for name, path in files.items()}


def random_coefficients(layout: CoefficientLayout, scale: float = 1.0) -> FaceCoefficients:
    return layout.unpack(scale * torch.randn(1, layout.size))


def assert_decodes_as(model: FaceModel, bfm: SyntheticBfm, coefficients: FaceCoefficients) -> None:
    mesh = model.decode(coefficients)
    expected = decode_float64(
        bfm, *(part[0].double().numpy() for part in (coefficients.id, coefficients.exp, coefficients.tex))
    )
    vertices = mesh.vertices[0].double().numpy()
    assert np.abs(vertices - expected.vertices_dm).max() < 1e-5
    assert np.abs(mesh.albedo[0].double().numpy() - expected.albedo).max() < 1e-4
    marks = vertices[model.annotations.ibug68]
    projected = 112.0 + 1015.0 * marks[:, :2] / (10.0 - marks[:, 2:])
    assert np.abs(projected - expected.landmarks_uv_up).max() < 1e-3


def test_front_decodes_as_the_formulas_say(front: FaceModel, bfm: SyntheticBfm) -> None:
    assert front.layout == CoefficientLayout(80, 64, 80)
    for _ in range(3):
        assert_decodes_as(front, bfm, random_coefficients(front.layout, 0.3))


def test_zero_coefficients_give_the_centred_mean(front: FaceModel, bfm: SyntheticBfm) -> None:
    assert front.mean_shape.double().mean(0).abs().max() < 1e-6
    assert_decodes_as(front, bfm, front.layout.zeros())


def test_all_modes_are_kept_on_request(files: dict[str, Any], bfm: SyntheticBfm) -> None:
    model, report = import_bfm2009(**files, num_id=0, num_exp=0, num_tex=0)
    assert model.layout == CoefficientLayout(199, 79, 199)
    assert_decodes_as(model, bfm, random_coefficients(model.layout, 0.2))
    assert any("199 identity, 79 of 79" in line for line in report.found)


@pytest.mark.parametrize("crop", ["full", "nomouth"])
def test_larger_crops_hold_the_front_in_the_same_place(
    crop: Any, files: dict[str, Any], bfm: SyntheticBfm, front: FaceModel
) -> None:
    model, report = import_bfm2009(**files, crop=crop)
    rows = bfm.whole_of_front if crop == "full" else bfm.trimmed_of_front
    coefficients = random_coefficients(front.layout, 0.3)
    whole, small = model.decode(coefficients), front.decode(coefficients)
    torch.testing.assert_close(whole.vertices[:, rows], small.vertices, atol=1e-6, rtol=0)
    torch.testing.assert_close(whole.albedo[:, rows], small.albedo)
    assert front.annotations.ibug68 is not None
    assert model.annotations.ibug68 is not None
    assert torch.equal(model.annotations.ibug68, torch.from_numpy(rows)[front.annotations.ibug68])
    for name, mask in front.annotations.regions.items():
        assert torch.equal(model.annotations.regions[name][rows], mask)
        assert model.annotations.regions[name].sum() == mask.sum()
    kept = bfm.whole_faces if crop == "full" else None
    if kept is not None:
        assert torch.equal(model.faces, torch.from_numpy(kept))
    else:
        names = torch.from_numpy(bfm.whole_of_trimmed)[model.faces]
        outside = np.isin(bfm.whole_faces, bfm.whole_of_trimmed).all(1)
        assert torch.equal(names, torch.from_numpy(bfm.whole_faces[outside]))
    assert any("triangles of Deep3D's crop are among" in note for note in report.notes)


def test_triangles_wound_the_other_way_are_turned(broken: dict[str, Any], bfm: SyntheticBfm) -> None:
    variables = morphable_model_variables(bfm)
    variables["tl"] = variables["tl"][:, ::-1]
    scipy.io.savemat(broken["morphable_model"], variables)
    model, _ = import_bfm2009(**broken, crop="full")
    assert torch.equal(model.faces, torch.from_numpy(bfm.whole_faces))


def test_inner_mouth_follows_its_rim(files: dict[str, Any], bfm: SyntheticBfm) -> None:
    model, report = import_bfm2009(**files, crop="full")
    mouth = np.setdiff1d(np.arange(len(model.mean_shape)), bfm.whole_of_trimmed)
    edges = {(int(a), int(b)) for face in bfm.whole_faces for a in face for b in face if a != b}
    for vertex in mouth:
        around = [b for a, b in edges if a == vertex]
        torch.testing.assert_close(model.exp_basis[vertex], model.exp_basis[around].mean(0), atol=1e-6, rtol=1e-4)
    assert any("inner mouth" in note for note in report.notes)


def test_photometric_region_and_the_released_triangles(front: FaceModel, bfm: SyntheticBfm) -> None:
    table = table_variables(bfm)["facemodel_info.mat"]["tri_mask2"].astype(int) - 1
    assert np.array_equal(photometric_triangles(front, released=True), table)
    inside = np.flatnonzero(bfm.photometric)[table]
    assert np.array_equal(photometric_triangles(front), inside)
    assert front.annotations.face_parts["photometric"].sum() == len(table)


def test_metadata_undoes_the_frame(front: FaceModel, bfm: SyntheticBfm) -> None:
    micrometres = source_from_model(front.mean_shape.double().numpy(), front.metadata)
    expected = bfm.shape_mean.astype(np.float64).reshape(-1, 3)[bfm.whole_of_front]
    assert np.abs(micrometres - expected).max() < 0.05
    assert front.name == "bfm2009-front"
    assert front.albedo_space == "display"
    assert not front.exp_is_box


def test_texture_coordinates_are_cropped(files: dict[str, Any], bfm: SyntheticBfm, tmp_path: Path) -> None:
    uv = np.random.default_rng(0).random((len(bfm.shape_mean) // 3, 2))
    scipy.io.savemat(tmp_path / "BFM_UV.mat", {"UV": uv})
    model, report = import_bfm2009(**files, uv=tmp_path / "BFM_UV.mat")
    assert model.uv is not None
    assert np.allclose(model.uv, uv[bfm.whole_of_front], atol=1e-7)
    assert not report.missing
    scipy.io.savemat(tmp_path / "BFM_UV.mat", {"UV": uv[:-5]})
    with pytest.raises(FaceModelError, match=r"UV: expected shape \(360, 2\), received \(355, 2\)"):
        import_bfm2009(**files, uv=tmp_path / "BFM_UV.mat")


def test_progress_rises_to_one(files: dict[str, Any]) -> None:
    fractions: list[float] = []
    import_bfm2009(**files, progress=lambda message, fraction: fractions.append(fraction))
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len(fractions) > 3


def test_new_matlab_files_read_alike(broken: dict[str, Any], bfm: SyntheticBfm, front: FaceModel) -> None:
    with h5py.File(broken["morphable_model"], "w", userblock_size=512) as file:
        for name, value in morphable_model_variables(bfm).items():
            file[name] = value.T
    with broken["morphable_model"].open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(128))
    model, _ = import_bfm2009(**broken)
    torch.testing.assert_close(tensors_of(model), tensors_of(front))


def test_missing_files_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(AssetNotFoundError) as error:
        import_bfm2009(tmp_path / "a.mat", tmp_path / "b.bin", tmp_path / "BFM")
    for text in ("01_MorphableModel.mat", "Exp_Pca.bin", "Deep3DFaceRecon", "faces.dmi.unibas.ch", "other models"):
        assert text in str(error.value)
    assert str(error.value).count("Deep3DFaceRecon checkout") == 1  # four files, one remark
    with pytest.raises(AssetNotFoundError, match=r"01_MorphableModel"):
        import_bfm2009(tmp_path, tmp_path, tmp_path)  # folders are no files


def test_bfm2017_given_as_2009(broken: dict[str, Any]) -> None:
    with h5py.File(broken["morphable_model"], "w") as file:
        file["shape/model/mean"] = np.zeros(6)
    with pytest.raises(FaceModelError, match=r"HDF5.*2017"):
        import_bfm2009(**broken)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(shapePC=v["shapePC"].T), r"shapePC: expected shape \(1080, 199\).*transposed"),
        (lambda v: v.pop("texPC"), "expected a variable 'texPC', found"),
        (lambda v: v.update(shapeMU=v["shapeMU"][:-3]), r"shapeMU: expected shape \(1080\), received \(1077,\)"),
        (lambda v: v["shapePC"].__setitem__((5, 0), np.nan), "shapePC: expected finite numbers"),
        (lambda v: v.update(shapePC=v["shapePC"] * 1000.0), "shapePC: expected orthonormal columns"),
        (lambda v: v.update(shapeMU=v["shapeMU"] / 1000.0), "micrometres.*is it the 2009 model"),
        (lambda v: v.update(tl=v["tl"] - 1), "tl: expected ids 1..360, received 0..359.*counts from 0"),
    ],
)
def test_spoilt_morphable_models(change: Any, message: str, broken: dict[str, Any], bfm: SyntheticBfm) -> None:
    variables = {name: np.array(value) for name, value in morphable_model_variables(bfm).items()}
    change(variables)
    scipy.io.savemat(broken["morphable_model"], variables)
    with pytest.raises(FaceModelError, match=message):
        import_bfm2009(**broken, crop="full")


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "facemodel_info.mat",
            lambda v: v.update(tri=v["tri"] - 1),
            "tri: expected ids 1..*, received 0.*counts from 0",
        ),
        ("facemodel_info.mat", lambda v: v.update(tri=v["tri"].T), r"tri: expected shape \(any, 3\).*transposed"),
        (
            "facemodel_info.mat",
            lambda v: v.update(keypoints=v["keypoints"][:, :60]),
            r"keypoints: expected shape \(68\)",
        ),
        ("facemodel_info.mat", lambda v: v["tri"].__setitem__((0, 0), 5.5), "tri: expected whole numbers"),
        (
            "facemodel_info.mat",
            lambda v: v["point_buf"].__setitem__((0, 0), 90),
            "expected point_buf to list.*1 vertices",
        ),
        ("facemodel_info.mat", lambda v: v.update(tri_mask2=v["tri_mask2"][::-1]), "expected the triangles inside"),
        ("BFM_exp_idx.mat", lambda v: v.update(trimIndex=v["trimIndex"] - 1), "trimIndex: expected ids 1"),
        ("BFM_front_idx.mat", lambda v: v.update(idx=v["idx"] + 400), "idx: expected ids 1..358"),
        ("BFM_front_idx.mat", lambda v: v.pop("idx"), "expected a variable 'idx'"),
    ],
)
def test_spoilt_tables(file: str, change: Any, message: str, broken: dict[str, Any], bfm: SyntheticBfm) -> None:
    variables = {name: np.array(value) for name, value in table_variables(bfm)[file].items()}
    change(variables)
    scipy.io.savemat(broken["tables"] / file, {**variables, "unrelated": np.zeros(1)})
    with pytest.raises(FaceModelError, match=message):
        import_bfm2009(**broken)


def test_truncated_files(broken: dict[str, Any]) -> None:
    expression = broken["expression"].read_bytes()
    broken["expression"].write_bytes(expression[:-4])
    with pytest.raises(FaceModelError, match=r"Exp_Pca.bin: expected .* received \d+ bytes with K = 79"):
        import_bfm2009(**broken)
    broken["expression"].write_bytes(b"")
    with pytest.raises(FaceModelError, match="received 0 bytes"):
        import_bfm2009(**broken)
    broken["expression"].write_bytes(expression)
    whole = broken["morphable_model"].read_bytes()
    for size in (0, 60, len(whole) // 3):
        broken["morphable_model"].write_bytes(whole[:size])
        with pytest.raises(FaceModelError, match=r"01_MorphableModel.mat: expected a (whole MATLAB file|variable)"):
            import_bfm2009(**broken)


def test_spoilt_deviations(broken: dict[str, Any]) -> None:
    (broken["tables"] / "std_exp.txt").write_text("1 2 three")
    with pytest.raises(FaceModelError, match=r"std_exp.txt: expected numbers"):
        import_bfm2009(**broken)
    (broken["tables"] / "std_exp.txt").write_text("1 2 3")
    with pytest.raises(FaceModelError, match=r"std_exp.txt: expected 79 deviations.*received 3"):
        import_bfm2009(**broken)


def test_more_modes_than_there_are(files: dict[str, Any]) -> None:
    with pytest.raises(FaceModelError, match=r"expected 0 \(all\) to 199 modes, received 300"):
        import_bfm2009(**files, num_id=300)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_full_size_decodes_to_the_digit(shared_dir: Path, tmp_path: Path) -> None:
    bfm = full_bfm(np.random.default_rng(0), shared_dir / "bfm_tables")
    files = write_bfm2009(tmp_path, bfm, similarity=False)
    model, _ = import_bfm2009(**{**files, "tables": shared_dir / "bfm_tables"})
    assert model.mean_shape.shape == (35709, 3)
    assert model.faces.shape == (70789, 3)
    assert_decodes_as(model, bfm, random_coefficients(model.layout))
