"""Training data without photographs: snapshots of people who do not exist, drawn as the network will see them.

A face is framed as in a photograph: by five points that err as a detector's do, cut by the Deep3D rule. Then only the
crop is drawn, at the pixels that it needs; nothing of the photograph around it ever exists.
"""

from dataclasses import dataclass, replace
from functools import cache, lru_cache

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from facewright.align import CROP_RESCALE, five_from_68
from facewright.geometry.five_points import deep3d_template
from facewright.geometry.frames import CROP_SIZE, crop_camera, window_camera
from facewright.geometry.rotations import angles_from_rotation
from facewright.records import Camera, FaceCoefficients
from facewright.synthetic import (
    ScenePlan,
    Stage,
    Studio,
    Wish,
    draw_parts,
    draw_pictures,
    open_studio,
    plan_scenes,
    require_training_seed,
    set_stage,
)
from facewright.synthetic.dice import picked, sign, stream
from facewright.synthetic.hair import draw_hair
from facewright.synthetic.light import harmonics_of_lights
from facewright.synthetic.plan import MEAN_EYE_DISTANCE_DM, ray_rotations
from facewright.train.samples import MARGIN_SHARE, STORED_CROP_SIZE, DataCard, TrainingSample, empty_points

_FRAMING_STREAM, _DARKROOM_STREAM, _HAIRCUT_STREAM = 20, 21, 22  # beside those of the scene
YAW_RANGES_DEG = ((0.0, 30.0), (30.0, 60.0), (60.0, 95.0))
YAW_SHARES = (0.45, 0.3, 0.25)
_YAW_ODDS = dict(zip(YAW_RANGES_DEG, YAW_SHARES, strict=True))
TILT_DEG = (15.0, 14.0)
"""More turned and tilted than the scenes that measure: what is learnt at the rim serves the middle."""
POINT_NOISE = 0.03
"""Error of the five points that a face is cut by, as a share of the eye distance; twice that in profile."""
BORDER_SHARE, GRADED_SHARE = 0.06, 0.5
GRADED_TINT = 0.02
"""Deviation of the logarithm of each channel's level: some 5 % of its light, as white balance errs."""
COARSE_SHARE = 0.25
"""Of faces that are smaller in the photograph than in the crop: drawn small, and enlarged."""
OTHER_HAIR_SHARE = 0.4
"""Of a person's further pictures that show another haircut."""
BLOCK = 16
"""Scenes that a sampler draws together; always the same ones, so that a seed means the same bytes."""
_FINE_ENOUGH, _SIZE_STEP = 0.9, 8
_POSE_STEPS = 4
POSE_STRIDE = 16
"""Every so many vertices of the face decide on the pose in the crop."""


@dataclass(frozen=True)
class SceneSampler:
    """Makes the sample of a seed, in any process.

    Attributes:
        crop_size: side of the stored crop, px.
        face_model: who is photographed; the open head.
        per_person: how many neighbouring seeds show one person.
        parts: say what the pixels show.
    """

    crop_size: int = STORED_CROP_SIZE
    face_model: str = "open"
    per_person: int = 1
    parts: bool = False

    def __call__(self, seed: int) -> list[TrainingSample]:
        """The sample of a training seed.

        Raises:
            ValueError: the seed is held out for measuring.
            FaceModelError: the face model cannot be photographed.
        """
        block, place = divmod(require_training_seed(seed), BLOCK)
        return [_block(self, block)[place]]


@lru_cache(1)
def _block(sampler: SceneSampler, block: int) -> list[TrainingSample]:
    seeds = list(range(block * BLOCK, (block + 1) * BLOCK))
    studio = open_cached_studio(sampler.face_model)
    return synthetic_samples(studio, seeds, sampler.crop_size, per_person=sampler.per_person, parts=sampler.parts)


@cache
def open_cached_studio(face_model: str) -> Studio:
    """A studio, opened once in each process."""
    return open_studio(face_model)


def data_card(
    crop_size: int = STORED_CROP_SIZE, face_model: str = "open", per_person: int = 1, parts: bool = False
) -> DataCard:
    """What data of a ``SceneSampler`` are."""
    model = open_cached_studio(face_model).model
    several = f"; {per_person} pictures of each person" if per_person > 1 else ""
    return DataCard(
        "synthetic",
        crop_size,
        round(crop_size * MARGIN_SHARE),
        face_model=model.name,
        face_model_edition=model.edition,
        layout=model.layout,
        source=f"pictures of the face model {model.name!r} drawn by facewright.synthetic; no photographs{several}",
        parts=parts,
    )


