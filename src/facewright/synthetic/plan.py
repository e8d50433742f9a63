"""Everything that a seed decides about a picture. Drawing is cheap; nothing is rendered here."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from facewright.geometry.rotations import angles_from_rotation, rotation_from_angles
from facewright.morphable.linear import FaceModel
from facewright.morphable.sample import sample_coefficients
from facewright.records import Camera, FaceCoefficients
from facewright.synthetic.beards import Beard, draw_beard
from facewright.synthetic.gestures import expression_weights
from facewright.synthetic.hair import HairStyle, draw_hair
from facewright.synthetic.headwear import Headwear, draw_headwear
from facewright.synthetic.lens import Lens, draw_lens
from facewright.synthetic.light import LIGHT_KINDS, Light, LightKind, draw_light
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


def stream(seed: int, aspect: int) -> np.random.Generator:
    """Random numbers of one aspect of one scene."""
    return np.random.default_rng([seed, aspect])


def require_training_seed(seed: int) -> int:
    """The seed itself.

    Raises:
        ValueError: it is held out.
    """
    if HELD_OUT_SEED <= seed < LIVE_SEED:
        raise ValueError(f"expected a training seed below {HELD_OUT_SEED}, received {seed}: those are for measuring")
    return seed


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
    """Decide everything about a picture.

    Args:
        studio: whom to draw from.
        seed: decides what the arguments leave open.
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
    model = studio.model
    person = seed if person is None else person
    who = sample_coefficients(model, _generator(person, _PERSON), expressions=False)
    chance = stream(seed, _EXPRESSION).random() >= NEUTRAL_SHARE
    exp, gesture = torch.zeros_like(who.exp), "neutral"
    if chance if expression is None else expression:
        exp, gesture = _expression(model, seed)
        exp = CALM * exp if plain else exp
    pose = stream(seed, _POSE)
    viewed, yaw = _viewed_rotation(pose, yaw_deg, tilt_deg)
    camera, place = _camera_and_place(stream(seed, _CAMERA), width, height, eye_px, distance_dm)
    lit = stream(seed, _LIGHT)
    kinds = list(LIGHT_KINDS)
    kind = light or kinds[lit.choice(len(kinds), p=list(LIGHT_KINDS.values()))]
    lamp = draw_light(lit, kind, luminance(studio.mean_color(who.tex, "face")), plain=plain)
    rotation = ray_rotation(place, camera.distance_dm) @ viewed
    angles = angles_from_rotation(torch.from_numpy(rotation)).float()[None]
    truth = replace(who, exp=exp, angles=angles, translation=torch.from_numpy(place).float()[None], sh=lamp.sh())
    face_px = float(camera.focal_px[0]) * MEAN_EYE_DISTANCE_DM / camera.distance_dm
    hair = None if plain else draw_hair(stream(person, _HAIR), studio.hair_color(who.tex))
    lens = Lens() if plain else draw_lens(stream(seed, _LENS), face_px, dark=kind == "dark")
    plan = ScenePlan(
        seed, person, truth, camera, lamp, hair, prop or draw_prop(stream(seed, _PROP)), lens, yaw, gesture
    )
    return plan if plain else _with_looks(plan, studio.hair_color(who.tex))


def _with_looks(plan: ScenePlan, hair: Float[ndarray, "3"]) -> ScenePlan:
    """The same with what is on the skin and on the head."""
    person, seed = plan.person, plan.seed
    beard = draw_beard(stream(person, _BEARD), hair if plan.hair is None else plan.hair.color)
    made_up = None if beard else draw_make_up(stream(seed, _MAKE_UP))
    headwear = draw_headwear(stream(seed, _HEADWEAR))
    skin = draw_skin(stream(person, _SKIN))
    if beard:
        skin = replace(skin, stubble=max(skin.stubble, 0.5))
    lashes = float(stream(person, _LASHES).uniform(0.03, 0.065)) * (1.25 if made_up else 1.0)
    return replace(plan, skin=skin, make_up=made_up, beard=beard, lashes_dm=lashes, headwear=headwear)


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


def ray_rotation(place_dm: Float[ndarray, "3"], distance_dm: float) -> Float[ndarray, "3 3"]:
    """The shortest turn from the camera's axis to the line from a place to the camera.

    A head that looks into the camera from beside the axis is turned by it.
    """
    toward = np.array([0.0, 0.0, distance_dm]) - place_dm
    toward = toward / np.linalg.norm(toward)
    axis = np.cross([0.0, 0.0, 1.0], toward)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-12:
        return np.eye(3)
    return Rotation.from_rotvec(axis / sine * np.arctan2(sine, toward[2])).as_matrix()


def viewed_rotation(coefficients: FaceCoefficients, distance_dm: float) -> Float[ndarray, "B 3 3"]:
    """Rotation relative to the line of sight, which is what a face's appearance shows.

    Comparable between cameras with different principal points, unlike the rotation itself.
    """
    turned = rotation_from_angles(coefficients.angles.double()).numpy()
    rays = [ray_rotation(place, distance_dm) for place in coefficients.translation.double().numpy()]
    return np.stack([ray.T @ rotation for ray, rotation in zip(rays, turned, strict=True)])


def _expression(model: FaceModel, seed: int) -> tuple[Float[torch.Tensor, "1 K"], str]:
    """What the face does and what that is called; models without named weights draw from their prior."""
    if not model.exp_is_box or "jawOpen" not in model.exp_names:
        return sample_coefficients(model, _generator(seed, _EXPRESSION), expressions=True).exp, "from the prior"
    return expression_weights(stream(seed, _GESTURE), model.exp_names)


def _viewed_rotation(
    rng: np.random.Generator, yaw_deg: float | None, tilt_deg: tuple[float, float]
) -> tuple[Float[ndarray, "3 3"], float]:
    bin_index = rng.choice(len(YAW_SHARES), p=YAW_SHARES)
    drawn = float(rng.uniform(*YAW_RANGES_DEG[bin_index]) * rng.choice([-1.0, 1.0]))
    yaw = drawn if yaw_deg is None else float(yaw_deg)
    pitch, roll = np.clip(rng.standard_normal(2), -2.5, 2.5) * tilt_deg
    angles = torch.deg2rad(torch.tensor([[pitch, yaw, roll]], dtype=torch.float64))
    return rotation_from_angles(angles)[0].numpy(), yaw


def _camera_and_place(
    rng: np.random.Generator, width: int, height: int, eye_px: tuple[float, float] | None, distance_dm: float | None
) -> tuple[Camera, Float[ndarray, "3"]]:
    """A camera at arm's length to several metres, and where the head is."""
    drawn = float(np.clip(np.exp(rng.normal(np.log(10.0), 0.45)), 4.0, 30.0))
    distance = drawn if distance_dm is None else distance_dm
    low, high = eye_px or (24.0, max(24.5, min(width, height) / 4.0))
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
