"""What is on the skin, on the head and around: each changes what it should, and nothing else."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from facewright.render.lighting import sh_basis
from facewright.synthetic import Studio, photograph, plan_plain_scene, plan_scene, set_stage
from facewright.synthetic.backdrops import BACKDROPS, draw_backdrop
from facewright.synthetic.beards import Beard, beard_shell, lash_shell
from facewright.synthetic.clothes import torso
from facewright.synthetic.hair import draw_hair, outlines_of
from facewright.synthetic.headwear import HEADWEAR_KINDS, Headwear, hair_under, headwear_shell
from facewright.synthetic.held import held_object
from facewright.synthetic.lens import Lens, take_picture
from facewright.synthetic.light import LIGHT_KINDS, LightKind, draw_light
from facewright.synthetic.makeup import MakeUp, make_up
from facewright.synthetic.plan import ScenePlan
from facewright.synthetic.skin import FOLDS, SkinLook, draw_skin, skin_marks
from facewright.synthetic.surroundings import PLACES, draw_surroundings, even_directions, harmonics_of

SMOOTH = SkinLook(0.0, (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 7)
RED, BLUE = np.array([0.5, 0.05, 0.05]), np.array([0.05, 0.05, 0.5])


def unmarked(studio: Studio) -> torch.Tensor:
    return torch.zeros(1, len(studio.model.exp_names))


@pytest.mark.parametrize(
    ("change", "region"),
    [
        ({"stubble": 1.0}, "beard"),
        ({"bags": 1.0}, "under_eye"),
        ({"lips": 1.0}, "lips"),
        ({"redness": (1.0, 0.0, 0.0, 0.0)}, "cheeks"),
    ],
)
def test_marks_are_where_they_belong(studio: Studio, change: dict[str, float], region: str) -> None:
    plain, marked = (skin_marks([look], studio.skin, unmarked(studio)) for look in (SMOOTH, replace(SMOOTH, **change)))
    changed = (marked.albedo - plain.albedo).abs().amax(-1)[0]
    assert float(changed[studio.region(region) > 0.9].mean()) > 0.04
    assert float(changed[studio.region("eyes") > 0.5].max()) == 0.0
    assert float(changed[studio.region("scalp") > 0.9].mean()) < 0.01
    assert torch.equal(marked.tilt, plain.tilt)


def test_folds_deepen_with_age_and_with_what_the_face_does(studio: Studio) -> None:
    frowning, old = unmarked(studio), replace(SMOOTH, age=1.0)
    for side in ("Left", "Right"):
        frowning[0, studio.model.exp_names.index("browDown" + side)] = 1.0
    smooth, aged, folded = (
        skin_marks([look], studio.skin, exp).tilt[0].norm(dim=-1)
        for look, exp in ((SMOOTH, 0 * frowning), (old, 0 * frowning), (SMOOTH, frowning))
    )
    assert not smooth.any()
    assert 0.2 < float(aged.max()) < 2.5
    between = studio.skin.tilts[list(FOLDS).index("frown")].norm(dim=-1) > 0.2
    assert float(folded[between].mean()) > 0.05
    assert float(folded[studio.region("lips") > 0.5].max()) < 1e-3
    young, rested, lined = (
        skin_marks([look], studio.skin, exp).albedo[0].mean(-1)
        for look, exp in ((SMOOTH, 0 * frowning), (old, 0 * frowning), (old, frowning))
    )
    assert torch.equal(young, rested)  # the lines of a face at rest are the albedo's own
    assert float((rested / lined)[between].mean()) > 1.02


def test_heads_of_a_batch_are_marked_as_alone(studio: Studio) -> None:
    looks = [draw_skin(np.random.default_rng(seed)) for seed in range(3)]
    together = skin_marks([*looks, None], studio.skin, unmarked(studio).expand(4, -1))
    for i, look in enumerate(looks):
        torch.testing.assert_close(together.albedo[i], skin_marks([look], studio.skin, unmarked(studio)).albedo[0])
    assert torch.equal(together.albedo[3], torch.ones_like(together.albedo[3]))
    assert not together.tilt[3].any()


def test_hollows_are_dark_and_foreheads_are_not(studio: Studio) -> None:
    shade = skin_marks([replace(SMOOTH, occlusion=1.0)], studio.skin, unmarked(studio)).albedo[0].mean(-1)
    assert float(shade[studio.region("nostrils") > 0.5].mean()) < 0.75
    assert float(shade[studio.region("forehead") > 0.8].mean()) > 0.85


def test_make_up_covers_what_it_is_put_on(studio: Studio) -> None:
    worn = MakeUp((("lips", RED, 1.0), ("eyelids", BLUE, 0.5)), 1.0, 1.0)
    bare = studio.model.mean_albedo
    albedo, gloss = make_up(worn, studio.skin, bare, studio.gloss)
    lips, lids = studio.region("lips") > 0.99, studio.region("eyelids") > 0.99
    torch.testing.assert_close(albedo[lips], torch.tensor(RED).float().expand(int(lips.sum()), 3), atol=0.02, rtol=0)
    assert float((albedo - bare)[lids, 2].mean()) > 0.02
    untouched = (studio.region("lips") < 0.01) & (studio.region("eyelids") < 0.01)
    assert torch.equal(albedo[untouched], bare[untouched])
    torch.testing.assert_close(gloss, studio.gloss)


def test_lashes_stand_on_the_rims_and_follow_a_blink(studio: Studio) -> None:
    model = studio.model
    shut = torch.zeros(1, len(model.exp_names))
    for side in ("Left", "Right"):
        shut[0, model.exp_names.index("eyeBlink" + side)] = 1.0
    tops = []
    for exp in (torch.zeros_like(shut), shut):
        head = model.shape(torch.zeros(1, model.layout.id), exp)[0].numpy()
        corners = lash_shell(0.08, studio.hairy, head).vertices.numpy().reshape(4, -1, 3, 3)
        middle = head[studio.hairy.eyes].mean(1)[:, None]
        reach = np.linalg.norm(corners[:, :, 2] - middle, axis=-1) - np.linalg.norm(corners[:, :, 0] - middle, axis=-1)
        assert (reach > 0.0).all()  # away from the eye
        tops.append(float(corners[[0, 2], 11, 0, 1].mean()))
    assert tops[1] < tops[0] - 0.03


def test_beards_stand_off_the_skin_and_moustaches_leave_the_chin(studio: Studio) -> None:
    head = studio.model.mean_shape.numpy()
    full, upper = (
        beard_shell(Beard(kind, 0.1, RED, 3), studio.hairy, head)  # pyright: ignore[reportArgumentType]
        for kind in ("full", "moustache")
    )
    chin, lip = float(head[studio.ibug68[8], 1]), float(head[studio.ibug68[57], 1])
    assert float(full.vertices[full.faces.unique(), 1].min()) < chin + 0.1
    assert float(upper.vertices[upper.faces.unique(), 1].min()) > lip
    away = np.linalg.norm(full.vertices.numpy() - head[studio.hairy.ids], axis=1)
    assert 0.03 < away.max() < 0.25


@pytest.mark.parametrize("kind", HEADWEAR_KINDS)
def test_headwear_covers_the_crown_and_leaves_the_face(studio: Studio, kind: str) -> None:
    worn = Headwear(kind, np.radians(42.0), 0.1, 0.5, 0.1, RED, 0.1, False)  # pyright: ignore[reportArgumentType]
    head = studio.model.mean_shape
    shell = headwear_shell(worn, outlines_of(studio.hair, np.zeros((1, len(head), 3)))[0], 0.05)
    if kind != "headband":
        assert float(shell.vertices[:, 1].max()) > float(head[:, 1].max())
    nose = head[studio.ibug68[30]]
    assert float((shell.vertices - nose).norm(dim=1).min()) > 0.4
    assert shell.faces.max() < len(shell.vertices)
    hair = next(cut for seed in range(20) if (cut := draw_hair(np.random.default_rng(seed), RED)) and cut.hang.any())
    pressed = hair_under(worn, hair)
    assert (pressed.thickness <= hair.thickness).all()
    assert bool(pressed.hang.any()) == (kind not in ("hood", "scarf"))


def test_necklines_show_skin_of_the_persons_colour() -> None:
    shares = []
    for seed in range(30):
        shell = torso(np.random.default_rng(seed), np.eye(3), BLUE)
        shares.append(float((shell.albedo == torch.tensor(BLUE).float()).all(1).float().mean()))
        assert shell.vertices.isfinite().all()
    assert min(shares) == 0.0
    assert max(shares) > 0.1


def test_held_things_cover_a_part_of_the_face() -> None:
    covers = []
    for seed in range(24):
        low, high = np.array([40.0, 40.0]), np.array([120.0, 150.0])
        paint, cover = held_object(np.random.default_rng(seed), low, high, (180, 160), RED)
        assert paint.shape == (180, 160, 3)
        assert 0.0 <= cover.min() <= cover.max() <= 1.0
        covers.append(float(cover.mean()))
    assert np.mean(np.array(covers) > 0.01) > 0.8
    assert max(covers) < 0.6


@pytest.mark.parametrize("kind", BACKDROPS, ids=lambda kind: kind.__name__)
def test_backdrops_have_structure(kind: object) -> None:
    canvases = [kind(np.random.default_rng(seed), np.zeros((40, 50, 3), np.float32)) for seed in range(4)]  # pyright: ignore[reportCallIssue]
    assert all(np.isfinite(canvas).all() and canvas.shape == (40, 50, 3) for canvas in canvases)
    assert max(float(canvas.std()) for canvas in canvases) > 0.002


def test_backdrops_are_mostly_dull() -> None:
    pictures = [draw_backdrop(np.random.default_rng(seed), 32, 32) for seed in range(60)]
    tints = [float(np.ptp(picture.mean((0, 1))) / picture.mean().clip(0.02)) for picture in pictures]
    assert np.median(tints) < 0.5
    assert max(tints) > 0.5
    assert np.array_equal(pictures[0], draw_backdrop(np.random.default_rng(0), 32, 32))


@pytest.mark.parametrize("place", PLACES)
def test_surroundings_reduce_to_nine_coefficients(place: str) -> None:
    radiance = draw_surroundings(np.random.default_rng(2), place)  # pyright: ignore[reportArgumentType]
    assert radiance.min() >= 0.0
    assert radiance.mean() == pytest.approx(1.0)
    at = even_directions()
    exact = (at @ at.T).clip(0.0) @ radiance * 4.0 / len(at)
    found = sh_basis(torch.from_numpy(at)).numpy() @ harmonics_of(radiance)
    assert np.sqrt(np.square(found - exact).mean()) < 0.05 * exact.mean() + 0.05


def test_a_white_world_reflects_one() -> None:
    found = sh_basis(torch.from_numpy(even_directions())).numpy() @ harmonics_of(np.ones((600, 3)))
    np.testing.assert_allclose(found, 1.0, atol=0.01)


@pytest.mark.parametrize("kind", LIGHT_KINDS)
def test_exposure_keeps_part_of_the_skins_lightness(kind: LightKind) -> None:
    """Luminance of the lit face, by the light alone: a darker skin's picture is darker, by less than its albedo."""
    pale, dark = (
        np.median(
            [
                luminance
                * draw_light(np.random.default_rng(seed), kind, luminance)
                .irradiance(np.array([[0.0, 0.2, 0.98]]))
                .mean()
                for seed in range(40)
            ]
        )
        for luminance in (0.4, 0.1)
    )
    assert 1.5 < pale / dark < 3.0
    assert (0.05 if kind == "dark" else 0.3) < pale < (0.3 if kind == "dark" else 0.7)