@dataclass(frozen=True)
class Framed:
    """People before the camera, and where their crops lie.

    Attributes:
        stage: the people.
        crop_size: side of the crops, px.
        steps: photo pixels per crop pixel.
        starts: place of the crop's first pixel centre in the photo, px.
        landmarks: iBUG-68, crop px.
        points: the detector's 468, crop px; None where the model does not know them.
        truth: as the crop's own camera needs it.
    """

    stage: Stage
    crop_size: int
    steps: Float[ndarray, " B"]
    starts: Float[ndarray, "B 2"]
    landmarks: Float[ndarray, "B 68 2"]
    points: Float[ndarray, "B 468 2"] | None
    truth: FaceCoefficients


@dataclass(frozen=True)
class Window:
    """What is to be seen of a crop's surroundings.

    Attributes:
        first: place of the window's first pixel centre, crop px.
        pitch: crop pixels per pixel of the window.
        size: side of the window, px.
    """

    first: tuple[float, float]
    pitch: float
    size: int


def synthetic_samples(
    studio: Studio, seeds: list[int], crop_size: int, *, per_person: int = 1, parts: bool = False
) -> list[TrainingSample]:
    """Plan scenes, frame the faces by points that err as a detector's do, and draw the crops with their margin."""
    margin = round(crop_size * MARGIN_SHARE)
    framed = frame_people(studio, seeds, crop_size, per_person=per_person)
    window = Window((-float(margin), -float(margin)), 1.0, crop_size + 2 * margin)
    pictures = draw_windows(framed, [window] * len(seeds))
    shown = window_parts(framed, [window] * len(seeds), pictures) if parts else [None] * len(seeds)
    truth = studio.model.layout.pack(framed.truth).numpy()
    unknown, no_weights = empty_points(468)
    return [
        TrainingSample(
            key=f"scene-{plan.seed}",
            window_srgb=pictures[i],
            skin=np.zeros(pictures[i].shape[:2], np.uint8),
            margin=margin,
            landmarks=framed.landmarks[i],
            landmark_weights=np.ones(68, np.float32),
            points=unknown if framed.points is None else framed.points[i],
            point_weights=no_weights if framed.points is None else np.ones(468, np.float32),
            truth=truth[i],
            person=plan.person,
            parts=shown[i],
        )
        for i, plan in enumerate(framed.stage.plans)
    ]


@torch.no_grad()
def frame_people(
    studio: Studio, seeds: list[int], crop_size: int, *, per_person: int = 1, device: torch.device | str = "cpu"
) -> Framed:
    """Plan scenes and find the crops of the faces, by the Deep3D rule.

    Args:
        studio: whom to draw from.
        seeds: of the scenes; ``per_person`` neighbours show one person.
        crop_size: side of the crops, px.
        per_person: pictures of one person.
        device: where to draw.
    """
    stage = set_stage(studio, _plans(studio, seeds, crop_size, per_person), device)
    plans = stage.plans
    cameras = [plan.camera for plan in plans]
    numbers = np.array([[float(c.focal_px[0]), float(c.cx[0]), float(c.cy[0]), c.distance_dm] for c in cameras])
    focal, cx, cy, away = numbers.T[:, :, None]

    def in_photo(points_world: Float[Tensor, "B N 3"]) -> Float[ndarray, "B N 2"]:
        """``project_points`` by all cameras at once: they stand at different distances."""
        x, y, z = np.moveaxis(points_world.double().cpu().numpy(), -1, 0)
        return np.stack([cx + focal * x / (away - z), cy - focal * y / (away - z)], -1)

    marks = in_photo(stage.world_of(studio.ibug68))
    fives = [
        _detected(five_from_68(mark), plan, stream(plan.seed, _FRAMING_STREAM))
        for mark, plan in zip(torch.from_numpy(marks), plans, strict=True)
    ]
    steps, starts = crops_by_five(torch.stack(fives), [camera.width for camera in cameras], crop_size)

    def in_crop(points_photo: Float[ndarray, "B N 2"]) -> Float[ndarray, "B N 2"]:
        return ((points_photo - starts[:, None]) / steps[:, None, None]).astype(np.float32)

    ids, embedding = studio.face_vertices[::POSE_STRIDE], studio.model.annotations.mesh468
    points = None
    if embedding is not None:
        corners = stage.world_of(embedding.corners.flatten()).unflatten(1, (-1, 3))
        points = in_crop(in_photo((corners.cpu() * embedding.weights[..., None]).sum(-2)))
    wanted = torch.from_numpy(in_crop(in_photo(stage.world_of(ids)))).double()
    truth = _truth_in_crop(stage, wanted, stage.heads[:, ids.to(stage.heads.device)].double().cpu(), crop_size)
    return Framed(stage, crop_size, steps, starts, in_crop(marks), points, truth)


