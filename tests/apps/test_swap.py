"""Swapped faces: what is taken over is where it belongs, what is not the face stays to the byte, no seam is left."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from facewright.align import align_face, five_from_68
from facewright.apps.swap import SwapSettings, blended, part_texels, swap_face, toned
from facewright.errors import ReconstructionError
from facewright.geometry.frames import crop_camera, project_points
from facewright.geometry.pose import posed_mesh
from facewright.photo import photo_from_array
from facewright.pipeline.parts import FaceParts
from facewright.pipeline.reconstruction import Reconstruction
from facewright.records import FaceDetection
from facewright.render.renderer import render
from facewright.render.textured import render_texture

SIZE, TEXTURE = 128, 128
SPOT = 53
"""A landmark (upper lip) that is painted on."""


def pictured(model, *, yaw, color, backdrop, spot=None):
    """A photo of the toy head in one colour, its reconstruction exact."""
    face = model.layout.zeros()
    face.angles[0, 1] = yaw
    mesh = model.decode(face)
    albedo = torch.tensor(color).expand_as(mesh.albedo).clone()
    if spot is not None:
        near = (mesh.vertices[0] - mesh.vertices[0, model.annotations.ibug68[SPOT]]).norm(dim=-1) < 0.16
        albedo[0, near] = torch.tensor(spot)
    mesh = replace(mesh, albedo=albedo)
    camera = crop_camera(size=SIZE)
    drawn = render(posed_mesh(mesh, face.pose), camera, face.sh)
    ground = torch.tensor(backdrop)[:, None, None]
    picture = (drawn.image[0] + (1 - drawn.mask[0]) * ground).clamp(0, 1) ** (1 / 2.2)
    photo = photo_from_array((picture.permute(1, 2, 0) * 255).byte().numpy())
    marks = project_points(posed_mesh(mesh, face.pose).vertices[:, model.annotations.ibug68], camera)[0, :, :2]
    five = five_from_68(marks)
    detection = FaceDetection(torch.cat([marks.amin(0), marks.amax(0)]), 1.0, five)
    aligned = replace(align_face(photo, five, size=SIZE), camera_photo=camera)
    return bare(Reconstruction(photo, detection, aligned, model.topology, mesh, face.pose, "toy", face.sh))


def bare(face):
    """A face before which nothing stands, and of which the network for that, which knows no toys, is not asked."""
    face.__dict__["parts"] = None
    return face


@pytest.fixture(scope="module")
def pair(toy_model):
    target = pictured(toy_model, yaw=0.3, color=[0.5, 0.3, 0.2], backdrop=[0.1, 0.3, 0.6])
    source = pictured(toy_model, yaw=-0.3, color=[0.25, 0.15, 0.1], backdrop=[0.9, 0.9, 0.9], spot=[0.0, 0.6, 0.05])
    return target, source


def greenness(pixels):
    return pixels[1].float() - (pixels[0].float() + pixels[2].float()) / 2


@pytest.mark.parametrize("part", ["face", "mouth"])
def test_what_is_on_the_source_is_on_the_target_in_its_place(pair, toy_model, part):
    target, source = pair
    swapped = swap_face(target, source, SwapSettings(part, TEXTURE))
    at = target.landmarks[SPOT].round().int()
    before, after = greenness(target.photo.pixels), greenness(swapped)
    assert after[at[1], at[0]] > before[at[1], at[0]] + 25
    outside = (~covered(target)).expand(3, -1, -1)
    assert swapped[outside].equal(target.photo.pixels[outside])
    forehead = (target.landmarks[19] - torch.tensor([0.0, 14.0])).round().int()
    assert swapped[:, forehead[1], forehead[0]].equal(target.photo.pixels[:, forehead[1], forehead[0]])


def covered(face):
    return render_texture(torch.ones(1, 4, 4), face.mesh_world, face.camera)[1]


def test_the_targets_light_and_tone_stay(pair):
    target, source = pair
    swapped = swap_face(target, source, SwapSettings("face", TEXTURE)).float()
    cheek = target.landmarks[[2, 14, 29]].mean(0).round().int() + torch.tensor([0, 6])
    place = (slice(None), slice(cheek[1] - 2, cheek[1] + 3), slice(cheek[0] - 2, cheek[0] + 3))
    own, theirs = target.photo.pixels.float()[place].mean((1, 2)), swapped[place].mean((1, 2))
    assert (own - theirs).abs().max() < 30
    bare = swap_face(target, source, SwapSettings("face", TEXTURE, match_tone=False, blend=False)).float()
    assert (own - bare[place].mean((1, 2))).abs().max() > (own - theirs).abs().max()


def test_a_face_swapped_with_itself_is_itself(pair):
    target, _ = pair
    swapped = swap_face(target, target, SwapSettings("face", 256))
    error = (swapped.float() - target.photo.pixels.float()).abs()
    assert error.mean() < 1.0


def test_a_face_cut_off_by_the_border_is_swapped_as_far_as_it_is_there(pair):
    target, source = pair
    middle = int(target.landmarks[30, 0])
    pixels = target.photo.pixels[:, :, :middle].permute(1, 2, 0).numpy()
    camera = replace(target.camera, width=middle)
    cut = bare(replace(target, photo=photo_from_array(pixels), aligned=replace(target.aligned, camera_photo=camera)))
    swapped = swap_face(cut, source, SwapSettings("face", TEXTURE))
    assert swapped.shape == cut.photo.pixels.shape
    changed = (swapped != cut.photo.pixels).any(0)
    assert changed.any()
    assert not (changed & ~covered(cut)).any()
    gone = bare(replace(cut, aligned=replace(cut.aligned, camera_photo=replace(camera, cx=camera.cx + 5 * SIZE))))
    with pytest.raises(ReconstructionError, match="shows nothing"):
        swap_face(gone, source, SwapSettings("face", TEXTURE))


def test_what_stands_before_a_face_stays_the_targets(pair):
    """Glasses, a hand: pixels of a thing are the photo's to the byte; beside it the looks change."""
    target, source = pair
    whole = (swap_face(target, source, SwapSettings("face", TEXTURE)) != target.photo.pixels).any(0)
    shares = torch.zeros(4, SIZE, SIZE)
    shares[1] = 1.0
    column = int(target.landmarks[30, 0])
    shares[:, :, column:] = torch.tensor([0.0, 0.0, 0.0, 1.0])[:, None, None]
    partly = replace(target)
    partly.__dict__["parts"] = FaceParts(shares, torch.eye(3))
    changed = (swap_face(partly, source, SwapSettings("face", TEXTURE)) != target.photo.pixels).any(0)
    assert not changed[:, column - 1 :].any()
    assert whole[:, column:].sum() > 100
    assert changed[:, : column - 4].sum() > 0.5 * whole[:, : column - 4].sum()


