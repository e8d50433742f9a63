"""dlib's network: the reader on a file written here, the forward pass against numpy and against dlib itself."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from facewright.errors import MissingExtraError, WeightsError
from facewright.geometry.similarity import apply_similarity
from facewright.train import dlib_resnet
from facewright.train.dlib_file import read_dlib_layers
from facewright.train.dlib_resnet import CHIP_SIZE, DlibResNet, face_chips, load_dlib_resnet
from facewright.train.losses.perceptual import FaceEmbedder, perceptual_loss

# Inputs, outputs, side of the filters, in the order of the forward pass.
CONVOLUTIONS = [(3, 32, 7)]
for _inputs, _outputs, _blocks in ((32, 32, 3), (32, 64, 4), (64, 128, 3), (128, 256, 4)):
    CONVOLUTIONS += [(_inputs, _outputs, 3), *[(_outputs, _outputs, 3)] * (2 * _blocks - 1)]
HALVING = (7, 15, 21, 27)  # first convolutions of the blocks that halve the picture
Arrays = list[np.ndarray]


def whole(number: int) -> bytes:
    size = max(1, (abs(number).bit_length() + 7) // 8)
    return bytes([size | (0x80 if number < 0 else 0)]) + abs(number).to_bytes(size, "little")


def layer(name: str, numbers: list[int], values: np.ndarray) -> bytes:
    sizes = [*values.shape, 1, 1, 1][:4]
    head = whole(len(name)) + name.encode() + b"".join(map(whole, [*numbers, 2, *sizes]))
    return head + values.astype("<f4").tobytes() + b"".join(map(whole, [3, 3, 0, -1, 300]))


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    """Filters, bias, scale, shift of each convolution, then the last matrix (inputs, outputs)."""
    draw, found = np.random.default_rng(0), []
    for inputs, outputs, size in CONVOLUTIONS:
        spread = (inputs * size * size) ** -0.5
        found.append(draw.standard_normal((outputs, inputs, size, size), np.float32) * np.float32(spread))
        found += [draw.standard_normal(outputs, np.float32) for _ in range(3)]
    return [*found, draw.standard_normal((256, 128), np.float32)]


@pytest.fixture(scope="module")
def written(arrays: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    parts = [b"\x01\x01" + whole(13) + b"loss_metric_2"]
    for k in range(0, len(arrays) - 1, 4):
        parts.append(layer("con_4", [], np.concatenate([arrays[k].ravel(), arrays[k + 1]])))
        parts.append(layer("affine_", [], np.concatenate(arrays[k + 2 : k + 4])) + whole(8) + b"relu_110")
    parts.append(layer("fc_2", [128, 256], arrays[-1]))
    path = tmp_path_factory.mktemp("dlib") / "network.dat"
    path.write_bytes(b"".join(parts))
    return path


def convolved(x: np.ndarray, filters: np.ndarray, stride: int, padding: int) -> np.ndarray:
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    windows = sliding_window_view(x, filters.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    return np.tensordot(filters, windows, ((1, 2, 3), (0, 3, 4)))


def numpy_forward(chip: np.ndarray, arrays: Arrays) -> np.ndarray:
    """The network in float64, layer by layer as dlib declares it; ``chip`` is 3, 150, 150 in 0..255."""
    doubles = [values.astype(np.float64) for values in arrays]

    def part(k: int, x: np.ndarray, stride: int, padding: int) -> np.ndarray:
        filters, bias, scale, shift = doubles[4 * k : 4 * k + 4]
        x = convolved(x, filters, stride, padding) + bias[:, None, None]
        return scale[:, None, None] * x + shift[:, None, None]

    x = (chip - np.array([122.782, 117.001, 104.298])[:, None, None]) / 256
    x = np.maximum(part(0, x, 2, 0), 0)
    x = sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2].max((-1, -2))
    for k in range(1, 29, 2):
        halving = k in HALVING
        change = part(k + 1, np.maximum(part(k, x, 2 if halving else 1, 0 if halving else 1), 0), 1, 1)
        skip = sliding_window_view(x, (2, 2), axis=(1, 2))[:, ::2, ::2].mean((-1, -2)) if halving else x
        x = np.zeros(np.maximum(change.shape, skip.shape))
        for summand in (change, skip):
            x[tuple(slice(0, n) for n in summand.shape)] += summand
        x = np.maximum(x, 0)
    return x.mean((1, 2)) @ doubles[-1]


def test_layers_come_back_from_a_file(arrays: Arrays, written: Path) -> None:
    layers = read_dlib_layers(written)
    assert [layer.name for layer in layers] == ["con_4", "affine_"] * 29 + ["fc_2"]
    np.testing.assert_array_equal(layers[0].values.flatten()[: arrays[0].size], arrays[0].ravel())
    np.testing.assert_array_equal(layers[57].values.flatten(), np.concatenate(arrays[-3:-1]))
    np.testing.assert_array_equal(layers[58].values[:, :, 0, 0], arrays[-1])


def test_forward_is_numpys(arrays: Arrays, written: Path) -> None:
    chip = np.random.default_rng(1).integers(0, 256, (3, CHIP_SIZE, CHIP_SIZE)).astype(np.float64)
    network = load_dlib_resnet(written).double()
    embedding = network.embed_chips(torch.from_numpy(chip)[None] / 255)[0]
    expected = numpy_forward(chip, arrays)
    np.testing.assert_allclose(embedding.numpy(), expected, atol=1e-5 * np.abs(expected).max())


def test_is_a_frozen_embedder_with_gradients_to_the_pixels(written: Path, rng: torch.Generator) -> None:
    network = load_dlib_resnet(written)
    assert isinstance(network, FaceEmbedder)
    assert sum(p.numel() for p in network.parameters()) == 5_607_488
    assert not any(p.requires_grad for p in network.parameters())
    photo = torch.rand(1, 3, 160, 160, generator=rng)
    rendered = torch.rand(1, 3, 160, 160, generator=rng).requires_grad_()
    five = torch.tensor([[[55.0, 62.0], [105.0, 62.0], [80.0, 92.0], [60.0, 118.0], [100.0, 118.0]]])
    perceptual_loss(network, photo, five, rendered, five).backward()
    assert rendered.grad is not None
    assert rendered.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data[:-100_000], "more bytes at byte"),
        (lambda data: data[: len(data) // 2], "more bytes at byte"),
        (lambda data: b"not a network", "received 0 layers"),
        (lambda data: data[:30_000].rpartition(b"\x05con_4")[0][:-1], "received 2 layers"),
        (lambda data: data.replace(b"con_4\x01\x02", b"con_4\x01\x03", 1), "received version 3"),
        (lambda data: data[:200] + b"\xff" * 8 + data[208:], "finite weights"),
    ],
)
def test_other_files_are_refused(written: Path, tmp_path: Path, spoil: Callable[[bytes], bytes], message: str) -> None:
    path = tmp_path / "spoilt.dat"
    path.write_bytes(spoil(written.read_bytes()))
    with pytest.raises(WeightsError, match=message):
        load_dlib_resnet(path)


def test_without_the_package_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dlib_resnet, "PACKAGE", "facewright_no_such_package")
    with pytest.raises(MissingExtraError, match="pip install"):
        load_dlib_resnet()


@pytest.mark.skipif(importlib.util.find_spec("face_recognition_models") is None, reason="needs face_recognition_models")
def test_published_weights_give_dlibs_own_numbers() -> None:
    """First eight of 128 numbers and their length, by dlib 20.0.1's ``compute_face_descriptor`` on the same chip."""
    row, column = np.mgrid[0:150, 0:150]
    chip = np.stack([(3 * row + column) % 256, (row + 2 * column) % 256, (row * column // 40) % 256]) / 255
    embedding = load_dlib_resnet().embed_chips(torch.from_numpy(chip).float()[None])[0]
    golden = [-0.07157947, 0.10102524, 0.03609719, -0.02323280, -0.02608026, -0.06682469, -0.03724291, -0.01522913]
    np.testing.assert_allclose(embedding[:8].numpy(), golden, atol=1e-5)
    assert float(embedding.norm()) == pytest.approx(1.25232498, abs=1e-5)


# --------------------------------------------------------------------------------------------------------- chips


def chip_points() -> torch.Tensor:
    return (torch.tensor(dlib_resnet._FIVE, dtype=torch.float64) + 0.25) / 1.5 * CHIP_SIZE


def test_a_face_in_place_is_cut_as_it_is(rng: torch.Generator) -> None:
    chip = torch.rand(1, 3, CHIP_SIZE, CHIP_SIZE, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(face_chips(chip, chip_points()[None]), chip)


def test_chips_follow_the_points_wherever_the_face_is() -> None:
    """A picture whose colour is its place: the chip shows the places that the similarity says."""
    angle, scale, shift = torch.tensor(0.3, dtype=torch.float64), 0.7, torch.tensor([60.0, 40.0], dtype=torch.float64)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(1, 2, 2)
    similarity = (torch.tensor([scale], dtype=torch.float64), turn, shift[None])
    column, row = torch.meshgrid(torch.arange(224.0), torch.arange(200.0), indexing="xy")
    picture = torch.stack([column, row, torch.ones_like(row)])[None].double()
    chip = face_chips(picture, apply_similarity(chip_points()[None], *similarity))
    for x, y in ((0, 0), (149, 0), (40, 90), (149, 149)):
        place = apply_similarity(torch.tensor([[[float(x), float(y)]]], dtype=torch.float64), *similarity)[0, 0]
        torch.testing.assert_close(chip[0, :2, y, x], place)


def test_outside_of_the_crop_is_black() -> None:
    chip = face_chips(torch.ones(1, 3, 60, 60), chip_points()[None].float())
    assert float(chip[0, :, 100:, 100:].abs().max()) == 0
    assert float(chip[0, :, :59, :59].min()) == pytest.approx(1, abs=1e-4)


def test_chips_carry_gradients_to_the_pixels(rng: torch.Generator) -> None:
    crop = torch.rand(1, 3, 8, 8, generator=rng, dtype=torch.float64).requires_grad_()
    five = (chip_points() / CHIP_SIZE * 8)[None]
    probe = torch.randn(1, 3, CHIP_SIZE, CHIP_SIZE, generator=rng, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: (face_chips(x, five) * probe).sum(), (crop,), fast_mode=True)


def test_an_untrained_network_has_the_right_shape() -> None:
    assert DlibResNet().embed_chips(torch.zeros(1, 3, CHIP_SIZE, CHIP_SIZE)).shape == (1, 128)
