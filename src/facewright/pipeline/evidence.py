"""What the stages saw, as evidence for the fit; and the fits that the flow asks for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.errors import ReconstructionError, WeightsError
from facewright.fit import (
    ContourEvidence,
    Evidence,
    FitPlan,
    FitResult,
    FitSettings,
    PointEvidence,
    Ramp,
    around,
    first_pose,
    fit_face,
    prior_of,
)
from facewright.fit.motion import LinearPoints
from facewright.geometry.frames import apply_homogeneous, scale_of
from facewright.geometry.ibug68 import MESH_TO_IBUG68
from facewright.morphable.linear import FaceModel
from facewright.records import (
    AlignedFace,
    DenseBelief,
    FaceCoefficients,
    FaceDetection,
    LandmarkBelief,
    TensorRecord,
)

MESH_TERM, CONTOUR_TERM, FIVE_TERM, BELIEF_TERM = "mesh_px", "contour_px", "five_px", "landmarks_px"
DENSE_TERM = "dense_px"
POINTS_TERM = "points_px"
"""Names in the report: the detector's dense points, outline, five points beside others, a network's landmarks, its many
points, points alone."""

SIGMA_68_PX, SIGMA_JAW_PX, SIGMA_FIVE_PX, SIGMA_CONTOUR_PX = 1.5, 6.0, 0.7, 2.5
"""Errors of sparse points in the 224 crop, with what they leave unsaid between them counted in."""

SURE = 0.999
"""Confidence of the mesh network from which the five points have nothing to add."""

BELIEF_FLOOR_PX = 1.5
"""Least error of a landmark that a network is sure of, in the 224 crop: what it errs by, it errs by together."""

FACING = Ramp(none=-0.5, full=0.0)
"""Trust of a dense point by the z of its normal (1 faces the camera): what faces away is a guess of the network."""

DENSE_WRONG_PX = 20.0
"""Distance in the 224 crop at which one of a network's many points counts as wrong. It has stated its doubts, so what
is far off is rather an expression that the answer lacks: a smile moves the corners of a mouth by ten pixels."""

EXPRESSIVE_REGIONS = ("lid_rim", "lips")
"""Regions whose points say what a face does: a few pixels there are a closed eye or an open mouth."""

BESIDE_A_NETWORK = Ramp(none=math.radians(60), full=math.radians(30))
"""Trust of the detector's points by yaw, beside a network that knows profiles: there the detector guesses."""

CONTOUR_TURNED = Ramp(none=math.radians(20), full=math.radians(40))
"""How much the far jaw is the visible contour, by yaw."""


@dataclass(frozen=True)
class SeenPoints(TensorRecord):
    """The points of a face model that a network sees, as the fit moves them.

    Attributes:
        points: how they move.
        expressive: 0..1: how much each lies on the rim of a lid or on the lips.
        trust: 0..1: how surely each is the point that the network means; None: it is.
    """

    points: LinearPoints
    expressive: Float[Tensor, " N"]
    trust: Float[Tensor, " N"] | None = None


def seen_points_of(model: FaceModel, plan: FitPlan, ids: Int[Tensor, " N"]) -> SeenPoints:
    """Look the points of a network up in its face model.

    Args:
        model: that the network was made for.
        plan: of the model.
        ids: vertices that the network sees.

    Raises:
        WeightsError: there are no such vertices.
    """
    count = len(model.mean_shape)
    if len(ids) == 0 or int(ids.min()) < 0 or int(ids.max()) >= count:
        raise WeightsError(
            f"expected weights that see vertices 0 to {count - 1} of face model {model.name!r}, received "
            f"{int(ids.min()) if len(ids) else 'none'} to {int(ids.max()) if len(ids) else 'none'}; "
            "give the face model that they were trained with"
        )
    ids = ids.to(model.mean_shape.device)
    expressive = torch.zeros_like(model.mean_shape[:, 0])
    for name in EXPRESSIVE_REGIONS:
        if name in model.annotations.regions:
            expressive = torch.maximum(expressive, model.annotations.regions[name])
    return SeenPoints(plan.shape.means(ids[:, None]), expressive[ids])


@dataclass(frozen=True)
class Seen:
    """What a network that sees many points says about a face.

    Attributes:
        points: of the face model.
        belief: where they are, and the doubts about everything.
    """

    points: SeenPoints
    belief: DenseBelief


