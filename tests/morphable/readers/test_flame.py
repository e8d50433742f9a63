"""FLAME: the linear part against the formula, joint modes against full posing, the frame, malformed files."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csc_matrix
from scipy.spatial.transform import Rotation

from facewright.errors import AssetNotFoundError, FaceModelError
from facewright.geometry.five_points import deep3d_template
from facewright.morphable.readers.flame import JOINTS, import_flame
from facewright.morphable.readers.frame import source_from_model
from tests.morphable.readers.synthetic_head import (
    SyntheticHead,
    assert_stands_in_the_deep3d_frame,
    parts,
    synthetic_head,
)


@dataclass
class Flame:
    """Arrays of a FLAME file over the toy head, metres."""

    head: SyntheticHead
    arrays: dict[str, Any]
    joints: np.ndarray

    def posed(self, angles: np.ndarray) -> np.ndarray:
        """FLAME's own posing (skinning with pose correctives) of the mean face, float64, written from the paper.

        Args:
            angles: axis-angle of the five joints.
        """
        rotations = Rotation.from_rotvec(angles).as_matrix()
        feature = (rotations[1:] - np.eye(3)).ravel()
        vertices = self.head.mean + self.arrays["posedirs"] @ feature
        parents = self.arrays["kintree_table"][0].astype(np.int32)
        world = np.zeros((5, 4, 4))
        for joint in range(5):
            local = np.eye(4)
            local[:3, :3] = rotations[joint]
            local[:3, 3] = self.joints[joint] - (self.joints[parents[joint]] if joint else 0.0)
            world[joint] = world[parents[joint]] @ local if joint else local
        result = np.zeros_like(vertices)
        for joint in range(5):
            moved = (vertices - self.joints[joint]) @ world[joint, :3, :3].T + world[joint, :3, 3]
            result += self.arrays["weights"][:, joint, None] * moved
        return result


@pytest.fixture(scope="module")
def flame() -> Flame:
    return make_flame()


def make_flame() -> Flame:
    """FLAME's arrays and numbers of modes over the toy head."""
    head = synthetic_head(0.1, num_id=300, num_exp=100, shift_dm=0.4)
    rng = np.random.default_rng(8)
    count = head.count
    regressor = np.zeros((5, count))
    for joint in range(5):
        regressor[joint, rng.choice(count, 6, replace=False)] = 1.0 / 6.0
    eyes = [[42, 45], [36, 39]]  # the left eye is joint 3
    for joint, corners in zip((3, 4), eyes, strict=True):
        regressor[joint] = 0.0
        regressor[joint, head.ibug68[corners]] = 0.5
    weights = rng.dirichlet(np.ones(5), count)
    arrays = {
        "v_template": head.mean,
        "f": head.faces.astype(np.uint32),
        "shapedirs": np.concatenate([head.id_modes, head.exp_modes], 2),
        "posedirs": 1e-3 * rng.standard_normal((count, 3, 36)),
        "J_regressor": csc_matrix(regressor),
        "weights": weights,
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "bs_type": "lrotmin",
    }
    return Flame(head, arrays, regressor @ head.mean)


def write(path: Path, arrays: dict[str, Any]) -> Path:
    path.write_bytes(pickle.dumps(arrays, protocol=2))
    return path


def embedding(flame: Flame, points: int) -> dict[str, np.ndarray]:
    """Landmarks as face ids and barycentric weights whose heaviest corner is the toy head's landmark."""
    faces, weights = [], []
    for vertex in flame.head.ibug68[68 - points :]:
        face, corner = np.argwhere(flame.head.faces == vertex)[0]
        faces.append(face)
        weights.append(np.roll([0.7, 0.2, 0.1], corner))
    if points == 51:
        return {"lmk_face_idx": np.array(faces, np.uint32), "lmk_b_coords": np.array(weights)}
    return {"full_lmk_faces_idx": np.array([faces]), "full_lmk_bary_coords": np.array([weights])}


@pytest.fixture
def landmarks(flame: Flame, tmp_path: Path) -> Path:
    path = tmp_path / "landmark_embedding.npy"
    np.save(path, np.array(embedding(flame, 68), dtype=object), allow_pickle=True)
    return path