@pytest.mark.parametrize(
    "change",
    [
        {"vignette": 0.5},
        {"balance": (1.1, 1.0, 0.9)},
        {"shoulder": 0.5},
        {"contrast": 0.5},
        {"saturation": 0.0},
        {"sharpening": 1.0},
        {"shrink": 0.5},
        {"quality_again": 50},
        {"shot_noise": 0.03, "demosaic_px": 0.6},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_part_of_a_lens_shows(change: dict[str, Any]) -> None:
    linear = np.linspace(0.0, 1.2, 48)[:, None, None] * np.array([1.0, 0.7, 0.5]) + np.zeros((48, 40, 3))
    linear[20:28, 10:30] = 0.05
    plain, changed = (
        take_picture(linear, lens, np.random.default_rng(0)).astype(float) for lens in (Lens(), Lens(**change))
    )
    assert np.abs(plain - changed).mean() > 0.4
    assert changed.shape == plain.shape
    if "vignette" in change:
        assert np.abs(plain - changed)[24, 20].max() <= 1.0  # the middle stays
    if "saturation" in change:
        assert np.ptp(changed, axis=-1).max() <= 1.0
    if "sharpening" in change:
        assert changed.max() >= plain.max()


def bare(studio: Studio) -> ScenePlan:
    plan = plan_scene(
        studio, 5, width=72, height=72, eye_px=(20.0, 21.0), yaw_deg=0.0, plain=True, light="even", prop="none"
    )
    return replace(plan, lens=Lens())


def test_plain_scenes_stay_plain(studio: Studio) -> None:
    for seed in range(4):
        plan = plan_plain_scene(studio, seed)
        assert (plan.skin, plan.make_up, plan.beard, plan.headwear, plan.hair) == (None,) * 5
        assert plan.lashes_dm == 0.0
        assert not plan.light.room.any()
    stage = set_stage(studio, [bare(studio)])
    torch.testing.assert_close(
        stage.albedos[0], studio.model.albedo(stage.plans[0].coefficients.tex)[0].clamp(0.002, 0.98)
    )


def test_looks_are_part_of_the_picture(studio: Studio) -> None:
    """One small scene: lipstick colours the mouth's pixels and no others."""
    plan = bare(studio)
    painted = replace(plan, make_up=MakeUp((("lips", BLUE, 1.0),), 1.0, 1.0))
    first, second = photograph(studio, plan), photograph(studio, painted)
    changed = (first.photo.srgb - second.photo.srgb).abs().amax(0) > 0.1
    rows, columns = changed.nonzero().T
    mouth = first.landmarks[48:60, :2]
    assert len(rows) > 20
    for pixels, marks in ((columns, mouth[:, 0]), (rows, mouth[:, 1])):
        assert float(pixels.min()) > float(marks.min()) - 3
        assert float(pixels.max()) < float(marks.max()) + 3


def test_people_keep_their_looks_and_scenes_change_theirs(studio: Studio) -> None:
    first, second = (plan_scene(studio, seed, person=3) for seed in (40, 41))
    assert first.skin == second.skin
    assert (first.beard is None) == (second.beard is None)
    worn = [plan_scene(studio, seed) for seed in range(150)]
    assert 0.06 < np.mean([plan.headwear is not None for plan in worn]) < 0.22
    assert 0.06 < np.mean([plan.beard is not None for plan in worn]) < 0.24
    assert 0.1 < np.mean([plan.make_up is not None for plan in worn]) < 0.35
