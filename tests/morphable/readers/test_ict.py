"""ICT-FaceKit: a clone's OBJ files of the true size, modes on chosen parts, against the formula."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facewright.errors import AssetNotFoundError, FaceModelError
from facewright.morphable.linear import FaceModel
from facewright.morphable.readers.frame import source_from_model
from facewright.morphable.readers.ict import PARTS, VERTICES, import_ict
from tests.morphable.readers.synthetic_head import assert_stands_in_the_deep3d_frame, synthetic_head

EXPRESSIONS = ("browDown_L", "eyeBlink_R", "jawOpen", "mouthSmile_L")


@dataclass
class Clone:
    """What the files hold; centimetres."""

    folder: Path
    neutral: np.ndarray
    id_modes: np.ndarray
    exp_modes: np.ndarray
    polygons: list[list[int]]
    texture: list[list[int]]
    uv: np.ndarray
    landmarks: np.ndarray


def obj_text(vertices: np.ndarray, clone: Clone | None = None) -> str:
    lines = [f"v {x:.9f} {y:.9f} {z:.9f}" for x, y, z in vertices]
    if clone is not None:
        lines = ["mtllib ICTFaceModelMaterial.mtl", *lines, *(f"vt {u:.9f} {v:.9f}" for u, v in clone.uv)]
        lines.append("usemtl M_Face")
        for polygon, texture in zip(clone.polygons, clone.texture, strict=True):
            lines.append("f " + " ".join(f"{v + 1}/{t + 1}" for v, t in zip(polygon, texture, strict=True)))
    return "\n".join(lines) + "\n"


def make_clone(root: Path, num_id: int, expressions: tuple[str, ...]) -> Clone:
    """A ball of a head with the toy head's landmarks, random outward polygons and random modes."""
    rng = np.random.default_rng(9)
    directions = rng.standard_normal((VERTICES, 3))
    neutral = 9.0 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    head = synthetic_head(10.0)
    landmarks = rng.choice(PARTS["face"][1], 68, replace=False)
    neutral[landmarks] = head.mean[head.ibug68]
    free = np.setdiff1d(np.arange(VERTICES), landmarks)
    polygons, texture = [], []
    for first, end in PARTS.values():
        own = free[(free >= first) & (free < end)]
        for _ in range(150):
            a, b, c = corners = [int(v) for v in rng.choice(own, 3, replace=False)]
            outward = np.cross(neutral[b] - neutral[a], neutral[c] - neutral[a]) @ neutral[corners].sum(0) > 0
            polygons.append(corners if outward else corners[::-1])
            texture.append(polygons[-1])
    polygons.append([int(v) for v in landmarks[[36, 48, 54, 45]]])  # a quad of the face, counter-clockwise
    texture.append(polygons[-1])
    uv = rng.random((VERTICES, 2))
    uv[PARTS["head_neck"][0] : PARTS["head_neck"][1], 0] += 1.0
    folder = root / "FaceXModel"
    folder.mkdir()
    clone = Clone(
        root,
        neutral,
        0.3 * rng.standard_normal((VERTICES, 3, num_id)),
        0.2 * rng.standard_normal((VERTICES, 3, len(expressions))),
        polygons,
        texture,
        uv,
        landmarks,
    )
    (folder / "generic_neutral_mesh.obj").write_text(obj_text(neutral, clone))
    for k in range(num_id):
        (folder / f"identity{k:03d}.obj").write_text(obj_text(neutral + clone.id_modes[:, :, k]))
    for k, name in enumerate(expressions):
        (folder / f"{name}.obj").write_text(obj_text(neutral + clone.exp_modes[:, :, k]))
    config = {"expressions": expressions, "idx_to_landmark_verts": landmarks.tolist(), "idx_to_rigid_landmark_idx": [0]}
    (folder / "vertex_indices.json").write_text(json.dumps(config))
    return clone


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return make_clone(tmp_path_factory.mktemp("ict"), 3, EXPRESSIONS)


@pytest.fixture(scope="module")
def face(clone: Clone) -> FaceModel:
    return import_ict(clone.folder, parts=("face",))[0]


def test_whole_head_decodes_as_the_formula_says(clone: Clone) -> None:
    said: list[str] = []
    everything: Any = tuple(PARTS)
    model, report = import_ict(clone.folder, parts=everything, progress=lambda message, _: said.append(message))
    assert {"identity002", "jawOpen"} <= set(said)
    assert len(model.mean_shape) == VERTICES
    exp = torch.rand(1, 4)
    centimetres = source_from_model(model.shape(torch.zeros(1, 3), exp)[0].double().numpy(), model.metadata)
    expected = clone.neutral + clone.exp_modes @ exp[0].double().numpy()
    assert np.abs(centimetres - expected).max() < 1e-4
    assert model.exp_is_box
    assert model.exp_names == ("browDownLeft", "eyeBlinkRight", "jawOpen", "mouthSmileLeft")
    assert model.annotations.ibug68 is not None
    assert model.annotations.five is not None
    assert np.array_equal(model.annotations.ibug68, clone.landmarks)
    assert_stands_in_the_deep3d_frame(model.mean_shape.double().numpy(), model.annotations.five.numpy())
    assert any("texture tiles were shrunk" in note for note in report.notes)
    assert any("3 identity modes" in line and "4 named expressions" in line for line in report.found)


