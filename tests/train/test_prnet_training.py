"""``facewright train prnet``: exact maps out of coefficients, pictures changed together with their points, one run."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from facewright.cli import main
from facewright.errors import TrainingError
from facewright.export.asset import to_uint8
from facewright.geometry.frames import crop_camera, pose_points, project_points
from facewright.geometry.map_pose import map_of_world
from facewright.morphable.container import save_face_model
from facewright.morphable.uv import position_space
from facewright.regress.prnet import PRNet
from facewright.regress.rnet import RNet
from facewright.regress.weights import WeightsCard, describe_weights, load_weights, save_weights
from facewright.train.loop import split_batch
from facewright.train.make import make_data
from facewright.train.map_truth import MapTruth
from facewright.train.prnet_training import PRNET_PRESETS, PRNetCourse, begin_prnet, check_prnet
from facewright.train.samples import DataCard, TrainingSample, empty_points
from facewright.train.variation import NO_VARIATION, Variation, varied_batch
from tests.train.pictures import draw_batch, some_faces

SIZE = 48
SMOKE = PRNET_PRESETS["smoke"].network


@pytest.fixture(scope="module")
def batch(toy_model):
    faces = some_faces(toy_model, 4, 0)
    return draw_batch(toy_model, faces, SIZE, torch.tensor([True, True, True, False]))


@pytest.fixture
def course(toy_model):
    torch.manual_seed(0)
    net = PRNet(architecture="resnet18", width=0.125, crop_size=SIZE, map_size=32)
    return PRNetCourse(net, toy_model, SMOKE, torch.device("cpu"))


@pytest.mark.parametrize("turned", [False, True])
def test_the_true_map_is_where_the_mesh_is_seen(toy_model, batch, turned):
    """Also beyond the crop, and where the picture was turned, moved and resized after its truth was told."""
    _, surface = position_space(toy_model, 32)
    truth = MapTruth.of(toy_model, surface)
    world = pose_points(toy_model.shape(batch.truth.id, batch.truth.exp), batch.truth.angles, batch.truth.translation)
    seen = project_points(surface.of(world), crop_camera(size=SIZE))[..., :2]
    marks = project_points(world[:, toy_model.annotations.ibug68], crop_camera(size=SIZE))[..., :2]
    scale, depth = 1.0, surface.of(world)[..., 2] * 1015.0 * SIZE / 224 / 10.0
    if turned:
        change = torch.tensor([[0.0, -1.3], [1.3, 0.0]])
        seen, marks, scale = seen @ change.T + 20.0, marks @ change.T + 20.0, 1.3
    points = truth.points_px(batch.truth, marks, SIZE)
    torch.testing.assert_close(points[..., :2], seen, atol=2e-3, rtol=0)
    torch.testing.assert_close(points[..., 2], scale * depth, atol=2e-3, rtol=1e-4)


def test_pictures_and_points_change_together(batch):
    """A bright spot at a landmark is at the landmark afterwards."""
    place = torch.tensor([14.0, 30.0])
    crops = torch.zeros_like(batch.crops)
    crops[:, :, 29:32, 13:16] = 1.0
    marked = replace(batch, crops=crops, landmarks=place.expand(4, 68, 2).clone())
    torch.manual_seed(3)
    changed = varied_batch(marked, Variation(darken=1.0, brighten=1.0, covered=0.0))
    row, column = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    for crop, landmark in zip(changed.crops[:, 0], changed.landmarks[:, 0], strict=True):
        middle = torch.stack([(crop * column).sum(), (crop * row).sum()]) / crop.sum()
        torch.testing.assert_close(middle, landmark, atol=0.1, rtol=0)
        assert (landmark - place).norm() > 1.0
    torch.manual_seed(3)
    again = varied_batch(marked, Variation(darken=1.0, brighten=1.0, covered=0.0))
    assert again.crops.equal(changed.crops)
    same = varied_batch(batch, NO_VARIATION)
    torch.testing.assert_close(same.crops, batch.crops, atol=1e-5, rtol=0)
    torch.testing.assert_close(same.landmarks, batch.landmarks)
    covered = varied_batch(batch, replace(NO_VARIATION, covered=1.0))
    hidden = (covered.crops - batch.crops).abs().amax(1) > 1e-4
    assert all(0 < float(share) <= 0.26 for share in hidden.float().mean((1, 2)))


def test_one_batch_is_learnt_by_heart(course, batch):
    """From the mean face's errors to a fraction of them; the neck weighs nothing."""
    optimizer = torch.optim.Adam(course.net.parameters(), 3e-3)
    course.net.train()
    history = []
    for _ in range(40):
        losses = course.losses(course.answer(course.net, batch.crops), batch)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        history.append({name: float(term.detach()) for name, term in losses.terms.items()})
    assert set(history[0]) == {"points", "shape", "doubt", "landmarks"} == set(course.terms())
    assert losses.counts == {"points": 3, "shape": 3, "doubt": 3, "landmarks": 1}
    for name in ("points", "landmarks"):
        assert history[-1][name] < 0.5 * history[0][name], name
    assert history[-1]["doubt"] < history[0]["doubt"]


def test_losses_of_halves_average_to_the_wholes(course, batch):
    whole = course.losses(course.answer(course.net.eval(), batch.crops), batch).total
    parts = [course.losses(course.answer(course.net, part.crops), part).total for part in split_batch(batch, 2)]
    torch.testing.assert_close(torch.stack(parts).mean(), whole)


