"""Starting points: random by the seed, earlier weights, trunks of others."""

from pathlib import Path

import pytest
import torch

from facewright.errors import AssetNotFoundError, TrainingError, WeightsError
from facewright.geometry.frames import crop_camera, pose_points, project_points
from facewright.morphable.linear import FaceModel
from facewright.regress.rnet import RNet
from facewright.regress.weights import WeightsCard, save_weights
from facewright.train.starts import start_net

SIZE = 48


def start(
    model: FaceModel,
    architecture: str = "resnet18",
    *,
    width: float = 0.125,
    landmark_head: bool = False,
    dense_points: bool = False,
    init: str = "",
    seed: int = 0,
) -> RNet:
    return start_net(
        model,
        architecture=architecture,
        width=width,
        crop_size=SIZE,
        landmark_head=landmark_head,
        dense_points=dense_points,
        init=init,
        seed=seed,
    )


@pytest.fixture
def earlier(toy_model: FaceModel, tmp_path: Path) -> tuple[RNet, str]:
    net = start(toy_model, landmark_head=True, seed=7)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    path = tmp_path / "earlier.safetensors"
    save_weights(net, WeightsCard("toy"), path)
    return net, str(path)


def test_the_callers_dice_are_left_alone(toy_model: FaceModel) -> None:
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    start(toy_model, seed=1)
    assert torch.equal(torch.rand(3), expected)


def test_the_seed_decides_and_heads_start_at_zero(toy_model: FaceModel) -> None:
    first, same, other = (start(toy_model, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.get_parameter("backbone.conv1.weight"), same.get_parameter("backbone.conv1.weight"))
    assert not torch.equal(first.get_parameter("backbone.conv1.weight"), other.get_parameter("backbone.conv1.weight"))
    assert not first.get_parameter("heads.id.weight").any()


def test_earlier_weights_come_back_and_may_get_a_head_more(
    toy_model: FaceModel, earlier: tuple[RNet, str], tmp_path: Path
) -> None:
    net, path = earlier
    started = start(toy_model, landmark_head=True, init=path)
    assert all(torch.equal(value, started.state_dict()[name]) for name, value in net.state_dict().items())
    plain = start(toy_model, seed=3)
    save_weights(plain, WeightsCard("toy"), tmp_path / "plain.safetensors")
    grown = start(toy_model, landmark_head=True, init=str(tmp_path / "plain.safetensors"))
    assert torch.equal(grown.get_parameter("backbone.conv1.weight"), plain.get_parameter("backbone.conv1.weight"))
    assert not grown.get_parameter("landmark_head.weight").any()


def test_other_networks_are_refused(toy_model: FaceModel, earlier: tuple[RNet, str]) -> None:
    with pytest.raises(TrainingError, match=r"holds a resnet18 of width 0\.125 .* a resnet34 of width 0\.125"):
        start(toy_model, "resnet34", init=earlier[1], landmark_head=True)
    with pytest.raises(TrainingError, match=r"has heads that the network lacks .*--landmark-head"):
        start(toy_model, init=earlier[1])
    with pytest.raises(TrainingError, match="starts a dlib_resnet29, received --backbone resnet18"):
        start(toy_model, init="dlib")


def test_the_trunk_of_a_classifier_is_taken(toy_model: FaceModel, tmp_path: Path) -> None:
    trunk = start(toy_model, seed=9).backbone
    path = tmp_path / "classifier.pth"
    state = {name: value for name, value in trunk.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save({**state, "fc.weight": torch.zeros(5, 64), "fc.bias": torch.zeros(5)}, path)
    net = start(toy_model, init=str(path))
    assert all(torch.equal(value, net.backbone.state_dict()[name]) for name, value in trunk.state_dict().items())
    assert not net.get_parameter("heads.id.weight").any()
    with pytest.raises(TrainingError, match="is not a torchvision resnet18 of width 1"):
        start(toy_model, width=1.0, init=str(path))
    with pytest.raises(AssetNotFoundError, match="found no file"):
        start(toy_model, init=str(tmp_path / "nothing.pth"))
    path.write_bytes(b"not a network")
    with pytest.raises(WeightsError, match=r"not a PyTorch file|holds more than tensors"):
        start(toy_model, init=str(path))


def test_a_short_trunk_starts_from_a_longer_one_of_its_kind(toy_model: FaceModel, tmp_path: Path) -> None:
    """dlib's first blocks are the same; heads belong to the features of the trunk that they were trained on."""
    longer = start(toy_model, "dlib_resnet29", landmark_head=True, seed=5)
    for parameter in longer.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path / "longer.safetensors"
    save_weights(longer, WeightsCard("toy"), path)
    short = start(toy_model, "dlib_resnet21", landmark_head=True, init=str(path))
    given, taken = longer.backbone.state_dict(), short.backbone.state_dict()
    assert 0 < len(taken) < len(given)
    assert all(torch.equal(value, given[name]) for name, value in taken.items())
    assert not any(value.any() for name, value in short.state_dict().items() if not name.startswith("backbone."))
    crops = torch.rand(1, 3, 96, 96)
    for mine, theirs in zip(short.backbone.stages(crops), longer.backbone.stages(crops), strict=False):
        assert bool(mine.any())
        torch.testing.assert_close(mine, theirs)
    save_weights(short, WeightsCard("toy"), tmp_path / "short.safetensors")
    with pytest.raises(TrainingError, match=r"holds a dlib_resnet21 .* a dlib_resnet29"):
        start(toy_model, "dlib_resnet29", landmark_head=True, init=str(tmp_path / "short.safetensors"))
    with pytest.raises(TrainingError, match=r"a dlib_resnet29 of width 0\.125 .* a dlib_resnet21 of width 0\.25"):
        start(toy_model, "dlib_resnet21", width=0.25, landmark_head=True, init=str(path))


def test_dense_points_start_where_the_mean_face_has_them(
    toy_model: FaceModel, earlier: tuple[RNet, str], tmp_path: Path
) -> None:
    """And earlier weights give their trunk and coefficients, not the landmarks that they saw alone."""
    net = start(toy_model, dense_points=True).eval()
    size = net.crop_size
    seen, camera = net.predict(torch.rand(1, 3, size, size)), crop_camera(size=size)
    assert net.point_ids is not None
    zeros = torch.zeros(1, 3)
    there = project_points(pose_points(toy_model.mean_shape[net.point_ids][None], zeros, zeros), camera)
    torch.testing.assert_close(seen.points_px, there[..., :2], atol=1e-3, rtol=0)
    depth = (there[..., 2] - camera.distance_dm) * camera.focal_px / camera.distance_dm
    torch.testing.assert_close(seen.depth_px, depth, atol=1e-3, rtol=0)
    grown = start(toy_model, dense_points=True, init=earlier[1])
    assert torch.equal(grown.get_parameter("heads.id.weight"), earlier[0].get_parameter("heads.id.weight"))
    torch.testing.assert_close(grown.get_parameter("landmark_head.bias"), net.get_parameter("landmark_head.bias"))
    save_weights(grown, WeightsCard("toy"), tmp_path / "dense.safetensors")
    again = start(toy_model, dense_points=True, init=str(tmp_path / "dense.safetensors"))
    torch.testing.assert_close(dict(again.state_dict()), dict(grown.state_dict()))
    with pytest.raises(TrainingError, match="add --landmark-head or --dense-points"):
        start(toy_model, init=str(tmp_path / "dense.safetensors"))