def evidence_of(
    aligned: AlignedFace,
    detection: FaceDetection,
    plan: FitPlan,
    settings: FitSettings,
    belief: LandmarkBelief | None = None,
    dense: Seen | None = None,
) -> Evidence:
    """What crop, detection and a network say about a model's points: the dense mesh where it is known, else 68 or five.

    Where the mesh network doubts (profile, blur: low ``mesh_score``), the five points take over in proportion. On the
    far side of a turned head its jaw points follow the visible contour. Beside a network that was sure of landmarks of
    its own all that the detector says fades toward the profile; points that were brought instead of detected do not.

    Args:
        aligned: crop of the face.
        detection: points in photo pixels.
        plan: of the face model; the evidence goes to its device.
        settings: errors and shares of the points.
        belief: where a network sees the landmarks; None without one.
        dense: what it sees besides; the landmarks are among its points.

    Raises:
        ReconstructionError: detection and model share no points.
    """
    device = plan.shape.mean.device
    aligned, detection = aligned.to(device), detection.to(device)
    belief = None if belief is None else belief.to(device)
    T_crop_photo = torch.linalg.inv(aligned.T_photo_crop)
    five = apply_homogeneous(T_crop_photo, detection.five)
    yaw = None if belief is None else BESIDE_A_NETWORK
    five_share = 0.0 if belief is None or detection.mesh is None else settings.five_share
    contours: tuple[ContourEvidence, ...] = ()
    if detection.mesh is None:
        points = [_sparse(POINTS_TERM, _known(plan, plan.five), five, SIGMA_FIVE_PX)]
    else:
        mesh = apply_homogeneous(T_crop_photo, detection.mesh[:, :2])
        depth = detection.mesh[:, 2] * scale_of(T_crop_photo).to(detection.mesh)
        if plan.dense is None:
            # The mesh's jaw line has another meaning than iBUG's.
            sigmas = mesh.new_tensor([SIGMA_JAW_PX] * 17 + [SIGMA_68_PX] * 51)
            points = [_sparse(POINTS_TERM, _known(plan, plan.ibug68), mesh[MESH_TO_IBUG68], sigmas)]
        else:
            sure = detection.mesh_score
            five_share += 0.0 if sure > SURE else 1.0 - sure
            precision, glued = sure * plan.dense.trust / settings.point_sigma_px**2, plan.dense
            points = [PointEvidence(MESH_TERM, glued.points, mesh, precision, depth, None, glued.normals, FACING, yaw)]
            contours = _jaw(plan, mesh, yaw)
    if plan.five is not None and five_share > 0.0:
        points.append(_sparse(FIVE_TERM, plan.five, five, SIGMA_FIVE_PX, share=five_share, yaw=yaw))
    if dense is not None:
        points.append(dense_evidence(dense, aligned.camera_crop.width, settings))
    elif belief is not None and plan.ibug68 is not None:
        floor = BELIEF_FLOOR_PX * aligned.camera_crop.width / 224
        precision = settings.belief_share / (belief.sigma_px.square() + floor**2)
        points.append(PointEvidence(BELIEF_TERM, plan.ibug68, belief.points_px, precision))
    return Evidence(aligned.camera_crop, tuple(points), contours, aligned.crop)


def fit_detection(
    aligned: AlignedFace, detection: FaceDetection, plan: FitPlan, settings: FitSettings | None = None
) -> FitResult:
    """Fit a face to what the detector saw and its pixels, from nothing.

    Args:
        aligned: crop of the face.
        detection: points in photo pixels.
        plan: of the face model.
        settings: weights.

    Raises:
        ReconstructionError: the points fix no face, or the optimum is not finite.
    """
    settings = settings or FitSettings()
    evidence = evidence_of(aligned, detection, plan, settings)
    start = first_pose(evidence, plan, iterations=settings.point_iterations)
    return fit_face(evidence, plan, prior_of(plan, settings), start, settings)


def fit_seen(
    start: FaceCoefficients,
    aligned: AlignedFace,
    detection: FaceDetection,
    plan: FitPlan,
    settings: FitSettings,
    belief: LandmarkBelief | None,
    dense: Seen | None,
) -> FitResult:
    """Fit a face of one model to what a network saw of another: its points and depths, not its coefficients.

    Args:
        start: of the fit; nothing is expected near it.
        aligned: crop of the face.
        detection: points in photo pixels.
        plan: of the face model that is fitted.
        settings: weights.
        belief: where the network sees the landmarks.
        dense: places of the fitted model's surface where the network saw points, with their errors.

    Raises:
        ReconstructionError: detection and model share no points, or the optimum is not finite.
    """
    evidence = evidence_of(aligned, detection, plan, settings, belief, dense)
    return fit_face(evidence, plan, prior_of(plan, settings), start, settings)


