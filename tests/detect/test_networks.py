"""The torch networks say what the original models said (stored by scripts/detector_parity.py)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from facewright import assets
from facewright.assets import embedded_path
from facewright.detect import FaceDetector, load_face_detector
from facewright.detect.networks import depth_to_space
from facewright.errors import WeightsError

ANCHOR_STEP = 13
TOLERANCE = 1e-3  # of an output's range; measured: 1e-6


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).with_name("parity.npz"), allow_pickle=False) as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def inputs(stored: dict[str, np.ndarray]) -> Tensor:
    face, noise = stored["images"]
    images = np.stack([face, np.rot90(face), noise])
    return torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float() / 255


def assert_close(answer: Tensor, original: np.ndarray) -> None:
    assert answer.shape == original.shape
    assert np.abs(answer.numpy() - original).max() < TOLERANCE * np.ptp(original)


def test_short_range_network_agrees_with_the_original(
    detector: FaceDetector, inputs: Tensor, stored: dict[str, np.ndarray]
) -> None:
    boxes, scores = detector.short(inputs[:, :, 32:160, 32:160] * 2 - 1)
    assert boxes.shape == (3, 896, 16)
    assert_close(boxes[:, ::ANCHOR_STEP], stored["short_boxes"])
    assert_close(scores, stored["short_scores"])


def test_full_range_network_agrees_with_the_original(
    detector: FaceDetector, inputs: Tensor, stored: dict[str, np.ndarray]
) -> None:
    boxes, scores = detector.full(inputs * 2 - 1)
    assert boxes.shape == (3, 2304, 16)
    assert_close(boxes[:, ::ANCHOR_STEP], stored["full_boxes"])
    assert_close(scores, stored["full_scores"])


def test_mesh_network_agrees_with_the_original(
    detector: FaceDetector, inputs: Tensor, stored: dict[str, np.ndarray]
) -> None:
    points, presence = detector.mesh(inputs)
    assert_close(points, stored["mesh_points"])
    assert_close(presence, stored["mesh_presence"])
    assert presence[0] > 10
    assert presence[2] < 0, "noise is no face"


def test_depth_to_space_takes_the_group_as_the_outer_index() -> None:
    x = torch.arange(2 * 12 * 2 * 3).reshape(2, 12, 2, 3).float()
    y = depth_to_space(x)
    assert y.shape == (2, 3, 4, 6)
    for channel in range(3):
        for row in range(4):
            for column in range(6):
                group = (row % 2) * 2 + column % 2
                assert (y[:, channel, row, column] == x[:, group * 3 + channel, row // 2, column // 2]).all()


def test_full_range_network_is_fully_convolutional(detector: FaceDetector, inputs: Tensor) -> None:
    """The face of a 192 px picture is found at the same place of a larger one, far from its border."""
    wide = nn.functional.pad(inputs[:1], (160, 160, 96, 96))
    (_, small), (_, large) = detector.full(inputs[:1] * 2 - 1), detector.full(wide * 2 - 1)
    rows, columns = divmod(int(small.argmax()), 192 // 4)
    wide_rows, wide_columns = divmod(int(large.argmax()), 512 // 4)
    assert abs(wide_rows - rows - 96 // 4) <= 2
    assert abs(wide_columns - columns - 160 // 4) <= 2
    assert large.max().sigmoid() > 0.7


def test_the_detector_is_small_and_still(detector: FaceDetector) -> None:
    assert embedded_path("detector.safetensors").stat().st_size < 2_600_000
    assert not detector.training
    assert not any(parameter.requires_grad for parameter in detector.parameters())


def test_damaged_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = embedded_path("detector.safetensors").read_bytes()
    monkeypatch.setattr(assets, "_FOLDER", tmp_path)
    for damaged in (content[: len(content) // 2], b"", b"not weights at all"):
        (tmp_path / "detector.safetensors").write_bytes(damaged)
        with pytest.raises(WeightsError, match="reinstall"):
            load_face_detector()
