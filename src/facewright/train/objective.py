"""What a training step minimises: supervised terms where there is truth, hybrid-level weak supervision where not.

Equation 1 of Deng et al. 2019 for photographs: decode the prediction, draw it in the crop's own camera, compare. A
picture is drawn only if some term that weighs something looks at it.
"""

from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.errors import TrainingError
from facewright.geometry.color import display_from_albedo
from facewright.geometry.five_points import five_from_68
from facewright.geometry.frames import crop_camera, pose_points, project_points
from facewright.geometry.mesh import vertex_normals
from facewright.morphable.linear import FaceModel
from facewright.records import AlbedoSpace, Camera, FaceCoefficients, FaceMesh
from facewright.regress.rnet import RNetPrediction
from facewright.render.antialiasing import MeshEdges, mesh_edges
from facewright.render.renderer import render
from facewright.train.course import Losses, rows
from facewright.train.losses.box import box_loss
from facewright.train.losses.coefficient import coefficient_loss
from facewright.train.losses.flattening import flattening_loss
from facewright.train.losses.gamma import gamma_loss
from facewright.train.losses.landmark import landmark_loss, landmark_weights
from facewright.train.losses.likeness_terms import FaceRig, likeness_terms, make_rig, mirror_term
from facewright.train.losses.perceptual import FaceEmbedder, perceptual_loss
from facewright.train.losses.photometric import photometric_loss
from facewright.train.losses.presets import TERMS, LossPreset
from facewright.train.losses.supervised import LIKENESS_TERMS, SupervisedWeights, supervised_terms
from facewright.train.region import drawn_region, released_triangles
from facewright.train.samples import TrainingBatch

PIXEL_TERMS = ("photometric", "perceptual")
"""Terms that look at a drawn picture."""
OFFICIAL_OFFSET_PX = (0.5, -0.5)
"""From a drawn point to where both programs of Deng et al. say it is (docs/deep3d.md section 5): x right, y down."""
TWIN_EVERY = 4
"""One crop of so many is looked at in a mirror too, where that is asked for."""
POINT_TERMS = ("projection", "points")
"""Supervised terms that need points, not the whole truth: photographs take part."""


@dataclass(frozen=True)
class DrawnFaces:
    """Predicted faces in their crops.

    Attributes:
        image: coded as ``space`` says, unclamped; black outside of the face.
        region: 0..1 per pixel: how much of it the photometric term may look at; no gradient.
        space: coding of the albedo that they are drawn with.
    """

    image: Float[Tensor, "B 3 S S"]
    region: Float[Tensor, "B S S"]
    space: AlbedoSpace

    @property
    def srgb(self) -> Float[Tensor, "B 3 S S"]:
        """Coded for display."""
        return display_from_albedo(self.image, self.space)


@dataclass(frozen=True)
class Objective:
    """Weighs the terms of a batch. Everything that stays the same from step to step.

    Attributes:
        model: decodes the predictions.
        crop_size: of the batches, px.
        weak: terms without truth.
        supervised: terms with truth.
        weak_on_synthetic: weak terms for pictures with truth too.
        embedder: of the perceptual term.
        edges: of the model's mesh.
        rig: what terms of likeness need; None where none of them weighs anything and landmarks alone are seen.
        triangles: of the photometric region where it is the released program's.
    """

    model: FaceModel
    crop_size: int
    weak: LossPreset
    supervised: SupervisedWeights
    weak_on_synthetic: bool
    embedder: FaceEmbedder | None
    edges: MeshEdges
    rig: FaceRig | None = None
    triangles: Int[Tensor, "G 3"] | None = None

    def names(self) -> list[str]:
        """All terms that weigh something, in a fixed order."""
        weak = [f"weak/{name}" for name in TERMS if getattr(self.weak, name) > 0]
        return weak + [f"supervised/{name}" for name in weights_of(self.supervised)]

    @property
    def mirrors(self) -> bool:
        """Whether answers about mirrored crops are asked for."""
        return self.supervised.mirrored > 0

    def __call__(self, prediction: RNetPrediction, batch: TrainingBatch, twins: RNetPrediction | None = None) -> Losses:
        """The losses of a batch; all of it in the prediction's own dtype.

        A picture's share in ``total`` does not depend on the others of its batch (``pooled_photometric``,
        ``same_person`` and ``spread`` alone mix them): halves of a batch, averaged, give what the whole gives.

        Args:
            prediction: of the crops.
            batch: what is known of them.
            twins: of every ``TWIN_EVERY``-th crop mirrored; None leaves the term ``mirrored`` out.
        """
        like = prediction.coefficients.id
        known = batch.truth_known.to(like.device)
        camera = crop_camera(size=self.crop_size, like=like)
        terms, counts, total = {}, {}, like.new_zeros(())
        for kind, chosen, weights in (
            ("weak", torch.ones_like(known) if self.weak_on_synthetic else ~known, weights_of(self.weak)),
            ("supervised", torch.ones_like(known), weights_of(self.supervised)),
        ):
            ids = chosen.nonzero()[:, 0]
            if len(ids) == 0 or not weights:
                continue
            some, of = (prediction, batch) if len(ids) == len(batch) else (rows(prediction, ids), rows(batch, ids))
            cameras = repeated(camera, len(ids))
            if kind == "weak":
                found = weak_terms(some, of, self.model, cameras, self.weak, self.embedder, self.edges, self.triangles)
            else:
                found = self._supervised(some, of, cameras)
            for name, value in found.items():
                count = int(known.sum()) if kind == "supervised" and name not in POINT_TERMS else len(ids)
                if name in weights and count > 0:
                    terms[f"{kind}/{name}"], counts[f"{kind}/{name}"] = value, count
                    total = total + weights[name] * count / len(batch) * value
        if twins is not None and self.rig is not None and self.mirrors:
            straight = rows(prediction, torch.arange(0, len(batch), TWIN_EVERY))
            value = mirror_term(straight, twins, self.crop_size, self.rig)
            terms["supervised/mirrored"], counts["supervised/mirrored"] = value, len(twins.coefficients.id)
            total = total + self.supervised.mirrored * value
        return Losses(total, terms, counts)

    def _supervised(
        self, prediction: RNetPrediction, batch: TrainingBatch, camera: Camera
    ) -> dict[str, Float[Tensor, ""]]:
        terms = supervised_terms(prediction, batch, self.model, camera)
        return terms if self.rig is None else terms | likeness_terms(prediction, batch, self.model, self.rig)


