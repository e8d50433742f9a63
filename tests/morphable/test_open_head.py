"""The embedded head: symmetry, frame, landmarks, eyes and lips, expressions, and the measurements of its people."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import loadmat
from torch import Tensor

from facewright.assets import embedded_path
from facewright.geometry.rotations import angles_from_rotation
from facewright.geometry.similarity import similarity_from_points
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.subdivide import subdivide_face_model

FLIP = torch.tensor([-1.0, 1.0, 1.0])
MIRRORED_IBUG68 = [16 - i for i in range(17)] + [43 - i for i in range(17, 27)] + list(range(27, 31))
MIRRORED_IBUG68 += [35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
MIRRORED_IBUG68 += [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]


@pytest.fixture(scope="module")
def head() -> FaceModel:
    return load_face_model("open")


def required(value: Tensor | None) -> Tensor:
    assert value is not None
    return value


def with_expression(head: FaceModel, **weights: float) -> Tensor:
    """The mean head with some expressions, dm."""
    exp = torch.zeros(1, head.layout.exp)
    for name, weight in weights.items():
        exp[0, head.exp_names.index(name)] = weight
    return head.shape(torch.zeros(1, head.layout.id), exp)[0]


def part_vertices(head: FaceModel, part: str) -> Tensor:
    return head.faces[head.annotations.face_parts[part]].unique()


def test_contents(head: FaceModel) -> None:
    assert embedded_path("open_head.npz").stat().st_size < 12_000_000
    assert head.name == "open"
    assert head.metadata["version"] == "3.0"
    assert head.edition == 3
    assert head.exp_is_box
    assert head.albedo_space == "linear"
    assert head.metadata["licence"] == "CC0-1.0"
    assert head.layout.id == 80
    assert head.layout.tex >= 40
    assert len(head.exp_names) == len(set(head.exp_names)) == 52
    assert {"jawOpen", "eyeBlinkLeft", "mouthSmileRight", "tongueOut"} <= set(head.exp_names)
    assert set(head.annotations.face_parts) == {"head", "eyes", "teeth", "tongue", "mouth_socket"}
    assert torch.stack(list(head.annotations.face_parts.values())).sum(0).eq(1).all()


def test_left_and_right_are_mirror_images(head: FaceModel) -> None:
    mirror = required(head.annotations.mirror)
    assert torch.equal(mirror[mirror], torch.arange(len(mirror)))
    torch.testing.assert_close(head.mean_shape[mirror] * FLIP, head.mean_shape, atol=1e-6, rtol=0)
    turned = {tuple(face.roll(-int(face.argmin())).tolist()) for face in mirror[head.faces].flip(1)}
    assert turned == {tuple(face.roll(-int(face.argmin())).tolist()) for face in head.faces}
    ibug68 = required(head.annotations.ibug68)
    assert torch.equal(mirror[ibug68], ibug68[MIRRORED_IBUG68])
    contours = required(head.annotations.contours)
    assert torch.equal(contours[8:].flip(0).clamp_min(0), torch.where(contours[:9] < 0, 0, mirror[contours[:9]]))


def test_identity_modes_are_symmetric_or_antisymmetric(head: FaceModel) -> None:
    mirror = required(head.annotations.mirror)
    flipped = head.id_basis[mirror] * FLIP[:, None]
    scale = head.id_basis.abs().amax((0, 1))
    even = (flipped - head.id_basis).abs().amax((0, 1)) / scale
    odd = (flipped + head.id_basis).abs().amax((0, 1)) / scale
    assert torch.minimum(even, odd).max() < 1e-3
    assert 2 <= int((odd < even).sum()) < 40


def test_left_and_right_expressions_are_partners(head: FaceModel) -> None:
    mirror = required(head.annotations.mirror)
    for name in (
        name
        for name in head.exp_names
        if name.endswith("Left") and name.removesuffix("Left") + "Right" in head.exp_names
    ):
        left, right = (
            head.exp_basis[..., head.exp_names.index(n)] for n in (name, name.removesuffix("Left") + "Right")
        )
        # The source rounds its offsets to 1/1000 dm, and a few of its pairs differ by a little more.
        assert (left[mirror] * FLIP - right).norm(dim=1).max() < 0.02, name


def test_faces_point_outwards(head: FaceModel) -> None:
    for part in ("head", "eyes", "tongue"):
        corners = head.mean_shape[head.faces[head.annotations.face_parts[part]]].double()
        centre = corners.mean((0, 1))
        a, b, c = (corners - centre).unbind(1)
        assert torch.linalg.cross(a, b).mul(c).sum() > 0, part


def test_the_frame_is_that_of_the_deep3d_mean_face(head: FaceModel, shared_dir: Path) -> None:
    reference = torch.from_numpy(loadmat(str(shared_dir / "bfm_tables" / "similarity_Lm3D_all.mat"))["lm"]).double()
    points = head.mean_shape[required(head.annotations.ibug68)].double()
    _, rotation, translation = similarity_from_points(points, reference, with_scale=False)
    assert angles_from_rotation(rotation).abs().max() < np.radians(0.3)
    assert translation.abs().max() < 0.003
    scale, _, _ = similarity_from_points(points, reference)
    assert 0.95 < scale < 1.05
    # Another head with other proportions (measured: 6.2 mm at most, 3.6 mm root mean square).
    apart = (points - reference).norm(dim=1)
    assert apart.max() < 0.07
    assert apart.square().mean().sqrt() < 0.04


def test_the_five_points_are_those_of_the_alignment(head: FaceModel) -> None:
    five = required(head.annotations.five)
    points = torch.stack([head.mean_shape[row[row >= 0]].mean(0) for row in five])
    published = [[-0.3115, 0.2904, 0.1338], [0.3098, 0.2897, 0.1318], [0.0033, -0.0462, 0.5524]]
    published += [[-0.2522, -0.3813, 0.2241], [0.2485, -0.3813, 0.2224]]
    assert (points - torch.tensor(published)).norm(dim=1).max() < 0.07


def test_contours_run_from_the_cheek_over_the_landmark(head: FaceModel) -> None:
    contours, ibug68 = required(head.annotations.contours), required(head.annotations.ibug68)
    skin = part_vertices(head, "head")
    for number, row in enumerate(contours):
        ids = row[row >= 0]
        assert len(ids) >= 5
        assert int(ibug68[number]) in ids.tolist()
        assert torch.isin(ids, skin).all()
        assert (ids.unique().shape) == ids.shape
        assert head.mean_shape[ids[0], 2] > head.mean_shape[ids[-1], 2]


def test_eyeballs_are_round_and_stay_so(head: FaceModel, rng: torch.Generator) -> None:
    eyes = part_vertices(head, "eyes")
    left = eyes[head.mean_shape[eyes, 0] > 0]
    for id_coeff in torch.cat([torch.zeros(1, 80), torch.randn(3, 80, generator=rng)]):
        ball = head.shape(id_coeff[None], torch.zeros(1, 52))[0, left].double()
        system = torch.cat([2 * ball, torch.ones(len(ball), 1)], 1)
        solution = torch.linalg.lstsq(system, ball.square().sum(1, keepdim=True)).solution[:, 0]
        radii = (ball - solution[:3]).norm(dim=1)
        assert radii.std() < 0.01 * radii.mean()
        assert 0.12 < radii.mean() < 0.17


def lip_gap(head: FaceModel, vertices: Tensor) -> Tensor:
    """Height of the inner upper lip over the inner lower lip in the middle, dm."""
    ibug68 = required(head.annotations.ibug68)
    return vertices[..., ibug68[62], 1] - vertices[..., ibug68[66], 1]


def test_lips_touch_at_rest_whoever_it_is(head: FaceModel, rng: torch.Generator) -> None:
    people = head.shape(torch.randn(50, 80, generator=rng), torch.zeros(50, 52))
    assert lip_gap(head, people).abs().max() < 0.01
    assert lip_gap(head, with_expression(head, jawOpen=1.0)) > 0.25
    closed = lip_gap(head, with_expression(head, jawOpen=0.6, mouthClose=0.6))
    assert closed < 0.2 * lip_gap(head, with_expression(head, jawOpen=0.6))


def test_the_jaw_takes_lower_teeth_and_tongue_along(head: FaceModel) -> None:
    moved = with_expression(head, jawOpen=1.0) - head.mean_shape
    ibug68 = required(head.annotations.ibug68)
    teeth, tongue = part_vertices(head, "teeth"), part_vertices(head, "tongue")
    height = head.mean_shape[teeth, 1]
    upper, lower = teeth[height > height.median()], teeth[height < height.median()]
    assert moved[ibug68[8], 1] < -0.15
    assert moved[lower, 1].mean() < -0.1
    assert moved[tongue, 1].mean() < -0.05
    assert moved[upper].norm(dim=1).median() < 1e-3
    assert moved[part_vertices(head, "eyes")].norm(dim=1).max() < 1e-3


def test_blinks_shut_the_eyes_and_one_blink_one_eye(head: FaceModel) -> None:
    ibug68 = required(head.annotations.ibug68)
    upper, lower = ibug68[[43, 44]], ibug68[[47, 46]]
    rest = head.mean_shape[upper, 1] - head.mean_shape[lower, 1]
    shut = with_expression(head, eyeBlinkLeft=1.0)
    assert rest.min() > 0.05
    assert (shut[upper, 1] - shut[lower, 1]).abs().max() < 0.03
    right_eye = ibug68[36:42]
    assert (shut - head.mean_shape)[right_eye].norm(dim=1).max() < 1e-3


def test_blinks_shut_the_eyes_of_whoever_it_is(head: FaceModel, rng: torch.Generator) -> None:
    ibug68 = required(head.annotations.ibug68)
    blink = torch.zeros(50, 52)
    blink[:, [head.exp_names.index(name) for name in ("eyeBlinkLeft", "eyeBlinkRight")]] = 1.0
    people = torch.randn(50, 80, generator=rng).clamp(-2.5, 2.5)
    awake, asleep = head.shape(people, torch.zeros(50, 52)), head.shape(people, blink)
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        opening, shut = (v[:, ibug68[upper], 1] - v[:, ibug68[lower], 1] for v in (awake, asleep))
        assert opening.min() > 0.04
        assert (shut > 0.004).float().mean() < 0.05
        assert shut.max() < 0.01


def test_shut_lids_lie_before_the_eyeball(head: FaceModel) -> None:
    skin, eyes = part_vertices(head, "head"), part_vertices(head, "eyes")
    left = eyes[head.mean_shape[eyes, 0] > 0]
    centre = 0.5 * (head.mean_shape[left].amax(0) + head.mean_shape[left].amin(0))
    radius = (head.mean_shape[left] - centre).norm(dim=1).mean()
    lids = skin[head.annotations.regions["eyelids"][skin] - head.annotations.regions["lid_rim"][skin] > 0.5]
    lids = lids[head.mean_shape[lids, 0] > 0]
    assert len(lids) > 20
    for weight in (0.0, 0.25, 0.5, 0.75, 1.0):
        closed = with_expression(head, eyeBlinkLeft=weight)[lids]
        assert (closed - centre).norm(dim=1).min() > radius, weight


# Distances (a, b, None), heights (a above b, 1) and depths (a before b, 2), mm: between the surveys' or, where they are
# silent, the open models' means and the Basel mean.
PROPORTIONS = {
    "inner canthi": (39, 42, None, 31.0, 38.5),
    "outer canthi": (36, 45, None, 88.0, 98.0),
    "eye, between the tips of the lids": (36, 39, None, 25.8, 34.0),
    "opening of the eye": (37, 41, None, 5.7, 8.1),
    "inner ends of the brows": (21, 22, None, 23.4, 39.5),
    "brow above upper lid": (19, 37, 1, 19.8, 23.8),
    "nose height": (27, 33, None, 47.0, 55.0),
    "bridge before outer canthus": (27, 36, 2, 20.6, 25.4),
    "brow before outer canthus": (19, 36, 2, 12.2, 13.7),
    "upper lip before mouth corner": (51, 48, 2, 16.5, 18.5),
    "base of nose before chin": (33, 8, 2, 11.3, 19.2),
    "wings": (31, 35, None, 24.9, 28.1),
    "mouth": (48, 54, None, 50.0, 56.0),
    "lips": (51, 57, None, 16.7, 20.1),
}


def test_the_mean_face_is_proportioned_like_people(head: FaceModel) -> None:
    points = head.mean_shape[required(head.annotations.ibug68)].double() * 100
    for name, (first, second, axis, least, most) in PROPORTIONS.items():
        apart = points[first] - points[second]
        value = float(apart.norm() if axis is None else apart[axis])
        assert least <= value <= most, (name, value)


def test_no_facet_of_the_skin_is_large(head: FaceModel) -> None:
    corners = head.mean_shape[head.faces[head.annotations.face_parts["head"]]]
    sides = (corners - corners.roll(1, dims=1)).norm(dim=2).sort(dim=1).values
    assert sides[:, 1].max() < 0.13
    assert sides[:, 1].quantile(0.99) < 0.10


def test_gaze_turns_the_eyeball_without_deforming_it(head: FaceModel) -> None:
    eyes = part_vertices(head, "eyes")
    left = eyes[head.mean_shape[eyes, 0] > 0]
    turned = with_expression(head, eyeLookOutLeft=1.0)[left]
    rest = head.mean_shape[left]
    centre, moved_centre = rest.mean(0), turned.mean(0)
    pupil = int(rest[:, 2].argmax())
    assert turned[pupil, 0] - rest[pupil, 0] > 0.03
    ratio = (turned - moved_centre).norm(dim=1) / (rest - centre).norm(dim=1)
    assert (ratio - 1).abs().max() < 0.15


def measured(head: FaceModel, heads: Tensor) -> dict[str, Tensor]:
    """The named measurements of heads (N, V, 3), mm."""
    result = {}
    for name, definition in head.metadata["measurements"].items():
        apart = torch.stack([heads[:, a] - heads[:, b] for a, b in definition["between"]], 1)
        along = definition["along"]
        lengths = apart.norm(dim=-1) if along is None else (apart @ torch.tensor(along)).abs()
        result[name] = lengths.mean(1) * 100
    return result


def test_samples_measure_like_adults(head: FaceModel, rng: torch.Generator) -> None:
    heads = head.shape(torch.randn(1500, 80, generator=rng), torch.zeros(1500, 52))
    values = measured(head, heads)
    assert len(values) >= 8
    for name, value in values.items():
        definition = head.metadata["measurements"][name]
        (male, male_sd), (female, female_sd) = definition["male_mm"], definition["female_mm"]
        mean = 0.5 * (male + female)
        sd = (0.5 * (male_sd**2 + female_sd**2) + 0.25 * (male - female) ** 2) ** 0.5
        assert abs(float(value.mean()) - mean) < 0.5 * sd, name
        assert 0.75 < float(value.std()) / sd < 1.25, name


def test_it_subdivides(head: FaceModel) -> None:
    fine = subdivide_face_model(head)
    assert 30_000 < len(fine.mean_shape) < 45_000
    mirror = required(fine.annotations.mirror)
    torch.testing.assert_close(fine.mean_shape[mirror] * FLIP, fine.mean_shape, atol=1e-6, rtol=0)


def test_a_networks_codes_mean_the_same_people_in_another_basis(head: FaceModel, rng: torch.Generator) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
    code_map = importlib.import_module("open_head.carry_weights").code_map

    turn = torch.linalg.qr(torch.randn(80, 80, generator=rng, dtype=torch.float64)).Q
    turned = (head.id_basis.double() @ turn).float()
    importance = head.annotations.regions["face"] + 0.05
    mapped = code_map(head.id_basis, turned, importance)
    codes = torch.randn(20, 80, generator=rng, dtype=torch.float64)
    offsets = torch.einsum("vck,nk->nvc", head.id_basis.double(), codes)
    again = torch.einsum("vck,nk->nvc", turned.double(), codes @ mapped.T)
    face = head.annotations.regions["face"] > 0.5
    assert (again - offsets)[:, face].norm(dim=-1).mean() < 0.01 * offsets[:, face].norm(dim=-1).mean()
