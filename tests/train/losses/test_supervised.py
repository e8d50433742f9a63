"""Losses against the truth: zero there, the plain formulas elsewhere, differentiable, blind to what is unknown."""

import copy
import math
from dataclasses import fields, replace

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from facewright.geometry.frames import crop_camera, pose_points, project_points
from facewright.geometry.rotations import angles_from_rotation, rotation_from_angles
from facewright.morphable.linear import FaceModel
from facewright.records import CoefficientLayout, Embedding, FaceCoefficients
from facewright.regress.rnet import RNetPrediction
from facewright.render.lighting import sh_shading
from facewright.train.losses.dense import FAR, point_likelihood
from facewright.train.losses.supervised import (
    BASIC_TERMS,
    SUPERVISED_TERMS,
    SupervisedWeights,
    face_weights,
    light_error,
    projection_error,
    rotation_error_deg,
    supervised_terms,
    surface_error,
)
from facewright.train.samples import TrainingBatch

SIZE, FACES = 32, 2
AT_TRUTH = {"projection": 0.04, "identity": 0.011, "expression": 0.011, "albedo": 0.011, "rotation": 0.012}
"""What roots that are rounded at zero leave: a ten thousandth of a decimetre, a hundredth of a pixel."""


@pytest.fixture(scope="module")
def model(toy_model: FaceModel) -> FaceModel:
    """The toy head in float64, with dense points glued anywhere and a face region."""
    rng = torch.Generator().manual_seed(5)
    model = copy.deepcopy(toy_model).double()
    count = len(model.mean_shape)
    corners = model.faces[torch.randint(len(model.faces), (468,), generator=rng)]
    weights = torch.rand(468, 3, generator=rng, dtype=torch.float64)
    face = (model.mean_shape[:, 2] > -0.3).double()
    assert 0 < int(face.sum()) < count
    notes = replace(
        model.annotations,
        mesh468=Embedding(corners, weights / weights.sum(1, keepdim=True)),
        mesh468_trust=torch.rand(468, generator=rng, dtype=torch.float64),
        regions={**model.annotations.regions, "face": face},
    )
    model.topology = replace(model.topology, annotations=notes)
    return model


def random_faces(layout: CoefficientLayout, rng: torch.Generator) -> FaceCoefficients:
    return layout.unpack(0.3 * torch.randn(FACES, layout.size, generator=rng, dtype=torch.float64))


def batch_of(model: FaceModel, truth: FaceCoefficients) -> TrainingBatch:
    """What is known about crops of these faces: everything."""
    camera = crop_camera(size=SIZE, like=model.mean_shape)
    world = pose_points(model.shape(truth.id, truth.exp), truth.angles, truth.translation)
    notes = model.annotations
    assert notes.mesh468 is not None
    marks, dense = (project_points(p, camera)[..., :2] for p in (world[:, notes.ibug68], notes.mesh468.of(world)))
    ones = torch.ones(FACES, 468, dtype=torch.float64)
    nothing = torch.zeros(FACES, 4, SIZE, SIZE, dtype=torch.float64)
    known = torch.ones(FACES, dtype=torch.bool)
    return TrainingBatch(nothing[:, :3], nothing[:, 3], marks, ones[:, :68], dense, ones, truth, known)


def prediction_of(model: FaceModel, vector: Tensor, landmarks: Tensor) -> RNetPrediction:
    """Packed coefficients, and landmarks as (x, y, log sigma)."""
    sigma = landmarks[..., 2].exp()
    return RNetPrediction(model.layout.unpack(vector), landmarks[..., :2], sigma)


@pytest.fixture
def vector(model: FaceModel, rng: torch.Generator) -> Tensor:
    return 0.2 * torch.randn(FACES, model.layout.size, generator=rng, dtype=torch.float64)


@pytest.fixture
def batch(model: FaceModel, rng: torch.Generator) -> TrainingBatch:
    rng.manual_seed(1)
    return batch_of(model, random_faces(model.layout, rng))


