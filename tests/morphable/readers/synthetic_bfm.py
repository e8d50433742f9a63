"""Basel Face Model 2009, Deep3D's tables and its converted model: files of the true layout with made-up numbers."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io


@dataclass
class SyntheticBfm:
    """Everything in the files, from 0, unscaled, float32 as stored."""

    whole_of_trimmed: np.ndarray
    trimmed_of_front: np.ndarray
    front_faces: np.ndarray
    whole_faces: np.ndarray
    keypoints: np.ndarray
    photometric: np.ndarray
    skin: np.ndarray
    shape_mean: np.ndarray
    shape_modes: np.ndarray
    shape_std: np.ndarray
    tex_mean: np.ndarray
    tex_modes: np.ndarray
    tex_std: np.ndarray
    exp_modes: np.ndarray
    exp_std: np.ndarray

    @property
    def whole_of_front(self) -> np.ndarray:
        return self.whole_of_trimmed[self.trimmed_of_front]


def orthonormal(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Random orthonormal columns, float32 (Cholesky of the Gram matrix: quick at full size)."""
    columns_ = rng.standard_normal((rows, columns), np.float32)
    gram = columns_.T.astype(np.float64) @ columns_.astype(np.float64)
    return columns_ @ np.linalg.inv(np.linalg.cholesky(gram)).T.astype(np.float32)


def grid_faces(rows: int, columns: int) -> np.ndarray:
    """Triangles of a rows x columns grid of vertices, counter-clockwise for x to the right and y up."""
    ids = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = ids[:-1, :-1].ravel(), ids[:-1, 1:].ravel(), ids[1:, 1:].ravel(), ids[1:, :-1].ravel()
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def crop(faces: np.ndarray, kept: np.ndarray, count: int) -> np.ndarray:
    position = {int(v): i for i, v in enumerate(kept)}
    rows = [[position[int(v)] for v in face] for face in faces if all(int(v) in position for v in face)]
    return np.array(rows).reshape(-1, 3)


def small_bfm(rng: np.random.Generator) -> SyntheticBfm:
    """A bump of 20 x 18 vertices with a two-vertex "inner mouth" and a border that Deep3D's crop drops."""
    rows, columns = 20, 18
    count = rows * columns
    y, x = np.meshgrid(np.linspace(-0.9, 0.9, rows), np.linspace(-0.7, 0.7, columns), indexing="ij")
    mean = np.stack([x, y, 0.8 - 0.4 * (x**2 + y**2)], -1).reshape(-1, 3) * 1e5 + rng.normal(0, 300, (count, 3))
    mouth = [6 * columns + 8, 6 * columns + 9]
    trimmed = np.setdiff1d(np.arange(count), mouth)
    inner = np.zeros((rows, columns), bool)
    inner[2:-2, 2:-2] = True
    front = np.flatnonzero(inner.ravel()[trimmed])
    whole_faces = grid_faces(rows, columns)
    front_faces = crop(whole_faces, trimmed[front], count)
    photometric = np.zeros(len(front), bool)
    photometric[40:] = True
    return SyntheticBfm(
        trimmed,
        front,
        front_faces,
        whole_faces,
        rng.choice(len(front), 68, replace=False),
        photometric,
        rng.random(len(front)) < 0.3,
        *statistics(rng, mean, count, len(trimmed)),
    )


def statistics(rng: np.random.Generator, mean: np.ndarray, count: int, trimmed: int) -> list[np.ndarray]:
    """Mean, 199 modes and deviations of shape, of texture; 79 of expression: the last fields of ``SyntheticBfm``."""
    return [
        mean.astype(np.float32).reshape(-1),
        orthonormal(rng, 3 * count, 199),
        np.sort(rng.uniform(2e3, 8e5, 199))[::-1].astype(np.float32),
        rng.uniform(40, 220, 3 * count).astype(np.float32),
        orthonormal(rng, 3 * count, 199),
        np.sort(rng.uniform(20, 5e3, 199))[::-1].astype(np.float32),
        rng.standard_normal((79, trimmed, 3), np.float32) * np.float32(0.01),
        np.sort(rng.uniform(5e2, 5e5, 79))[::-1].astype(np.float32),
    ]


