"""Recognition networks of users: their chips, their input, and what is refused."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.transform import SimilarityTransform, warp
from torch import Tensor, nn
from torch.nn import functional as F

from facewright.cli import parse
from facewright.cli.train import Train, TrainNetwork
from facewright.errors import AssetNotFoundError, WeightsError
from facewright.train.arcface import CHIP_SIZE, ArcFace, ChipCoding, arcface_chips, load_embedder
from facewright.train.dlib_resnet import DlibResNet
from facewright.train.iresnet import IRESNET50, IResNet
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


def test_whole_crops_are_seen_whole(rng: torch.Generator) -> None:
    """Resized, colours as of chips; a picture of the network's own size as it is."""
    net = small_iresnet()
    embedder, crops = ArcFace(net), torch.rand(2, 3, CHIP_SIZE, CHIP_SIZE, generator=rng)
    torch.testing.assert_close(embedder(crops, None), net(2.0 * crops - 1.0), rtol=1e-5, atol=1e-5)
    halves = crops.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(embedder(halves, None), embedder(crops, None), rtol=0.1, atol=0.1)


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


def arcface_state(blocks: tuple[int, ...], widths: tuple[int, ...], embedding: int) -> dict[str, Tensor]:
    """A state dict named and shaped as insightface's ``backbone.pth``; values at random."""
    rng, state = torch.Generator().manual_seed(0), dict[str, Tensor]()

    def norm(name: str, size: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = (torch.rand(size, generator=rng) + 0.5 for _ in range(2))
        state[f"{name}.running_mean"] = torch.randn(size, generator=rng)
        state[f"{name}.running_var"] = torch.rand(size, generator=rng) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def filters(name: str, out: int, channels: int, side: int) -> None:
        state[f"{name}.weight"] = torch.randn(out, channels, side, side, generator=rng) / (channels * side**2) ** 0.5

    filters("conv1", widths[0], 3, 3)
    norm("bn1", widths[0])
    state["prelu.weight"] = torch.rand(widths[0], generator=rng)
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            name, before, width = f"layer{stage}.{block}", widths[stage - (block == 0)], widths[stage]
            norm(f"{name}.bn1", before)
            filters(f"{name}.conv1", width, before, 3)
            norm(f"{name}.bn2", width)
            state[f"{name}.prelu.weight"] = torch.rand(width, generator=rng)
            filters(f"{name}.conv2", width, width, 3)
            norm(f"{name}.bn3", width)
            if block == 0:
                filters(f"{name}.downsample.0", width, before, 1)
                norm(f"{name}.downsample.1", width)
    norm("bn2", widths[-1])
    state["fc.weight"] = torch.randn(embedding, widths[-1] * 49, generator=rng) / 10
    state["fc.bias"] = torch.randn(embedding, generator=rng)
    norm("features", embedding)
    return state


def embedded_by_hand(state: dict[str, Tensor], blocks: tuple[int, ...], chips: Tensor) -> Tensor:
    """The published network, by functions."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return F.batch_norm(x, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"])

    x = F.prelu(norm(F.conv2d(chips, state["conv1.weight"], padding=1), "bn1"), state["prelu.weight"])
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            name, stride = f"layer{stage}.{block}", 2 if block == 0 else 1
            found = norm(F.conv2d(norm(x, f"{name}.bn1"), state[f"{name}.conv1.weight"], padding=1), f"{name}.bn2")
            found = F.prelu(found, state[f"{name}.prelu.weight"])
            found = norm(F.conv2d(found, state[f"{name}.conv2.weight"], stride=stride, padding=1), f"{name}.bn3")
            if block == 0:
                x = norm(F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=2), f"{name}.downsample.1")
            x = found + x
    return norm(F.linear(norm(x, "bn2").flatten(1), state["fc.weight"], state["fc.bias"]), "features")


SMALL = ((1, 2, 1, 1), (4, 4, 6, 6, 8), 16)


@pytest.mark.parametrize("wrapper", ["", "module."], ids=["one GPU", "several GPUs"])
def test_arcfaces_own_file_becomes_an_embedder(tmp_path: Path, wrapper: str, rng: torch.Generator) -> None:
    state = arcface_state(*SMALL)
    torch.save({wrapper + name: value for name, value in state.items()}, tmp_path / "backbone.pth")
    embedder = load_embedder(str(tmp_path / "backbone.pth"))
    assert isinstance(embedder, ArcFace)
    assert not any(value.requires_grad for value in embedder.parameters())
    chips = torch.rand(2, 3, CHIP_SIZE, CHIP_SIZE, generator=rng)
    expected = embedded_by_hand(state, SMALL[0], 2.0 * chips - 1.0)
    torch.testing.assert_close(embedder.embed_chips(chips), expected, rtol=1e-4, atol=1e-4)


def test_an_iresnet_50_is_the_published_one() -> None:
    with torch.device("meta"):
        net = IResNet()
    state = net.state_dict()
    assert {name: value.shape for name, value in state.items()} == {
        name: value.shape for name, value in arcface_state(IRESNET50, (64, 64, 128, 256, 512), 512).items()
    }
    assert sum(value.numel() for value in net.parameters()) == pytest.approx(43.59e6, rel=1e-4)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state.pop("layer2.1.bn3.bias"), "layer2.1.bn3.bias differ"),
        (lambda state: state.pop("fc.weight"), "those of another network"),
        (lambda state: state.update({"layer1.0.conv1.weight": torch.zeros(3)}), "those of another network"),
        (lambda state: state.update({"conv1.weight": torch.zeros(4, 1, 3, 3)}), "conv1.weight differ"),
        (lambda state: state.update({"fc.weight": torch.zeros(16, 8)}), r"fc.weight of \(16, 8\)"),
        (lambda state: state.update({"bn2.bias": torch.full((8,), torch.nan)}), "bn2.bias holds NaN"),
        (lambda state: state.update({"head.weight": torch.zeros(4)}), "head.weight differ"),
    ],
)
def test_state_dicts_of_other_networks_are_named(
    tmp_path: Path, spoil: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    state = arcface_state(*SMALL)
    spoil(state)
    torch.save(state, tmp_path / "backbone.pth")
    with pytest.raises(WeightsError, match=message):
        load_embedder(str(tmp_path / "backbone.pth"))


def test_training_takes_the_name_of_a_file() -> None:
    command = parse(["train", "rnet", "--data", "photos", "--out", "run", "--embedder", "net.onnx"])
    assert isinstance(command, Train)
    assert isinstance(command.action, TrainNetwork)
    assert command.action.settings.network.objective.embedder == "net.onnx"


def test_dlib_is_a_name() -> None:
    assert isinstance(load_embedder("dlib"), DlibResNet)


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