def terms_of(model: FaceModel, vector: Tensor, batch: TrainingBatch, landmarks: Tensor) -> dict[str, Tensor]:
    camera = crop_camera(size=SIZE, like=model.mean_shape)
    return supervised_terms(prediction_of(model, vector, landmarks), batch, model, camera)


def seen_landmarks(batch: TrainingBatch, rng: torch.Generator) -> Tensor:
    """Guesses a few pixels off, some of them far beyond their doubt."""
    draw = torch.randn(FACES, 68, 3, generator=rng, dtype=torch.float64)
    return torch.cat([batch.landmarks + 2.0 * draw[..., :2], 0.4 * draw[..., 2:]], -1)


def test_terms_and_weights_have_the_same_names(
    model: FaceModel, vector: Tensor, batch: TrainingBatch, rng: torch.Generator
) -> None:
    terms = terms_of(model, vector, batch, seen_landmarks(batch, rng))
    assert tuple(terms) == BASIC_TERMS == SUPERVISED_TERMS[: len(BASIC_TERMS)]
    assert tuple(entry.name for entry in fields(SupervisedWeights)) == SUPERVISED_TERMS
    weights = SupervisedWeights(*[float(k) for k in range(len(terms))])
    expected = sum(k * float(value) for k, value in enumerate(terms.values()))
    assert float(weights.total(terms)) == pytest.approx(expected)
    camera = crop_camera(size=SIZE, like=model.mean_shape)
    without_head = supervised_terms(RNetPrediction(model.layout.unpack(vector)), batch, model, camera)
    assert tuple(without_head) == BASIC_TERMS[:-1]


def test_gradients(model: FaceModel, vector: Tensor, batch: TrainingBatch, rng: torch.Generator) -> None:
    """Of every term, along random directions of all that a net says."""
    landmarks = seen_landmarks(batch, rng)
    steps = torch.randn(3, vector.numel() + landmarks.numel(), generator=rng, dtype=torch.float64)

    def terms(step: Tensor) -> Tensor:
        moved, seen = (0.01 * step @ steps).split([vector.numel(), landmarks.numel()])
        found = terms_of(model, vector + moved.view_as(vector), batch, landmarks + seen.view_as(landmarks))
        return torch.stack([found[name] for name in BASIC_TERMS])

    start = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(terms, start, eps=1e-5)
    for name, value in zip(BASIC_TERMS, terms(start), strict=True):
        (gradient,) = torch.autograd.grad(value, start, retain_graph=True)
        assert gradient.abs().min() > 0, name


def test_zero_at_the_truth_and_finite_gradients_there(
    model: FaceModel, batch: TrainingBatch, rng: torch.Generator
) -> None:
    vector = model.layout.pack(batch.truth).requires_grad_()
    landmarks = torch.cat([batch.landmarks, torch.zeros(FACES, 68, 1, dtype=torch.float64)], -1)
    terms = terms_of(model, vector, batch, landmarks)
    for name, value in terms.items():
        if name != "points":  # a likelihood, not a distance
            assert float(value.detach()) == pytest.approx(0.0, abs=AT_TRUTH.get(name, 1e-12)), name
    (gradient,) = torch.autograd.grad(SupervisedWeights().total(terms), vector)
    assert bool(gradient.isfinite().all())
    elsewhere = model.layout.unpack(vector.detach() + 0.01 * torch.randn(vector.shape, generator=rng).double())
    beside = supervised_terms(RNetPrediction(elsewhere), batch, model, crop_camera(size=SIZE, like=vector.detach()))
    assert all(float(value) > float(terms[name].detach()) + 0.01 for name, value in beside.items() if name != "light")
    assert float(beside["light"]) > 0.01