def test_identity_modes_keep_their_covariance_on_a_part(clone: Clone, face: FaceModel) -> None:
    kept = slice(*PARTS["face"])
    ours = 10.0 * face.id_basis.double().numpy().reshape(-1, 3)
    rotation = np.array(face.metadata["source_frame"]["rotation"])
    given = np.einsum("ij,vjk->vik", rotation, clone.id_modes[kept]).reshape(-1, 3)
    sample = np.random.default_rng(0).choice(len(given), 200, replace=False)
    assert np.allclose(ours[sample] @ ours.T, given[sample] @ given.T, atol=1e-4)  # B B^T: the covariance of shapes
    gram = ours.T @ ours
    assert np.abs(gram - np.diag(np.diag(gram))).max() < 1e-6 * gram.max()
    assert (np.diff(np.diag(gram)) <= 0).all()


def test_parts_triangles_and_texture(clone: Clone, face: FaceModel) -> None:
    end = PARTS["face"][1]
    expected = [p for p in clone.polygons if len(p) == 3 and max(p) < end]
    quad = clone.polygons[-1]
    expected += [[quad[0], quad[1], quad[2]], [quad[0], quad[2], quad[3]]]
    assert face.faces.tolist() == expected
    assert face.uv is not None
    assert face.faces_uv is not None
    assert np.allclose(face.uv.numpy()[face.faces_uv], clone.uv[face.faces], atol=1e-6)
    assert len(face.uv) == len(np.unique(face.faces))  # only what is used
    assert face.annotations.regions["face"].all()


def test_parts_are_marked_and_modes_can_be_cut(clone: Clone) -> None:
    model, _ = import_ict(clone.folder / "FaceXModel", parts=("face", "teeth"), num_id=2)
    assert model.layout.id == 2
    teeth = model.annotations.regions["teeth"]
    assert teeth.sum() == PARTS["teeth"][1] - PARTS["teeth"][0]
    assert not teeth[: PARTS["face"][1]].any()
    assert torch.equal(model.annotations.face_parts["teeth"], (teeth > 0.5)[model.faces].all(1))


@pytest.fixture
def broken(clone: Clone, tmp_path: Path) -> Path:
    """A clone of its own that a test may spoil."""
    return Path(shutil.copytree(clone.folder, tmp_path / "clone")) / "FaceXModel"


def edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "vertex_indices.json").read_text()) | changes
    (folder / "vertex_indices.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def test_spoilt_configuration(broken: Path, clone: Clone) -> None:
    for changes, message in (
        ({"idx_to_landmark_verts": None}, "expected an array 'idx_to_landmark_verts', found expressions"),
        ({"idx_to_landmark_verts": clone.landmarks[:50].tolist()}, r"expected shape \(68\)"),
        ({"idx_to_landmark_verts": [VERTICES] * 68}, "expected ids 0..26718"),
        ({"idx_to_landmark_verts": [20000] * 68}, "keep the part 'face'"),
        ({"idx_to_landmark_verts": clone.landmarks[::-1].tolist()}, "human face in centimetre"),
    ):
        edit_config(broken, **({"idx_to_landmark_verts": clone.landmarks.tolist()} | changes))
        with pytest.raises(FaceModelError, match=message):
            import_ict(broken, parts=("face",))
    (broken / "vertex_indices.json").write_text("{")
    with pytest.raises(FaceModelError, match="expected JSON"):
        import_ict(broken, parts=("face",))
    (broken / "vertex_indices.json").write_text("[1]")
    with pytest.raises(FaceModelError, match="expected a JSON object, received list"):
        import_ict(broken, parts=("face",))


def test_spoilt_meshes(broken: Path) -> None:
    target = broken / "identity001.obj"
    whole = target.read_text()
    for text, message in (
        (whole[: len(whole) // 2].rsplit("\n", 1)[0], r"identity001\.obj: expected 26719 vertices, received \d+"),
        ("", r"identity001\.obj: expected lines 'v', found none"),
        (whole.replace("v ", "v x", 1), "identity001.obj: expected 3 numbers per 'v' line"),
    ):
        target.write_text(text)
        with pytest.raises(FaceModelError, match=message):
            import_ict(broken, parts=("face",))
    target.write_text(whole)
    neutral = broken / "generic_neutral_mesh.obj"
    mesh = neutral.read_text()
    for text, message in (
        (whole, "expected faces, found none"),
        (mesh + f"f 1/1 2/2 {VERTICES + 1}/3\n", r"expected ids 1\.\.26719 in faces, received 1\.\.26720"),
        (mesh + "f 1/1 a/2 3/3\n", "expected faces of vertex ids"),
        (mesh + "v 0 0 0\n", "expected the 26719 vertices of ICT-FaceKit Light, received 26720"),
    ):
        neutral.write_text(text)
        with pytest.raises(FaceModelError, match=message):
            import_ict(broken, parts=("face",))


def test_missing_files_and_parts(broken: Path, tmp_path: Path) -> None:
    (broken / "jawOpen.obj").unlink()
    (broken / "eyeBlink_R.obj").unlink()
    with pytest.raises(AssetNotFoundError, match=r"(?s)eyeBlink_R\.obj.*jawOpen\.obj"):
        import_ict(broken)
    with pytest.raises(AssetNotFoundError, match="git clone"):
        import_ict(tmp_path / "nowhere")
    with pytest.raises(FaceModelError, match=r"expected parts out of face, head_neck.*received none"):
        import_ict(broken, parts=())