def test_decodes_as_the_formula_says(flame: Flame, landmarks: Path, tmp_path: Path) -> None:
    model, report = import_flame(write(tmp_path / "flame2023.pkl", flame.arrays), landmarks=landmarks)
    assert (model.layout.id, model.layout.exp, model.layout.tex) == (300, 103, 0)
    coefficients = model.layout.unpack(0.1 * torch.randn(1, model.layout.size))
    id_, exp, _ = parts(coefficients)
    coefficients.exp[:, 100:] = 0.0  # the joints have their own test
    metres = source_from_model(model.decode(coefficients).vertices[0].double().numpy(), model.metadata)
    assert np.abs(metres - flame.head.vertices(id_, exp[:100])).max() < 1e-6
    assert np.array_equal(model.faces, flame.head.faces)
    assert model.annotations.ibug68 is not None
    assert np.array_equal(model.annotations.ibug68, flame.head.ibug68)
    assert model.annotations.five is not None
    assert_stands_in_the_deep3d_frame(model.mean_shape.double().numpy(), model.annotations.five.numpy())
    assert any("68 landmarks" in line for line in report.found)
    assert model.albedo_space == "linear"


@pytest.mark.parametrize("joint", list(JOINTS))
def test_joint_modes_are_the_first_order_of_posing(joint: Any, flame: Flame, tmp_path: Path) -> None:
    model, _ = import_flame(write(tmp_path / "flame.pkl", flame.arrays), joints=(joint,))
    assert model.exp_names[100:] == (f"{joint}_pitch", f"{joint}_yaw", f"{joint}_roll")
    step = 1e-5
    for axis in range(3):
        angles = np.zeros((2, 5, 3))
        angles[:, JOINTS[joint], axis] = [step, -step]
        slope = (flame.posed(angles[0]) - flame.posed(angles[1])) / (2 * step)
        mode = model.exp_basis[:, :, 100 + axis].double().numpy()
        assert np.abs(mode - 10.0 * 0.1 * slope).max() < 1e-5  # dm per metre, radian per unit


def test_no_joints_on_request(flame: Flame, tmp_path: Path) -> None:
    model, _ = import_flame(write(tmp_path / "flame.pkl", flame.arrays), joints=(), num_id=10, num_exp=7)
    assert (model.layout.id, model.layout.exp) == (10, 7)


def test_without_landmarks_the_eyes_place_it(flame: Flame, tmp_path: Path) -> None:
    model, report = import_flame(write(tmp_path / "flame.pkl", flame.arrays))
    assert model.annotations.ibug68 is None
    moved = model.mean_shape.double().numpy() - 10.0 * flame.head.mean
    assert np.abs(moved - moved[0]).max() < 1e-6  # not turned
    eyes = (10.0 * flame.joints[3:] + moved[0]).mean(0)
    assert np.allclose(eyes, deep3d_template().numpy()[:2].mean(0) - [0, 0, 0.12], atol=1e-6)
    assert {part.name.split(" (")[0] for part in report.missing} >= {"68 landmarks", "regions", "texture coordinates"}


def test_51_landmarks_place_it_but_have_no_jaw(flame: Flame, tmp_path: Path) -> None:
    static = write(tmp_path / "flame_static_embedding.pkl", embedding(flame, 51))
    model, report = import_flame(write(tmp_path / "flame.pkl", flame.arrays), landmarks=static)
    assert model.annotations.ibug68 is None
    assert model.annotations.five is not None
    assert_stands_in_the_deep3d_frame(model.mean_shape.double().numpy(), model.annotations.five.numpy())
    assert report.missing[0].name == "the 17 jaw landmarks"


