"""Training data without photographs: snapshots of people who do not exist, cut as the network will see them."""

from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from facewright.align import CROP_RESCALE, five_from_68
from facewright.align.crop import crop_by_trans_params, fit_trans_params
from facewright.geometry.five_points import deep3d_template
from facewright.geometry.frames import CROP_SIZE, apply_homogeneous, crop_camera, pose_points, project_points
from facewright.geometry.rotations import angles_from_rotation, rotation_from_angles
from facewright.records import Camera, FaceCoefficients, Photo
from facewright.synthetic import (
    ScenePlan,
    Studio,
    open_studio,
    plan_scene,
    require_training_seed,
    take_snapshot,
)
from facewright.synthetic.plan import MEAN_EYE_DISTANCE_DM, ray_rotation, stream
from facewright.train.samples import MARGIN_SHARE, STORED_CROP_SIZE, DataCard, TrainingSample, empty_points

_FRAMING_STREAM, _DARKROOM_STREAM = 20, 21  # beside those of the scene
YAW_RANGES_DEG = ((0.0, 30.0), (30.0, 60.0), (60.0, 95.0))
YAW_SHARES = (0.45, 0.3, 0.25)
TILT_DEG = (15.0, 14.0)
"""More turned and tilted than the scenes that measure: what is learnt at the rim serves the middle."""
POINT_NOISE = 0.03
"""Error of the five points that a face is cut by, as a share of the eye distance; twice that in profile."""
BORDER_SHARE, GREY_SHARE, GRADED_SHARE = 0.06, 0.06, 0.5


@dataclass(frozen=True)
class SceneSampler:
    """Makes the sample of a seed, in any process.

    Attributes:
        crop_size: side of the stored crop, px.
        face_model: who is photographed; the open head.
    """

    crop_size: int = STORED_CROP_SIZE
    face_model: str = "open"

    def __call__(self, seed: int) -> list[TrainingSample]:
        """The sample of a training seed.

        Raises:
            ValueError: the seed is held out for measuring.
            FaceModelError: the face model cannot be photographed.
        """
        return [synthetic_sample(_studio(self.face_model), require_training_seed(seed), self.crop_size)]


@cache
def _studio(face_model: str) -> Studio:
    return open_studio(face_model)


def data_card(crop_size: int = STORED_CROP_SIZE, face_model: str = "open") -> DataCard:
    """What data of a ``SceneSampler`` are."""
    model = _studio(face_model).model
    return DataCard(
        "synthetic",
        crop_size,
        round(crop_size * MARGIN_SHARE),
        face_model=model.name,
        face_model_edition=model.edition,
        layout=model.layout,
        source=f"pictures of the face model {model.name!r} drawn by facewright.synthetic; no photographs",
    )


def synthetic_sample(studio: Studio, seed: int, crop_size: int) -> TrainingSample:
    """Plan a scene, photograph it, develop it, and cut the face by points that err as a detector's do."""
    margin = round(crop_size * MARGIN_SHARE)
    plan = _plan(studio, seed, crop_size)
    snapshot = take_snapshot(studio, plan)
    picture = _developed(snapshot.picture, stream(seed, _DARKROOM_STREAM))
    marks = project_points(snapshot.vertices_world[None, studio.ibug68], plan.camera)[0, :, :2]
    rng = stream(seed, _FRAMING_STREAM)
    five = _detected(five_from_68(marks), plan, rng)
    rescale = CROP_RESCALE * crop_size / CROP_SIZE
    photo = Photo(torch.from_numpy(picture).permute(2, 0, 1))
    params = fit_trans_params(five, photo.width, photo.height, template=deep3d_template(), rescale=rescale)
    window = crop_by_trans_params(photo, params, five, size=crop_size + 2 * margin, rescale=rescale)
    T_crop_photo = torch.linalg.inv(window.T_photo_crop)
    T_crop_photo[:2, 2] -= margin

    def in_crop(points_photo: Tensor) -> Float[ndarray, "N 2"]:
        return apply_homogeneous(T_crop_photo, points_photo.double()).float().numpy()

    embedding = studio.model.annotations.mesh468
    points, point_weights = empty_points(468)
    if embedding is not None:
        dense = embedding.of(snapshot.vertices_world)[None]
        points, point_weights = in_crop(project_points(dense, plan.camera)[0, :, :2]), np.ones(468, np.float32)
    seen = (window.crop.permute(1, 2, 0) * 255.0).round().clamp(0, 255).to(torch.uint8).numpy()
    truth = _truth_in_crop(studio, plan, snapshot.vertices_world, T_crop_photo, crop_size)
    return TrainingSample(
        key=f"scene-{seed}",
        window_srgb=np.ascontiguousarray(seen),
        skin=np.zeros(seen.shape[:2], np.uint8),
        margin=margin,
        landmarks=in_crop(marks),
        landmark_weights=np.ones(68, np.float32),
        points=points,
        point_weights=point_weights,
        truth=studio.model.layout.pack(truth)[0].numpy(),
    )