def crops_by_five(
    fives: Float[Tensor, "B 5 2"], sides: list[int], crop_size: int
) -> tuple[Float[ndarray, " B"], Float[ndarray, "B 2"]]:
    """``align.crop`` for many square photos that do not exist: photo pixels per crop pixel, and where crops begin.

    Args:
        fives: photo px, y down.
        sides: of the photos, px.
        crop_size: side of the crops, px.
    """
    five, side = fives.double().numpy(), np.array(sides, np.float64)
    template = np.concatenate([deep3d_template().double().numpy(), np.ones((5, 1))], 1)
    y_up = side[:, None] - 1.0 - five[..., 1]
    solution = np.linalg.pinv(template) @ np.stack([five[..., 0], y_up], -1)
    scale = np.linalg.norm(solution[:, :3], axis=1).mean(-1)
    factor = CROP_RESCALE * crop_size / CROP_SIZE / scale
    resized = np.trunc(side * factor)
    left = np.trunc(resized / 2 - crop_size / 2 + (solution[:, 3, 0] - side / 2) * factor)
    up = np.trunc(resized / 2 - crop_size / 2 + (side / 2 - solution[:, 3, 1]) * factor)
    steps = side / resized
    return steps, (np.stack([left, up], -1) + 0.5) * steps[:, None] - 0.5


def draw_windows(framed: Framed, windows: list[Window]) -> list[UInt8[ndarray, "W W 3"]]:
    """Draw windows of the crops: at the photograph's own resolution where that is less, then enlarged."""
    plans, cameras = [], []
    for plan, window, step, start in zip(framed.stage.plans, windows, framed.steps, framed.starts, strict=True):
        camera, size = _window_camera(plan.camera, window, float(step), start)
        finer = size / (window.size * window.pitch * float(step))  # drawn pixels per photo pixel
        lens = replace(plan.lens, blur_px=finer * plan.lens.blur_px, motion_px=finer * plan.lens.motion_px)
        plans.append(replace(plan, lens=lens))
        cameras.append(camera)
    drawn = draw_pictures(replace(framed.stage, plans=plans), cameras)
    pictures = []
    for plan, camera, window, picture in zip(framed.stage.plans, cameras, windows, drawn, strict=True):
        developed = _developed(
            _inside_photo(picture.cpu().numpy(), plan.camera, camera), stream(plan.seed, _DARKROOM_STREAM)
        )
        if len(developed) != window.size:
            developed = cv2.resize(developed, (window.size, window.size), interpolation=cv2.INTER_CUBIC)
        pictures.append(developed)
    return pictures


def window_parts(
    framed: Framed, windows: list[Window], pictures: list[UInt8[ndarray, "W W 3"]]
) -> list[UInt8[ndarray, "W W 4"]]:
    """Shares, 0..255, of ``records.PARTS`` in the pixels of ``draw_windows``; zeros where the pictures show nothing."""
    cameras = [
        _window_camera(plan.camera, window, float(step), start)[0]
        for plan, window, step, start in zip(framed.stage.plans, windows, framed.steps, framed.starts, strict=True)
    ]
    shown = []
    drawn = draw_parts(framed.stage, cameras)
    for plan, camera, window, shares, picture in zip(
        framed.stage.plans, cameras, windows, drawn, pictures, strict=True
    ):
        levels = _inside_photo((255.0 * shares + 0.5).astype(np.uint8), plan.camera, camera)
        if len(levels) != window.size:
            levels = cv2.resize(levels, (window.size, window.size), interpolation=cv2.INTER_LINEAR)
        shown.append(levels * picture.any(-1, keepdims=True))
    return shown


