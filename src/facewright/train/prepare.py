"""Photographs to training samples: faces are found, their points lifted and cut out, refused where they are no good."""

from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from torch import Tensor

from facewright.align import CROP_RESCALE, align_face
from facewright.align.crop import crop_by_trans_params, fit_trans_params
from facewright.detect import FaceDetector, detect_faces, load_face_detector
from facewright.errors import NoFaceFoundError, ReconstructionError
from facewright.fit import FitPlan, FitSettings
from facewright.geometry.five_points import deep3d_template
from facewright.geometry.frames import CROP_SIZE, apply_homogeneous, pose_points, project_points
from facewright.geometry.ibug68 import MESH_TO_IBUG68
from facewright.geometry.mesh import surrounding_normals
from facewright.geometry.rotations import rotation_from_angles
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.photo import photo_from_array, read_photo
from facewright.pipeline.evidence import FACING, fit_detection
from facewright.records import AlignedFace, Embedding, FaceDetection, Photo
from facewright.synthetic.plan import MEAN_EYE_DISTANCE_DM
from facewright.train.make import Rejection
from facewright.train.photo_folders import GivenFace, read_given_face, read_skin_mask
from facewright.train.quality import QualityLimits, picture_refusal
from facewright.train.samples import MARGIN_SHARE, STORED_CROP_SIZE, DataCard, TrainingSample, empty_points
from facewright.train.skin import skin_attention

FacesChoice = Literal["all", "largest"]

# Inverse variances relative to a sure frontal face, measured on 200 synthetic people (docs/training-data.md): the inner
# landmarks err by 3.4 % of the eye distance there, 6 % at 55 degrees, 14 % at 75; the jaw line by more than twice that.
_TRUST_AT_DOUBT = ((0.5, 1.0, 3.0, 4.5), (0.04, 0.1, 0.25, 1.0))
"""Doubt is -log10(1 - mesh score): 1 for 0.9, 4 for 0.9999."""
_TRUST_AT_YAW_DEG = ((20.0, 55.0, 70.0, 85.0), (1.0, 0.35, 0.12, 0.03))
JAW_TRUST = 0.2
"""Weight of the jaw line (0..16): no detector point lies on it, the fitted head says where it would be."""
MATCH_SHARE = 0.35
"""A detected face is the given one if its five points are, on average, nearer than this share of the eye distance."""
REGION_GROWTH = 1.1
"""Skin counts inside the outline of the dense points, so much enlarged."""
_FIVE_OF_68 = {2: 30, 3: 48, 4: 54}  # of five given points, those that are iBUG-68 points themselves


@dataclass(frozen=True)
class PrepareSettings:
    """How photographs are prepared.

    Attributes:
        crop_size: side of the stored crops, px.
        faces: of each photo.
        limits: what is asked of a face.
    """

    crop_size: int = STORED_CROP_SIZE
    faces: FacesChoice = "all"
    limits: QualityLimits = field(default_factory=QualityLimits)


@dataclass(frozen=True)
class LiftedPoints:
    """Points of one face, photo px, with trust 0..1."""

    landmarks: Float[Tensor, "68 2"]
    landmark_weights: Float[Tensor, "68"]
    points: Float[Tensor, "468 2"]
    point_weights: Float[Tensor, "468"]


@dataclass(frozen=True)
class LiftingHead:
    """A head that is fitted to points, to say where those are that nobody saw.

    Attributes:
        model: knows the detector's points and iBUG-68.
        plan: of its fits.
        normals: which way its mean face looks at the 68 landmarks and the 468 points.
    """

    model: FaceModel
    plan: FitPlan
    normals: Float[Tensor, "536 3"]

    @classmethod
    def of(cls, model: FaceModel) -> "LiftingHead":
        """Work out what the faces of a folder share.

        Raises:
            ReconstructionError: the model does not know the points.
        """
        glue, _ = _glue(model)
        region = model.annotations.regions.get("photometric", torch.ones(len(model.mean_shape)))
        points = torch.cat([model.mean_shape[model.annotations.ibug68], glue.of(model.mean_shape)])
        normals = surrounding_normals(points, model.mean_shape, model.faces, region.to(model.mean_shape))
        return cls(model, FitPlan.of(model), normals)