def make_objective(
    model: FaceModel,
    crop_size: int,
    *,
    weak: LossPreset,
    supervised: SupervisedWeights,
    weak_on_synthetic: bool = False,
    embedder: FaceEmbedder | None = None,
    points: Int[Tensor, " N"] | None = None,
) -> Objective:
    """Check that the face model has what the terms need.

    Args:
        model: decodes the predictions.
        crop_size: of the batches, px.
        weak: terms without truth.
        supervised: terms with truth.
        weak_on_synthetic: weak terms for pictures with truth too.
        embedder: of the perceptual term.
        points: vertices that the net sees directly; None: the landmarks alone, or none.

    Raises:
        TrainingError: a term that weighs something lacks landmarks, a skin region, a mirror map or an embedder.
    """
    lacks = [
        (weak.landmark > 0 and model.annotations.ibug68 is None, "landmark", "the iBUG-68 landmarks"),
        (weak.perceptual > 0 and model.annotations.ibug68 is None, "perceptual", "the iBUG-68 landmarks"),
        (weak.flattening > 0 and "skin" not in model.annotations.regions, "flattening", "a 'skin' region"),
        (
            supervised.mirrored > 0 and model.annotations.mirror is None,
            "mirrored",
            "partners of its vertices in a mirror",
        ),
    ]
    for lacking, term, what in lacks:
        if lacking:
            raise TrainingError(
                f"the {term} term expects a face model with {what}; {model.name!r} has none: choose another "
                f"--face-model, or set its weight to 0"
            )
    if weak.perceptual > 0 and embedder is None:
        raise TrainingError("the perceptual term expects an embedder, received none; name one, or set its weight to 0")
    likeness = any(getattr(supervised, name) > 0 for name in LIKENESS_TERMS)
    rig = make_rig(model, points) if likeness or points is not None else None
    triangles = released_triangles(model) if weak.released_region else None
    edges = mesh_edges(model.faces)
    return Objective(model, crop_size, weak, supervised, weak_on_synthetic, embedder, edges, rig, triangles)