def test_masks_texture_and_npz(flame: Flame, landmarks: Path, tmp_path: Path) -> None:
    head = flame.head
    masks = write(tmp_path / "FLAME_masks.pkl", {"lips": np.array([3, 5]), "scalp": np.array([7])})
    lines = [f"v {x} {y} {z}" for x, y, z in head.mean] + [f"vt {u} {v}" for u, v in head.uv]
    pairs = zip(head.faces + 1, head.faces_uv + 1, strict=True)
    lines += ["f " + " ".join(f"{a}/{b}" for a, b in zip(f, t, strict=True)) for f, t in pairs]
    (tmp_path / "head_template.obj").write_text("\n".join(lines))
    np.savez(
        tmp_path / "flame2023_Open.npz",
        **{k: v.toarray() if k == "J_regressor" else v for k, v in flame.arrays.items() if k != "bs_type"},
    )
    model, report = import_flame(
        tmp_path / "flame2023_Open.npz",
        landmarks=landmarks,
        masks=masks,
        template=tmp_path / "head_template.obj",
    )
    assert model.annotations.regions["lips"].nonzero().ravel().tolist() == [3, 5]
    assert np.array_equal(model.faces_uv, head.faces_uv)  # pyright: ignore[reportArgumentType] - it has texture
    assert np.allclose(model.uv, head.uv)  # pyright: ignore[reportArgumentType] - it has texture
    assert [part.name for part in report.missing] == ["albedo"]
    (tmp_path / "head_template.obj").write_text("\n".join(lines[: head.count + len(head.uv) + 5]))
    with pytest.raises(FaceModelError, match="expected the model's own triangles"):
        import_flame(tmp_path / "flame2023_Open.npz", template=tmp_path / "head_template.obj")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("v_template"), "expected an array 'v_template', found J_regressor"),
        (lambda a: a.update(shapedirs=a["shapedirs"][..., :399]), r"shapedirs: expected shape \(\d+, 3, 400\)"),
        (lambda a: a.update(shapedirs=None), "shapedirs: expected shape"),
        (lambda a: a.update(f=a["f"].T), "f: expected shape .*transposed"),
        (lambda a: a.update(f=a["f"] + 1), "f: expected ids 0"),
        (lambda a: a.update(weights=a["weights"].T), "weights: expected shape .*transposed"),
        (lambda a: a.update(kintree_table=a["kintree_table"][:, ::-1]), "expected kintree_table with parents"),
        (lambda a: a["v_template"].__setitem__((0, 0), np.nan), "v_template: expected finite"),
    ],
)
def test_spoilt_models(change: Any, message: str, flame: Flame, tmp_path: Path) -> None:
    arrays = {key: value.copy() if hasattr(value, "copy") else value for key, value in flame.arrays.items()}
    change(arrays)
    with pytest.raises(FaceModelError, match=message):
        import_flame(write(tmp_path / "flame.pkl", arrays))


def test_a_model_in_millimetres_is_noticed(flame: Flame, landmarks: Path, tmp_path: Path) -> None:
    arrays = flame.arrays | {"v_template": 1000.0 * flame.head.mean}
    with pytest.raises(FaceModelError, match="human face in metre"):
        import_flame(write(tmp_path / "flame.pkl", arrays), landmarks=landmarks)


def test_spoilt_landmarks_and_masks(flame: Flame, tmp_path: Path) -> None:
    model = write(tmp_path / "flame.pkl", flame.arrays)
    good = embedding(flame, 51)
    for table, message in (
        ({"lmk_face_idx": good["lmk_face_idx"]}, "expected an array 'lmk_b_coords'"),
        (good | {"lmk_face_idx": good["lmk_face_idx"] + 10**6}, "lmk_face_idx: expected ids 0"),
        (good | {"lmk_b_coords": 2 * good["lmk_b_coords"]}, "expected barycentric weights that sum to 1"),
        (good | {"lmk_face_idx": good["lmk_face_idx"][:5]}, r"lmk_face_idx: expected shape \(51\)"),
    ):
        with pytest.raises(FaceModelError, match=message):
            import_flame(model, landmarks=write(tmp_path / "embedding.pkl", table))
    with pytest.raises(FaceModelError, match="lips: expected ids 0"):
        import_flame(model, masks=write(tmp_path / "masks.pkl", {"lips": np.array([10**6])}))


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(AssetNotFoundError, match=r"flame\.is\.tue\.mpg\.de"):
        import_flame(tmp_path / "absent.pkl")