def full_bfm(rng: np.random.Generator, tables: Path) -> SyntheticBfm:
    """A model of the true sizes over the official index tables; the mean face has the official landmarks."""
    info = scipy.io.loadmat(tables / "facemodel_info.mat")
    trimmed = scipy.io.loadmat(tables / "BFM_exp_idx.mat")["trimIndex"].ravel().astype(int) - 1
    front = scipy.io.loadmat(tables / "BFM_front_idx.mat")["idx"].ravel().astype(int) - 1
    landmarks = scipy.io.loadmat(tables / "similarity_Lm3D_all.mat")["lm"]
    keypoints = info["keypoints"].ravel().astype(int) - 1
    mean = rng.uniform(-0.9, 0.9, (53490, 3))
    rows = trimmed[front]
    others = np.setdiff1d(np.arange(len(front)), keypoints)
    mean[rows[keypoints]] = landmarks
    mean[rows[others]] -= (mean[rows[others]].sum(0) + landmarks.sum(0)) / len(others)  # centred on the crop's mean
    mean = (mean + np.array([-0.0032, 0.0451, 0.7598])) * 1e5
    front_faces = info["tri"].astype(int) - 1
    others = np.setdiff1d(np.arange(53490), rows)
    whole_faces = np.concatenate([rows[front_faces], others[: 3 * (len(others) // 3)].reshape(-1, 3)])
    bfm = SyntheticBfm(
        trimmed,
        front,
        front_faces,
        whole_faces,
        keypoints,
        info["frontmask2"].ravel() > 0.5,
        info["skinmask"].ravel() > 0.5,
        *statistics(rng, mean, 53490, 53215),
    )
    return replace(bfm, exp_std=np.loadtxt(tables / "std_exp.txt"))


def morphable_model_variables(bfm: SyntheticBfm) -> dict[str, np.ndarray]:
    """The variables of 01_MorphableModel.mat."""
    return {
        "shapeMU": bfm.shape_mean[:, None],
        "shapePC": bfm.shape_modes,
        "shapeEV": bfm.shape_std[:, None],
        "texMU": bfm.tex_mean[:, None],
        "texPC": bfm.tex_modes,
        "texEV": bfm.tex_std[:, None],
        "tl": (bfm.whole_faces + 1).astype(np.float64),
        "segbin": np.zeros((len(bfm.shape_mean) // 3, 4), np.uint8),
    }


def table_variables(bfm: SyntheticBfm) -> dict[str, dict[str, np.ndarray]]:
    """The variables of the MATLAB files in Deep3D's folder BFM, by file name; ids from 1."""
    return {
        "BFM_exp_idx.mat": {"trimIndex": (bfm.whole_of_trimmed + 1).astype(np.uint16)[:, None]},
        "BFM_front_idx.mat": {"idx": (bfm.trimmed_of_front + 1).astype(np.float32)[:, None]},
        "facemodel_info.mat": topology_variables(bfm),
    }


def topology_variables(bfm: SyntheticBfm) -> dict[str, np.ndarray]:
    """tri, point_buf, tri_mask2, keypoints, frontmask2, frontmask2_idx, skinmask as stored: float32, ids from 1."""
    faces, count = bfm.front_faces, len(bfm.trimmed_of_front)
    around = [[] for _ in range(count)]
    for corner in range(3):
        for face, vertex in enumerate(faces[:, corner]):
            around[vertex].append(face + 1)
    buffer = np.array([ids + [len(faces) + 1] * (8 - len(ids)) for ids in around])
    number = np.full(count, -1)
    number[bfm.photometric] = np.arange(bfm.photometric.sum())
    inside = [[number[v] + 1 for v in face] for face in faces if bfm.photometric[face].all()]
    stored = {
        "tri": faces + 1,
        "point_buf": buffer,
        "tri_mask2": np.array(inside),
        "keypoints": bfm.keypoints[None] + 1,
        "frontmask2": bfm.photometric[None],
        "frontmask2_idx": np.flatnonzero(bfm.photometric)[:, None] + 1,
        "skinmask": bfm.skin[None],
    }
    return {name: value.astype(np.float32) for name, value in stored.items()}


def write_expressions(path: Path, bfm: SyntheticBfm) -> None:
    """Exp_Pca.bin: K, then a mean that nobody uses, then K modes."""
    modes = bfm.exp_modes
    mean = np.full((1, *modes.shape[1:]), 7.0, np.float32)
    with path.open("wb") as file:
        np.array([len(modes)], "<i4").tofile(file)
        mean.astype("<f4").tofile(file)
        modes.astype("<f4").tofile(file)


def write_bfm2009(
    folder: Path, bfm: SyntheticBfm, *, similarity: bool = True, compressed: bool = False
) -> dict[str, Any]:
    """All files of an import; returns the reader's arguments."""
    tables = folder / "BFM"
    tables.mkdir(parents=True)
    scipy.io.savemat(folder / "01_MorphableModel.mat", morphable_model_variables(bfm), do_compression=compressed)
    write_expressions(folder / "Exp_Pca.bin", bfm)
    for name, variables in table_variables(bfm).items():
        scipy.io.savemat(tables / name, variables)
    (tables / "std_exp.txt").write_text(" ".join(f"{value:.9g}" for value in bfm.exp_std))
    if similarity:
        front = bfm.shape_mean.astype(np.float64).reshape(-1, 3)[bfm.whole_of_front] / 1e5
        scipy.io.savemat(tables / "similarity_Lm3D_all.mat", {"lm": (front - front.mean(0))[bfm.keypoints]})
    return {
        "morphable_model": folder / "01_MorphableModel.mat",
        "expression": folder / "Exp_Pca.bin",
        "tables": tables,
    }


def front_variables(bfm: SyntheticBfm, num_id: int = 80, num_exp: int = 64, num_tex: int = 80) -> dict[str, np.ndarray]:
    """The variables of BFM_model_front.mat, computed as its writer computes them."""
    rows = bfm.whole_of_front
    per_vertex = (3 * rows[:, None] + np.arange(3)).ravel()
    exp = bfm.exp_modes.astype(np.float64) * bfm.exp_std[:, None, None] / 1e5
    return {
        "meanshape": (bfm.shape_mean / 1e5)[per_vertex][None],
        "meantex": bfm.tex_mean[per_vertex][None],
        "idBase": (bfm.shape_modes * bfm.shape_std / 1e5)[per_vertex][:, :num_id].astype(np.float32),
        "exBase": exp[:num_exp, bfm.trimmed_of_front].reshape(num_exp, -1).T,
        "texBase": (bfm.tex_modes * bfm.tex_std)[per_vertex][:, :num_tex].astype(np.float32),
        **{name: value for name, value in topology_variables(bfm).items() if name != "frontmask2"},
    }


@dataclass
class Decoded:
    """What a face should be."""

    vertices_dm: np.ndarray
    albedo: np.ndarray
    landmarks_uv_up: np.ndarray


def decode_float64(bfm: SyntheticBfm, id_: np.ndarray, exp: np.ndarray, tex: np.ndarray) -> Decoded:
    """Deep3D's decoding of its crop, written from the formulas in float64: the oracle of the reader and the model."""
    rows = bfm.whole_of_front
    shape_mean, tex_mean = (m.astype(np.float64).reshape(-1, 3)[rows] for m in (bfm.shape_mean, bfm.tex_mean))
    shape, texture = shape_mean / 1e5, tex_mean.copy()
    for k, value in enumerate(id_):
        shape += bfm.shape_modes[:, k].astype(np.float64).reshape(-1, 3)[rows] * float(bfm.shape_std[k]) / 1e5 * value
    for k, value in enumerate(exp):
        shape += bfm.exp_modes[k, bfm.trimmed_of_front].astype(np.float64) * float(bfm.exp_std[k]) / 1e5 * value
    for k, value in enumerate(tex):
        texture += bfm.tex_modes[:, k].astype(np.float64).reshape(-1, 3)[rows] * float(bfm.tex_std[k]) * value
    shape -= (shape_mean / 1e5).mean(0)
    marks = shape[bfm.keypoints]
    return Decoded(shape, texture / 255.0, 112.0 + 1015.0 * marks[:, :2] / (10.0 - marks[:, 2:]))
