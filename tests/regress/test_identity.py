"""The identity network: its file's reader, the forward pass against numpy and against dlib itself; the one we ship."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from facewright.errors import WeightsError
from facewright.regress.identity import IDENTITY_CHIP_PX, IDENTITY_CHIPS, descriptor_distances
from facewright.regress.importers.dlib_file import identity_from_dlib, read_dlib_layers
from facewright.regress.weights import describe_weights, load_weights

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
    chip = np.random.default_rng(1).integers(0, 256, (3, IDENTITY_CHIP_PX, IDENTITY_CHIP_PX)).astype(np.float64)
    network = identity_from_dlib(written).double()
    with torch.no_grad():
        embedding = network(torch.from_numpy(chip)[None] / 255)[0]
    expected = numpy_forward(chip, arrays)
    np.testing.assert_allclose(embedding.numpy(), expected, atol=1e-5 * np.abs(expected).max())


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
        identity_from_dlib(path)


@torch.no_grad()
def test_the_embedded_network_gives_dlibs_own_numbers() -> None:
    """First eight of 128 numbers and their length, by dlib 20.0.1's ``compute_face_descriptor`` on the same chip."""
    row, column = np.mgrid[0:150, 0:150]
    chip = np.stack([(3 * row + column) % 256, (row + 2 * column) % 256, (row * column // 40) % 256]) / 255
    chips = torch.from_numpy(chip).float()[None]
    net = load_weights("identity", kind="identity")
    embedding = net(chips)[0]
    golden = [-0.07157947, 0.10102524, 0.03609719, -0.02323280, -0.02608026, -0.06682469, -0.03724291, -0.01522913]
    np.testing.assert_allclose(embedding[:8].numpy(), golden, atol=3e-4)  # the file is of half precision
    assert float(embedding.norm()) == pytest.approx(1.25232498, abs=1e-3)
    mirrored = (embedding + net(chips.flip(-1))[0]) / 2
    torch.testing.assert_close(net.infer(chips)[0], mirrored, rtol=0, atol=1e-4)


def test_its_card_says_what_it_sees_and_needs_no_face_model() -> None:
    card = describe_weights("identity")
    assert (card["kind"], card["template"], card["crop_size"]) == ("identity", IDENTITY_CHIPS, IDENTITY_CHIP_PX)
    assert (card["face_model"], card["licence"]) == ("", "CC0-1.0")
    assert sum(p.numel() for p in load_weights("identity").parameters()) == 5_607_488


def test_distances_are_the_loops(rng: torch.Generator) -> None:
    first, second = torch.randn(3, 128, generator=rng), torch.randn(4, 128, generator=rng)
    expected = torch.stack([torch.stack([(a - b).norm() for b in second]) for a in first])
    torch.testing.assert_close(descriptor_distances(first, second), expected)