def test_projection_is_the_weighted_mean_distance_of_all_points(
    model: FaceModel, vector: Tensor, batch: TrainingBatch, rng: torch.Generator
) -> None:
    """Against decoding the whole head; landmarks count twice, glued points by their trust and three tenths."""
    found = model.layout.unpack(vector)
    batch = replace(
        batch,
        landmark_weights=torch.rand(FACES, 68, generator=rng, dtype=torch.float64),
        point_weights=torch.rand(FACES, 468, generator=rng, dtype=torch.float64),
    )
    there = batch_of(model, found)
    distances = [(there.landmarks - batch.landmarks).norm(dim=-1), (there.points - batch.points).norm(dim=-1)]
    trust = model.annotations.mesh468_trust
    assert trust is not None
    weights = [2.0 * batch.landmark_weights, 0.3 * trust * batch.point_weights]
    total = sum((w * d).sum() for w, d in zip(weights, distances, strict=True))
    expected = 100.0 / SIZE * total / sum(w.sum() for w in weights)
    camera = crop_camera(size=SIZE, like=vector)
    torch.testing.assert_close(projection_error(found, batch, model, camera), expected, rtol=1e-3, atol=0)


def test_surface_error_is_that_of_decoded_vertices(model: FaceModel, rng: torch.Generator) -> None:
    weights = face_weights(model)
    assert sorted(set(weights.tolist())) == pytest.approx([0.2, 1.0])
    share = weights / weights.sum()
    found, truth = random_faces(model.layout, rng), random_faces(model.layout, rng)
    still = torch.zeros_like(truth.exp)
    for basis, difference, decoded in (
        (model.id_basis, found.id - truth.id, model.shape(found.id, still) - model.shape(truth.id, still)),
        (model.exp_basis, found.exp - truth.exp, model.shape(found.id, found.exp) - model.shape(found.id, truth.exp)),
        (model.albedo_basis, found.tex - truth.tex, model.albedo(found.tex) - model.albedo(truth.tex)),
    ):
        rms = (share * decoded.square().sum(-1)).sum(-1).sqrt()
        torch.testing.assert_close(surface_error(basis, difference, weights), 100.0 * rms, rtol=1e-4, atol=1e-3)


def test_terms_are_means_over_faces_of_the_plain_formulas(
    model: FaceModel, vector: Tensor, batch: TrainingBatch, rng: torch.Generator
) -> None:
    found, truth, weights = model.layout.unpack(vector), batch.truth, face_weights(model)
    terms = terms_of(model, vector, batch, seen_landmarks(batch, rng))
    for name, basis, part in (
        ("identity", model.id_basis, "id"),
        ("expression", model.exp_basis, "exp"),
        ("albedo", model.albedo_basis, "tex"),
    ):
        difference = getattr(found, part) - getattr(truth, part)
        torch.testing.assert_close(terms[name], surface_error(basis, difference, weights).mean())
    torch.testing.assert_close(terms["exp_weights"], (found.exp - truth.exp).abs().mean())
    torch.testing.assert_close(terms["rotation"], rotation_error_deg(found.angles, truth.angles).mean())
    torch.testing.assert_close(terms["light"], light_error(found, truth).mean())


@pytest.mark.parametrize("degrees", [0.0, 0.5, 30.0, 90.0, 179.0, 180.0])
def test_rotation_error_is_the_angle_of_the_turn(rng: torch.Generator, degrees: float) -> None:
    start = torch.randn(20, 3, generator=rng, dtype=torch.float64)
    axis = torch.nn.functional.normalize(torch.randn(20, 3, generator=rng, dtype=torch.float64), dim=-1)
    turn = torch.from_numpy(Rotation.from_rotvec((math.radians(degrees) * axis).numpy()).as_matrix())
    end = angles_from_rotation(turn @ rotation_from_angles(start)).requires_grad_()
    relative = rotation_from_angles(end.detach()) @ rotation_from_angles(start).transpose(-1, -2)
    error = rotation_error_deg(end, start)
    expected = Rotation.from_matrix(relative.numpy()).magnitude() * 180 / math.pi
    # Rounded at both ends: a hundredth of a degree at none, a sixth at the farthest.
    torch.testing.assert_close(
        error, torch.from_numpy(expected), atol=0.17 if degrees > 170 else 0.012, rtol=0, check_dtype=False
    )
    (gradient,) = torch.autograd.grad(error.sum(), end)
    assert bool(gradient.isfinite().all())
    if 0.1 < degrees < 179.5:
        assert gradient.abs().sum(-1).min() > 10.0  # degrees per radian