def test_several_faces_are_drawn_on_one_picture(pair):
    target, source = pair
    first = swap_face(target, source, SwapSettings("mouth", TEXTURE))
    both = swap_face(target, source, SwapSettings("eyes", TEXTURE), picture=first)
    changed = (both != first).any(0)
    assert changed.any()
    mouth = target.landmarks[48:68].mean(0).round().int()
    assert both[:, mouth[1], mouth[0]].equal(first[:, mouth[1], mouth[0]])


def test_a_mask_of_ones_own_and_wrong_ones(pair, toy_model):
    target, source = pair
    with pytest.raises(ReconstructionError, match="shows nothing"):
        swap_face(target, source, SwapSettings(texture_px=TEXTURE), mask=torch.zeros(TEXTURE, TEXTURE))
    with pytest.raises(ReconstructionError, match="mask of 128 x 128 texels, received"):
        swap_face(target, source, SwapSettings(texture_px=TEXTURE), mask=torch.zeros(10, 10))
    with pytest.raises(ReconstructionError, match="like the target's photo"):
        swap_face(target, source, SwapSettings(texture_px=32), picture=torch.zeros(3, 8, 8, dtype=torch.uint8))
    bare = replace(source, topology=replace(source.topology, uv=None, faces_uv=None))
    with pytest.raises(ReconstructionError, match="texture coordinates"):
        swap_face(target, bare)
    moved = replace(source, topology=replace(source.topology, uv=source.topology.uv * 0.5))
    with pytest.raises(ReconstructionError, match="one method and face model"):
        swap_face(target, moved)


def test_parts_are_where_their_landmarks_are(pair):
    target, _ = pair
    face, eyes, mouth = (part_texels(target, part, 64) for part in ("face", "eyes", "mouth"))
    assert 0 < mouth.sum() < face.sum() < 64 * 64
    assert not (eyes * mouth).any()


def test_blending_meets_the_rim_and_keeps_gradients_inside():
    row, column = np.mgrid[:64, :64]
    inside = (row - 32) ** 2 + (column - 32) ** 2 < 24**2
    below = torch.full((3, 64, 64), 0.5)
    above = torch.full((3, 64, 64), 0.35)
    above[:, 28:36, 28:36] += 0.2
    mixed = blended(above, below, inside)
    assert mixed[:, ~torch.from_numpy(inside)].equal(below[:, ~torch.from_numpy(inside)])
    assert mixed.diff(dim=1).abs()[:, :20].max() < 0.03
    torch.testing.assert_close(mixed[:, 32, 32] - mixed[:, 20, 32], torch.full((3,), 0.2), atol=0.03, rtol=0)


def test_tone_is_exchanged_and_detail_kept():
    texels = torch.ones(64, 64)
    looks = 0.3 + 0.1 * torch.rand(3, 64, 64)
    wanted = torch.linspace(0.4, 0.8, 64).expand(3, 64, 64) + 0.1 * torch.rand(3, 64, 64)
    result = toned(looks, wanted, texels, texels)
    coarse = [torch.nn.functional.avg_pool2d(values[None], 16)[0] for values in (result, wanted)]
    torch.testing.assert_close(coarse[0], coarse[1], atol=0.06, rtol=0)
    detail = [
        (values - torch.nn.functional.avg_pool2d(values[None], 9, 1, 4)[0])[:, 8:-8, 8:-8] for values in (result, looks)
    ]
    assert torch.corrcoef(torch.stack([part.flatten() for part in detail]))[0, 1] > 0.95