def test_exact_maps_cost_nothing_and_a_published_net_can_say_them(toy_model, batch):
    torch.manual_seed(0)
    net = PRNet(width=0.0625, crop_size=64)
    course = PRNetCourse(net, toy_model, replace(SMOKE, loss=replace(SMOKE.loss, doubt=0.0)), torch.device("cpu"))
    resized = replace(
        batch,
        crops=torch.zeros(4, 3, 64, 64),
        skin=torch.zeros(4, 64, 64),
        landmarks=(batch.landmarks + 0.5) * 64 / SIZE - 0.5,
    )
    points = course.truth.points_px(batch.truth, resized.landmarks, 64)
    maps = course.space.map_of(points)
    known = replace(resized, truth_known=torch.ones(4, dtype=torch.bool))
    losses = course.losses((maps,), known)
    assert losses.terms["points"] < 1e-4
    share = (points[:, course.ibug68] / 64 + net.offset) / 1.1  # the toy's ears lie deeper than a head's
    assert share.min() > 0
    assert share.max() < 1


def test_it_starts_as_the_rnet_that_it_is_given(toy_model, tmp_path):
    """Trunk and answers: the map is that of the R-Net's coefficients, as far as the directions reach (here: all)."""
    torch.manual_seed(1)
    rnet = RNet(toy_model.layout, architecture="resnet18", width=0.125, crop_size=SIZE).eval()
    for head in rnet.heads.children():
        torch.nn.init.normal_(head.get_parameter("weight"), std=0.02)
    save_weights(rnet, WeightsCard("toy"), tmp_path / "rnet.safetensors")
    save_face_model(toy_model, tmp_path / "toy.npz")
    settings = replace(SMOKE, face_model=str(tmp_path / "toy.npz"), init=str(tmp_path / "rnet.safetensors"))
    course = begin_prnet(replace(settings, trunk_learns=False), 0, torch.device("cpu"))
    net = course.net
    torch.testing.assert_close(net.get_submodule("backbone").state_dict(), rnet.backbone.state_dict())
    assert not any(p.requires_grad for p in net.get_submodule("backbone").parameters())
    crops = torch.rand(2, 3, SIZE, SIZE)
    with torch.no_grad():
        seen = course.space.points_of(course.answer(net.eval(), crops)[0])
        told = rnet(crops)
        world = pose_points(toy_model.shape(told.id, told.exp), told.angles, told.translation)
    expected = map_of_world(position_space(toy_model, 32)[1].of(world), crop_camera(size=SIZE))
    assert told.id.std() > 1e-3
    torch.testing.assert_close(seen, expected, atol=1e-2, rtol=0)
    with pytest.raises(TrainingError, match=r"holds a rnet of resnet18, width 0\.125"):
        begin_prnet(replace(settings, width=0.25), 0, torch.device("cpu"))


def test_a_head_farther_away_counts_less_than_one_beside_it(course, batch):
    points = course.truth.points_px(batch.truth, batch.landmarks, SIZE)
    known = replace(batch, truth_known=torch.ones(4, dtype=torch.bool))
    settings = replace(course.settings, loss=replace(SMOKE.loss, doubt=0.0))
    course.settings = settings
    cost = [
        float(course.losses((course.space.map_of(points + torch.tensor(move)),), known).terms["points"])
        for move in ([0.0, 0.0, 5.0], [5.0, 0.0, 0.0])
    ]
    assert cost[0] == pytest.approx(0.1 * cost[1], rel=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "vgg"}, "--backbone"),
        ({"backbone": "dlib_resnet29"}, "--crop-size of at least 67"),
        ({"trunk_learns": False, "init": ""}, "--no-trunk-learns"),
        ({"variation": Variation(shrink=1.3)}, "--shrink"),
        ({"variation": Variation(darken=1.5)}, "--darken"),
    ],
)
def test_what_cannot_be_trained_is_refused(change, message):
    with pytest.raises(TrainingError, match=message):
        check_prnet(replace(SMOKE, **change))


def test_the_smoke_preset_runs_from_data_to_weights(toy_model, tmp_path):
    save_face_model(toy_model, tmp_path / "toy.npz")
    card = DataCard("synthetic", SIZE, 0, face_model="toy", layout=toy_model.layout, source="toy")
    samples = stored_samples(toy_model, 8)
    make_data(tmp_path / "data", card, range(8), lambda job: [samples[job]])
    line = ["train", "prnet", "--preset", "smoke", "--steps", "6", "--device", "cpu", "--data", str(tmp_path / "data")]
    assert main([*line, "--face-model", str(tmp_path / "toy.npz"), "--out", str(tmp_path / "run")]) == 0
    described = describe_weights(tmp_path / "run" / "weights.safetensors")
    assert (described["kind"], described["face_model"], described["map_size"]) == ("prnet", "toy", 32)
    assert load_weights(tmp_path / "run" / "weights.safetensors", kind="prnet").mask.any()
    assert any((tmp_path / "run" / "sheets").iterdir())


def stored_samples(model, count):
    faces = some_faces(model, count, 2)
    drawn = draw_batch(model, faces, SIZE, torch.ones(count, dtype=torch.bool))
    vectors = model.layout.pack(faces).numpy()
    points, weights = empty_points(468)
    return [
        TrainingSample(
            f"toy-{k}",
            np.ascontiguousarray(to_uint8(drawn.crops[k]).transpose(1, 2, 0)),
            to_uint8(drawn.skin[k]),
            0,
            drawn.landmarks[k].numpy(),
            drawn.landmark_weights[k].numpy(),
            points,
            weights,
            vectors[k],
        )
        for k in range(count)
    ]
