"""The embedded head's atlas, regions and albedo; and the pigment model and the flattening that they were made with."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy import ndimage, sparse
from torch import Tensor

from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.render.completion import mirror_texels
from facewright.render.rasterizers import rasterize
from facewright.render.texture import bake_vertex_attribute

SIZE = 1024
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def head() -> FaceModel:
    return load_face_model("open")


@pytest.fixture(scope="module")
def regions(head: FaceModel) -> dict[str, Tensor]:
    return head.annotations.regions


@pytest.fixture(scope="module")
def draws(head: FaceModel) -> Tensor:
    """(200, V, 3) sampled albedos, unclamped."""
    rng = torch.Generator().manual_seed(1)
    return head.albedo(torch.randn(200, head.layout.tex, generator=rng))


@pytest.fixture(scope="module")
def bare_skin(regions: dict[str, Tensor]) -> Tensor:
    """Vertices of the face without hair on them."""
    return (regions["face"] > 0.9) & (regions["skin"] > 0.9) & (regions["brows"] < 0.05) & (regions["beard"] < 0.05)


def script(name: str) -> ModuleType:
    """A module of the build script, which is no part of the package."""
    if str(SCRIPTS) not in sys.path:
        sys.path.insert(0, str(SCRIPTS))
    return importlib.import_module(f"open_head.{name}")


def atlas(head: FaceModel) -> tuple[Tensor, Tensor]:
    assert head.uv is not None
    assert head.faces_uv is not None
    return head.uv, head.faces_uv


def face_at_texel(uv: Tensor, faces_uv: Tensor, size: int) -> Tensor:
    """(size, size) id of the triangle over each texel, -1 where there is none."""
    clip = torch.stack([2 * uv[:, 0] - 1, 1 - 2 * uv[:, 1], torch.zeros(len(uv)), torch.ones(len(uv))], -1)
    return rasterize(clip[None], faces_uv, (size, size)).face_index[0]


def uv_areas(uv: Tensor, faces_uv: Tensor) -> Tensor:
    a, b, c = uv[faces_uv].double().unbind(1)
    return 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])


# --- atlas ---


def test_atlas_triangles_keep_their_orientation(head: FaceModel):
    uv, faces_uv = atlas(head)
    assert uv.min() > 0
    assert uv.max() < 1
    assert set(faces_uv.flatten().tolist()) == set(range(len(uv)))
    assert uv_areas(uv, faces_uv).min() > 0


def test_atlas_does_not_overlap(head: FaceModel):
    uv, faces_uv = atlas(head)
    first = face_at_texel(uv, faces_uv, SIZE)
    last = len(faces_uv) - 1 - face_at_texel(uv, faces_uv.flip(0), SIZE)
    covered = first >= 0
    # Where two triangles claim a texel, the order of the triangles decides: only texel centres on an edge may differ.
    assert (first != last)[covered].float().mean() < 1e-3
    assert covered.float().mean() == pytest.approx(float(uv_areas(uv, faces_uv).sum()), rel=2e-3)


def test_charts_keep_four_texels_apart(head: FaceModel):
    uv, faces_uv = atlas(head)
    pairs = torch.cat([faces_uv[:, :2], faces_uv[:, 1:]]).numpy()
    links = sparse.coo_matrix((np.ones(len(pairs)), pairs.T), (len(uv), len(uv)))
    count, chart = sparse.csgraph.connected_components(links, directed=False)
    assert count >= 7  # head, two eyes, mouth socket, tongue, upper and lower teeth
    texels = face_at_texel(uv, faces_uv, SIZE)
    owner = np.where(texels >= 0, chart[faces_uv[texels.clamp_min(0), 0]], -1)
    highest = ndimage.maximum_filter(owner, 5)
    lowest = ndimage.minimum_filter(np.where(owner < 0, count, owner), 5)
    assert not ((highest >= 0) & (lowest < count) & (highest != lowest)).any()


def test_atlas_is_its_own_mirror_image(head: FaceModel):
    uv, faces_uv = atlas(head)
    mirror = head.annotations.mirror
    assert mirror is not None
    partner = mirror_texels(head.faces, uv, faces_uv, mirror, 256)
    centre = (torch.arange(256) + 0.5) / 256
    u, v = torch.meshgrid(centre, 1 - centre, indexing="xy")
    known = partner.isfinite().all(-1)
    assert known.float().mean() > 0.75
    assert (partner[..., 0] - (1 - u))[known].abs().max() < 1e-4
    assert (partner[..., 1] - v)[known].abs().max() < 1e-4


def test_front_of_the_face_gets_most_texels_with_little_distortion(head: FaceModel, regions: dict[str, Tensor]):
    uv, faces_uv = atlas(head)
    face = bake_vertex_attribute(regions["face"][:, None], head.faces, uv, faces_uv, 256)[0]
    covered = face_at_texel(uv, faces_uv, 256) >= 0
    assert face.sum() / covered.sum() > 0.5
    inner = (regions["photometric"][head.faces] > 0.9).all(1)
    corners = head.mean_shape[head.faces[inner]].double()
    x, y = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    along = torch.nn.functional.normalize(x, dim=1)
    across = torch.nn.functional.normalize(y - (y * along).sum(1, keepdim=True) * along, dim=1)
    flat = torch.stack([torch.stack([(e * d).sum(1) for e in (x, y)], -1) for d in (along, across)], 1)
    texture = uv[faces_uv[inner]].double()
    edges = torch.stack([texture[:, 1] - texture[:, 0], texture[:, 2] - texture[:, 0]], -1)
    stretch = torch.linalg.svdvals(edges @ torch.linalg.inv(flat))
    ratio = stretch[:, 0] / stretch[:, 1]
    # Measured 1.37: an isotropic layout of a face that grows towards the middle must shear a little.
    assert ratio.median() < 1.45
    assert ratio.quantile(0.95) < 2.5


# --- regions ---

EXPECTED_REGIONS = {
    *("skin", "lips", "brows", "eyes", "eyelids", "nose", "ears", "scalp", "neck", "mouth_inside", "face"),
    *("photometric", "forehead", "cheeks", "beard"),
}


def test_regions_are_masks_and_symmetric(head: FaceModel, regions: dict[str, Tensor]):
    mirror = head.annotations.mirror
    assert mirror is not None
    assert set(regions) >= EXPECTED_REGIONS
    for name, mask in regions.items():
        assert mask.min() >= 0, name
        assert mask.max() == 1, name
        assert torch.equal(mask, mask[mirror]), name


def test_regions_hold_their_landmarks(head: FaceModel, regions: dict[str, Tensor]):
    points = head.annotations.ibug68
    assert points is not None
    assert regions["brows"][points[[18, 19, 20, 23, 24, 25]]].min() > 0.5
    assert regions["nose"][points[27:36]].min() > 0.5
    assert regions["lips"][points[48:68]].min() > 0.3
    assert regions["eyelids"][points[36:48]].min() > 0.5
    assert regions["face"][points[3:14]].min() > 0.3
    for name in ("ears", "scalp", "neck"):
        assert regions[name][points[17:68]].max() == 0, name


def test_photometric_region_is_open_skin_of_the_face(regions: dict[str, Tensor]):
    photometric = regions["photometric"]
    for name in ("eyes", "mouth_inside", "ears", "scalp"):
        assert (photometric * regions[name]).max() < 0.01, name
    assert (photometric * regions["neck"]).max() < 0.1
    assert (photometric * regions["nostrils"]).max() < 0.3
    assert (photometric <= regions["face"] + 1e-6).float().mean() > 0.999
    assert photometric.sum() > 0.4 * regions["face"].sum()


def test_parts_are_masked_whole(head: FaceModel, regions: dict[str, Tensor]):
    parts = head.annotations.face_parts
    for part, name in {"eyes": "eyes", "teeth": "mouth_inside", "tongue": "mouth_inside"}.items():
        vertices = head.faces[parts[part]].unique()
        assert regions[name][vertices].min() == 1
        assert regions["skin"][vertices].max() == 0


# --- albedo ---


def test_mean_albedo_is_a_face_in_linear_rgb(head: FaceModel, regions: dict[str, Tensor], bare_skin: Tensor):
    mean = head.mean_albedo
    assert head.albedo_space == "linear"
    assert head.layout.tex >= 40
    assert mean.min() >= 0
    assert mean.max() <= 1
    skin, lips, brows = (
        mean[bare_skin].mean(0),
        mean[regions["lips"] > 0.9].mean(0),
        mean[regions["brows"] > 0.9].mean(0),
    )
    assert skin[0] > skin[1] > skin[2]
    assert lips[0] / lips[1] > skin[0] / skin[1]  # redder
    assert brows.sum() < 0.7 * skin.sum()  # darker
    mirror = head.annotations.mirror
    assert mirror is not None
    assert (mean - mean[mirror]).abs().max() < 1e-3


def test_samples_are_rarely_clamped(draws: Tensor, bare_skin: Tensor):
    outside = (draws < 0) | (draws > 1)
    assert outside[:, bare_skin].float().mean() < 0.01
    assert outside.float().mean() < 0.01


def sampled_tones(head: FaceModel, bare_skin: Tensor, count: int) -> np.ndarray:
    """(N, 3) mean colours of sampled faces, linear RGB."""
    codes = torch.randn(count, head.layout.tex, generator=torch.Generator().manual_seed(1))
    tones = head.mean_albedo[bare_skin].mean(0) + codes @ head.albedo_basis[bare_skin].mean(0).T
    return tones.clamp(1e-4, 1).double().numpy()


def test_samples_are_skin_of_all_tones(head: FaceModel, bare_skin: Tensor):
    lightness, a, b = script("pigments").lab_from_rgb(sampled_tones(head, bare_skin, 4000)).T
    assert np.percentile(lightness, 2) < 38
    assert np.percentile(lightness, 98) > 62
    hue = np.degrees(np.arctan2(b, a))  # measured human skin: about 40 to 75 degrees
    assert np.percentile(hue, 2) > 42
    assert np.percentile(hue, 98) < 75


# Share, least and most, of very light to dark skin (Chardon 1991): a third of the people is of African, Asian and
# Caucasian ancestry each, whose tones scripts/open_head/complexions.py gives with their sources.
CLASSES = {
    "very light": (55.0, 90.0, 0.0, 0.08),
    "light": (41.0, 55.0, 0.08, 0.26),
    "intermediate": (28.0, 41.0, 0.16, 0.34),
    "tan": (10.0, 28.0, 0.18, 0.36),
    "brown": (-30.0, 10.0, 0.18, 0.38),
    "dark": (-90.0, -30.0, 0.01, 0.10),
}


def test_skin_tones_are_spread_as_in_surveys(head: FaceModel, bare_skin: Tensor):
    tones = sampled_tones(head, bare_skin, 4000)
    lab, angle = script("pigments").lab_from_rgb(tones), script("complexions").typology_angle(tones)
    assert 13.0 < angle.mean() < 26.0
    assert 19.0 < angle.std() < 29.0
    for name, (low, high, least, most) in CLASSES.items():
        assert least <= ((angle > low) & (angle <= high)).mean() <= most, name
    # Faces of many ancestries: a* 9 to 13 whatever the ancestry, b* 14 to 18 (Han 2006, Yun 2010, Xiao 2017).
    for axis, least, most, spread in ((0, 54.0, 60.0, 6.5), (1, 9.5, 12.5, 1.4), (2, 15.0, 18.5, 2.5)):
        assert least < lab[:, axis].mean() < most, axis
        assert spread < lab[:, axis].std() < 2.0 * spread, axis
    for low, high, most_yellow in ((30, 40, 26.0), (40, 50, 20.0), (50, 60, 18.5), (60, 70, 18.0)):
        of_tone = lab[(lab[:, 0] >= low) & (lab[:, 0] < high)]
        assert 9.0 < of_tone[:, 1].mean() < 14.0, low
        assert 13.0 < of_tone[:, 2].mean() < most_yellow, low


def test_a_persons_melanin_gives_the_tone_drawn_for_them():
    complexions, pigments = script("complexions"), script("pigments")
    table, names = pigments.SkinTable(), ("skin", *complexions.SKIN_FIELDS)
    people = complexions.draw_people(60, np.random.default_rng(1), ("frown",))
    regions = {name: np.linspace(0.0, 1.0, 9) * (name in ("skin", "cheeks", "nose")) for name in names}
    marks = np.full((60, 9, 3), 0.95)
    _, fields = complexions.pigments(people, regions, np.arange(9), table, np.arange(9), marks)
    found = complexions.typology_angle((complexions.toned(table.rgb(*fields), people) * marks).mean(1))
    off = np.abs(found - people.tone)  # whose blood is much stays darker than wished, without any melanin
    assert np.median(off) < 0.01
    assert (off < 0.5).mean() > 0.9
    male = np.arange(60) % 2 == 0
    assert people.beard[male].mean() > people.beard[~male].mean()
    assert people.folds["frown"].std() > 0.1


def test_first_mode_is_skin_tone_and_leaves_teeth_alone(head: FaceModel, regions: dict[str, Tensor], bare_skin: Tensor):
    tone = head.albedo_basis[:, :, 0]
    assert (tone[bare_skin] > 0).all()  # lighter everywhere, in every channel
    total = head.albedo_basis[bare_skin].square().sum()
    assert tone[bare_skin].square().sum() > 0.8 * total
    teeth = head.faces[head.annotations.face_parts["teeth"]].unique()
    assert (tone[teeth].abs() < 0.1 * head.mean_albedo[teeth].mean()).all()
    assert head.albedo_basis[regions["eyes"] > 0.5].isfinite().all()


def test_eyes_stay_eyes(head: FaceModel, draws: Tensor, regions: dict[str, Tensor]):
    eyes = regions["eyes"] > 0.5
    luminance = head.mean_albedo[eyes].mean(1)
    pupil, sclera = luminance < 0.02, luminance > 0.3
    assert pupil.sum() >= 20
    assert sclera.sum() >= 100
    seen = draws[:, eyes].mean(-1)
    assert seen[:, pupil].max() < 0.05
    assert seen[:, sclera].min() > 0.15


# --- how it was made ---


def test_perfect_white_is_white_and_red_is_red():
    pigments = script("pigments")
    white = pigments.rgb_from_reflectance(np.ones(31))
    np.testing.assert_allclose(white, 1.0, atol=1e-4)
    np.testing.assert_allclose(pigments.lab_from_rgb(np.ones(3)), [100, 0, 0], atol=0.01)
    np.testing.assert_allclose(pigments.lab_from_rgb(np.array([1.0, 0, 0])), [53.24, 80.09, 67.20], atol=0.05)


def test_more_melanin_is_darker_and_more_blood_is_redder():
    pigments = script("pigments")
    melanin, blood = np.meshgrid(np.geomspace(0.003, 0.5, 20), np.geomspace(0.004, 0.05, 10), indexing="ij")
    lab = pigments.lab_from_rgb(pigments.rgb_from_reflectance(pigments.skin_reflectance(melanin, blood)))
    assert (np.diff(lab[..., 0], axis=0) < 0).all()
    light = lab[..., 0] > 35  # in very dark skin melanin hides the blood
    assert (np.diff(lab[..., 1], axis=1) > 0)[light[:, 1:]].all()


@pytest.mark.parametrize(
    ("lightness", "a", "b"), [(67.0, (6, 12), (11, 18)), (55.0, (8, 14), (14, 22)), (37.0, (8, 14), (12, 20))]
)
def test_skin_colours_lie_where_skin_was_measured(lightness: float, a: tuple[float, float], b: tuple[float, float]):
    # Ranges of facial skin over light, intermediate and dark groups in the surveys that docs/head-albedo.md names.
    pigments = script("pigments")
    table, log_blood = pigments.SkinTable(), np.log(np.array([0.02]))
    lab = pigments.lab_from_rgb(table.rgb(table.log_melanin(np.array([lightness]), log_blood), log_blood))[0]
    assert lab[0] == pytest.approx(lightness, abs=0.1)
    assert a[0] < lab[1] < a[1]
    assert b[0] < lab[2] < b[1]


def test_hair_reflects_what_is_wished():
    pigments = script("pigments")
    wished = np.array([0.02, 0.05, 0.12, 0.3])
    rgb = pigments.hair_rgb(wished, np.full(4, 0.04))
    np.testing.assert_allclose(rgb @ pigments.LUMINANCE, wished, rtol=1e-3)
    assert (np.diff(rgb, axis=1) < 0).all()  # warm


def grid_faces(rows: int, columns: int) -> np.ndarray:
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])


def test_a_developable_surface_is_flattened_without_distortion():
    turn, height = np.meshgrid(np.linspace(0, 4, 25), np.linspace(0, 2, 13))
    cylinder = np.stack([np.cos(turn), np.sin(turn), height], -1).reshape(-1, 3)
    faces = grid_faces(13, 25)
    uv = script("uv").flatten(cylinder, faces, np.ones(len(cylinder)), start=None)
    rest = script("flatten").triangles_in_plane(cylinder[faces])
    edges = [np.stack([t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]], -1) for t in (rest, uv[faces])]
    stretch = np.linalg.svd(edges[1] @ np.linalg.inv(edges[0]), compute_uv=False)
    np.testing.assert_allclose(stretch, 1.0, atol=2e-3)


def test_a_bowl_with_a_hole_is_flattened_without_flips():
    polar, turn = np.meshgrid(np.linspace(0.3, 2.0, 12), np.arange(24) * 2 * np.pi / 24, indexing="ij")
    bowl = np.stack([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)], -1).reshape(-1, 3)
    wrapped = np.arange(12 * 24).reshape(12, 24)
    wrapped = np.concatenate([wrapped, wrapped[:, :1]], 1).reshape(-1)
    faces = wrapped[grid_faces(12, 25)]
    uv = script("uv").flatten(bowl, faces, np.ones(len(bowl)), start=None)
    assert len(script("flatten").boundary_loops(faces)) == 2
    assert script("flatten").signed_areas(uv[faces]).min() > 0


def test_soft_outline_measures_distance_across_its_edges():
    regions = script("regions")
    square = [(0.0, 0.0), (100.0, 0.0), (100.0, 2.0), (0.0, 2.0)]
    degrees = regions.DM_PER_DEGREE
    points = np.array([[50.0, 1.0], [50.0, 0.0], [50.0, 3.0], [50.0, 0.1], [50.0, -0.1], [100 + 0.05 / degrees, 1.0]])
    mask = regions.soft_outline(points, square, 0.4)
    expected = [1.0, 0.5, 0.0, *(regions.smoothstep(np.array([0.1, -0.1, -0.05]), -0.2, 0.2))]
    np.testing.assert_allclose(mask, expected, atol=1e-9)