def _plan(studio: Studio, seed: int, crop_size: int) -> ScenePlan:
    """A scene whose face is about as large as in the crop, rarely smaller (then it will be enlarged and soft)."""
    rng = stream(seed, _FRAMING_STREAM + 100)
    in_crop = CROP_RESCALE * crop_size / CROP_SIZE * MEAN_EYE_DISTANCE_DM
    eye_px = in_crop * float(rng.uniform(0.95, 1.15) if rng.random() < 0.75 else rng.uniform(0.4, 0.95))
    size = int(np.ceil(eye_px * rng.uniform(4.3, 5.2)))
    place = rng.choice(len(YAW_SHARES), p=YAW_SHARES)
    yaw = float(rng.uniform(*YAW_RANGES_DEG[place]) * rng.choice([-1.0, 1.0]))
    return plan_scene(
        studio, seed, width=size, height=size, eye_px=(eye_px, eye_px * 1.001), yaw_deg=yaw, tilt_deg=TILT_DEG
    )


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
    """What becomes of a picture after the camera: graded, turned grey, cut off at the border."""
    if rng.random() < GRADED_SHARE:
        levels = np.linspace(0.0, 1.0, 256)
        tone = levels ** np.exp(0.25 * rng.standard_normal())
        tone = 0.5 + (tone - 0.5) * np.exp(0.2 * rng.standard_normal()) + 0.05 * rng.standard_normal()
        channels = tone[:, None] * np.exp(0.06 * rng.standard_normal(3))
        picture = cv2.LUT(picture, (255.0 * channels.clip(0.0, 1.0) + 0.5).astype(np.uint8)[None])
    if rng.random() < GREY_SHARE:
        picture = np.repeat((picture @ np.array([0.299, 0.587, 0.114]) + 0.5).astype(np.uint8)[..., None], 3, axis=2)
    if rng.random() < BORDER_SHARE:
        side, share = int(rng.integers(4)), rng.uniform(0.05, 0.3)
        turned = np.rot90(picture, side).copy()
        turned[: int(share * len(turned))] = 0
        picture = np.rot90(turned, -side)
    return np.ascontiguousarray(picture)


def _truth_in_crop(
    studio: Studio, plan: ScenePlan, vertices_world: Tensor, T_crop_photo: Float[Tensor, "3 3"], crop_size: int
) -> FaceCoefficients:
    """The coefficients that draw the face where it is in the crop, by the crop's own camera.

    The rotation is the one seen along the line of sight. The crop's camera stands 10 dm away wherever the true one
    stood, so the place is the best one, by least squares over vertices of the face: f (x + tx) = u (d - z - tz), with
    u from the axis.
    """
    truth, camera = plan.coefficients, crop_camera(size=crop_size)
    world_from_view = ray_rotation(truth.translation[0].double().numpy(), plan.camera.distance_dm)
    seen = torch.from_numpy(world_from_view).T @ rotation_from_angles(truth.angles.double())[0]
    angles = angles_from_rotation(seen).float()[None]
    translation = _best_place(studio, truth, angles, vertices_world, plan.camera, T_crop_photo, camera)
    return replace(truth, angles=angles, sh=plan.light.sh(world_from_view), translation=translation)


def _best_place(
    studio: Studio,
    truth: FaceCoefficients,
    angles: Float[Tensor, "1 3"],
    vertices_world: Float[Tensor, "V 3"],
    camera_photo: Camera,
    T_crop_photo: Float[Tensor, "3 3"],
    camera: Camera,
) -> Float[Tensor, "1 3"]:
    ids = studio.face_vertices[::8]
    wanted = apply_homogeneous(T_crop_photo, project_points(vertices_world[None, ids], camera_photo)[0, :, :2].double())
    shape = studio.model.points(ids, truth.id, truth.exp)
    turned = pose_points(shape, angles, torch.zeros_like(angles))[0].double()
    focal, middle = float(camera.focal_px[0]), float(camera.cx[0])
    u, v = wanted[:, 0] - middle, middle - wanted[:, 1]
    depth = camera.distance_dm - turned[:, 2]
    zero, one = torch.zeros_like(u), torch.ones_like(u)
    rows = torch.cat([torch.stack([focal * one, zero, u], -1), torch.stack([zero, focal * one, v], -1)])
    right = torch.cat([u * depth - focal * turned[:, 0], v * depth - focal * turned[:, 1]])
    # Not by torch.linalg.lstsq: on the CPU the same rows give other bits from call to call.
    return (torch.linalg.pinv(rows) @ right[:, None]).T.float()