@dataclass(frozen=True)
class PhotoSampler:
    """Makes the samples of one photo, in any process.

    Attributes:
        root: folder that names are relative to.
        settings: what to do.
    """

    root: Path
    settings: PrepareSettings = field(default_factory=PrepareSettings)

    def __call__(self, name: str) -> list[TrainingSample | Rejection]:
        """The faces of a photo, and those that are refused.

        Raises:
            PhotoError: it, or the skin mask beside it, cannot be read.
            LandmarksError: points that lie beside it are malformed.
            NoFaceFoundError: there is no face in it, and none is given.
        """
        detector, head = _parts()
        photo = read_photo(self.root / name)
        given, skin = read_given_face(photo), read_skin_mask(photo)
        found = detect_faces(photo, detector)
        if given is not None:
            return [prepared_face(f"{name}#0", photo, _matched(found, given), given, skin, head, self.settings)]
        if not found:
            raise NoFaceFoundError(
                f"expected a face in {photo.width} x {photo.height} px, found none; leave it out, or mark the face in "
                f"detections/{Path(name).stem}.txt beside the photo"
            )
        chosen = found[:1] if self.settings.faces == "largest" else found
        return [
            prepared_face(f"{name}#{number}", photo, face, None, skin, head, self.settings)
            for number, face in enumerate(chosen)
        ]


def photo_card(settings: PrepareSettings) -> DataCard:
    """What data of a ``PhotoSampler`` are."""
    return DataCard(
        "photographs",
        settings.crop_size,
        round(settings.crop_size * MARGIN_SHARE),
        source=f"photographs; points by facewright's detector lifted with the open head, or given; {settings}",
    )


def prepared_face(
    key: str,
    photo: Photo,
    detection: FaceDetection,
    given: GivenFace | None,
    skin: Float[Tensor, "H W"] | None,
    head: LiftingHead,
    settings: PrepareSettings,
) -> TrainingSample | Rejection:
    """Turn a face into a sample, or say why it is none.

    Args:
        key: of the sample.
        photo: the picture.
        detection: the face; its mesh may be unknown if points are given.
        given: what another program says about it.
        skin: skin attention of the photo, 0..1, where another program has worked it out.
        head: what points are lifted with.
        settings: what is asked.
    """
    limits = settings.limits
    try:
        aligned = align_face(photo, detection.five, turn="never")  # as the networks were published
        refusal = None if given is not None else _detection_refusal(detection, limits)
        refusal = refusal or _size_refusal(aligned, limits)
        if refusal is not None:
            return Rejection(key, *refusal)
        lifted, roll_deg = lifted_points(aligned, detection, given, head)
    except ReconstructionError as error:
        return Rejection(key, "points", str(error))
    refusal = _place_refusal(lifted, roll_deg, photo, limits)
    return Rejection(key, *refusal) if refusal else _cut(key, photo, detection, skin, lifted, settings)


@torch.no_grad()
def lifted_points(
    aligned: AlignedFace, detection: FaceDetection, given: GivenFace | None, head: LiftingHead
) -> tuple[LiftedPoints, float]:
    """The 68 and 468 points of a face, and its roll in degrees.

    A head is fitted to the detector's 468 points. Its iBUG-68 vertices are the landmarks (3D definition: hidden ones
    where they would be); those that have a detector point beside them (all but the jaw line) move with its residual.
    Trust falls with the mesh network's doubt, with yaw, and where the surface turns away from the camera; it is least
    for the jaw line. Landmarks that are given are taken as they are.

    Raises:
        ReconstructionError: the points fix no face.
    """
    lifted = _given_points(given)
    if detection.mesh is None:
        across, down = (detection.five[1] - detection.five[0]).tolist()
        return lifted, float(np.degrees(-np.arctan2(down, across)))
    model = head.model
    state = fit_detection(aligned, detection, head.plan, FitSettings(photometric_observations=0.0)).coefficients
    _, yaw_deg, roll_deg = torch.rad2deg(state.angles[0]).tolist()
    toward_camera = (head.normals @ rotation_from_angles(state.angles[0]).T)[:, 2]
    trust = mesh_trust(detection.mesh_score, yaw_deg) * FACING.of(toward_camera)
    glue, glue_trust = _glue(model)
    lifted = replace(lifted, points=detection.mesh[:, :2], point_weights=trust[68:] * glue_trust)
    if given is not None and given.landmarks is not None:
        return lifted, roll_deg
    posed = pose_points(model.shape(state.id, state.exp), state.angles, state.translation)
    drawn = project_points(posed, aligned.camera_photo)[0]
    residual = (detection.mesh - glue.of(drawn))[MESH_TO_IBUG68[17:], :2]
    jaw, inner = drawn[model.annotations.ibug68, :2].split([17, 51])
    weights = torch.cat([JAW_TRUST * trust[:17], trust[17:68]])
    return replace(lifted, landmarks=torch.cat([jaw, inner + residual]), landmark_weights=weights), roll_deg


