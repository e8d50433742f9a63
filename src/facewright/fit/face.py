"""One face from evidence and a prior, coarse to fine. Needs no trained network; deterministic."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.errors import ReconstructionError
from facewright.fit.evidence import Evidence, PointEvidence
from facewright.fit.parameters import Unknowns
from facewright.fit.photometric import (
    ColoredPatch,
    PhotoSamples,
    StandingView,
    photo_samples,
    photometric_term,
    standing_view,
)
from facewright.fit.plan import FitPlan
from facewright.fit.points import point_terms
from facewright.fit.prior import held_fast
from facewright.fit.settings import FitSettings
from facewright.fit.solver import LinearTerm, Prior, minimise
from facewright.geometry.frames import clip_from_world, pose_points
from facewright.records import Camera, FaceCoefficients
from facewright.render.visibility import vertex_visibility

APPEARANCE_ITERATIONS = 6
"""Linearisations by light and albedo alone: they cost little, and a network's colours may be far from the photo's."""
APPEARANCE_STRIDE = 3
"""Every how many-th triangle is asked about light and albedo alone: few unknowns, of which neighbours say the same."""
FAR_COLOR, NEAR_COLOR = 0.6, 0.12
"""Difference of colours, sRGB-coded, at which a triangle loses three quarters of its say: while light and albedo are
found at first, and from then on. Where a start is too dark as a whole, a narrow one listens to the shadows alone."""
SHARPEST_PX = 0.5
"""Blur of the photo where no round names one, in the 224 crop."""


@dataclass(frozen=True)
class FitResult:
    """What a fit found.

    Attributes:
        coefficients: one face.
        residuals: per term: ``mesh_px``, ``contour_px``, ``points_px`` (weighted RMS), ``photometric`` (robust RMS,
            sRGB-coded 0..1), ``id``, ``exp``, ``tex`` (squared norms).
    """

    coefficients: FaceCoefficients
    residuals: dict[str, float]


def fit_face(
    evidence: Evidence,
    plan: FitPlan,
    prior: Prior,
    start: FaceCoefficients,
    settings: FitSettings | None = None,
) -> FitResult:
    """Find the coefficients that explain what a photo says about a face, in the light of what is believed already.

    Pose, identity and expression from the points first (Gauss-Newton; what they mean changes with the pose, so more
    than once), then everything together with the pixels, on ever sharper pictures. All of it is on the plan's device.

    Args:
        evidence: of one photo; its pixels count where the plan has a patch to compare.
        plan: of the face model.
        prior: what is believed before looking.
        start: where to begin: ``first_pose``, or the answer of a network. Unknowns that the prior holds go to its mean.
        settings: how long, and how much pixels count for.

    Raises:
        ReconstructionError: the optimum is not finite.
    """
    settings = settings or FitSettings()
    unknowns, camera = plan.unknowns, evidence.camera
    state = prior.placed(start, unknowns)
    appearance = slice(unknowns.tex.start, unknowns.size)
    for _ in range(settings.point_rounds):
        beliefs = held_fast(prior, appearance, unknowns.values(state))
        terms = partial(point_terms, evidence.points_in(state, plan), camera, unknowns)
        state = minimise(terms, state, unknowns, beliefs, iterations=settings.point_iterations)
    points = evidence.points_in(state, plan)
    last = point_terms(points, camera, unknowns, state)

    if evidence.crop is not None and plan.patch is not None and settings.photometric_observations > 0:
        state, pixels = _fit_pixels(evidence.crop, camera, plan, plan.patch, points, state, prior, settings)
        last = [*point_terms(points, camera, unknowns, state), pixels]
    _require_finite(unknowns.values(state))
    return FitResult(state, _residuals(last, state))


def _fit_pixels(
    crop: Float[Tensor, "3 H W"],
    camera: Camera,
    plan: FitPlan,
    patch: ColoredPatch,
    points: list[PointEvidence],
    state: FaceCoefficients,
    prior: Prior,
    settings: FitSettings,
) -> tuple[FaceCoefficients, LinearTerm]:
    """Rounds of all terms on ever sharper pictures, after two for light and albedo alone. Also the last residual.

    Visibility and noise are those of a round's start, so that its energies compare.
    """
    unknowns = plan.unknowns
    appearance = held_fast(prior, unknowns.geometry, unknowns.values(state))
    first = settings.blurs_px[0] if settings.blurs_px else SHARPEST_PX
    rounds = [(first, appearance, FAR_COLOR), (first, appearance, NEAR_COLOR)]
    rounds += [(blur, prior, NEAR_COLOR) for blur in settings.blurs_px]
    blurred: dict[float, PhotoSamples] = {}
    looked_at: FaceCoefficients | None = None
    visible = patch.weight
    for blur, beliefs, scale in rounds:
        moving = beliefs is prior
        if blur not in blurred:
            blurred[blur] = photo_samples(crop, blur * camera.width / 224)
        samples = blurred[blur]
        if looked_at is not state:
            visible = _visible_share(plan, patch, state, camera)
        shown = patch.shown(visible, every=1 if moving else APPEARANCE_STRIDE)
        view = standing_view(shown, samples, state, camera)
        compare = partial(_pixel_term, shown, samples, torch.ones_like(shown.weight), camera, unknowns, scale)
        noise = _weighted_rms(compare(state, 1.0, False, view)).clamp_min(settings.noise_floor)
        precision = float(settings.photometric_observations / noise.square())

        def linearise(
            coefficients: FaceCoefficients,
            compare: Callable[..., LinearTerm] = compare,
            precision: float = precision,
            moving: bool = moving,
            view: StandingView = view,
        ) -> list[LinearTerm]:
            pixels = compare(coefficients, precision, moving, None if moving else view)
            return [*point_terms(points, camera, unknowns, coefficients), pixels] if moving else [pixels]

        iterations = settings.photometric_iterations if moving else APPEARANCE_ITERATIONS
        found = minimise(linearise, state, unknowns, beliefs, iterations=iterations)
        looked_at = None if moving else found  # light and albedo hide nothing
        state = found
    return state, compare(state, 1.0, False)


def terms_at(evidence: Evidence, plan: FitPlan, state: FaceCoefficients, settings: FitSettings) -> list[LinearTerm]:
    """All that a photo says around a face, as the last round of ``fit_face`` weighs it: points, and sharp pixels.

    Args:
        evidence: of one photo.
        plan: of the face model.
        state: the face, near where the evidence has it.
        settings: how much pixels count for.
    """
    unknowns, camera = plan.unknowns, evidence.camera
    terms = point_terms(evidence.points_in(state, plan), camera, unknowns, state)
    if evidence.crop is None or plan.patch is None or not settings.photometric_observations > 0:
        return terms
    blur = settings.blurs_px[-1] if settings.blurs_px else SHARPEST_PX
    samples = photo_samples(evidence.crop, blur * camera.width / 224)
    visible = _visible_share(plan, plan.patch, state, camera)
    compare = partial(_pixel_term, plan.patch, samples, visible, camera, unknowns, NEAR_COLOR, state)
    noise = _weighted_rms(compare(1.0, False)).clamp_min(settings.noise_floor)
    return [*terms, compare(float(settings.photometric_observations / noise.square()), True)]


def _pixel_term(
    patch: ColoredPatch,
    samples: PhotoSamples,
    visible: Float[Tensor, " G"],
    camera: Camera,
    unknowns: Unknowns,
    scale: float,
    coefficients: FaceCoefficients,
    precision: float,
    moving: bool,
    view: StandingView | None = None,
) -> LinearTerm:
    return photometric_term(
        patch,
        samples,
        visible,
        coefficients,
        camera,
        unknowns,
        precision=precision,
        scale=scale,
        moving=moving,
        view=view,
    )


def _visible_share(plan: FitPlan, patch: ColoredPatch, state: FaceCoefficients, camera: Camera) -> Float[Tensor, " G"]:
    """1 for compared triangles whose corners are all seen, else 0."""
    world = pose_points(plan.shape.vertices(state), state.angles, state.translation)
    clip = clip_from_world(world, camera)
    seen = vertex_visibility(clip, plan.faces, (camera.height, camera.width))[0, patch.ids]
    return seen[patch.compared].all(-1).to(plan.shape.mean)


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