def test_rotation_error_has_finite_gradients_in_single_precision(rng: torch.Generator) -> None:
    angles = torch.randn(20, 3, generator=rng)
    for turned in (angles.clone(), angles + torch.tensor([0.0, 0.0, math.pi])):
        error = rotation_error_deg(turned.requires_grad_(), angles)
        (gradient,) = torch.autograd.grad(error.sum(), turned)
        assert bool(error.isfinite().all())
        assert bool(gradient.isfinite().all())


def test_light_error_is_the_mean_on_the_near_side_of_a_ball(model: FaceModel, rng: torch.Generator) -> None:
    """A constant in one channel is a third of it; light from behind is not seen; else a mean over a finer grid."""
    faces, dark = random_faces(model.layout, rng), model.layout.zeros(FACES).to(torch.float64)
    brighter = torch.zeros(FACES, 9, 3, dtype=torch.float64)
    brighter[:, 0, 1] = 0.3
    level = sh_shading(torch.tensor([[[0.0, 0.0, 1.0]]]).double(), brighter[:1])[0, 0, 1] - 0.8 * math.pi**0.5 / 2
    expected = torch.full((FACES,), float(100.0 * level / 3), dtype=torch.float64)
    torch.testing.assert_close(light_error(replace(dark, sh=brighter), dark), expected)
    torch.testing.assert_close(light_error(faces, dark), light_error(dark, faces))
    x, y = torch.meshgrid(*[torch.linspace(-1, 1, 101, dtype=torch.float64)] * 2, indexing="xy")
    near = x.square() + y.square() < 0.9
    normals = torch.stack([x, y, (1 - x.square() - y.square()).clamp_min(0).sqrt()], -1)[near].expand(FACES, -1, -1)
    finer = (sh_shading(normals, faces.sh) - sh_shading(normals, dark.sh)).abs().mean((1, 2))
    torch.testing.assert_close(light_error(faces, dark), 100.0 * finer, rtol=0.1, atol=0)


def likelihood_at(distance_px: float, sigma_px: Tensor, *, crop_size: int = SIZE) -> Tensor:
    """Of 68 landmarks that all miss by a distance."""
    wanted = torch.full((1, 68, 2), 10.0, dtype=torch.float64)
    off = wanted + distance_px * wanted.new_tensor([0.6, -0.8])
    return point_likelihood(off, sigma_px.expand(1, 68), wanted, torch.ones(1, 68).double(), crop_size)


def test_doubt_is_best_where_it_is_the_error() -> None:
    """d/dσ (log σ² + d² / 2σ²) = 0 at σ² = d² / 2, the deviation of one coordinate."""
    distance, sigma = 1.7, torch.tensor(1.7 / math.sqrt(2), dtype=torch.float64, requires_grad=True)
    best = likelihood_at(distance, sigma)
    (slope,) = torch.autograd.grad(best, sigma)
    assert float(slope) == pytest.approx(0.0, abs=1e-12)
    unit = 100.0 / SIZE
    assert float(best.detach()) == pytest.approx(2 * math.log(unit * float(sigma.detach())) + 1.0)
    for factor in (0.9, 1.1):
        assert likelihood_at(distance, factor * sigma.detach()) > best


def test_the_likelihood_is_a_gaussians_up_to_a_constant() -> None:
    """Differences equal those of torch's own two-dimensional normal density."""
    sigmas = torch.tensor([0.7, 1.3], dtype=torch.float64)
    found = [float(likelihood_at(1.1, sigma)) for sigma in sigmas]
    wanted = [-2 * float(torch.distributions.Normal(0.0, s).log_prob(torch.tensor(1.1 / 2**0.5))) for s in sigmas]
    assert found[1] - found[0] == pytest.approx(wanted[1] - wanted[0], rel=1e-5)
    doubled = likelihood_at(2.2, 2 * sigmas[0], crop_size=2 * SIZE)  # the same picture, twice as large
    assert float(doubled) == pytest.approx(found[0])


