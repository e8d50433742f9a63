"""Facts of the official index tables of Deep3D (docs/deep3d.md sections 1.2 to 1.4 and 16)."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from facewright.geometry.frames import crop_camera, project_points
from facewright.morphable.readers.deep3d_topology import (
    Deep3dTopology,
    incident_faces,
    read_topology,
    released_photometric_faces,
)
from facewright.morphable.readers.topology import faces_inside

LANDMARK_IDS_FROM_ONE = """
16645 16889 16468 16265 32245 32940 33376 33655 33839 34023 34313 34767 35473 27817 27609 27209 27441
28112 28788 29178 29383 29550 30289 30455 30663 31057 31717 8162 8178 8188 8193 6516 7244 8205 9164 9884
2216 3887 4921 5829 4802 3641 10456 11354 12384 14067 12654 11493
5523 6026 7496 8216 8936 10396 10796 9556 8837 8237 7637 6916 5910 7385 8224 9065 10538 8830 8230 7630
"""


@pytest.fixture(scope="module")
def info(shared_dir: Path) -> dict[str, np.ndarray]:
    return scipy.io.loadmat(shared_dir / "bfm_tables" / "facemodel_info.mat")


@pytest.fixture(scope="module")
def topology(info: dict[str, np.ndarray]) -> Deep3dTopology:
    return read_topology(info, 35709, "facemodel_info.mat")


def test_landmarks(topology: Deep3dTopology) -> None:
    assert (topology.ibug68 + 1).tolist() == [int(text) for text in LANDMARK_IDS_FROM_ONE.split()]


def test_counts_edges_and_valence(topology: Deep3dTopology) -> None:
    faces = topology.faces
    edges = np.unique(np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1), axis=0)
    assert (faces.max() + 1, len(faces), len(edges)) == (35709, 70789, 106498)
    assert 35709 - len(edges) + len(faces) == 0  # an annulus
    assert np.bincount(faces.ravel()).max() == 8
    assert topology.photometric.sum() == 27660
    assert topology.skin.sum() == 9642


def boundary_lengths(faces: np.ndarray) -> list[int]:
    """Lengths of the closed chains of edges that have one face only."""
    count = defaultdict(int)
    for a, b in np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist():
        count[min(a, b), max(a, b)] += 1
    neighbours = defaultdict(list)
    for (a, b), faces_of_edge in count.items():
        if faces_of_edge == 1:
            neighbours[a].append(b)
            neighbours[b].append(a)
    lengths = []
    while neighbours:
        at: int | None = next(iter(neighbours))
        length = 0
        while at is not None:
            length += 1
            at = next((v for v in neighbours.pop(at) if v in neighbours), None)
        lengths.append(length)
    return sorted(lengths, reverse=True)


def test_two_boundary_loops_the_rim_and_the_mouth(topology: Deep3dTopology) -> None:
    assert boundary_lengths(topology.faces) == [551, 78]
    inside = topology.faces[faces_inside(topology.faces, topology.photometric)]
    assert inside.shape == (54681, 3)
    assert boundary_lengths(inside) == [561, 78]


def test_point_buf_is_recomputed_to_the_last_entry(info: dict[str, np.ndarray], topology: Deep3dTopology) -> None:
    assert np.array_equal(incident_faces(topology.faces, 35709, 8) + 1, info["point_buf"])


def test_released_photometric_triangles_are_recomputed(info: dict[str, np.ndarray], topology: Deep3dTopology) -> None:
    released = released_photometric_faces(topology.faces, topology.photometric)
    assert np.array_equal(released + 1, info["tri_mask2"])
    mesh = {tuple(face) for face in np.sort(topology.faces, 1).tolist()}
    foreign = np.mean([tuple(face) not in mesh for face in np.sort(released, 1).tolist()])
    assert foreign == pytest.approx(0.42, abs=0.01)  # defect D1
    region = topology.faces[faces_inside(topology.faces, topology.photometric)]
    assert all(tuple(face) in mesh for face in np.sort(region, 1).tolist())


def test_select_id_is_the_other_two_tables_in_turn(shared_dir: Path) -> None:
    folder = shared_dir / "bfm_tables"
    trim = scipy.io.loadmat(folder / "BFM_exp_idx.mat")["trimIndex"].ravel().astype(int)
    front = scipy.io.loadmat(folder / "BFM_front_idx.mat")["idx"].ravel().astype(int)
    select = scipy.io.loadmat(folder / "select_vertex_id.mat")["select_id"].ravel()
    assert np.array_equal(trim[front - 1], select)


def test_mean_face_landmarks_project_as_published(shared_dir: Path) -> None:
    landmarks = scipy.io.loadmat(shared_dir / "bfm_tables" / "similarity_Lm3D_all.mat")["lm"]
    official = {0: (41.8882, 132.9246), 8: (112.2773, 26.5943), 16: (181.9687, 132.8736), 30: (112.3495, 107.0387)}
    official |= {36: (67.7961, 141.9461), 45: (156.2802, 141.8148), 48: (85.8182, 72.4070), 54: (137.7928, 72.4197)}
    pixels = project_points(torch.from_numpy(landmarks)[None], crop_camera(like=torch.zeros((), dtype=torch.float64)))[
        0
    ]
    for point, (u, v_up) in official.items():
        # the official numbers measure from the corner of pixel 0 and upwards: half a pixel off the centres, 223.5 flips
        assert pixels[point, 0].item() + 0.5 == pytest.approx(u, abs=1e-3)
        assert 223.5 - pixels[point, 1].item() == pytest.approx(v_up, abs=1e-3)
