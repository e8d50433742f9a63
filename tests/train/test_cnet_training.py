"""``facewright train cnet``: sets of photos, both goals, features seen once, people told apart, one run."""

from dataclasses import replace

import pytest
import torch

from facewright.cli import main
from facewright.errors import TrainingError, WeightsError
from facewright.morphable.container import save_face_model
from facewright.regress.cnet import CNet, aggregated, likeness, trunk_fingerprint
from facewright.regress.rnet import RNet
from facewright.regress.weights import WeightsCard, describe_weights, load_weights, save_weights
from facewright.train.cnet_training import (
    CNET_PRESETS,
    CNetCourse,
    CNetSettings,
    FeatureMemory,
    begin_cnet,
    check_cnet,
    set_codes,
    sets_of,
    who_loss,
)
from facewright.train.losses.presets import PRESETS
from facewright.train.make import make_data
from facewright.train.objective import make_objective
from facewright.train.rnet_settings import NO_TRUTH
from facewright.train.samples import DataCard
from facewright.train.shards import load_data
from tests.train.pictures import draw_batch, some_faces
from tests.train.samples import Dots

SIZE = 48
MEGABYTE = 2**20


class FourEach(Dots):
    """Four neighbouring pictures of each person."""

    def __call__(self, job):
        return [replace(sample, person=int(job) // 4) for sample in super().__call__(job)]  # pyright: ignore


@pytest.fixture(scope="module")
def rnet(toy_model):
    torch.manual_seed(0)
    net = RNet(toy_model.layout, architecture="resnet18", width=0.125, crop_size=SIZE).eval()
    for head in net.heads.values():
        torch.nn.init.normal_(head.weight, std=0.05)  # pyright: ignore[reportArgumentType] - a linear layer's
    return net


@pytest.fixture(scope="module")
def batch(toy_model):
    """Four photos of each of two people, and one of a third."""
    faces = some_faces(toy_model, 9, 0)
    persons = torch.tensor([5, 5, 5, 5, 7, 7, 7, 7, 9])
    same = torch.tensor([0, 0, 0, 0, 4, 4, 4, 4, 8])
    faces = replace(faces, id=faces.id[same], tex=faces.tex[same])
    return replace(draw_batch(toy_model, faces, SIZE, torch.ones(9, dtype=torch.bool)), persons=persons)


def course_of(toy_model, rnet, settings, objective=None):
    torch.manual_seed(1)
    sizes = {"shallow": 8, "features": rnet.backbone.num_features, "crop_size": SIZE}
    net = CNet(
        toy_model.layout, **sizes, channels=8, hidden=16, scores=settings.scores, codes=settings.codes, trunk="x"
    )
    memory = FeatureMemory(rnet, None, MEGABYTE)
    return CNetCourse(net, memory, toy_model, settings, objective, torch.device("cpu"))


def test_photos_belong_together_by_person_or_by_folder(batch):
    assert sets_of(batch).tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    keys = ["anna/1.jpg#0", "anna/2.jpg#0", "ben/1.jpg#0", "alone.jpg#0", "other.jpg#0"]
    some = replace(batch.mapped(lambda part: part[:5]), keys=keys, persons=torch.full((5,), -1))
    assert sets_of(some).tolist() == [0, 0, 1, 2, 3]


def test_codes_of_sets_are_those_of_equation_7(batch):
    codes, weights, sets = torch.randn(9, 6), torch.rand(9, 6) + 0.1, sets_of(batch)
    found = set_codes(codes, weights, sets)
    for number in range(3):
        chosen = sets == number
        torch.testing.assert_close(found[number], aggregated(codes[chosen], weights[chosen]))


def test_crops_go_through_the_rnet_once_and_answers_stay_the_same(rnet, batch):
    memory, seen = FeatureMemory(rnet, None, MEGABYTE), []
    handle = rnet.backbone.conv1.register_forward_hook(lambda module, given, answer: seen.append(len(answer)))
    first = memory(batch.crops[:6])
    again = memory(batch.crops[[5, 1, 7]])
    handle.remove()
    assert seen == [6, 1]
    assert again.coefficients[0].equal(first.coefficients[5])
    assert again.shallow[1].equal(first.shallow[1])
    with torch.no_grad():
        torch.testing.assert_close(first.pooled, rnet.features(batch.crops[:6]), atol=2e-2, rtol=1e-3)
        expected = rnet.forward_vector(batch.crops[:6])
    torch.testing.assert_close(first.coefficients, expected, atol=1e-4, rtol=1e-4)
    small = FeatureMemory(rnet, None, 20_000)
    small(batch.crops)
    assert 0 < len(small._kept) < 9


@pytest.mark.parametrize("scores", ["coefficients", "one"])
def test_it_learns_whom_to_believe(toy_model, rnet, batch, scores):
    """The R-Net is told to err in every other photo, by something that its features show."""
    settings = CNetSettings(scores=scores, left_out=0.3)
    course = course_of(toy_model, rnet, settings)
    wrong = torch.arange(9) % 2 == 0
    vector = course.layout.pack(batch.truth)
    vector[:, : toy_model.layout.id] += 2.0 * wrong[:, None] * torch.randn(9, toy_model.layout.id)
    features = torch.randn(9, rnet.backbone.num_features) + 3.0 * wrong[:, None]
    maps = torch.rand(9, 8, 12, 12)
    optimizer = torch.optim.Adam(course.net.parameters(), lr=1e-2)
    for step in range(60):
        losses = course.losses((course.net(maps, features), vector), batch)
        if step == 0:
            first = losses
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    with torch.no_grad():
        last = course.losses((course.net(maps, features), vector), batch)
    assert set(last.terms) == set(course.terms()) == {"identity_mm", "average_mm", "single_mm"}
    assert last.counts["identity_mm"] == 8  # of the third person there is but one photo
    assert last.terms["average_mm"] < last.terms["single_mm"]
    assert last.terms["identity_mm"] < 0.5 * last.terms["average_mm"]
    torch.testing.assert_close(last.total, last.terms["identity_mm"] * 8 / 9)
    assert first.terms["identity_mm"] > last.terms["identity_mm"]


def test_without_labels_the_photos_are_what_is_explained(toy_model, rnet, batch):
    weak = replace(PRESETS["open"], perceptual=0.0, photometric=0.0)
    objective = make_objective(toy_model, SIZE, weak=weak, supervised=NO_TRUTH, weak_on_synthetic=True)
    course = course_of(toy_model, rnet, CNetSettings(goal="photos"), objective)
    assert course.terms() == objective.names()
    answer = course.answer(course.net, batch.crops)
    losses = course.losses(answer, batch)
    losses.total.backward()
    assert isinstance(course.net, CNet)
    grad = course.net.confidence.weight.grad
    assert grad is not None
    assert grad.abs().max() > 0
    unlabelled = replace(
        batch, truth=batch.truth.mapped(torch.zeros_like), truth_known=torch.zeros(9, dtype=torch.bool)
    )
    torch.testing.assert_close(course.losses(answer, unlabelled).total, losses.total)


def test_people_are_told_apart(toy_model, rnet, batch):
    course = course_of(toy_model, rnet, CNetSettings(codes=4))
    sets = sets_of(batch)
    assert "who" in course.terms()
    with torch.no_grad():
        codes = course.answer(course.net, batch.crops)[2]
    evidence = likeness(codes)
    torch.testing.assert_close(evidence, evidence.T)
    own = 2.0 * torch.nn.functional.one_hot(sets, 3).float()
    told = torch.cat([own / 2.0, torch.ones(9, 2)], -1)
    assert who_loss(told, sets) < 0.2 < who_loss(codes, sets)
    assert who_loss(told[torch.randperm(9)], sets) > 1.0
    torch.testing.assert_close(who_loss(told, torch.zeros_like(sets)).isfinite(), torch.tensor(True))
    losses = course.losses(course.answer(course.net, batch.crops), batch)
    torch.testing.assert_close(losses.total, losses.terms["identity_mm"] * 8 / 9 + losses.terms["who"])


def test_a_whole_run_on_stored_people(toy_model, rnet, tmp_path, capsys):
    model, weights, data = tmp_path / "toy.npz", tmp_path / "rnet.safetensors", tmp_path / "data"
    save_face_model(toy_model, model)
    save_weights(rnet, WeightsCard("toy"), weights)
    card = DataCard("synthetic", SIZE, 6, face_model="toy", layout=toy_model.layout)
    make_data(data, card, range(16), FourEach(card))
    line = ["train", "cnet", "--preset", "smoke", "--rnet", str(weights), "--face-model", str(model), "--steps", "4"]
    line += ["--data", str(data), "--checkpoint-every", "2", "--sheet-every", "4", "--val", str(data)]
    assert main([*line, "--out", str(tmp_path / "run")]) == 0
    made = tmp_path / "run" / "weights.safetensors"
    described = describe_weights(made)
    assert (described["kind"], described["trunk"]) == ("cnet", trunk_fingerprint(rnet))
    assert len(list((tmp_path / "run" / "sheets").iterdir())) > 0
    assert "identity_mm" in capsys.readouterr().err
    assert len(load_data(data)) == 16
    again = begin_cnet(
        replace(CNET_PRESETS["smoke"].network, rnet=str(weights), face_model=str(model), init=str(made)),
        0,
        torch.device("cpu"),
    )
    loaded = load_weights(made)
    assert all(value.equal(loaded.state_dict()[name]) for name, value in again.net.state_dict().items())
    wider = replace(CNET_PRESETS["smoke"].network, rnet=str(weights), face_model=str(model), init=str(made), hidden=8)
    with pytest.raises(TrainingError, match="holds a C-Net of 8 channels, 16 hidden"):
        begin_cnet(wider, 0, torch.device("cpu"))
    other = RNet(toy_model.layout, architecture="resnet18", width=0.125, crop_size=SIZE)
    save_weights(other, WeightsCard("toy"), weights)
    with pytest.raises(WeightsError, match="reads the features of the R-Net with trunk"):
        begin_cnet(replace(wider, hidden=16), 0, torch.device("cpu"))


def test_what_cannot_be_trained_is_refused():
    paper = CNET_PRESETS["paper"].network
    check_cnet(paper)
    with pytest.raises(TrainingError, match="expected an --embedder"):
        check_cnet(replace(paper, objective=replace(paper.objective, embedder="")))
    check_cnet(replace(paper, goal="truth", objective=replace(paper.objective, embedder="")))
