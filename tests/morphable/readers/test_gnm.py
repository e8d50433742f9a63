"""GNM Head: modes, groups, landmarks and texture of the true layout, against the formula."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facewright.errors import AssetNotFoundError, FaceModelError
from facewright.morphable.readers.frame import source_from_model
from facewright.morphable.readers.gnm import import_gnm
from tests.morphable.readers.synthetic_head import (
    SyntheticHead,
    assert_stands_in_the_deep3d_frame,
    parts,
    synthetic_head,
    turn,
)

GROUPS = ("skin", "left_eye", "eye_exteriors", "tongue")


@pytest.fixture(scope="module")
def head() -> SyntheticHead:
    return synthetic_head(0.1, num_id=6, num_exp=5, shift_dm=-0.8)


def group_of(head: SyntheticHead) -> np.ndarray:
    """The group of each vertex: skin where there are landmarks, the others at the back of the head."""
    groups = np.zeros(head.count, int)
    free = np.setdiff1d(np.arange(head.count), head.ibug68)
    back = free[np.argsort(head.mean[free, 2])[:30]]
    for k in range(1, 4):
        groups[back[10 * k - 10 : 10 * k]] = k
    return groups


def contents(head: SyntheticHead) -> dict[str, np.ndarray]:
    groups = group_of(head)
    id_modes, exp_modes = head.id_modes.copy(), head.exp_modes.copy()
    id_modes[:, :, 4] *= (groups == 3)[:, None]  # a tongue mode
    exp_modes[:, :, 2] *= (groups == 2)[:, None]
    return {
        "version": np.array("3.0"),
        "variant": np.array("head"),
        "template_vertex_positions": head.mean.astype(np.float32),
        "vertex_identity_basis": id_modes.transpose(2, 0, 1).astype(np.float32),
        "expression_basis": exp_modes.transpose(2, 0, 1).astype(np.float32),
        "joint_identity_basis": np.zeros((6, 4, 3), np.float32),
        "template_joint_positions": np.zeros((4, 3), np.float32),
        "joint_names": np.array(["neck", "head", "left_eye", "right_eye"]),
        "joint_parent_indices": np.array([0, 0, 1, 1]),
        "skinning_weights": np.zeros((4, head.count), np.float32),
        "quads": np.zeros((1, 4), np.int32),
        "quad_uvs": np.zeros((1, 4, 2), np.float32),
        "triangles": head.faces.astype(np.int32),
        "triangle_uvs": head.uv[head.faces_uv].astype(np.float32),
        "vertex_groups": np.stack([groups == k for k in range(4)]).astype(np.float32),
        "vertex_group_names": np.array(GROUPS),
        "mesh_component_names": np.array(["skin", "left_eye", "tongue"]),
        "identity_names": np.array([f"head_{k}" for k in range(6)]),
        "expression_names": np.array([f"lower_face_region_{k}" for k in range(5)]),
        "mirror_indices": np.arange(head.count)[::-1],
        "pose_correctives_regressor": np.zeros((9, 3), np.float32),
        "joint_regressor": np.zeros((4, head.count), np.float32),
    }


def landmark_rows(head: SyntheticHead) -> np.ndarray:
    """Rows i0 w0 i1 w1 i2 w2, the heaviest corner being the landmark; some jaw points in another order."""
    rows = []
    for vertex in head.ibug68[[0, 1, 6, 5, 4, 3, 2, *range(7, 68)]]:
        face, corner = np.argwhere(head.faces == vertex)[0]
        rows.append(np.stack([head.faces[face], np.roll([0.6, 0.3, 0.1], corner)], 1).ravel())
    return np.array(rows)


def write(folder: Path, arrays: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, Any]:
    np.savez(folder / "gnm_head.npz", **arrays)  # pyright: ignore[reportArgumentType] - its stub takes allow_pickle for a key
    np.savetxt(folder / "head_sparse_68.txt", rows, fmt="%.6f")
    return {"model": folder / "gnm_head.npz", "landmarks": folder / "head_sparse_68.txt"}


@pytest.fixture
def files(head: SyntheticHead, tmp_path: Path) -> dict[str, Any]:
    return write(tmp_path, contents(head), landmark_rows(head))


def test_decodes_as_the_formula_says(files: dict[str, Any], head: SyntheticHead) -> None:
    model, report = import_gnm(**files, drop=())
    coefficients = model.layout.unpack(torch.randn(1, model.layout.size))
    id_, exp, _ = parts(coefficients)
    stored = contents(head)
    expected = stored["template_vertex_positions"].astype(np.float64)
    expected = expected + np.einsum("k,kvc->vc", id_, stored["vertex_identity_basis"])
    expected = expected + np.einsum("k,kvc->vc", exp, stored["expression_basis"])
    metres = source_from_model(model.decode(coefficients).vertices[0].double().numpy(), model.metadata)
    assert np.abs(metres - expected).max() < 1e-6
    assert model.annotations.ibug68 is not None
    assert model.annotations.five is not None
    assert_stands_in_the_deep3d_frame(model.mean_shape.double().numpy(), model.annotations.five.numpy())
    assert model.annotations.mirror is not None
    assert np.array_equal(model.annotations.mirror, stored["mirror_indices"])
    assert any("6 identity and 5 expression" in line for line in report.found)
    assert any("joints" in note for note in report.notes)


def test_jaw_points_are_brought_into_order(files: dict[str, Any], head: SyntheticHead) -> None:
    model, report = import_gnm(**files, drop=())
    assert model.annotations.ibug68 is not None
    assert np.array_equal(model.annotations.ibug68, head.ibug68)
    assert any("4 jaw landmarks were brought into order" in note for note in report.notes)


def test_groups_can_be_left_out(files: dict[str, Any], head: SyntheticHead) -> None:
    model, report = import_gnm(**files)
    kept = np.flatnonzero(group_of(head) != 2)
    assert len(model.mean_shape) == len(kept)
    assert set(model.annotations.regions) == {"skin", "left_eye", "tongue"}
    assert model.layout.exp == 4
    assert model.exp_names == tuple(f"lower_face_region_{k}" for k in (0, 1, 3, 4))
    assert any("0 identity and 1 expression modes do not move" in note for note in report.notes)
    outer = np.isin(head.faces, kept).all(1)
    assert np.array_equal(kept[model.faces], head.faces[outer])
    assert model.uv is not None
    assert model.faces_uv is not None
    assert np.allclose(model.uv.numpy()[model.faces_uv], head.uv[head.faces_uv[outer]], atol=1e-6)
    assert len(np.unique(model.uv, axis=0)) == len(model.uv)


def test_groups_can_be_chosen(files: dict[str, Any], head: SyntheticHead) -> None:
    model, _ = import_gnm(**files, keep=("skin",))
    assert len(model.mean_shape) == (group_of(head) == 0).sum()
    assert model.layout.id == 5
    assert model.annotations.face_parts["skin"].all()


def test_texture_tiles_come_into_the_unit_square(head: SyntheticHead, tmp_path: Path) -> None:
    arrays = contents(head)
    arrays["triangle_uvs"][:50, :, 0] += 2.0
    model, _ = import_gnm(**write(tmp_path, arrays, landmark_rows(head)), drop=())
    assert model.uv is not None
    assert model.uv.max() <= 1.0
    assert model.faces_uv is not None
    assert np.allclose(model.uv.numpy()[model.faces_uv], arrays["triangle_uvs"] / 3.0, atol=1e-6)


def test_a_turned_model_gives_the_same_result(files: dict[str, Any], tmp_path: Path) -> None:
    first, _ = import_gnm(**files)
    other = synthetic_head(0.1, num_id=6, num_exp=5, rotation=turn(0.02, 0.7, 0.03), shift_dm=2.0)
    arrays = contents(other) | {"vertex_groups": contents(synthetic_head(0.1, num_id=6, num_exp=5))["vertex_groups"]}
    (tmp_path / "turned").mkdir()
    second, _ = import_gnm(**write(tmp_path / "turned", arrays, landmark_rows(other)))
    torch.testing.assert_close(first.mean_shape, second.mean_shape, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("triangles"), "expected an array 'triangles', found expression_basis"),
        (
            lambda a: a.update(vertex_identity_basis=a["vertex_identity_basis"].transpose(1, 2, 0)),
            r"identity: expected shape \(any, \d+, 3\)",
        ),
        (lambda a: a.update(triangles=a["triangles"] + 1), "expected ids 0"),
        (lambda a: a.update(triangle_uvs=a["triangle_uvs"][1:]), "triangle_uvs: expected shape"),
        (
            lambda a: a.update(vertex_group_names=a["vertex_group_names"][1:]),
            "expected 4 entries in vertex_group_names",
        ),
        (lambda a: a["template_vertex_positions"].__imul__(100), "human face in metre"),
        (lambda a: a["expression_basis"].__setitem__((0, 0, 0), np.inf), "expression: expected finite"),
        (lambda a: a.update(mirror_indices=a["mirror_indices"] - 5), "mirror_indices: expected ids 0"),
    ],
)
def test_spoilt_models(change: Any, message: str, head: SyntheticHead, tmp_path: Path) -> None:
    arrays = contents(head)
    change(arrays)
    with pytest.raises(FaceModelError, match=message):
        import_gnm(**write(tmp_path, arrays, landmark_rows(head)))


def test_spoilt_landmarks_and_groups(files: dict[str, Any], head: SyntheticHead, tmp_path: Path) -> None:
    rows = landmark_rows(head)
    for table, message in (
        (rows[:50], r"expected shape \(68, 6\)"),
        (rows * 2.5, "expected .*whole numbers|expected ids"),
    ):
        np.savetxt(files["landmarks"], table)
        with pytest.raises(FaceModelError, match=message):
            import_gnm(**files)
    files["landmarks"].write_text("one two")
    with pytest.raises(FaceModelError, match="expected 68 rows of three ids and weights"):
        import_gnm(**files)
    np.savetxt(files["landmarks"], rows)
    with pytest.raises(FaceModelError, match="keep the group 'skin'"):
        import_gnm(**files, keep=("tongue",))
    with pytest.raises(FaceModelError, match=r"expected groups out of eye_exteriors, left_eye.*received nose"):
        import_gnm(**files, keep=("nose",))


def test_truncated_foreign_and_missing_files(files: dict[str, Any], tmp_path: Path) -> None:
    content = files["model"].read_bytes()
    files["model"].write_bytes(content[: len(content) // 2])
    with pytest.raises(FaceModelError, match=r"expected a whole \.npz of plain arrays"):
        import_gnm(**files)
    np.savez(files["model"], template_vertex_positions=np.array([{}], dtype=object))
    with pytest.raises(FaceModelError, match=r"expected a whole \.npz of plain arrays"):
        import_gnm(**files)
    with pytest.raises(AssetNotFoundError, match="huggingface"):
        import_gnm(tmp_path / "absent.npz", tmp_path / "absent.txt")
