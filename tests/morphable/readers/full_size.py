"""Files of every kind in their published sizes, with made-up numbers: for slow tests and for the import benchmark."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from scipy.sparse import csc_matrix

from facewright.morphable.readers import ImportArguments
from facewright.morphable.readers.bfm2009 import Bfm2009Arguments
from facewright.morphable.readers.bfm_front import BfmFrontArguments
from facewright.morphable.readers.bfm_h5 import Bfm2019Arguments
from facewright.morphable.readers.flame import FlameArguments
from facewright.morphable.readers.gnm import GnmArguments
from facewright.morphable.readers.ict import IctArguments
from tests.morphable.readers.synthetic_bfm import (
    SyntheticBfm,
    crop,
    front_variables,
    grid_faces,
    orthonormal,
    statistics,
    write_bfm2009,
)
from tests.morphable.readers.synthetic_head import synthetic_head


def full_size_head(count: int, units_per_dm: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, triangles and landmark ids: an ellipsoid's grid that passes through the toy head's 68 landmarks."""
    rng = np.random.default_rng(1)
    columns = 131
    rows = -(-count // columns)
    height, angle = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-2.6, 2.6, columns), indexing="ij")
    wide = np.sqrt(1.02 - height**2)
    grid = np.stack([0.76 * wide * np.sin(angle), 1.1 * height, 0.95 * wide * np.cos(angle) - 0.55], -1).reshape(-1, 3)
    faces = grid_faces(rows, columns)
    faces = faces[(faces < count).all(1)]
    head = synthetic_head(1.0)
    landmarks = rng.choice(count, 68, replace=False)
    vertices = grid[:count]
    vertices[landmarks] = head.mean[head.ibug68]
    return units_per_dm * vertices, faces, landmarks


def full_size_bfm() -> SyntheticBfm:
    """A sheet of 30 x 1783 vertices with a 275-vertex "inner mouth" and a 35,709-vertex crop."""
    rng = np.random.default_rng(0)
    rows, columns = 30, 1783
    y, x = np.meshgrid(np.linspace(-0.9, 0.9, rows), np.linspace(-0.7, 0.7, columns), indexing="ij")
    mean = np.stack([x, y, 0.8 - 0.4 * (x**2 + y**2)], -1).reshape(-1, 3) * 1e5
    ids = np.arange(rows * columns).reshape(rows, columns)
    trimmed = np.setdiff1d(ids, ids[10:15, 900:955])
    inside = np.isin(trimmed, ids[:, 300:1500])
    front = np.flatnonzero(inside)[:35709]
    whole_faces = grid_faces(rows, columns)
    front_faces = crop(whole_faces, trimmed[front], rows * columns)
    masks = rng.random((2, len(front))) < 0.7
    keypoints = rng.choice(len(front), 68, replace=False)
    numbers = statistics(rng, mean, rows * columns, len(trimmed))
    return SyntheticBfm(trimmed, front, front_faces, whole_faces, keypoints, masks[0], masks[1], *numbers)


def write_full_bfm2009(folder: Path) -> ImportArguments:
    """53,490 vertices, 199 + 79 + 199 modes; a compressed MATLAB file, as the published one is."""
    return Bfm2009Arguments(**write_bfm2009(folder, full_size_bfm(), compressed=True))


def write_full_bfm_front(folder: Path) -> ImportArguments:
    """35,709 vertices, 80 + 64 + 80 modes."""
    scipy.io.savemat(folder / "BFM_model_front.mat", front_variables(full_size_bfm()))
    return BfmFrontArguments(folder / "BFM_model_front.mat")


def write_full_bfm2019(folder: Path) -> ImportArguments:
    """47,439 vertices, 199 + 100 + 199 modes."""
    rng = np.random.default_rng(2)
    mean, faces, landmarks = full_size_head(47439, 100.0)
    names = ["right.eye.corner_outer", "right.eye.corner_inner", "left.eye.corner_inner", "left.eye.corner_outer"]
    names += ["center.nose.tip", "right.lips.corner", "left.lips.corner"]
    ids = landmarks[[36, 39, 42, 45, 30, 48, 54]]
    listed = [{"id": name, "coordinates": mean[i].tolist()} for name, i in zip(names, ids, strict=True)]
    with h5py.File(folder / "model2019_bfm.h5", "w") as file:
        for group, modes, centre in (
            ("shape", 199, mean),
            ("expression", 100, 0.1 * mean),
            ("color", 199, 0.5 + 0 * mean),
        ):
            file[f"{group}/model/mean"] = centre.astype(np.float32).ravel()
            file[f"{group}/model/pcaBasis"] = orthonormal(rng, mean.size, modes)
            file[f"{group}/model/pcaVariance"] = np.linspace(1e4, 1.0, modes).astype(np.float32)
        file["shape/representer/cells"] = faces.T.astype(np.int32)
        file["metadata/landmarks/json"] = json.dumps(listed)
    return Bfm2019Arguments(folder / "model2019_bfm.h5")