def mesh_trust(mesh_score: float, yaw_deg: float) -> float:
    """Weight 0..1 of the dense points: what their confidence leaves, or what their yaw leaves, whichever is less."""
    doubt = -np.log10(max(1.0 - mesh_score, 1e-9))
    return float(min(np.interp(doubt, *_TRUST_AT_DOUBT), np.interp(abs(yaw_deg), *_TRUST_AT_YAW_DEG)))


def _given_points(given: GivenFace | None) -> LiftedPoints:
    """The given landmarks, or those of five points that are landmarks; the rest unknown."""
    marks, weights = map(torch.from_numpy, empty_points(68))
    if given is not None and given.landmarks is not None:
        marks, weights = given.landmarks.float(), torch.ones(68)
    elif given is not None:
        for five, landmark in _FIVE_OF_68.items():
            marks[landmark], weights[landmark] = given.five[five], 1.0
    return LiftedPoints(marks, weights, *map(torch.from_numpy, empty_points(468)))


def _cut(
    key: str,
    photo: Photo,
    detection: FaceDetection,
    skin: Float[Tensor, "H W"] | None,
    lifted: LiftedPoints,
    settings: PrepareSettings,
) -> TrainingSample | Rejection:
    """The window around the crop, the points in it, its skin; refused if its pixels show too little."""
    card = photo_card(settings)
    rescale, side = CROP_RESCALE * card.crop_size / CROP_SIZE, card.crop_size + 2 * card.margin
    five = detection.five.double()
    params = fit_trans_params(five, photo.width, photo.height, template=deep3d_template(), rescale=rescale)
    window = crop_by_trans_params(photo, params, five, size=side, rescale=rescale)
    T_window_photo = torch.linalg.inv(window.T_photo_crop)

    def in_crop(points: Float[Tensor, "N 2"], weights: Float[Tensor, " N"]) -> Float[ndarray, "N 2"]:
        placed = apply_homogeneous(T_window_photo, points.double()) - card.margin
        return torch.where(weights[:, None] > 0, placed, 0.0).float().numpy()

    pixels = (window.crop.permute(1, 2, 0) * 255.0).round().to(torch.uint8).numpy()
    points, landmarks = in_crop(lifted.points, lifted.point_weights), in_crop(lifted.landmarks, lifted.landmark_weights)
    face = _face_region(points if detection.mesh is not None else landmarks, card)
    refusal = picture_refusal(pixels, face, MEAN_EYE_DISTANCE_DM * rescale, settings.limits)
    if refusal is not None:
        return Rejection(key, *refusal)
    return TrainingSample(
        key=key,
        window_srgb=np.ascontiguousarray(pixels),
        skin=_skin(window, face, skin, params, five, card),
        margin=card.margin,
        landmarks=landmarks,
        landmark_weights=lifted.landmark_weights.numpy(),
        points=points,
        point_weights=lifted.point_weights.numpy(),
    )


