"""A second glance is learnt alone: its loss falls, all else of the net stays, mirrors are true."""

import copy

import pytest
import torch

from facewright.errors import TrainingError
from facewright.morphable.linear import FaceModel
from facewright.regress.rnet import RNet
from facewright.train.glancing import Glanced, glanced, joined, teach_glance
from facewright.train.losses.likeness_terms import FaceRig, make_rig, wanted_points
from facewright.train.seen_points import seen_points
from tests.train.pictures import draw_batch, some_faces

SIZE = 40


@pytest.fixture(scope="module")
def net(toy_model: FaceModel) -> RNet:
    torch.manual_seed(0)
    points = seen_points(toy_model)
    net = RNet(toy_model.layout, architecture="resnet18", width=0.0625, crop_size=SIZE, points=points, glance=True)
    for name, value in net.named_parameters():
        if not name.startswith(("backbone.", "glance.")):
            torch.nn.init.normal_(value, std=0.02)
    return net.eval()


@pytest.fixture(scope="module")
def rig(net: RNet, toy_model: FaceModel) -> FaceRig:
    return make_rig(toy_model, net.point_ids)


@pytest.fixture(scope="module")
def seen(net: RNet, rig: FaceRig, toy_model: FaceModel) -> Glanced:
    known = torch.ones(8, dtype=torch.bool)
    batches = [draw_batch(toy_model, some_faces(toy_model, 8, seed), SIZE, known) for seed in (1, 2)]
    return joined([part for batch in batches for part in glanced(net, toy_model, rig, batch)])


def test_pictures_are_looked_at_in_a_mirror(net: RNet, rig: FaceRig, seen: Glanced, toy_model: FaceModel) -> None:
    batch = draw_batch(toy_model, some_faces(toy_model, 8, 1), SIZE, torch.ones(8, dtype=torch.bool))
    assert len(seen) == 32
    assert net.point_ids is not None
    assert rig.partners is not None
    wanted, _ = wanted_points(batch, toy_model, net.point_ids)
    turned = seen.points[8:16].float()[:, rig.partners]
    torch.testing.assert_close(SIZE - 1 - turned[..., 0], wanted[..., 0], atol=0.05, rtol=0)
    torch.testing.assert_close(turned[..., 1:], wanted[..., 1:], atol=0.05, rtol=0)
    torch.testing.assert_close(seen.truth.angles[8:16], batch.truth.angles * torch.tensor([1.0, -1.0, -1.0]))


def test_it_learns_and_nothing_else_does(net: RNet, seen: Glanced, toy_model: FaceModel) -> None:
    learnt, losses = copy.deepcopy(net), []
    teach_glance(learnt, toy_model, seen, epochs=20, batch_size=16, told=lambda epoch, loss: losses.append(loss))
    assert losses[-1] < losses[0] - 0.3, losses
    for name, value in learnt.state_dict().items():
        same = torch.equal(value, net.state_dict()[name])
        assert same != name.startswith("glance."), name
    # what brings features to one scale while it learns is in the weights afterwards
    assert learnt.glance is not None
    moved = learnt.glance(seen.features.float()).exp
    error = (learnt.predict_from(seen.pooled.float()).coefficients.exp + moved - seen.truth.exp).square().mean()
    before = (net.predict_from(seen.pooled.float()).coefficients.exp - seen.truth.exp).square().mean()
    assert error < 0.8 * before


def test_what_cannot_be_learnt_from_is_refused(net: RNet, rig: FaceRig, seen: Glanced, toy_model: FaceModel) -> None:
    without = RNet(toy_model.layout, architecture="resnet18", width=0.0625, crop_size=SIZE, points=net.point_ids)
    batch = draw_batch(toy_model, some_faces(toy_model, 2, 1), SIZE, torch.ones(2, dtype=torch.bool))
    unknown = draw_batch(toy_model, some_faces(toy_model, 2, 1), SIZE, torch.zeros(2, dtype=torch.bool))
    with pytest.raises(TrainingError, match="second glance"):
        glanced(without, toy_model, rig, batch)
    with pytest.raises(TrainingError, match="truth"):
        glanced(net, toy_model, rig, unknown)
    with pytest.raises(TrainingError, match="batch of 64"):
        teach_glance(net, toy_model, seen, batch_size=64)
    with pytest.raises(TrainingError, match="second glance"):
        teach_glance(without, toy_model, seen, batch_size=4)
