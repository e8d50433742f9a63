"""Depths and coordinates as pictures, and meshes as they stand: equal to what the renderer and the mesh say."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from facewright.align import align_face, five_from_68
from facewright.export.png import depth_png_bytes, is_own_picture
from facewright.geometry.frames import project_points
from facewright.photo import photo_from_array
from facewright.pipeline.maps import depth_map, pncc_picture
from facewright.pipeline.outputs import FaceFiles, OutputOptions, write_outputs
from facewright.pipeline.reconstruction import Reconstruction
from facewright.records import FaceDetection
from facewright.render.renderer import render_depth


@pytest.fixture(scope="module")
def face(toy_model):
    """The toy head, turned, partly beyond the photo's border; a mesh alone."""
    known = toy_model.layout.zeros()
    known.angles[0] = torch.tensor([0.1, 0.6, 0.2])
    photo = photo_from_array(np.random.default_rng(0).integers(0, 255, (120, 150, 3), dtype=np.uint8))
    marks = toy_model.mean_shape[toy_model.annotations.ibug68]
    five = five_from_68(marks)[:, :2] * torch.tensor([40.0, -40.0]) + torch.tensor([140.0, 60.0])
    detection = FaceDetection(torch.tensor([60.0, 20, 149, 110]), 1.0, five)
    mesh = toy_model.decode(known)
    return Reconstruction(photo, detection, align_face(photo, five), toy_model.topology, mesh, known.pose, "toy")


def test_the_depth_map_is_the_renderers(face):
    depth = depth_map(face)
    torch.testing.assert_close(depth, render_depth(face.mesh_world, face.camera)[0, 0], atol=1e-4, rtol=0)
    assert depth.shape == (120, 150)
    assert (depth == 0).any()
    assert depth[:, -1].any()


def test_depths_are_sixteen_bits_that_can_be_undone(face, tmp_path):
    depth = depth_map(face)
    blob = depth_png_bytes(depth)
    picture = Image.open(io.BytesIO(blob))
    levels = np.asarray(picture).astype(np.float64)
    words = str(picture.info["Depth"]).split()
    near, far = float(words[1]), float(words[3])
    undone = np.where(levels > 0, far - (far - near) * (levels - 1) / 65534, 0.0)
    np.testing.assert_allclose(undone, depth.numpy(), atol=1e-4)
    assert levels.max() == 65535
    (tmp_path / "d.png").write_bytes(blob)
    assert is_own_picture(tmp_path / "d.png")
    assert not np.asarray(Image.open(io.BytesIO(depth_png_bytes(torch.zeros(4, 4))))).any()


def test_coordinates_name_the_point_that_is_seen(face):
    picture = pncc_picture(face)
    vertices = face.mesh.vertices[0]
    low, high = vertices.amin(0), vertices.amax(0)
    seen = face.visibility.nonzero()[::7, 0]
    places = project_points(face.mesh_world.vertices[:, seen], face.camera)[0, :, :2].round().long()
    inside = (places >= 2).all(1) & (places < torch.tensor([148, 118])).all(1)
    found = picture[:, places[inside, 1], places[inside, 0]].T
    wanted = ((vertices[seen] - low) / (high - low))[inside]
    assert (found - wanted).abs().amax(1).median() < 0.03


def test_named_formats_are_written_and_posed_meshes_stand_before_the_camera(face, tmp_path):
    options = OutputOptions(("depth", "depth-npz", "pncc", "kpt", "texture"), texture_px=32)
    names = {path.name for path in write_outputs([face], tmp_path, "me", options)}
    assert names == {"me_depth.png", "me_depth.npz", "me_pncc.png", "me_kpt.txt", "me_texture.png"}
    points = np.loadtxt(tmp_path / "me_kpt.txt")
    np.testing.assert_allclose(points * [1, 1, -1], face.landmarks_3d.numpy(), atol=1e-4)
    assert points[30, 2] > points[8, 2]  # larger is nearer, as PRNet has it
    with np.load(tmp_path / "me_depth.npz") as arrays:
        np.testing.assert_allclose(arrays["depth_dm"], depth_map(face).numpy())
    upright, posed = FaceFiles(face, texture_px=32), FaceFiles(face, texture_px=32, posed=True)
    torch.testing.assert_close(upright.expressive_asset.vertices, face.mesh.vertices[0])
    torch.testing.assert_close(posed.asset.vertices, face.mesh_world.vertices[0])
    assert not posed.asset.morph_targets


def test_what_is_not_seen_is_left_black_where_that_is_asked(face):
    frontal = replace(face, pose=replace(face.pose, angles=torch.tensor([[0.0, 1.2, 0.0]])))
    whole, seen = (FaceFiles(frontal, texture_px=64, complete=c).content("texture picture") for c in (True, False))
    black = (seen == 0).all(0)
    assert 0.3 < black.float().mean() < 1.0
    assert not (whole == 0).all(0).any()
