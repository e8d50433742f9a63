import pytest
import torch

from facewright.records import CoefficientLayout
from facewright.regress.importers import import_weights
from facewright.regress.official import OFFICIAL_LAYOUT
from facewright.regress.rnet import RNet
from tests.regress.references import SLIM_HEADS, official_forward, random_official_state, slim_forward
from tests.regress.tensorflow_files import frozen_graph, slim_strides, slim_variables


def test_full_size_has_the_official_number_of_parameters():
    with torch.device("meta"):
        net = RNet(OFFICIAL_LAYOUT)
    assert sum(p.numel() for p in net.parameters()) == 24_034_625


@pytest.mark.parametrize("architecture", ["resnet18", "resnet_v1_50_slim", "mobilenet_v3_small"])
def test_an_untrained_net_answers_with_the_mean_face(architecture):
    layout = CoefficientLayout(5, 4, 3)
    net = RNet(layout, architecture=architecture, width=0.25, crop_size=64)
    answer = net(torch.rand(2, 3, 64, 64))
    zeros = layout.zeros(2)
    for name in ("id", "exp", "tex", "angles", "sh", "translation"):
        torch.testing.assert_close(getattr(answer, name), getattr(zeros, name))


def test_each_head_ends_in_its_own_coefficients():
    layout = CoefficientLayout(5, 4, 3)
    net = RNet(layout, architecture="resnet18", width=0.125, crop_size=32).eval()
    for i, head in enumerate(net.heads.values()):
        torch.nn.init.constant_(head.get_parameter("bias"), float(i + 1))
    answer = net(torch.rand(1, 3, 32, 32))
    for value, part in [
        (1.0, answer.id),
        (2.0, answer.exp),
        (3.0, answer.tex),
        (4.0, answer.angles),
        (5.0, answer.sh),
        (6.0, answer.translation[:, :2]),
        (7.0, answer.translation[:, 2:]),
    ]:
        assert part.eq(value).all()


def test_a_crop_of_another_size_is_refused():
    net = RNet(CoefficientLayout(2, 2, 2), architecture="resnet18", width=0.125)
    with pytest.raises(ValueError, match="expected crops of 224 px"):
        net(torch.rand(1, 3, 112, 112))


def test_full_size_parity_with_the_pytorch_release(tmp_path):
    state = random_official_state(1, width=1.0)
    torch.save({"net_recon": state}, tmp_path / "epoch_20.pth")
    net, _ = import_weights(tmp_path / "epoch_20.pth")
    crops = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        expected = official_forward(state, crops)
        received = net.forward_vector(crops)
    assert expected.std() > 0.1
    assert (received - expected).norm() / expected.norm() < 1e-5


def test_full_size_parity_with_the_tensorflow_release(tmp_path):
    variables = slim_variables(2, width=1.0, heads=SLIM_HEADS)
    (tmp_path / "FaceReconModel.pb").write_bytes(frozen_graph(variables, slim_strides()))
    net, _ = import_weights(tmp_path / "FaceReconModel.pb")
    crops = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        expected = slim_forward(variables, crops.flip(1).permute(0, 2, 3, 1) * 255)
        received = net.forward_vector(crops)
    assert expected.std() > 0.1
    assert (received - expected).norm() / expected.norm() < 1e-5


def test_landmark_head_starts_in_the_middle_and_full_of_doubt():
    net = RNet(
        CoefficientLayout(4, 3, 2), architecture="resnet18", width=0.125, crop_size=64, landmark_head=True
    ).eval()
    seen = net.predict(torch.rand(2, 3, 64, 64))
    assert seen.landmarks_px is not None
    assert seen.landmarks_sigma_px is not None
    torch.testing.assert_close(seen.landmarks_px, torch.full((2, 68, 2), 31.5))
    torch.testing.assert_close(seen.landmarks_sigma_px, torch.full((2, 68), 6.464))
    assert not net.layout.pack(seen.coefficients).any()
    assert RNet(CoefficientLayout(4, 3, 2), architecture="resnet18", width=0.125).landmark_head is None


def test_dense_points_come_with_depths_and_doubts_and_begin_with_the_landmarks():
    points = torch.arange(100)
    net = RNet(CoefficientLayout(4, 3, 2), architecture="resnet18", width=0.125, crop_size=64, points=points).eval()
    seen = net.predict(torch.rand(2, 3, 64, 64))
    assert seen.points_px is not None
    assert seen.landmarks_px is not None
    torch.testing.assert_close(seen.points_px, torch.full((2, 100, 2), 31.5))
    torch.testing.assert_close(seen.landmarks_px, seen.points_px[:, :68])
    torch.testing.assert_close(seen.depth_px, torch.zeros(2, 100))
    torch.testing.assert_close(seen.depth_sigma_px, torch.full((2, 100), 6.464))
    for doubt, size in ((seen.id_sigma, 4), (seen.exp_sigma, 3), (seen.tex_sigma, 2)):
        torch.testing.assert_close(doubt, torch.full((2, size), 1.02))
    loss = sum(value.sum() for value in (seen.points_px, seen.depth_px, seen.id_sigma) if value is not None)
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    assert net.neck is not None
    slope = net.get_parameter("landmark_head.weight").grad
    assert slope is not None
    assert float(slope.abs().sum()) > 0  # the layer before is not dead
    with pytest.raises(ValueError, match="expected the 68 landmarks before all other points, received 60"):
        RNet(CoefficientLayout(4, 3, 2), architecture="resnet18", width=0.125, points=torch.arange(60))