def _window_camera(photo: Camera, window: Window, step: float, start: Float[ndarray, "2"]) -> tuple[Camera, int]:
    """The camera that draws a window, and how many pixels it draws along its side."""
    pitch = window.pitch * step
    size = window.size
    if pitch < _FINE_ENOUGH:
        size = max(2 * _SIZE_STEP, min(size, _SIZE_STEP * round(size * pitch / _SIZE_STEP)))
    left, top = (start + step * (np.array(window.first) - 0.5 * window.pitch) + 0.5).tolist()
    return window_camera(photo, left, top, size / (window.size * pitch), size, size), size


def _inside_photo(picture: UInt8[ndarray, "H W C"], photo: Camera, drawn: Camera) -> UInt8[ndarray, "H W C"]:
    """Black where there is no photo."""
    scale = float(drawn.focal_px[0] / photo.focal_px[0])
    first = [float(drawn.cx[0]) + 0.5 - scale * (float(photo.cx[0]) + 0.5)]
    first.append(float(drawn.cy[0]) + 0.5 - scale * (float(photo.cy[0]) + 0.5))
    (left, top), (right, bottom) = first, (first[0] + scale * photo.width, first[1] + scale * photo.height)
    if left <= 0 and top <= 0 and right >= drawn.width and bottom >= drawn.height:
        return picture
    columns, rows = np.arange(drawn.width) + 0.5, np.arange(drawn.height) + 0.5
    inside = ((rows > top) & (rows < bottom))[:, None] & ((columns > left) & (columns < right))
    return picture * inside[..., None].astype(np.uint8)


def _plans(studio: Studio, seeds: list[int], crop_size: int, per_person: int = 1) -> list[ScenePlan]:
    """Scenes; further pictures of a person may show another haircut."""
    wishes, chances = zip(*(_wish(seed, crop_size, per_person) for seed in seeds), strict=True)
    plans = plan_scenes(studio, list(wishes))
    colors = studio.hair_colors(torch.cat([plan.coefficients.tex for plan in plans]))
    for i, (plan, chance) in enumerate(zip(plans, chances, strict=True)):
        if plan.person != plan.seed and chance < OTHER_HAIR_SHARE:
            plans[i] = replace(plan, hair=draw_hair(stream(plan.seed, _HAIRCUT_STREAM), colors[i]))
    return plans


def _wish(seed: int, crop_size: int, per_person: int) -> tuple[Wish, float]:
    """For a face as large as in the crop, rarely smaller (then it will be enlarged and soft); and a number in 0..1."""
    rng = stream(seed, _FRAMING_STREAM + 100)
    in_crop = CROP_RESCALE * crop_size / CROP_SIZE * MEAN_EYE_DISTANCE_DM
    eye_px = in_crop * float(rng.uniform(0.95, 1.15) if rng.random() >= COARSE_SHARE else rng.uniform(0.4, 0.95))
    size = int(np.ceil(eye_px * rng.uniform(4.6, 8.0)))
    yaw = float(rng.uniform(*picked(rng, _YAW_ODDS)) * sign(rng))
    eyes = (eye_px, eye_px * 1.001)
    person = seed - seed % per_person
    return Wish(seed, person, size, size, eyes, yaw_deg=yaw, tilt_deg=TILT_DEG), float(rng.random())


def _detected(five: Float[Tensor, "5 2"], plan: ScenePlan, rng: np.random.Generator) -> Float[Tensor, "5 2"]:
    """The five points with the errors of a detector: each its own, and all together."""
    eye_px = MEAN_EYE_DISTANCE_DM * float(plan.camera.focal_px[0]) / plan.camera.distance_dm
    turned = min(1.0, max(0.0, (abs(plan.yaw_deg) - 40.0) / 40.0))
    sigma = POINT_NOISE * (1.0 + turned) * eye_px
    middle = five.mean(0, keepdim=True)
    grown = middle + (five - middle) * float(np.exp(0.03 * (1.0 + turned) * rng.standard_normal()))
    errors = rng.standard_normal((5, 2)) * sigma + rng.standard_normal((1, 2)) * sigma
    return grown + torch.from_numpy(errors).to(five)