def _face_region(points_crop: Float[ndarray, "N 2"], card: DataCard) -> Bool[ndarray, "W W"]:
    """Inside of the outline of the points, a little enlarged; the crop's middle where they are unknown."""
    side = card.crop_size + 2 * card.margin
    known = points_crop[np.any(points_crop != 0.0, axis=1)]
    mask = np.zeros((side, side), np.uint8)
    if len(known) < 68:
        cv2.circle(mask, (side // 2, side // 2), card.crop_size // 3, 1, cv2.FILLED)
        return mask > 0
    middle = known.mean(0)
    outline = cv2.convexHull(((known - middle) * REGION_GROWTH + middle + card.margin).astype(np.float32))
    cv2.fillConvexPoly(mask, np.round(outline).astype(np.int32), 1)
    return mask > 0


def _skin(
    window: AlignedFace,
    face: Bool[ndarray, "W W"],
    skin: Float[Tensor, "R C"] | None,
    params: Float[Tensor, "5"],
    five: Float[Tensor, "5 2"],
    card: DataCard,
) -> UInt8[ndarray, "W W"]:
    """The posterior that a pixel's colour is skin, inside the face; or the mask that is given, cut like the photo."""
    if skin is not None:
        mask = photo_from_array(skin[..., None].expand(-1, -1, 3))
        rescale = CROP_RESCALE * card.crop_size / CROP_SIZE
        attention = crop_by_trans_params(mask, params, five, size=len(face), rescale=rescale).crop[0]
    else:
        attention = skin_attention(window.crop, thresholded=False) * torch.from_numpy(face)
    return (attention * 255.0).round().clamp(0, 255).to(torch.uint8).numpy()


def _detection_refusal(detection: FaceDetection, limits: QualityLimits) -> tuple[str, str] | None:
    if detection.score < limits.min_score:
        return "unsure face", f"expected a score of {limits.min_score:g} or more, received {detection.score:.3f}"
    if detection.mesh_score < limits.min_mesh_score:
        return "unsure points", f"expected {limits.min_mesh_score:g} or more, received {detection.mesh_score:.3f}"
    return None


def _size_refusal(aligned: AlignedFace, limits: QualityLimits) -> tuple[str, str] | None:
    eye_px = MEAN_EYE_DISTANCE_DM * CROP_RESCALE / float(aligned.trans_params[2])
    if eye_px < limits.min_eye_px:
        return "small", f"expected {limits.min_eye_px:g} px between the eyes, received {eye_px:.1f}"
    return None


def _place_refusal(
    lifted: LiftedPoints, roll_deg: float, photo: Photo, limits: QualityLimits
) -> tuple[str, str] | None:
    known = torch.cat([lifted.landmarks[lifted.landmark_weights > 0], lifted.points[lifted.point_weights > 0]])
    limit = known.new_tensor([photo.width - 0.5, photo.height - 0.5])
    outside = float(((known < -0.5) | (known > limit)).any(-1).float().mean()) if len(known) else 1.0
    if outside > limits.max_outside:
        return "cut", f"expected at most {limits.max_outside:.0%} of the points outside, received {outside:.0%}"
    if abs(roll_deg) > limits.max_roll_deg:
        return "tilted", f"expected at most {limits.max_roll_deg:g} degrees of tilt, received {roll_deg:.0f}"
    return None


def _matched(found: list[FaceDetection], given: GivenFace) -> FaceDetection:
    """The detection of the given face, with the given five points; without a mesh if the detector missed it."""
    five = given.five.float()
    eyes = float((five[1] - five[0]).norm().clamp_min((five[:2].mean(0) - five[3:].mean(0)).norm()))
    distances = [float((face.five - five).norm(dim=-1).mean()) for face in found]
    if distances and min(distances) < MATCH_SHARE * eyes:
        return replace(found[distances.index(min(distances))], five=five)
    known = given.landmarks if given.landmarks is not None else five
    return FaceDetection(torch.cat([known.amin(0), known.amax(0)]), 1.0, five)


def _glue(model: FaceModel) -> tuple[Embedding, Float[Tensor, "468"]]:
    """Where the detector's points lie on the model, and how well they do.

    Raises:
        ReconstructionError: the model knows them or iBUG-68 not.
    """
    marks = model.annotations
    if marks.mesh468 is None or marks.ibug68 is None:
        raise ReconstructionError(f"face model {model.name!r} does not know the detector's points and iBUG-68")
    return marks.mesh468, torch.ones(468) if marks.mesh468_trust is None else marks.mesh468_trust


@cache
def _parts() -> tuple[FaceDetector, LiftingHead]:
    """Loaded once a process."""
    return load_face_detector(), LiftingHead.of(load_face_model("open"))
