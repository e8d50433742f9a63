"""Files for other programs: talking heads, EG3D, NoW and REALY."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from facewright.errors import ExportError
from facewright.export.benchmarks import write_benchmark_mesh
from facewright.export.eg3d import eg3d_camera, eg3d_dataset, eg3d_pose, mirrored_pose
from facewright.export.mat import write_mat
from facewright.export.talking_head import talking_head_mat
from facewright.geometry.frames import pose_points
from facewright.morphable.linear import FaceModel
from facewright.records import CoefficientLayout

LAYOUT = CoefficientLayout(80, 64, 80)


def test_talking_head_rows(tmp_path: Path) -> None:
    vectors = torch.arange(3 * 257.0).reshape(3, 257)
    trans_params = torch.arange(15.0, dtype=torch.float64).reshape(3, 5)
    write_mat(tmp_path / "clip.mat", talking_head_mat(LAYOUT.unpack(vectors), trans_params))
    read = scipy.io.loadmat(tmp_path / "clip.mat")
    assert read["coeff_3dmm"].shape == (3, 73)
    np.testing.assert_array_equal(read["full_3dmm"], vectors.numpy())
    expected = np.concatenate([vectors[:, 80:144], vectors[:, 224:227], vectors[:, 254:257], trans_params[:, 2:]], 1)
    np.testing.assert_array_equal(read["coeff_3dmm"], expected)


def test_talking_head_wants_the_basel_layout() -> None:
    with pytest.raises(ExportError, match="exp=64"):
        talking_head_mat(CoefficientLayout(80, 52, 40).zeros(), torch.zeros(1, 5))


def test_eg3d_camera_sees_what_the_deep3d_camera_sees(rng: torch.Generator) -> None:
    vectors = torch.zeros(4, 257)
    vectors[:, 224:227] = 0.6 * torch.randn(4, 3, generator=rng)
    vectors[:, 254:257] = 0.3 * torch.randn(4, 3, generator=rng)
    coefficients = LAYOUT.unpack(vectors)
    pose = eg3d_pose(coefficients).double()
    points_model = torch.randn(4, 50, 3, generator=rng)
    world = pose_points(points_model, coefficients.angles, coefficients.translation).double()
    # Model points are scaled and moved as the camera was, then seen by it: x right, y down, z ahead.
    scaled = 0.27 * points_model.double() + torch.tensor([0.0, 0.006, 0.161])
    seen = (scaled - pose[:, None, :3, 3]) @ pose[:, :3, :3]
    expected = 0.27 * torch.stack([world[..., 0], -world[..., 1], 10.0 - world[..., 2]], -1)
    torch.testing.assert_close(seen, expected, atol=1e-5, rtol=0)


def test_eg3d_frontal_numbers_and_label() -> None:
    camera = eg3d_camera(LAYOUT.zeros())
    np.testing.assert_allclose(
        camera["pose"], [[1, 0, 0, 0], [0, -1, 0, 0.006], [0, 0, -1, 2.861], [0, 0, 0, 1]], atol=1e-6
    )
    assert len(camera["label"]) == len(camera["label_mirrored"]) == 25
    assert camera["label"][16] == pytest.approx(4.2647, abs=1e-4)
    assert eg3d_dataset({"a.png": camera}) == {"labels": [["a.png", camera["label"]]]}


def test_mirroring_negates_yaw_and_roll(rng: torch.Generator) -> None:
    vectors = torch.zeros(1, 257)
    vectors[:, 224:227] = torch.randn(1, 3, generator=rng)
    vectors[:, 254:257] = torch.randn(1, 3, generator=rng)
    mirrored = vectors.clone()
    mirrored[:, [225, 226, 254]] *= -1
    pose, flipped = (eg3d_pose(LAYOUT.unpack(v)) for v in (vectors, mirrored))
    torch.testing.assert_close(mirrored_pose(pose), flipped)
    torch.testing.assert_close(mirrored_pose(flipped), pose)


def test_benchmark_mesh_keeps_topology_and_has_its_points(toy_model: FaceModel, tmp_path: Path) -> None:
    vertices = toy_model.decode(toy_model.layout.zeros()).vertices[0]
    landmarks = vertices[torch.arange(68)]
    write_benchmark_mesh(vertices, toy_model.faces, landmarks, tmp_path / "IMG_1.obj")
    lines = (tmp_path / "IMG_1.obj").read_text(encoding="ascii").splitlines()
    read = np.array([[float(word) for word in line.split()[1:]] for line in lines if line.startswith("v ")])
    np.testing.assert_allclose(read, vertices.numpy() * 100, atol=1e-4)  # three columns: no colours
    assert not any(line.startswith(("vt", "mtllib")) for line in lines)
    corners = [[int(word.split("/")[0]) - 1 for word in line.split()[1:]] for line in lines if line.startswith("f ")]
    np.testing.assert_array_equal(corners, toy_model.faces.numpy())
    seven = np.load(tmp_path / "IMG_1.npy", allow_pickle=False)
    np.testing.assert_allclose(seven, landmarks[[36, 39, 42, 45, 33, 48, 54]].numpy() * 100, rtol=1e-6)
    np.testing.assert_allclose(np.loadtxt(tmp_path / "IMG_1.txt"), landmarks.numpy() * 100, atol=1e-5)


def test_benchmark_mesh_refuses_nan(toy_model: FaceModel, tmp_path: Path) -> None:
    vertices = toy_model.mean_shape
    landmarks = torch.full((68, 3), float("nan"))
    with pytest.raises(ExportError, match="landmarks"):
        write_benchmark_mesh(vertices, toy_model.faces, landmarks, tmp_path / "a.obj")
    with pytest.raises(ExportError, match="vertices"):
        write_benchmark_mesh(vertices / 0, toy_model.faces, torch.zeros(68, 3), tmp_path / "a.obj")
    assert list(tmp_path.iterdir()) == []
