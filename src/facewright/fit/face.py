"""One face from its landmarks and pixels, coarse to fine. Needs no trained network; deterministic."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.errors import ReconstructionError
from facewright.fit.landmarks import (
    PointTarget,
    belief_target,
    beside_a_network,
    five_target,
    point_targets,
    point_terms,
    turned_targets,
)
from facewright.fit.parameters import Unknowns
from facewright.fit.photometric import ColoredPatch, PhotoSamples, colored_patch, photo_samples, photometric_term
from facewright.fit.pose import pose_from_points
from facewright.fit.solver import LinearTerm, Prior, minimise
from facewright.geometry.frames import clip_from_world, pose_points
from facewright.morphable.linear import FaceModel
from facewright.records import AlignedFace, Camera, FaceCoefficients, FaceDetection, LandmarkBelief
from facewright.render.visibility import vertex_visibility

APPEARANCE_ITERATIONS = 6
"""Linearisations by light and albedo alone: they cost little, and a network's colours may be far from the photo's."""
SHARPEST_PX = 0.5
"""Blur of the photo where no round names one, in the 224 crop."""


@dataclass(frozen=True)
class FitSettings:
    """Weights of the energy. All are inverse variances of what they weigh, so that they can be reasoned about.

    Attributes:
        point_sigma_px: error of one trusted detector point in the 224 crop, correlations counted in: points err
            together, so each says less than its scatter suggests.
        photometric_observations: how many independent observations the whole picture counts for (neighbouring
            triangles err together); their noise is estimated from the residual before each round. 0: points only.
        noise_floor: least noise of a colour, sRGB-coded 0..1.
        exp_slope: sparse prior on bounded expressions: cost of a full expression.
        exp_sigma: scale of bounded expressions.
        tex_sigma: scale of the albedo coefficients.
        id_sigma: scale of the identity coefficients.
        light_sigma: scale of the SH coefficients around the default light.
        blurs_px: sigma of the photo's blur per photometric round, coarse to fine, for the 224 crop.
        five_share: say of the detector's five points beside a network's landmarks, of their own precision.
        belief_share: the same for a network's landmarks.
        start_id_sigma: scale of the identity coefficients around those of a start, which a network found.
        start_exp_sigma: the same for expressions.
        point_iterations: linearisations on points alone.
        refine_iterations: linearisations per photometric round after a start.
        photometric_iterations: linearisations per photometric round.
    """

    point_sigma_px: float = 5.0
    photometric_observations: float = 60.0
    noise_floor: float = 0.01
    exp_slope: float = 0.3
    exp_sigma: float = 0.8
    tex_sigma: float = 1.0
    id_sigma: float = 1.0
    light_sigma: float = 0.5
    blurs_px: tuple[float, ...] = (0.7, 0.5)
    five_share: float = 1.0
    belief_share: float = 0.4
    start_id_sigma: float = 0.6
    start_exp_sigma: float = 0.15
    point_iterations: int = 25
    refine_iterations: int = 2
    photometric_iterations: int = 6

    def refining(self, rounds: int) -> "FitSettings":
        """Settings for a start that is nearly right: a few steps on points, then so many rounds on sharp pixels."""
        sharp = self.blurs_px[-1:] * rounds
        return replace(self, point_iterations=4, photometric_iterations=self.refine_iterations, blurs_px=sharp)


@dataclass(frozen=True)
class FitResult:
    """What a fit found.

    Attributes:
        coefficients: one face.
        camera: of the crop.
        residuals: per term: ``mesh_px``, ``contour_px``, ``points_px`` (weighted RMS), ``photometric`` (robust RMS,
            sRGB-coded 0..1), ``id``, ``exp``, ``tex`` (squared norms).
    """

    coefficients: FaceCoefficients
    camera: Camera
    residuals: dict[str, float]


def fit_face(
    aligned: AlignedFace,
    detection: FaceDetection,
    model: FaceModel,
    settings: FitSettings | None = None,
    *,
    start: FaceCoefficients | None = None,
    belief: LandmarkBelief | None = None,
) -> FitResult:
    """Find the coefficients that explain a face's landmarks and pixels.

    Pose first (closed form), then pose, identity and expression from the points (Gauss-Newton), then everything
    together with the pixels, on ever sharper pictures.

    Args:
        aligned: the crop and its camera.
        detection: the points, in photo pixels.
        model: any face model; pixels count where it has a "photometric" region.
        settings: weights.
        start: where to begin instead of the closed-form pose, from a network for example.
        belief: where that network sees the landmarks. The detector's dense points then count in front alone.

    Raises:
        ReconstructionError: the points fix no face, or the optimum is not finite.
    """
    settings = settings or FitSettings()
    unknowns = Unknowns(model.layout)
    camera = aligned.camera_crop
    given = point_targets(aligned, detection, model, settings.point_sigma_px)
    state = start or pose_from_points(given[0], model.layout.zeros(), camera)

    prior = prior_of(model, unknowns, settings)
    if start is not None:
        prior = around(prior, start, unknowns, settings)

    def from_points(start: FaceCoefficients, seen: list[PointTarget], fixed: slice) -> FaceCoefficients:
        """The best face by points alone, with some unknowns fixed."""
        beliefs = held_fast(prior, fixed, unknowns.values(start))
        terms = partial(point_terms, seen, camera, unknowns)
        return minimise(terms, start, unknowns, beliefs, iterations=settings.point_iterations)

    all_but_pose, appearance = slice(unknowns.id.start, unknowns.size), slice(unknowns.tex.start, unknowns.size)
    if start is None:
        state = from_points(state, given, all_but_pose)
    if belief is not None:
        # Points that were brought instead of detected have their full say already.
        five = None if detection.mesh is None else five_target(aligned, detection, model, settings.five_share)
        believed = belief_target(belief, model, camera, settings.belief_share)
        given = [target for target in (*given, five, believed) if target is not None]

    def seen_at(state: FaceCoefficients) -> list[PointTarget]:
        """What the points mean in this pose: the contour slides with it, and the detector gets lost in profile."""
        turned = turned_targets(given, model, state, camera)
        return turned if belief is None else beside_a_network(turned, float(state.angles[0, 1]))

    for _ in range(2 if start is None else 1):
        state = from_points(state, seen_at(state), appearance)
    targets = seen_at(state)
    terms = point_terms(targets, camera, unknowns, state)

    if "photometric" in model.annotations.regions and settings.photometric_observations > 0:
        patch = _face_patch(model, model.mean_shape.device)
        state, pixels = _fit_pixels(aligned, model, patch, targets, state, prior, settings)
        terms = [*point_terms(targets, camera, unknowns, state), pixels]
    _require_finite(unknowns.values(state))
    return FitResult(state, camera, _residuals(terms, state))


def prior_of(model: FaceModel, unknowns: Unknowns, settings: FitSettings) -> Prior:
    """Gaussian identity, albedo and light; sparse bounded or Gaussian expression; pose and place are free."""
    like = model.mean_shape
    zeros = like.new_zeros(unknowns.size)
    precision, slope = zeros.clone(), zeros.clone()
    lower, upper = torch.full_like(zeros, -torch.inf), torch.full_like(zeros, torch.inf)
    precision[unknowns.id] = settings.id_sigma**-2
    precision[unknowns.tex] = settings.tex_sigma**-2
    precision[unknowns.sh] = settings.light_sigma**-2
    if model.exp_is_box:
        precision[unknowns.exp] = settings.exp_sigma**-2
        slope[unknowns.exp] = settings.exp_slope
        lower[unknowns.exp], upper[unknowns.exp] = 0.0, 1.0
    else:
        precision[unknowns.exp] = 1.0
    return Prior(precision, zeros, slope, lower, upper)


def around(prior: Prior, start: FaceCoefficients, unknowns: Unknowns, settings: FitSettings) -> Prior:
    """The same prior with shape and expression expected where a network saw them, not at the mean face."""
    values = unknowns.values(start)
    precision, mean, slope = prior.precision.clone(), prior.mean.clone(), torch.zeros_like(prior.slope)
    precision[unknowns.id], mean[unknowns.id] = settings.start_id_sigma**-2, values[unknowns.id]
    precision[unknowns.exp], mean[unknowns.exp] = settings.start_exp_sigma**-2, values[unknowns.exp]
    return replace(prior, precision=precision, mean=mean, slope=slope)


def held_fast(prior: Prior, columns: slice, values: Float[Tensor, " P"]) -> Prior:
    """The same prior with some unknowns held at their present values."""
    precision, mean = prior.precision.clone(), prior.mean.clone()
    precision[columns], mean[columns] = torch.inf, values[columns]
    return replace(prior, precision=precision, mean=mean)


@lru_cache(maxsize=4)
def _face_patch(model: FaceModel, device: torch.device) -> ColoredPatch:
    """What is compared of a model: found once on a device."""
    return colored_patch(model, model.annotations.regions["photometric"].to(device))


def _fit_pixels(
    aligned: AlignedFace,
    model: FaceModel,
    patch: ColoredPatch,
    targets: list[PointTarget],
    state: FaceCoefficients,
    prior: Prior,
    settings: FitSettings,
) -> tuple[FaceCoefficients, LinearTerm]:
    """Rounds of all terms on ever sharper pictures; the first finds light and albedo alone. Also the last residual.

    Visibility and noise are those of a round's start, so that its energies compare.
    """
    unknowns, camera = Unknowns(model.layout), aligned.camera_crop
    appearance = held_fast(prior, unknowns.geometry, unknowns.values(state))
    first = settings.blurs_px[0] if settings.blurs_px else SHARPEST_PX
    rounds = [(first, appearance)] + [(blur, prior) for blur in settings.blurs_px]
    looked_at: FaceCoefficients | None = None
    visible = state.id.new_zeros(0)
    for blur, beliefs in rounds:
        moving = beliefs is prior
        samples = photo_samples(aligned.crop, blur * camera.width / 224)
        if looked_at is not state:
            visible = _visible_share(model, patch, state, camera)
        compare = partial(_pixel_term, patch, samples, visible, camera, unknowns)
        noise = _weighted_rms(compare(state, 1.0, False)).clamp_min(settings.noise_floor)
        precision = float(settings.photometric_observations / noise.square())

        def linearise(
            coefficients: FaceCoefficients,
            compare: Callable[..., LinearTerm] = compare,
            precision: float = precision,
            moving: bool = moving,
        ) -> list[LinearTerm]:
            pixels = compare(coefficients, precision, moving)
            return [*point_terms(targets, camera, unknowns, coefficients), pixels] if moving else [pixels]

        iterations = settings.photometric_iterations if moving else APPEARANCE_ITERATIONS
        found = minimise(linearise, state, unknowns, beliefs, iterations=iterations)
        looked_at = None if moving else found  # light and albedo hide nothing
        state = found
    return state, compare(state, 1.0, False)


def _pixel_term(
    patch: ColoredPatch,
    samples: PhotoSamples,
    visible: Float[Tensor, " G"],
    camera: Camera,
    unknowns: Unknowns,
    coefficients: FaceCoefficients,
    precision: float,
    moving: bool,
) -> LinearTerm:
    return photometric_term(patch, samples, visible, coefficients, camera, unknowns, precision=precision, moving=moving)


def _visible_share(
    model: FaceModel, patch: ColoredPatch, state: FaceCoefficients, camera: Camera
) -> Float[Tensor, " G"]:
    """1 for compared triangles whose corners are all seen, else 0."""
    world = pose_points(model.shape(state.id, state.exp), state.angles, state.translation)
    clip = clip_from_world(world, camera)
    seen = vertex_visibility(clip, model.faces, (camera.height, camera.width))[0, patch.ids]
    return seen[patch.compared].all(-1).to(model.mean_shape)


def _residuals(terms: list[LinearTerm], state: FaceCoefficients) -> dict[str, float]:
    rms = {term.name: float(_weighted_rms(term)) for term in terms}
    norms = {name: float(getattr(state, name).square().sum()) for name in ("id", "exp", "tex")}
    return rms | norms


def _weighted_rms(term: LinearTerm) -> Tensor:
    return ((term.weight * term.residual.square()).sum() / term.weight.sum().clamp_min(1e-12)).sqrt()


def _require_finite(values: Float[Tensor, " P"]) -> None:
    if not bool(values.isfinite().all()):
        raise ReconstructionError(
            "expected a finite face, the fit diverged; the points may belong to no face: check the landmarks, "
            "or pass better ones with --landmarks"
        )