def write_full_flame(folder: Path) -> ImportArguments:
    """5,023 vertices, 300 + 100 modes, five joints, 68 landmarks."""
    rng = np.random.default_rng(3)
    mean, faces, landmarks = full_size_head(5023, 0.1)
    arrays = {
        "v_template": mean,
        "f": faces.astype(np.uint32),
        "shapedirs": 1e-3 * rng.standard_normal((5023, 3, 400)),
        "posedirs": 1e-3 * rng.standard_normal((5023, 3, 36)),
        "J_regressor": csc_matrix(np.full((5, 5023), 1 / 5023)),
        "weights": rng.dirichlet(np.ones(5), 5023),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
    }
    (folder / "generic_model.pkl").write_bytes(pickle.dumps(arrays, protocol=2))
    holders = [int(np.flatnonzero((faces == vertex).any(1))[0]) for vertex in landmarks]
    weights = (faces[holders] == landmarks[:, None]).astype(float)
    table = {"full_lmk_faces_idx": np.array([holders]), "full_lmk_bary_coords": weights[None]}
    np.save(folder / "landmark_embedding.npy", np.array(table, dtype=object), allow_pickle=True)
    return FlameArguments(folder / "generic_model.pkl", folder / "landmark_embedding.npy")


def write_full_gnm(folder: Path) -> ImportArguments:
    """17,821 vertices, 253 + 383 modes."""
    rng = np.random.default_rng(4)
    mean, faces, landmarks = full_size_head(17821, 0.1)
    np.savez(
        folder / "gnm_head.npz",
        version=np.array("3.0"),
        template_vertex_positions=mean.astype(np.float32),
        vertex_identity_basis=1e-3 * rng.standard_normal((253, 17821, 3), np.float32),
        expression_basis=1e-3 * rng.standard_normal((383, 17821, 3), np.float32),
        expression_names=np.array([f"lower_face_region_{k}" for k in range(383)]),
        triangles=faces.astype(np.int32),
        triangle_uvs=rng.random((len(faces), 3, 2), np.float32),
        vertex_groups=np.ones((1, 17821), np.float32),
        vertex_group_names=np.array(["skin"]),
        mirror_indices=np.arange(17821),
    )
    rows = np.zeros((68, 6))
    rows[:, 0], rows[:, 1] = landmarks, 1.0
    np.savetxt(folder / "head_sparse_68.txt", rows)
    return GnmArguments(folder / "gnm_head.npz", folder / "head_sparse_68.txt")


def write_full_ict(folder: Path) -> ImportArguments:
    """26,719 vertices in 100 identity and 53 expression files."""
    rng = np.random.default_rng(5)
    neutral, faces, _ = full_size_head(26719, 10.0)
    head = synthetic_head(10.0)
    landmarks = rng.choice(9409, 68, replace=False)
    neutral[landmarks] = head.mean[head.ibug68]
    expressions = [f"shape{k:02d}_L" for k in range(53)]
    names = ["generic_neutral_mesh", *(f"identity{k:03d}" for k in range(100)), *expressions]
    for name in names:
        offset = 0.0 if name == names[0] else 0.1 * rng.standard_normal((26719, 3))
        lines = [f"v {x:.15f} {y:.15f} {z:.15f}" for x, y, z in neutral + offset]
        corners = [f"f {a} {b} {c}" for a, b, c in faces + 1]
        (folder / f"{name}.obj").write_text("\n".join(lines + corners))
    config = {"expressions": expressions, "idx_to_landmark_verts": landmarks.tolist()}
    (folder / "vertex_indices.json").write_text(json.dumps(config))
    return IctArguments(folder)


WRITERS: dict[str, Callable[[Path], ImportArguments]] = {
    "bfm2009": write_full_bfm2009,
    "bfm-front": write_full_bfm_front,
    "bfm2019": write_full_bfm2019,
    "flame": write_full_flame,
    "gnm": write_full_gnm,
    "ict": write_full_ict,
}
"""Kind -> writer into an empty folder; returns the arguments that import it."""
