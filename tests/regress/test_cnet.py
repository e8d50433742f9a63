"""C-Net: its published size, any trunk's features, equation 7 and what must hold of it, files that know their R-Net."""

from dataclasses import replace

import pytest
import torch

from facewright.errors import ExportError, WeightsError
from facewright.records import CoefficientLayout
from facewright.regress.cnet import CNet, aggregated, check_trunk, trunk_fingerprint
from facewright.regress.onnx_export import export_onnx
from facewright.regress.rnet import RNet
from facewright.regress.weights import WeightsCard, describe_weights, load_weights, save_weights

LAYOUT = CoefficientLayout(5, 3, 4)


def small_rnet(architecture: str = "resnet18", **more) -> RNet:
    return RNet(LAYOUT, architecture=architecture, width=0.125, crop_size=96, **more).eval()


def small_cnet(rnet: RNet, **more) -> CNet:
    with torch.no_grad():
        shallow, pooled = rnet.shallow_and_pooled(torch.zeros(1, 3, 96, 96))
    sizes = {"shallow": shallow.shape[1], "features": pooled.shape[1], "crop_size": 96}
    return CNet(LAYOUT, **sizes, channels=8, hidden=16, **more).eval()


def test_the_published_network_has_its_published_size():
    with torch.device("meta"):
        net = CNet(CoefficientLayout(80, 64, 80))
    assert sum(weight.numel() for weight in net.parameters()) == 2_991_440


@pytest.mark.parametrize("architecture", ["dlib_resnet21", "mobilenet_v3_small", "resnet18", "resnet_v1_50_slim"])
def test_it_reads_the_features_of_every_trunk(architecture):
    rnet = small_rnet(architecture)
    crops = torch.rand(2, 3, 96, 96)
    shallow, pooled = rnet.shallow_and_pooled(crops)
    torch.testing.assert_close(pooled, rnet.features(crops))
    net = small_cnet(rnet)
    assert net(shallow, pooled).equal(torch.full((2, 5), 0.5))  # before training all count alike
    torch.nn.init.normal_(net.confidence.weight, std=1e-3)
    found = net(shallow, pooled)
    assert found.min() > 0.0
    assert found.max() < 1.0
    assert (found[0] - found[1]).abs().max() > 1e-7
    assert small_cnet(rnet, scores="one")(shallow, pooled).shape == (2, 5)


def test_answers_come_from_the_features_that_it_reads():
    rnet = small_rnet(landmark_head=True)
    crops = torch.rand(2, 3, 96, 96)
    torch.nn.init.normal_(rnet.heads["id"].weight)  # pyright: ignore[reportArgumentType] - a layer's
    _, pooled = rnet.shallow_and_pooled(crops)
    torch.testing.assert_close(rnet.predict_from(pooled).coefficients.id, rnet.predict(crops).coefficients.id)


def test_many_codes_become_one_element_by_element():
    codes, weights = torch.randn(6, 5), torch.rand(6, 5) + 0.1
    expected = torch.stack([(codes[:, k] * weights[:, k]).sum() / weights[:, k].sum() for k in range(5)])
    torch.testing.assert_close(aggregated(codes, weights), expected)
    torch.testing.assert_close(aggregated(codes, torch.full_like(codes, 0.3)), codes.mean(0))
    for order in (torch.randperm(6), torch.arange(5, -1, -1)):
        torch.testing.assert_close(
            aggregated(codes[order], weights[order]), aggregated(codes, weights), atol=1e-6, rtol=0
        )
    assert aggregated(codes[:1], weights[:1] * 1e-30).equal(codes[0])
    twice = aggregated(torch.cat([codes, codes[:1]]), torch.cat([weights, weights[:1]]))
    doubled = weights.clone()
    doubled[0] *= 2.0
    torch.testing.assert_close(twice, aggregated(codes, doubled), atol=1e-6, rtol=0)
    alone = torch.where(torch.arange(6)[:, None] == 2, 1.0, 1e-9).expand(6, 5)
    torch.testing.assert_close(aggregated(codes, alone), codes[2], atol=1e-5, rtol=0)


def test_files_know_the_rnet_that_they_were_trained_on(tmp_path):
    rnet = small_rnet()
    net = small_cnet(rnet, trunk=trunk_fingerprint(rnet))
    torch.nn.init.normal_(net.confidence.weight)
    path = tmp_path / "cnet.safetensors"
    save_weights(net, WeightsCard("toy"), path)
    described = describe_weights(path)
    assert (described["kind"], described["scores"], described["channels"]) == ("cnet", "coefficients", 8)
    loaded = load_weights(path, kind="cnet", layout=LAYOUT)
    shallow, pooled = rnet.shallow_and_pooled(torch.rand(1, 3, 96, 96))
    assert loaded(shallow, pooled).equal(net(shallow, pooled))
    check_trunk(loaded, rnet)
    save_weights(rnet, WeightsCard("toy"), tmp_path / "rnet.safetensors", half=True)
    check_trunk(loaded, load_weights(tmp_path / "rnet.safetensors"))  # a file of half the precision is the same R-Net
    torch.nn.init.normal_(next(rnet.backbone.parameters()))
    with pytest.raises(WeightsError, match=r"reads the features of the R-Net with trunk \w{12}, received one with"):
        check_trunk(loaded, rnet)
    with pytest.raises(WeightsError, match="expected weights of R-Net, received 'cnet'"):
        load_weights(path, kind="rnet")
    pytest.importorskip("onnxscript")
    with pytest.raises(ExportError, match="a network that sees crops, received a C-Net"):
        export_onnx(net, WeightsCard("toy"), tmp_path / "cnet.onnx")


def test_what_it_cannot_be_is_refused(tmp_path):
    rnet = small_rnet()
    card = replace(WeightsCard("toy"), seed=1)
    net = small_cnet(rnet)
    net.channels = 0
    with pytest.raises(WeightsError, match="expected channels to be a whole number, 1 to 4096, received 0"):
        save_weights(net, card, tmp_path / "wrong.safetensors")