def _developed(picture: UInt8[ndarray, "H W 3"], rng: np.random.Generator) -> UInt8[ndarray, "H W 3"]:
    """What becomes of a picture after the camera: graded, cut off at the border."""
    if rng.random() < GRADED_SHARE:
        levels = np.linspace(0.0, 1.0, 256)
        tone = levels ** np.exp(0.25 * rng.standard_normal())
        tone = 0.5 + (tone - 0.5) * np.exp(0.2 * rng.standard_normal()) + 0.05 * rng.standard_normal()
        channels = tone[:, None] * np.exp(GRADED_TINT * rng.standard_normal(3))
        picture = cv2.LUT(picture, (255.0 * channels.clip(0.0, 1.0) + 0.5).astype(np.uint8)[None])
    if rng.random() < BORDER_SHARE:
        side, share = int(rng.integers(4)), rng.uniform(0.05, 0.3)
        turned = np.rot90(picture, side).copy()
        turned[: int(share * len(turned))] = 0
        picture = np.rot90(turned, -side)
    return np.ascontiguousarray(picture)


def _truth_in_crop(
    stage: Stage, wanted: Float[Tensor, "B N 2"], shape: Float[Tensor, "B N 3"], crop_size: int
) -> FaceCoefficients:
    """The coefficients that draw the faces where they are in the crops, by the crop's own camera.

    That camera stands 10 dm away, on the axis through the crop's middle, wherever the true one stood. So the pose is
    the one that draws vertices of the face nearest to where they are; light turns with it.

    Args:
        stage: the people.
        wanted: where vertices are, crop px.
        shape: the same vertices, model frame, dm.
        crop_size: side of the crops, px.
    """
    plans = stage.plans
    places = torch.cat([plan.coefficients.translation for plan in plans]).double().numpy()
    rays = ray_rotations(places, np.array([plan.camera.distance_dm for plan in plans]))
    world = stage.rotation.double().cpu()
    start = torch.from_numpy(rays).transpose(-1, -2) @ world
    rotation, place = nearest_pose(shape, wanted, start, crop_camera(size=crop_size))
    turned = (world @ rotation.transpose(-1, -2)).numpy()  # world from the crop camera's world
    return FaceCoefficients(
        torch.cat([plan.coefficients.id for plan in plans]),
        torch.cat([plan.coefficients.exp for plan in plans]),
        torch.cat([plan.coefficients.tex for plan in plans]),
        angles_from_rotation(rotation).float(),
        harmonics_of_lights([plan.light for plan in plans], turned),
        place.float(),
    )


def nearest_pose(
    shape: Float[Tensor, "B N 3"], wanted: Float[Tensor, "B N 2"], rotation: Float[Tensor, "B 3 3"], camera: Camera
) -> tuple[Float[Tensor, "B 3 3"], Float[Tensor, "B 3"]]:
    """The poses that draw points nearest to where they are wanted, by Gauss-Newton steps on their squared distances.

    Args:
        shape: model frame, dm.
        wanted: px.
        rotation: to start from.
        camera: that draws them.
    """
    focal, middle = float(camera.focal_px[0]), float(camera.cx[0])
    aim = torch.stack([wanted[..., 0] - middle, middle - wanted[..., 1]], -1) / focal  # as (x, y) / depth, y up
    place = torch.nn.functional.pad(aim.mean(1) * camera.distance_dm, (0, 1))
    zero, one = torch.zeros_like(aim[..., 0]), torch.ones_like(aim[..., 0])
    for _ in range(_POSE_STEPS):
        turned = shape @ rotation.transpose(-1, -2)
        x, y, z = turned.unbind(-1)
        depth = camera.distance_dm - z - place[:, None, 2]
        u, v = (x + place[:, None, 0]) / depth, (y + place[:, None, 1]) / depth
        rows_u = torch.stack([u * y, z - u * x, -y, one, zero, u], -1)
        rows_v = torch.stack([-z + v * y, -v * x, x, zero, one, v], -1)
        rows = torch.cat([rows_u, rows_v], 1) / depth.repeat(1, 2)[..., None]
        error = torch.cat([aim[..., 0] - u, aim[..., 1] - v], 1)[..., None]
        step = torch.linalg.solve(rows.transpose(1, 2) @ rows, rows.transpose(1, 2) @ error)[..., 0]
        rotation = torch.linalg.matrix_exp(_crossed(step[:, :3])) @ rotation
        place = place + step[:, 3:]
    return rotation, place


def _crossed(turn: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 3"]:
    """The matrix of ``turn x``."""
    x, y, z = turn.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [torch.stack([zero, -z, y], -1), torch.stack([z, zero, -x], -1), torch.stack([-y, x, zero], -1)]
    return torch.stack(rows, -2)
