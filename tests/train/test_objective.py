"""What is minimised: pixels alone find a face, pictures are drawn only when asked about, shares add up."""

from dataclasses import replace

import pytest
import torch

from facewright.errors import TrainingError
from facewright.geometry.color import display_from_albedo, srgb_from_linear
from facewright.geometry.frames import clip_from_world, crop_camera
from facewright.geometry.pose import posed_mesh
from facewright.morphable.linear import FaceModel
from facewright.morphable.toy import toy_face_model
from facewright.records import Annotations, FaceCoefficients
from facewright.regress.rnet import RNetPrediction
from facewright.render.lighting import sh_shading
from facewright.render.rasterizers import rasterize
from facewright.render.renderer import render
from facewright.train import objective as objective_module
from facewright.train.course import rows
from facewright.train.losses.perceptual import EmbeddingMetric
from facewright.train.losses.presets import PRESETS, LossPreset, PresetName
from facewright.train.losses.supervised import SupervisedWeights
from facewright.train.objective import Objective, make_objective, repeated, weak_terms
from facewright.train.region import released_triangles
from facewright.train.rnet_settings import NO_TRUTH
from facewright.train.samples import TrainingBatch
from tests.train.pictures import draw_batch, some_faces

SIZE = 48
NOTHING = replace(
    PRESETS["paper"],
    **dict.fromkeys(("photometric", "landmark", "perceptual", "coefficient", "flattening"), 0.0),
    antialiased=True,
)
PIXELS = replace(NOTHING, photometric=1.0)


def objective(
    model: FaceModel, weak: LossPreset, supervised: SupervisedWeights = NO_TRUTH, *, weak_on_synthetic: bool = False
) -> Objective:
    return make_objective(model, SIZE, weak=weak, supervised=supervised, weak_on_synthetic=weak_on_synthetic)


def test_pixels_alone_find_pose_and_light_and_end_at_the_noise(toy_model: FaceModel, rng: torch.Generator) -> None:
    """From the mean head, by the photometric term and nothing else.

    The person is known: a darker skin in a brighter light looks almost the same.
    """
    noise = 0.02
    turned, mean = some_faces(toy_model, 1, seed=3), toy_model.layout.zeros()
    truth = replace(turned, id=mean.id, exp=mean.exp, tex=mean.tex)
    batch = draw_batch(toy_model, truth, SIZE, torch.zeros(1, dtype=torch.bool))
    batch = replace(batch, crops=batch.crops + noise * torch.randn(batch.crops.shape, generator=rng))
    person, scene = torch.zeros(1, toy_model.layout.size - 33), torch.zeros(1, 33, requires_grad=True)
    goal, optimizer, course = objective(toy_model, PIXELS), torch.optim.Adam([scene]), []
    for step in range(70):
        optimizer.param_groups[0]["lr"] = 0.04 * (1 - step / 70)
        losses = goal(RNetPrediction(toy_model.layout.unpack(torch.cat([person, scene], 1))), batch)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        course.append(float(losses.terms["weak/photometric"].detach()))
    floor = noise * 2.0 * (2.0 / torch.pi) ** 0.5  # mean length of a three-dimensional Gaussian
    assert course[0] > 2.5 * floor
    assert course[-1] < 1.05 * floor
    found = toy_model.layout.unpack(torch.cat([person, scene.detach()], 1))
    torch.testing.assert_close(found.angles, truth.angles, atol=0.01, rtol=0)
    torch.testing.assert_close(found.translation[:, :2], truth.translation[:, :2], atol=0.005, rtol=0)
    seen = torch.nn.functional.normalize(torch.randn(1, 50, 3, generator=rng), dim=-1).expand(1, -1, -1)
    seen = seen * seen[..., 2:].sign()
    light, wanted, before = (sh_shading(seen, sh) for sh in (found.sh, truth.sh, torch.zeros_like(truth.sh)))
    assert (light - wanted).abs().mean() < 0.15 * (before - wanted).abs().mean()


