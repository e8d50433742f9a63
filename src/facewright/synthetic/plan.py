"""Everything that a seed decides about a picture. Drawing is cheap; nothing is rendered here."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from facewright.geometry.rotations import angles_from_rotation, rotation_from_angles
from facewright.morphable.linear import FaceModel
from facewright.morphable.sample import sample_coefficients
from facewright.records import Camera, FaceCoefficients
from facewright.synthetic.beards import Beard, draw_beard
from facewright.synthetic.dice import picked, sign, stream
from facewright.synthetic.gestures import expression_weights
from facewright.synthetic.hair import HairStyle, draw_hair
from facewright.synthetic.headwear import Headwear, draw_headwear
from facewright.synthetic.lens import Lens, draw_lens
from facewright.synthetic.light import LIGHT_KINDS, Light, LightKind, draw_light, harmonics_of_lights
from facewright.synthetic.makeup import MakeUp, draw_make_up
from facewright.synthetic.props import PropKind, draw_prop
from facewright.synthetic.skin import SkinLook, draw_skin
from facewright.synthetic.studio import Studio, luminance

HELD_OUT_SEED = 900_000
"""Scenes and people from here on are for measuring; nothing may be trained or tuned on them."""
LIVE_SEED = 2**40
"""From here on they are for training again: pictures that are drawn while a network is trained."""

# One stream of random numbers per aspect, so that a change to one leaves the others as they were.
_PERSON, _EXPRESSION, _POSE, _CAMERA, _LIGHT, _HAIR, _PROP, _LENS, _GESTURE = range(9)
_SKIN, _MAKE_UP, _BEARD, _HEADWEAR, _LASHES = range(30, 35)
BACKDROP_STREAM, NOISE_STREAM, CLOTHES_STREAM, OBJECT_STREAM = range(9, 13)

MEAN_EYE_DISTANCE_DM = 0.64
NEUTRAL_SHARE = 0.15
CALM = 0.6
"""Plain scenes show expressions at this share of their strength."""
YAW_RANGES_DEG = ((0.0, 30.0), (30.0, 60.0), (60.0, 90.0))
YAW_SHARES = (0.5, 0.3, 0.2)
_YAW_ODDS = dict(zip(YAW_RANGES_DEG, YAW_SHARES, strict=True))
TILT_DEG = (11.0, 8.0)
"""Deviations of pitch and roll; both are cut at 2.5 of them."""


@dataclass(frozen=True)
class ScenePlan:
    """A picture before it is taken.

    Attributes:
        seed: of the scene.
        person: seed of who it is: shape, albedo, hair.
        coefficients: the truth, with pose and light.
        camera: of the picture.
        light: what the SH coefficients approximate.
        hair: None: only what the albedo paints.
        prop: what covers the face.
        lens: what the camera adds.
        yaw_deg: seen from the camera: 0 looks into it; positive turns the nose to image right.
        gesture: what the face does, by the names of ``gestures``; ``neutral`` for nothing.
        skin: what has become of it; None: only the albedo.
        make_up: None: none.
        beard: None: none beside what the albedo paints.
        lashes_dm: length of the eyelashes; 0 for none.
        headwear: None: none.
    """

    seed: int
    person: int
    coefficients: FaceCoefficients
    camera: Camera
    light: Light
    hair: HairStyle | None
    prop: PropKind
    lens: Lens
    yaw_deg: float
    gesture: str
    skin: SkinLook | None = None
    make_up: MakeUp | None = None
    beard: Beard | None = None
    lashes_dm: float = 0.0
    headwear: Headwear | None = None


def require_training_seed(seed: int) -> int:
    """The seed itself.

    Raises:
        ValueError: it is held out.
    """
    if HELD_OUT_SEED <= seed < LIVE_SEED:
        raise ValueError(f"expected a training seed below {HELD_OUT_SEED}, received {seed}: those are for measuring")
    return seed


@dataclass(frozen=True)
class Wish:
    """What is asked of a picture; the rest is left to its seed.

    Attributes:
        seed: decides what the others leave open.
        person: seed of the person; the scene's own if None.
        width: columns of the picture.
        height: rows.
        eye_px: range of the distance between the eyes of a frontal face of average build; None: 24 px to a quarter of
            the picture's shorter side.
        distance_dm: of the camera; 4 to 30, mostly about 10, if None.
        yaw_deg: viewing angle; drawn by ``YAW_RANGES_DEG`` and ``YAW_SHARES`` if None.
        tilt_deg: deviations of pitch and roll.
        expression: False: neutral; True: some expression; None: mostly some.
        light: drawn if None.
        prop: drawn if None.
        plain: sharp, clean, no hair: for tests of one cause at a time.
    """

    seed: int
    person: int | None = None
    width: int = 640
    height: int = 640
    eye_px: tuple[float, float] | None = None
    distance_dm: float | None = None
    yaw_deg: float | None = None
    tilt_deg: tuple[float, float] = TILT_DEG
    expression: bool | None = None
    light: LightKind | None = None
    prop: PropKind | None = None
    plain: bool = False


@dataclass(frozen=True)
class _Person:
    """What stays the same in all pictures of somebody."""

    id: Float[Tensor, "1 I"]
    tex: Float[Tensor, "1 T"]
    skin_luminance: float
    hair_color: Float[ndarray, "3"]
    hair: HairStyle | None = None
    skin: SkinLook | None = None
    beard: Beard | None = None
    lashes_dm: float = 0.0


def plan_scene(
    studio: Studio,
    seed: int,
    *,
    person: int | None = None,
    width: int = 640,
    height: int = 640,
    eye_px: tuple[float, float] | None = None,
    distance_dm: float | None = None,
    yaw_deg: float | None = None,
    tilt_deg: tuple[float, float] = TILT_DEG,
    expression: bool | None = None,
    light: LightKind | None = None,
    prop: PropKind | None = None,
    plain: bool = False,
) -> ScenePlan:
    """Decide everything about a picture; the arguments are those of ``Wish``."""
    wish = Wish(seed, person, width, height, eye_px, distance_dm, yaw_deg, tilt_deg, expression, light, prop, plain)
    return plan_scenes(studio, [wish])[0]


def plan_scenes(studio: Studio, wishes: list[Wish]) -> list[ScenePlan]:
    """Decide everything about a batch of pictures: each is the one that it would be alone.

    Args:
        studio: whom to draw from.
        wishes: one a picture.
    """
    model = studio.model
    people = _people(studio, wishes)
    views = [_drawn_view(stream(wish.seed, _POSE), wish.yaw_deg, wish.tilt_deg) for wish in wishes]
    placed = [_camera_and_place(stream(wish.seed, _CAMERA), wish) for wish in wishes]
    places = np.stack([place for _, place in placed])
    viewed = rotation_from_angles(torch.deg2rad(torch.tensor(views, dtype=torch.float64)))
    rays = ray_rotations(places, np.array([camera.distance_dm for camera, _ in placed]))
    angles = angles_from_rotation(torch.from_numpy(rays) @ viewed).float()
    translation, zero = torch.from_numpy(places).float(), torch.zeros(1, model.layout.exp)
    lamps = [_lamp(wish, person.skin_luminance) for wish, person in zip(wishes, people, strict=True)]
    sh = harmonics_of_lights(lamps)
    plans = []
    for i, (wish, person, (camera, _), lamp) in enumerate(zip(wishes, people, placed, lamps, strict=True)):
        exp, gesture = _expression(model, wish) or (zero, "neutral")
        truth = FaceCoefficients(person.id, exp, person.tex, angles[i : i + 1], sh[i : i + 1], translation[i : i + 1])
        face_px = float(camera.focal_px[0]) * MEAN_EYE_DISTANCE_DM / camera.distance_dm
        lens = Lens() if wish.plain else draw_lens(stream(wish.seed, _LENS), face_px, dark=lamp.kind == "dark")
        prop = wish.prop or draw_prop(stream(wish.seed, _PROP))
        who = wish.seed if wish.person is None else wish.person
        plan = ScenePlan(wish.seed, who, truth, camera, lamp, person.hair, prop, lens, views[i][1], gesture)
        plans.append(plan if wish.plain else _with_looks(plan, person))
    return plans


def _people(studio: Studio, wishes: list[Wish]) -> list[_Person]:
    """Who is in the pictures; everybody is drawn once, and plain people are without hair."""
    wanted = [(wish.seed if wish.person is None else wish.person, wish.plain) for wish in wishes]
    seeds = list(dict.fromkeys(wanted))
    drawn = sample_coefficients(studio.model, [_generator(seed, _PERSON) for seed, _ in seeds], expressions=False)
    skins, painted = luminance(studio.mean_colors(drawn.tex, "face")), studio.hair_colors(drawn.tex)
    people = {}
    for i, (seed, plain) in enumerate(seeds):
        person = _Person(drawn.id[i : i + 1], drawn.tex[i : i + 1], float(skins[i]), painted[i])
        people[seed, plain] = person if plain else _grown(person, seed)
    return [people[key] for key in wanted]


def _grown(person: _Person, seed: int) -> _Person:
    """The same with hair, beard, lashes and skin."""
    hair = draw_hair(stream(seed, _HAIR), person.hair_color)
    beard = draw_beard(stream(seed, _BEARD), person.hair_color if hair is None else hair.color)
    skin = draw_skin(stream(seed, _SKIN))
    if beard:
        skin = replace(skin, stubble=max(skin.stubble, 0.5))
    lashes = float(stream(seed, _LASHES).uniform(0.03, 0.065))
    return replace(person, hair=hair, skin=skin, beard=beard, lashes_dm=lashes)


def _lamp(wish: Wish, skin_luminance: float) -> Light:
    rng = stream(wish.seed, _LIGHT)
    drawn = picked(rng, LIGHT_KINDS) if wish.light is None else wish.light
    return draw_light(rng, drawn, skin_luminance, plain=wish.plain)


def _with_looks(plan: ScenePlan, person: _Person) -> ScenePlan:
    """The same with what is on the skin and on the head."""
    made_up = None if person.beard else draw_make_up(stream(plan.seed, _MAKE_UP))
    headwear = draw_headwear(stream(plan.seed, _HEADWEAR))
    lashes = person.lashes_dm * (1.25 if made_up else 1.0)
    return replace(plan, skin=person.skin, make_up=made_up, beard=person.beard, lashes_dm=lashes, headwear=headwear)


def plan_plain_scene(studio: Studio, seed: int, *, size: int = 400) -> ScenePlan:
    """An easy picture: a large, sharp, bare face 10 dm away that looks roughly into the camera, in even or side light.

    It tells how well a method does its own job when nothing is in its way.
    """
    yaw = float(np.clip(stream(seed, _POSE).normal(0.0, 23.0), -60.0, 60.0))
    light: LightKind = "even" if seed % 2 else "side"
    eyes = (0.2 * size, 0.24 * size)
    plan = plan_scene(
        studio,
        seed,
        width=size,
        height=size,
        eye_px=eyes,
        distance_dm=10.0,
        yaw_deg=yaw,
        light=light,
        prop="none",
        plain=True,
    )
    return replace(plan, lens=Lens(blur_px=0.4, shot_noise=0.01, read_noise=0.002, quality=92))


def ray_rotations(places_dm: Float[ndarray, "B 3"], distances_dm: Float[ndarray, " B"]) -> Float[ndarray, "B 3 3"]:
    """The shortest turns from the camera's axis to the lines from places to the camera.

    A head that looks into the camera from beside the axis is turned by it.
    """
    toward = np.array([0.0, 0.0, 1.0]) * distances_dm[:, None] - places_dm
    toward = toward / np.linalg.norm(toward, axis=1, keepdims=True)
    x, y, z = toward.T
    share = 1.0 / (1.0 + z)  # places are before the camera: z is positive
    rows = [1.0 - share * x * x, -share * x * y, x, -share * x * y, 1.0 - share * y * y, y, -x, -y, z]
    return np.stack(rows, -1).reshape(-1, 3, 3)


def viewed_rotation(coefficients: FaceCoefficients, distance_dm: float) -> Float[ndarray, "B 3 3"]:
    """Rotation relative to the line of sight, which is what a face's appearance shows.

    Comparable between cameras with different principal points, unlike the rotation itself.
    """
    turned = rotation_from_angles(coefficients.angles.double()).numpy()
    places = coefficients.translation.double().numpy()
    return ray_rotations(places, np.full(len(places), distance_dm)).transpose(0, 2, 1) @ turned


def _expression(model: FaceModel, wish: Wish) -> tuple[Float[Tensor, "1 K"], str] | None:
    """What the face does and what that is called, if anything; models without named weights draw from their prior."""
    chance = stream(wish.seed, _EXPRESSION).random() >= NEUTRAL_SHARE
    if not (chance if wish.expression is None else wish.expression):
        return None
    if not model.exp_is_box or "jawOpen" not in model.exp_names:
        drawn = sample_coefficients(model, _generator(wish.seed, _EXPRESSION), expressions=True).exp
        exp, gesture = drawn, "from the prior"
    else:
        exp, gesture = expression_weights(stream(wish.seed, _GESTURE), model.exp_names)
    return CALM * exp if wish.plain else exp, gesture


def _drawn_view(
    rng: np.random.Generator, yaw_deg: float | None, tilt_deg: tuple[float, float]
) -> tuple[float, float, float]:
    """Pitch, yaw and roll, degrees."""
    drawn = float(rng.uniform(*picked(rng, _YAW_ODDS)) * sign(rng))
    yaw = drawn if yaw_deg is None else float(yaw_deg)
    pitch, roll = np.clip(rng.standard_normal(2), -2.5, 2.5) * tilt_deg
    return float(pitch), yaw, float(roll)


def _camera_and_place(rng: np.random.Generator, wish: Wish) -> tuple[Camera, Float[ndarray, "3"]]:
    """A camera at arm's length to several metres, and where the head is."""
    width, height = wish.width, wish.height
    drawn = float(np.clip(np.exp(rng.normal(np.log(10.0), 0.45)), 4.0, 30.0))
    distance = drawn if wish.distance_dm is None else wish.distance_dm
    low, high = wish.eye_px or (24.0, max(24.5, min(width, height) / 4.0))
    size_px = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    focal = size_px * distance / MEAN_EYE_DISTANCE_DM
    reach_px = 1.6 / MEAN_EYE_DISTANCE_DM * size_px  # the head should stay inside where there is room
    free = np.array([width, height]) / 2.0 - reach_px
    shift_px = rng.uniform(-1.0, 1.0, 2) * np.maximum(free, 0.05 * np.array([width, height]))
    place = np.array([shift_px[0], -shift_px[1], 0.0]) * distance / focal
    single = torch.tensor([focal], dtype=torch.float32)
    middle = (torch.tensor([(width - 1) / 2]), torch.tensor([(height - 1) / 2]))
    return Camera(single, *middle, width, height, distance), place


def _generator(seed: int, aspect: int) -> torch.Generator:
    return torch.Generator().manual_seed(
        int(np.random.SeedSequence([seed, aspect]).generate_state(1, np.uint64)[0] >> 1)
    )
