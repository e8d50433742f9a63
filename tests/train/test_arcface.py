"""Recognition networks of users: their chips, their input, and what is refused."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.transform import SimilarityTransform, warp
from torch import Tensor, nn

from facewright.cli import parse
from facewright.cli.train import Train, TrainNetwork
from facewright.errors import AssetNotFoundError, WeightsError
from facewright.train import dlib_resnet
from facewright.train.arcface import CHIP_SIZE, ArcFace, ChipCoding, arcface_chips, load_embedder
from facewright.train.losses.perceptual import FaceEmbedder, perceptual_loss
from tests.train.iresnet import small_iresnet

# The template as the documentation gives it.
FIVE = [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
# A face seen from the side, small and tilted: no similarity brings it to the template.
ASKEW = torch.tensor([[70.0, 62.0], [108.0, 70.0], [84.0, 95.0], [66.0, 110.0], [96.0, 116.0]])


def traced(net: nn.Module, path: Path, size: int = CHIP_SIZE) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is old, and that some of these networks are strange
        torch.jit.save(torch.jit.trace(net, torch.rand(2, 3, size, size), check_trace=False), str(path))
    return path


class First(nn.Module):
    """Embeds by the colours of one pixel."""

    def forward(self, chips: Tensor) -> Tensor:
        return chips[:, :, 5, 7]


def test_a_face_in_place_is_cut_as_it_is(rng: torch.Generator) -> None:
    chip = torch.rand(1, 3, CHIP_SIZE, CHIP_SIZE, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(arcface_chips(chip, torch.tensor([FIVE], dtype=torch.float64)), chip)


def test_chips_are_scikit_images(rng: torch.Generator) -> None:
    """Estimated from crop to chip, then inverted, as ArcFace's programs do; it matters for faces from the side."""
    crop = torch.nn.functional.interpolate(torch.rand(1, 3, 30, 40, generator=rng), size=(180, 240), mode="bilinear")
    chip = arcface_chips(crop, ASKEW[None])[0]
    transform = SimilarityTransform.from_estimate(ASKEW.double().numpy(), np.array(FIVE))
    expected = warp(crop[0].double().permute(1, 2, 0).numpy(), transform.inverse, output_shape=(CHIP_SIZE, CHIP_SIZE))
    np.testing.assert_allclose(chip.permute(1, 2, 0).numpy()[1:-1, 1:-1], expected[1:-1, 1:-1], atol=2e-4)


@pytest.mark.parametrize(
    ("coding", "expected"),
    [
        (ChipCoding(), [-1.0, -0.2, 1.0]),
        (ChipCoding(divisor=128.0), [-127.5 / 128, -25.5 / 128, 127.5 / 128]),
        (ChipCoding(mean=0.0, divisor=1.0), [0.0, 102.0, 255.0]),
        (ChipCoding(channels="bgr"), [1.0, -0.2, -1.0]),
    ],
)
def test_networks_see_colours_as_they_were_taught(coding: ChipCoding, expected: list[float]) -> None:
    chips = torch.tensor([0.0, 0.4, 1.0])[None, :, None, None].expand(1, 3, CHIP_SIZE, CHIP_SIZE)
    torch.testing.assert_close(ArcFace(First(), coding).embed_chips(chips), torch.tensor([expected]))


def test_a_file_becomes_an_embedder_with_gradients_to_the_pixels(tmp_path: Path, rng: torch.Generator) -> None:
    net = small_iresnet()
    embedder = load_embedder(str(traced(net, tmp_path / "net.pt")))
    assert isinstance(embedder, FaceEmbedder)
    assert embedder.metric == "cosine"
    crops = torch.rand(2, 3, 128, 128, generator=rng)
    five = torch.stack([ASKEW, ASKEW + 5.0])
    torch.testing.assert_close(embedder(crops, five), net(2.0 * arcface_chips(crops, five) - 1.0), rtol=1e-5, atol=1e-5)
    rendered = torch.rand(2, 3, 128, 128, generator=rng).requires_grad_()
    perceptual_loss(embedder, crops, five, rendered, five).backward()
    assert rendered.grad is not None
    assert rendered.grad.isfinite().all()
    assert rendered.grad.abs().sum() > 0


def test_onnx_files_are_told_by_their_name(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    picture, vector = ["N", 3, CHIP_SIZE, CHIP_SIZE], ["N", 3]
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["chips"], ["means"]),
            helper.make_node("Flatten", ["means"], ["embedding"]),
        ],
        "network",
        [helper.make_tensor_value_info("chips", TensorProto.FLOAT, picture)],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, vector)],
    )
    onnx.save(helper.make_model(graph), tmp_path / "NET.ONNX")
    embedder = load_embedder(str(tmp_path / "NET.ONNX"), ChipCoding(mean=0.0, divisor=255.0))
    assert isinstance(embedder, ArcFace)
    chips = torch.rand(2, 3, CHIP_SIZE, CHIP_SIZE)
    torch.testing.assert_close(embedder.embed_chips(chips), chips.mean((2, 3)))


def test_training_takes_the_name_of_a_file() -> None:
    command = parse(["train", "rnet", "--data", "photos", "--out", "run", "--embedder", "net.onnx"])
    assert isinstance(command, Train)
    assert isinstance(command.action, TrainNetwork)
    assert command.action.settings.network.objective.embedder == "net.onnx"


def test_dlib_is_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    network = dlib_resnet.DlibResNet()
    monkeypatch.setattr("facewright.train.arcface.load_dlib_resnet", lambda: network)
    assert load_embedder("dlib") is network


class Normalised(nn.Module):
    """Batch norm as in training: each chip's answer depends on the others."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, chips: Tensor) -> Tensor:
        return self.norm(chips)[:, :, :4, :4].flatten(1)


class Poor(nn.Module):
    """Answers with a map, not with a vector."""

    def forward(self, chips: Tensor) -> Tensor:
        return chips[:, :, :2, :2]


class Fixed(nn.Module):
    """For two chips only."""

    def forward(self, chips: Tensor) -> Tensor:
        return chips[:, :, 0, :4].reshape(2, 12)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (lambda: Normalised().train(), "exported for training"),
        (Poor, "expected one finite embedding per chip"),
        (Fixed, "fails on two chips or on one"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4)), "fails on two chips or on one"),
    ],
)
def test_networks_of_another_kind_are_refused(net: Callable[[], nn.Module], message: str, tmp_path: Path) -> None:
    made = net()
    path = traced(made, tmp_path / "net.pt", 64 if isinstance(made, nn.Sequential) else CHIP_SIZE)
    with pytest.raises(WeightsError, match=message):
        load_embedder(str(path))


@pytest.mark.parametrize("spec", ["facenet", "net.safetensors", ""])
def test_other_names_are_refused(spec: str) -> None:
    with pytest.raises(WeightsError, match="expected dlib, or a network"):
        load_embedder(spec)


@pytest.mark.parametrize("name", ["none.pt", "none.onnx"])
def test_missing_files_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(AssetNotFoundError, match=name):
        load_embedder(str(tmp_path / name))