def test_nothing_is_drawn_when_no_weighed_term_looks_at_pixels(
    toy_model: FaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = draw_batch(toy_model, some_faces(toy_model, 2), SIZE, torch.tensor([True, False]))
    prediction = RNetPrediction(toy_model.layout.zeros(2))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a picture was drawn")

    monkeypatch.setattr(objective_module, "draw_faces", refuse)
    blind = replace(PRESETS["open"], photometric=0.0, perceptual=0.0)
    losses = objective(toy_model, blind, SupervisedWeights(), weak_on_synthetic=True)(prediction, batch)
    assert {"weak/landmark", "weak/coefficient", "weak/gamma", "supervised/identity"} <= losses.terms.keys()
    with pytest.raises(AssertionError, match="a picture was drawn"):
        objective(toy_model, PIXELS)(prediction, batch)


def test_pictures_with_truth_are_left_out_of_the_weak_terms_unless_asked(toy_model: FaceModel) -> None:
    batch = draw_batch(toy_model, some_faces(toy_model, 4), SIZE, torch.tensor([True, False, True, False]))
    prediction = RNetPrediction(some_faces(toy_model, 4, seed=1))
    weak = replace(PRESETS["open"], perceptual=0.0)
    losses = objective(toy_model, weak, SupervisedWeights())(prediction, batch)
    assert losses.counts["weak/photometric"] == 2
    assert losses.counts["supervised/identity"] == 2
    assert losses.counts["supervised/projection"] == 4  # photographs have points
    photos = torch.tensor([1, 3])
    camera = repeated(crop_camera(size=SIZE), 2)
    alone = weak_terms(rows(prediction, photos), rows(batch, photos), toy_model, camera, weak)
    for name, value in alone.items():
        torch.testing.assert_close(losses.terms[f"weak/{name}"], value)
    everyone = objective(toy_model, weak, SupervisedWeights(), weak_on_synthetic=True)(prediction, batch)
    assert everyone.counts["weak/photometric"] == 4
    assert not torch.equal(everyone.terms["weak/photometric"], losses.terms["weak/photometric"])


def test_the_total_is_the_weighted_sum_and_halves_average_to_the_whole(toy_model: FaceModel) -> None:
    batch = draw_batch(toy_model, some_faces(toy_model, 4), SIZE, torch.tensor([True, True, True, False]))
    prediction = RNetPrediction(some_faces(toy_model, 4, seed=1))
    supervised, weak = SupervisedWeights(), replace(PRESETS["open"], perceptual=0.0)
    goal = objective(toy_model, weak, supervised)
    whole = goal(prediction, batch)
    by_hand = sum(
        float(value)
        * whole.counts[name]
        / 4
        * getattr(weak if name.startswith("weak") else supervised, name.split("/")[1])
        for name, value in whole.terms.items()
    )
    assert float(whole.total) == pytest.approx(by_hand, rel=1e-5)
    halves = [goal(rows(prediction, ids), rows(batch, ids)).total for ids in torch.arange(4).split(2)]
    torch.testing.assert_close(torch.stack(halves).mean(), whole.total, rtol=1e-5, atol=0)
    assert set(goal.names()) >= whole.terms.keys()


def test_the_perceptual_term_looks_at_the_drawn_face_through_its_own_points(toy_model: FaceModel) -> None:
    """An embedder that averages colours around the nose: equal for the truth, different for another face."""

    class NoseColor:
        metric: EmbeddingMetric = "euclidean"

        def __call__(self, crop_srgb: torch.Tensor, five_px: torch.Tensor | None) -> torch.Tensor:
            assert five_px is not None
            grid = ((2.0 * five_px[:, 2:3] + 1.0) / SIZE - 1.0)[:, None]
            return torch.nn.functional.grid_sample(crop_srgb, grid, align_corners=False)[:, :, 0, 0]

    truth = some_faces(toy_model, 2)
    batch = draw_batch(toy_model, truth, SIZE, torch.tensor([False, False]))
    weak, camera = replace(NOTHING, perceptual=1.0), repeated(crop_camera(size=SIZE), 2)

    def distance(of: FaceCoefficients, given: TrainingBatch) -> float:
        return float(weak_terms(RNetPrediction(of), given, toy_model, camera, weak, NoseColor())["perceptual"])

    assert distance(truth, batch) < 1e-5
    assert distance(replace(truth, tex=truth.tex + 1.0), batch) > 0.02
    unknown = replace(batch, landmarks=torch.zeros(2, 68, 2), landmark_weights=torch.zeros(2, 68))
    assert distance(truth, unknown) < 1e-5  # photos without points are cut by the predicted ones


class Watching:
    """An embedder that keeps what it was shown."""

    metric: EmbeddingMetric = "euclidean"

    def __init__(self) -> None:
        self.seen: list[tuple[torch.Tensor, torch.Tensor | None]] = []

    def __call__(self, crop_srgb: torch.Tensor, five_px: torch.Tensor | None) -> torch.Tensor:
        self.seen.append((crop_srgb.detach(), five_px))
        return crop_srgb.mean((2, 3))


@pytest.mark.parametrize("name", ["deng-tf", "deng-pytorch", "open"])
def test_presets_that_carry_a_programs_name_draw_and_point_as_it_does(name: PresetName, toy_model: FaceModel) -> None:
    """No antialiasing, landmarks and chips half a pixel off the drawing; what is better is in ``open`` alone."""
    faces, camera = some_faces(toy_model, 2), repeated(crop_camera(size=SIZE), 2)
    batch = draw_batch(toy_model, faces, SIZE, torch.tensor([False, False]))
    weak, embedder = replace(PRESETS[name], perceptual=1.0, flattening=0.0), Watching()
    terms = weak_terms(RNetPrediction(faces), batch, toy_model, camera, weak, embedder)
    (_, photo_five), (drawn, own_five) = embedder.seen
    mesh = posed_mesh(toy_model.decode(faces), faces.pose)
    published = name != "open"
    rendering = render(mesh, camera, faces.sh, antialias=not published)
    torch.testing.assert_close(drawn, display_from_albedo(rendering.image, toy_model.albedo_space).clamp(0.0, 1.0))
    torch.testing.assert_close(rendering.mask, rendering.mask.round()) if published else None
    offset = torch.tensor([0.5, -0.5]) if published else torch.zeros(2)
    assert (own_five is None, photo_five is None) == (name == "deng-tf",) * 2  # it shows its network whole crops
    if own_five is not None and photo_five is not None:
        torch.testing.assert_close(own_five - photo_five, offset.expand(2, 5, 2))  # the photo is the face itself
    assert bool(terms["landmark"] > 0) == published


def test_the_region_of_the_released_pytorch_program(toy_model: FaceModel) -> None:
    """Triangles numbered within the region and looked up in the whole mesh, drawn alone; on its own face model only."""
    ours = toy_face_model()
    ours.metadata["crop"] = "front"
    assert make_objective(ours, SIZE, weak=PIXELS, supervised=NO_TRUTH).triangles is None
    assert released_triangles(toy_model) is None  # triangles of another model, numbered so, mean nothing
    weak = replace(PIXELS, released_region=PRESETS["deng-pytorch"].released_region)
    goal = make_objective(ours, SIZE, weak=weak, supervised=NO_TRUTH)
    inside = ours.annotations.regions["photometric"] > 0.5
    number = inside.cumsum(0) - 1
    expected = number[ours.faces[inside[ours.faces].all(1)]]
    assert goal.triangles is not None
    assert torch.equal(goal.triangles, expected)
    faces, camera = some_faces(ours, 2), repeated(crop_camera(size=SIZE), 2)
    drawn = objective_module.draw_faces(ours, faces, camera, triangles=goal.triangles)
    own = objective_module.draw_faces(ours, faces, camera)
    corners = clip_from_world(posed_mesh(ours.decode(faces), faces.pose).vertices, camera)
    alone = rasterize(corners, expected, (SIZE, SIZE)).face_index >= 0
    assert torch.equal(drawn.region, alone.float())
    assert torch.equal(drawn.srgb, own.srgb)
    batch = draw_batch(ours, some_faces(ours, 2, seed=5), SIZE, torch.tensor([False, False]))
    losses = [make_objective(ours, SIZE, weak=w, supervised=NO_TRUTH) for w in (weak, PIXELS)]
    released, region = (float(each(RNetPrediction(faces), batch).total) for each in losses)
    assert released != pytest.approx(region, rel=1e-3)
    assert {name: preset.released_region for name, preset in PRESETS.items()} == {
        "paper": False, "deng-tf": False, "deng-pytorch": True, "open": False
    }  # fmt: skip


def test_silhouettes_of_published_presets_have_no_gradient(toy_model: FaceModel) -> None:
    """A flat white face in flat light: nothing but its silhouette can tell where it is."""
    white, camera = toy_face_model(), repeated(crop_camera(size=SIZE), 1)
    white.mean_albedo.fill_(1.0)
    white.albedo_basis.zero_()
    batch = draw_batch(white, white.layout.zeros(), SIZE, torch.tensor([False]))
    batch = replace(batch, skin=torch.ones_like(batch.skin))
    light = torch.zeros(1, 9, 3)
    for name, preset in PRESETS.items():
        place = torch.tensor([[0.05, 0.0, 0.0]], requires_grad=True)
        faces = replace(white.layout.zeros(), translation=place, sh=light)
        weak = replace(NOTHING, photometric=1.0, antialiased=preset.antialiased)
        weak_terms(RNetPrediction(faces), batch, white, camera, weak)["photometric"].backward()
        assert place.grad is not None
        assert bool(place.grad[0, 0].abs() > 1e-4) == (name == "open")


def test_the_albedo_is_compared_as_displayed(toy_model: FaceModel) -> None:
    """A model whose albedo is display-coded (Basel's) is not encoded once more."""
    displayed = toy_face_model()
    displayed.metadata["albedo_space"] = "display"
    faces, camera = toy_model.layout.zeros(1), crop_camera(size=SIZE)
    linear, display = (objective_module.draw_faces(model, faces, camera).srgb for model in (toy_model, displayed))
    torch.testing.assert_close(srgb_from_linear(display), linear)


def test_blendshape_weights_are_kept_in_their_box_and_normal_modes_are_free(toy_model: FaceModel) -> None:
    faces = some_faces(toy_model, 2)
    batch = draw_batch(toy_model, faces, SIZE, torch.tensor([False, False]))
    boxed, weak = toy_face_model(exp_prior="box"), replace(NOTHING, box=1.0)
    assert objective(boxed, weak)(RNetPrediction(faces), batch).terms.keys() == {"weak/box"}
    assert objective(toy_model, weak)(RNetPrediction(faces), batch).terms == {}


def test_a_model_that_lacks_what_a_term_needs_is_refused(toy_model: FaceModel) -> None:
    bare = toy_face_model()
    bare.topology = replace(bare.topology, annotations=Annotations())
    with pytest.raises(TrainingError, match="landmark term expects a face model with the iBUG-68"):
        objective(bare, replace(NOTHING, landmark=1.0))
    with pytest.raises(TrainingError, match="flattening term expects a face model with a 'skin' region"):
        objective(bare, replace(NOTHING, flattening=1.0))
    with pytest.raises(TrainingError, match="perceptual term expects an embedder"):
        objective(toy_model, replace(NOTHING, perceptual=1.0))