def test_far_misses_cost_linearly_without_a_step_or_a_bend() -> None:
    sigma = torch.tensor(0.8, dtype=torch.float64)
    edge = FAR * 0.8

    def slope(distance: float) -> float:
        return float(likelihood_at(distance + 1e-4, sigma) - likelihood_at(distance - 1e-4, sigma)) / 2e-4

    assert float(likelihood_at(edge + 1e-7, sigma)) == pytest.approx(float(likelihood_at(edge - 1e-7, sigma)), abs=1e-5)
    assert slope(edge - 1e-3) == pytest.approx(slope(edge + 1e-3), rel=2e-3)
    assert slope(0.5 * edge) == pytest.approx(0.5 * FAR / 0.8, rel=1e-6)
    assert slope(2 * edge) == pytest.approx(FAR / 0.8, rel=1e-6)
    assert slope(20 * edge) == pytest.approx(FAR / 0.8, rel=1e-6)


def test_faces_without_truth_and_points_that_are_unknown_change_nothing(
    model: FaceModel, vector: Tensor, batch: TrainingBatch, rng: torch.Generator
) -> None:
    """The first face as it is, the second a photograph nothing is known about: the terms are the first one's."""
    landmarks = seen_landmarks(batch, rng)
    known = torch.tensor([True, False])
    weight = known[:, None].double()
    half = replace(
        batch, truth_known=known, landmark_weights=weight.expand(-1, 68), point_weights=weight.expand(-1, 468)
    )
    left = ("truth", "truth_known", "keys", "persons", "parts")
    alone = TrainingBatch(
        **{f.name: getattr(batch, f.name)[:1] for f in fields(TrainingBatch) if f.name not in left},
        truth=batch.truth.one(0),
        truth_known=known[:1],
    )
    expected = terms_of(model, vector[:1], alone, landmarks[:1])
    for other in (0.0, 3.0):
        guess = torch.cat([vector[:1], vector[1:] + other])
        seen = torch.cat([landmarks[:1], landmarks[1:] + other])
        for name, value in terms_of(model, guess, half, seen).items():
            torch.testing.assert_close(value, expected[name], msg=name)


def test_some_unknown_points_change_nothing(
    model: FaceModel, vector: Tensor, batch: TrainingBatch, rng: torch.Generator
) -> None:
    landmarks = seen_landmarks(batch, rng)
    mark_weights = (torch.rand(FACES, 68, generator=rng) > 0.5).double()
    point_weights = (torch.rand(FACES, 468, generator=rng) > 0.5).double()
    some = replace(batch, landmark_weights=mark_weights, point_weights=point_weights)
    moved = replace(
        some,
        landmarks=some.landmarks + 50.0 * (1.0 - mark_weights)[..., None],
        points=some.points + 50.0 * (1.0 - point_weights)[..., None],
    )
    first, second = (terms_of(model, vector, b, landmarks) for b in (some, moved))
    for name in ("projection", "points"):
        torch.testing.assert_close(first[name], second[name])
        assert float(first[name]) != pytest.approx(float(terms_of(model, vector, batch, landmarks)[name]), rel=1e-3)


def test_without_any_truth_nothing_is_asked(model: FaceModel, vector: Tensor, batch: TrainingBatch) -> None:
    unknown = replace(
        batch,
        truth_known=torch.zeros(FACES, dtype=torch.bool),
        landmark_weights=torch.zeros_like(batch.landmark_weights),
        point_weights=torch.zeros_like(batch.point_weights),
    )
    landmarks = torch.zeros(FACES, 68, 3, dtype=torch.float64)
    vector = vector.requires_grad_()
    terms = terms_of(model, vector, unknown, landmarks)
    assert all(float(value.detach()) == 0.0 for value in terms.values())
    (gradient,) = torch.autograd.grad(SupervisedWeights().total(terms), vector)
    assert torch.equal(gradient, torch.zeros_like(gradient))
