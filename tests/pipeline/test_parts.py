"""What belongs to a face in its photo, and what becomes of textures where something else is seen."""

from dataclasses import replace

import pytest
import torch

from facewright.assets import embedded_path
from facewright.detect import detect_faces, load_face_detector
from facewright.geometry.frames import project_points
from facewright.photo import photo_from_array, read_photo
from facewright.pipeline import parts
from facewright.pipeline.parts import FaceParts, find_parts, own_share
from facewright.pipeline.texture import face_texture, own_visibility, texture_at_vertices, tongue_texels
from facewright.records import PARTS, VisibilityMap
from tests.pipeline.known_faces import GREY, looking

HEAD, HAIR, THING = (PARTS.index(name) for name in ("head", "hair", "thing"))
SIDE, TEXTURE = 112, 128


def halves(left, right, border=SIDE // 2):
    """Shares of a crop whose left part shows one thing and its right part another."""
    shares = torch.zeros(4, SIDE, SIDE)
    shares[left, :, :border] = 1.0
    shares[right, :, border:] = 1.0
    return shares


def test_shares_are_read_where_the_photo_is():
    """The crop shows photo pixels 20 .. 243, two in one; hair is at home on the scalp, things nowhere."""
    T_crop_photo = torch.tensor([[0.5, 0.0, -10.25], [0.0, 0.5, -10.25], [0.0, 0.0, 1.0]])
    border = 20 + SIDE  # photo pixels; the first that shows a thing
    places = torch.stack([torch.arange(20.0, 243.0), torch.full((223,), 100.0)], -1)
    for other, scalp, beyond in ((THING, 0.0, 0.0), (THING, 1.0, 0.0), (HAIR, 0.0, 0.0), (HAIR, 1.0, 1.0)):
        own = own_share(FaceParts(halves(HEAD, other), T_crop_photo), places, torch.full((223,), scalp))
        assert (own[: border - 20 - 5] == 1).all()
        assert (own[border - 20 :] == beyond).all()
        if not beyond:
            assert (own.diff() <= 1e-6).all()
            assert ((own > 0.01) & (own < 0.99)).any()  # soft
    assert own_share(FaceParts(halves(HEAD, HAIR), T_crop_photo), places)[-1] == 0  # nobody knows of a scalp


@pytest.fixture(scope="module")
def face():
    """A known head on a grey photo of which all right of the nose is magenta."""
    found = looking(0.0, 10.0)
    ids = found.topology.annotations.ibug68
    assert ids is not None
    tip = int(project_points(found.mesh_world.vertices, found.camera)[0, ids[30], 0])
    pixels = found.photo.pixels.permute(1, 2, 0).numpy().copy()
    pixels[:, tip:] = [255, 0, 255]
    return replace(found, photo=photo_from_array(pixels)), tip


def with_parts(face, tip, left, right):
    """The face with parts as if a network had seen them; the crop is the photo, half as fine."""
    shown = replace(face)
    to_crop = torch.tensor([[0.5, 0.0, -0.25], [0.0, 0.5, -0.25], [0.0, 0.0, 1.0]])
    shown.__dict__["parts"] = FaceParts(halves(left, right, tip // 2), to_crop)
    return shown


def magenta(texture):
    return (texture[0] + texture[2]) / 2 - texture[1] > 0.3


def test_things_are_not_painted_on_a_face(face):
    """What the photo hides is completed from the other side and the albedo; what it shows stays as it is."""
    face, tip = face
    believed = replace(face)
    believed.__dict__["parts"] = None
    painted, _ = face_texture(believed, TEXTURE)
    clean, colors = face_texture(with_parts(face, tip, HEAD, THING), TEXTURE)
    assert magenta(painted).float().mean() > 0.1
    assert not magenta(clean).any()
    ids, camera = face.topology.annotations.ibug68, face.camera
    cheek = face.mesh_world.vertices[:, ids[[1, 2, 3, 31, 48]]]
    assert (project_points(cheek, camera)[0, :, 0] < tip - 8).all()
    both = [texture_at_vertices(texture, face.mesh)[ids[[31, 48]]] for texture in (painted, clean)]
    torch.testing.assert_close(both[1], both[0], atol=0.02, rtol=0)
    torch.testing.assert_close(both[1], torch.full((2, 3), GREY / 255), atol=0.03, rtol=0)
    hidden, _ = face_texture(with_parts(face, tip, HEAD, THING), TEXTURE, complete=False)
    assert not magenta(hidden).any()
    assert colors.shape == (face.mesh.vertices.shape[1], 3)


def test_hair_is_painted_on_the_scalp_alone(face):
    face, tip = face
    texture, colors = face_texture(with_parts(face, tip, HEAD, HAIR), 256)
    regions = face.topology.annotations.regions
    seen = face.visibility & (project_points(face.mesh_world.vertices, face.camera)[0, :, 0] > tip + 6)
    on_scalp, on_skin = (regions["scalp"] > 0.95) & seen, (regions["face"] > 0.95) & (regions["scalp"] < 0.01)
    strong = (colors[:, 0] + colors[:, 2]) / 2 - colors[:, 1]
    assert (strong[on_scalp] > 0.5).float().mean() > 0.6
    assert (strong[on_skin] < 0.3).all()
    assert magenta(texture).any()


def test_faces_without_parts_keep_their_visibility_but_for_the_tongue(face):
    face, _ = face
    seen = VisibilityMap(torch.rand(64, 64), torch.ones(64, 64, dtype=torch.bool))
    bare = replace(face)
    bare.__dict__["parts"] = None
    kept, tongue = own_visibility(bare, seen).confidence, tongue_texels(bare, 64)
    assert tongue is not None
    assert 0 < int((tongue == 1).sum()) < 64**2 // 20
    torch.testing.assert_close(kept, seen.confidence * (1.0 - tongue))


@pytest.mark.parametrize("name", ["astronaut", "grace_hopper"])
def test_the_embedded_network_sees_a_portrait(name):
    """Eyes, nose and mouth are the head's; what is worn below the chin and what hangs behind are not."""
    photo = read_photo(embedded_path(f"photos/{name}.jpg"))
    found = detect_faces(photo, load_face_detector())[0]
    seen = find_parts(photo, found.five)
    assert seen is not None
    torch.testing.assert_close(seen.shares.sum(0), torch.ones(SIDE, SIDE), atol=1e-4, rtol=0)
    eyes = float((found.five[1] - found.five[0]).norm())
    middle = found.five.mean(0)
    assert (own_share(seen, found.five[2:]) > 0.9).all()
    below = middle + torch.tensor([[0.0, 2.3 * eyes], [-1.0 * eyes, 2.4 * eyes], [1.0 * eyes, 2.4 * eyes]])
    behind = middle + torch.tensor([[-2.0 * eyes, -0.3 * eyes], [2.0 * eyes, -0.3 * eyes]])
    assert (own_share(seen, torch.cat([below, behind])) < 0.3).all()


def test_an_answer_that_sees_no_head_is_not_believed(monkeypatch):
    """Hair or nothing at eyes, nose and mouth; things may be there. And points that are elsewhere have no parts."""
    known, said = looking(0.0, 0.0), {}
    monkeypatch.setattr(parts, "_parser", lambda: (lambda crops: {"shares": said["shares"][None]}, SIDE))
    for name, believed in (("head", True), ("thing", True), ("hair", False), ("other", False)):
        said["shares"] = halves(PARTS.index(name), PARTS.index(name))
        assert (find_parts(known.photo, known.detection.five) is not None) == believed
    assert find_parts(known.photo, known.detection.five + 5000.0) is None