def weak_terms(
    prediction: RNetPrediction,
    batch: TrainingBatch,
    model: FaceModel,
    camera: Camera,
    preset: LossPreset,
    embedder: FaceEmbedder | None = None,
    edges: MeshEdges | None = None,
    triangles: Int[Tensor, "G 3"] | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """The terms of equation 1 that weigh something, unweighted, each a mean over the batch.

    Args:
        prediction: of the crops.
        batch: photographs.
        model: decodes.
        camera: of the crops, one per face.
        preset: which terms, and their readings.
        embedder: needed by ``perceptual``.
        edges: of the model's mesh, if already known.
        triangles: of the photometric region, as ``released_triangles``; None: the model's own region.
    """
    coefficients, terms = prediction.coefficients, {}
    pixels = project_landmarks(model, coefficients, camera) if preset.landmark > 0 or preset.perceptual > 0 else None
    if pixels is not None and preset.offset_landmarks:
        pixels = pixels + pixels.new_tensor(OFFICIAL_OFFSET_PX)
    if any(getattr(preset, name) > 0 for name in PIXEL_TERMS):
        drawn = draw_faces(model, coefficients, camera, edges, antialias=preset.antialiased, triangles=triangles)
        if preset.photometric > 0:
            skin = torch.where(batch.skin > 0.5, 1.0, batch.skin) if preset.thresholded_skin else batch.skin
            terms["photometric"] = photometric_loss(
                drawn.image,
                batch.crops,
                skin * drawn.region,
                pooled=preset.pooled_photometric,
                rounding=preset.photometric_rounding,
                coding=partial(display_from_albedo, space=drawn.space),
            )
        if preset.perceptual > 0 and embedder is not None and pixels is not None:
            seen, own = _five_points(batch, pixels)
            terms["perceptual"] = perceptual_loss(embedder, batch.crops, seen, drawn.srgb, own, whole=preset.whole_crop)
    if preset.landmark > 0 and pixels is not None:
        weights = landmark_weights(pixels) * batch.landmark_weights
        terms["landmark"] = landmark_loss(pixels, batch.landmarks, weights, crop_size=camera.width)
    if preset.coefficient > 0:
        terms["coefficient"] = coefficient_loss(coefficients, preset.id_weight, preset.exp_weight, preset.tex_weight)
    if preset.flattening > 0:
        terms["flattening"] = flattening_loss(model.albedo(coefficients.tex), model.annotations.regions["skin"])
    if preset.gamma > 0:
        terms["gamma"] = gamma_loss(coefficients.sh)
    if preset.box > 0 and model.exp_is_box:
        terms["box"] = box_loss(coefficients.exp)
    return terms


def draw_faces(
    model: FaceModel,
    coefficients: FaceCoefficients,
    camera: Camera,
    edges: MeshEdges | None = None,
    *,
    antialias: bool = True,
    triangles: Int[Tensor, "G 3"] | None = None,
) -> DrawnFaces:
    """Decode, pose, light and draw; differentiable in all coefficients, silhouettes included where antialiased."""
    vertices = pose_points(
        model.shape(coefficients.id, coefficients.exp), coefficients.angles, coefficients.translation
    )
    # Normals of posed vertices: they turn with the head, so nobody needs to turn them.
    normals = vertex_normals(vertices, model.faces)
    mesh = FaceMesh(vertices, normals, model.albedo(coefficients.tex), model.faces, albedo_space=model.albedo_space)
    drawing = render(mesh, camera, coefficients.sh, antialias=antialias, edges=edges)
    regions = model.annotations.regions
    region = regions.get("photometric", regions.get("skin"))
    if triangles is not None:
        with torch.no_grad():
            return DrawnFaces(drawing.image, drawn_region(vertices, triangles, camera), model.albedo_space)
    if region is None:
        return DrawnFaces(drawing.image, drawing.mask[:, 0].detach(), model.albedo_space)
    shown = drawing.fragments.face_index
    corners = region.index_select(0, model.faces[shown.flatten().clamp_min(0)].flatten()).view(*shown.shape, 3)
    weighed = (corners * drawing.fragments.barycentrics).sum(-1)  # barycentrics are 0 where nothing is drawn
    return DrawnFaces(drawing.image, weighed, model.albedo_space)


def project_landmarks(model: FaceModel, coefficients: FaceCoefficients, camera: Camera) -> Float[Tensor, "B 68 2"]:
    """The model's iBUG-68 landmarks in pixels, hidden ones included; no other vertex is computed.

    Raises:
        ValueError: the model has no landmarks.
    """
    if model.annotations.ibug68 is None:
        raise ValueError(f"expected a face model with iBUG-68 landmarks; {model.name!r} has none")
    points = model.points(model.annotations.ibug68, coefficients.id, coefficients.exp)
    return project_points(pose_points(points, coefficients.angles, coefficients.translation), camera)[..., :2]


def repeated(camera: Camera, count: int) -> Camera:
    """One camera, for each face of a batch."""
    return replace(
        camera, focal_px=camera.focal_px.expand(count), cx=camera.cx.expand(count), cy=camera.cy.expand(count)
    )


def weights_of(weights: LossPreset | SupervisedWeights) -> dict[str, float]:
    """The terms that weigh something, by name."""
    names = TERMS if isinstance(weights, LossPreset) else tuple(entry.name for entry in fields(weights))
    return {name: float(getattr(weights, name)) for name in names if getattr(weights, name) > 0}


def _five_points(batch: TrainingBatch, pixels: Float[Tensor, "B 68 2"]) -> tuple[Tensor, Tensor]:
    """Five points of the photos (where they are unknown, the predicted ones) and of the predictions."""
    own = five_from_68(pixels).detach()
    known = (batch.landmark_weights.sum(1) > 0)[:, None, None]
    return torch.where(known, five_from_68(batch.landmarks), own), own