def fit_from(
    start: FaceCoefficients,
    aligned: AlignedFace,
    detection: FaceDetection,
    plan: FitPlan,
    settings: FitSettings,
    belief: LandmarkBelief | None = None,
    dense: Seen | None = None,
    more: Sequence[PointEvidence] = (),
) -> FitResult:
    """Bring a network's answer onto the picture.

    Args:
        start: the answer; identity and expression are expected near it.
        aligned: crop of the face.
        detection: points in photo pixels.
        plan: of the face model.
        settings: weights; see ``FitSettings.refining``.
        belief: where that network sees the landmarks.
        dense: what it sees besides, with its doubts: how near the answer shape, expression and albedo are expected is
            then its own word, coefficient by coefficient.
        more: points that others have seen in the same crop.

    Raises:
        ReconstructionError: detection and model share no points, or the optimum is not finite.
    """
    evidence, prior = evidence_of(aligned, detection, plan, settings, belief, dense), prior_of(plan, settings)
    evidence = replace(evidence, points=(*evidence.points, *more))
    if dense is None:
        prior = around(prior, start, plan.unknowns, id=settings.start_id_sigma, exp=settings.start_exp_sigma)
    else:
        own, wider = dense.belief.to(plan.shape.mean.device), settings.doubt_scale
        sigmas = (wider * sigma for sigma in (own.id_sigma, own.exp_sigma, own.tex_sigma))
        prior = around(prior, start, plan.unknowns, **dict(zip(("id", "exp", "tex"), sigmas, strict=True)))
    return fit_face(evidence, plan, prior, start, settings)


def dense_evidence(seen: Seen, crop_size: int, settings: FitSettings) -> PointEvidence:
    """The many points: each by its doubt, all with a share of it, as neighbours err together; depths likewise.

    Args:
        seen: what a network says.
        crop_size: side of the crop that it says it of, px.
        settings: shares and least errors.
    """
    belief = seen.belief.to(seen.points.expressive.device)

    def between(usual: float, expressive: float) -> Float[Tensor, " N"]:
        return usual + (expressive - usual) * seen.points.expressive

    floor = between(settings.dense_floor_px, settings.expressive_floor_px) * crop_size / 224
    share = between(settings.dense_share, settings.expressive_share)
    deep_share = torch.full_like(share, settings.dense_share)
    if seen.points.trust is not None:
        share, deep_share = share * seen.points.trust, deep_share * seen.points.trust
    precision = share / (belief.sigma_px.square() + floor**2)
    deep = deep_share / (belief.depth_sigma_px.square() + floor**2)
    return PointEvidence(
        DENSE_TERM,
        seen.points.points,
        belief.points_px,
        precision,
        depth=belief.depth_px,
        depth_precision=deep,
        wrong_px=DENSE_WRONG_PX * crop_size / 224,
    )


def _known(plan: FitPlan, points: LinearPoints | None) -> LinearPoints:
    if points is None:
        raise ReconstructionError(
            f"face model {plan.face_model!r} knows neither the detector's dense points nor iBUG-68; "
            "import it with landmarks"
        )
    return points


def _sparse(
    name: str,
    points: LinearPoints,
    pixels: Float[Tensor, "N 2"],
    sigma_px: float | Float[Tensor, " N"],
    *,
    share: float = 1.0,
    yaw: Ramp | None = None,
) -> PointEvidence:
    """Points of given errors, with a share of their own precision: their errors go together."""
    sigmas = torch.as_tensor(sigma_px).to(pixels).expand(len(pixels))
    return PointEvidence(name, points, pixels, share * sigmas**-2, yaw=yaw)


def _jaw(plan: FitPlan, mesh: Float[Tensor, "468 2"], yaw: Ramp | None) -> tuple[ContourEvidence, ...]:
    """The jaw line of the detector's mesh, which is the outline on the far side of a turned head."""
    if plan.contours is None:
        return ()
    sides = mesh.new_tensor([-1.0] * 8 + [0.0] + [1.0] * 8)
    precision = torch.full_like(sides, SIGMA_CONTOUR_PX**-2)
    seen = mesh[MESH_TO_IBUG68[:17]]
    return (ContourEvidence(CONTOUR_TERM, plan.contours, sides, seen, precision, CONTOUR_TURNED, yaw),)
