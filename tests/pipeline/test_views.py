"""Faces drawn over their photos: soft where skin ends, the same side of everybody."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from facewright.export.sheets import contact_sheet
from facewright.geometry.frames import window_camera
from facewright.geometry.pose import photo_points
from facewright.pipeline import views
from facewright.pipeline.views import face_sheet, facing, overlay_of_faces, render_skin
from facewright.render.renderer import render
from tests.pipeline.known_faces import GREY, looking

FINER = 4


@pytest.mark.parametrize(("pitch_deg", "yaw_deg"), [(0.0, 0.0), (-25.0, 0.0), (20.0, 0.0), (0.0, 50.0)])
def test_skin_ends_without_saw_teeth(pitch_deg: float, yaw_deg: float) -> None:
    """What is drawn of each pixel is what many finer ones show of it: at chin, hairline and cheek too."""
    face = looking(pitch_deg, yaw_deg)
    camera = face.camera
    finer = window_camera(camera, 0.0, 0.0, float(FINER), FINER * camera.width, FINER * camera.height)
    coarse = render_skin(face, camera).mask[0, 0]
    truth = torch.nn.functional.avg_pool2d(render_skin(face, finer).mask, FINER)[0, 0]
    rim = (truth > 0.02) & (truth < 0.98)
    assert int(rim.sum()) > 200
    error = (coarse - truth).abs()
    assert float(error[rim].mean()) < 0.05
    assert float(error.max()) < 0.6


def test_nothing_dark_is_drawn_under_a_chin_that_looks_up() -> None:
    face = looking(-25.0, 0.0)
    ids = face.topology.annotations.ibug68
    assert ids is not None
    chin = photo_points(face.mesh_world.vertices[:, ids[8:9]], face.pose, face.camera)[0]
    column, row = int(chin[0]), int(chin[1])
    below = (overlay_of_faces([face]) / 255.0)[:, row : row + 40, column - 15 : column + 16]
    assert float(below.min()) > 0.25
    assert float(below[:, -10:].sub(GREY / 255).abs().max()) < 0.01  # the neck is the photo's


def test_everybody_is_shown_from_the_same_side(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Tensor] = []

    def noted(tiles: Sequence[tuple[str, Tensor]], columns: int, tile_px: int) -> Tensor:
        shown.append(dict(tiles)["side view"])
        return contact_sheet(tiles, columns=columns, tile_px=tile_px)

    monkeypatch.setattr(views, "contact_sheet", noted)
    for angles in ((0.0, -40.0), (-25.0, 0.0), (0.0, 50.0)):
        face_sheet(looking(*angles))
    assert all(torch.equal(shown[0], other) for other in shown)
    assert float(shown[0][:, 150:250, -80:].std()) > 0.05  # the nose, to image right


def test_a_mesh_of_unknown_light_is_drawn_as_a_shape() -> None:
    face = looking(0.0, 0.0)
    grey = replace(face.mesh, albedo=torch.full_like(face.mesh.albedo, 0.5))
    drawn = overlay_of_faces([replace(face, mesh=grey, light=None, morphable=None)]) / 255.0
    assert float(drawn[:, 80:160, 80:144].std()) > 0.02


@pytest.mark.parametrize("pitch_deg", [-50.0, -15.0])
def test_nobody_looks_into_a_head_from_below(pitch_deg: float) -> None:
    """Through the open neck: what is drawn of a shape turns its outside to the camera, its silhouette stays closed."""
    face = looking(pitch_deg, 20.0)
    camera, mesh = window_camera(face.camera, -60.0, -60.0, 0.5, 172, 172), face.mesh_world
    drawn, before = (render(each, camera, torch.zeros(1, 9, 3)) for each in (facing(mesh, camera), mesh))
    seen = drawn.fragments.face_index[0]
    inside = (before.mask[0, 0] > 0.5) & (seen < 0)
    toward = torch.tensor([0.0, 0.0, 10.0])
    chosen = facing(mesh, camera).faces[seen[seen >= 0]]
    corners = mesh.vertices[0][chosen]
    normals = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((toward - corners.mean(1)) * normals).sum(-1).min() > 0
    assert (int(inside.sum()) > 300) == (pitch_deg == -50.0)
    torch.testing.assert_close(drawn.depth_dm[0, 0][~inside], before.depth_dm[0, 0][~inside])
