"""Networks by onnxruntime: the same answers as torch's, exported once, made again where the cache is no good."""

import copy
import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from facewright.detect import FaceDetector, load_face_detector
from facewright.inference import MOST_KEPT, SUFFIX, Inference, cache_folder
from facewright.records import CoefficientLayout
from facewright.regress.backbones import BACKBONES
from facewright.regress.rnet import RNet
from facewright.regress.weights import load_weights


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)

    def answers(self, images: Tensor) -> dict[str, Tensor]:
        seen = self.layer(images).relu()
        return {"map": seen, "mean": seen.mean((2, 3))}


@pytest.fixture
def small() -> Small:
    return Small().eval()


@pytest.fixture
def pictures() -> Tensor:
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def inference(net: Small, folder: Path) -> Inference:
    return Inference(net, net.answers, side=16, folder=folder)


def assert_answers(run: Inference, net: Small, pictures: Tensor) -> None:
    with torch.no_grad():
        expected = net.answers(pictures)
    received = run(pictures)
    assert list(received) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(received[name], value, rtol=1e-4, atol=1e-5)


def test_a_network_is_exported_once(small: Small, pictures: Tensor, tmp_path: Path) -> None:
    first = inference(small, tmp_path)
    assert_answers(first, small, pictures)
    assert first.engine == "onnxruntime"
    (file,) = tmp_path.iterdir()
    assert file.suffix == SUFFIX
    written = file.stat().st_mtime_ns

    second = inference(small, tmp_path)
    assert_answers(second, small, pictures)
    assert second.engine == "onnxruntime"
    assert file.stat().st_mtime_ns == written


class Fickle(Small):
    """Answers otherwise while it is followed by the exporter."""

    def answers(self, images: Tensor) -> dict[str, Tensor]:
        followed = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage] - documented, not in the stubs
        return {"map": self.layer(images).relu() + (0.1 if followed else 0.0)}


def test_what_is_exported_wrongly_is_not_used(pictures: Tensor, tmp_path: Path) -> None:
    net = Fickle().eval()
    run = inference(net, tmp_path)
    assert_answers(run, net, pictures)
    assert run.engine == "torch"
    assert not list(tmp_path.iterdir())


def test_a_kept_file_that_the_runtime_cannot_read_is_made_again(small: Small, pictures: Tensor, tmp_path: Path) -> None:
    inference(small, tmp_path)(pictures)
    (file,) = tmp_path.iterdir()
    file.write_bytes(hashlib.sha256(b"no network").digest() + b"no network")
    run = inference(small, tmp_path)
    assert_answers(run, small, pictures)
    assert run.engine == "onnxruntime"


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[: len(whole) // 2], lambda whole: b"", lambda whole: whole + b"!"]
)
def test_a_damaged_file_is_made_again(small: Small, pictures: Tensor, tmp_path: Path, damage) -> None:
    inference(small, tmp_path)(pictures)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    run = inference(small, tmp_path)
    assert_answers(run, small, pictures)
    assert run.engine == "onnxruntime"
    assert file.read_bytes() == whole


def test_other_weights_are_another_file(small: Small, pictures: Tensor, tmp_path: Path) -> None:
    other = Small().eval()
    for net in (small, other):
        assert_answers(inference(net, tmp_path), net, pictures)
    assert len(list(tmp_path.iterdir())) == 2


def test_weights_that_changed_are_torchs(small: Small, pictures: Tensor, tmp_path: Path) -> None:
    run = inference(small, tmp_path)
    run(pictures)
    with torch.no_grad():
        small.layer.weight.mul_(2.0)
    assert run.engine == "torch"
    assert_answers(run, small, pictures)


def test_nets_that_learn_and_double_precision_are_torchs(small: Small, pictures: Tensor, tmp_path: Path) -> None:
    run = inference(small.train(), tmp_path)
    assert_answers(run, small, pictures)
    run = inference(small.eval().double(), tmp_path)
    assert_answers(run, small, pictures.double())
    assert not list(tmp_path.iterdir())


def test_torch_answers_where_nothing_can_be_kept(small: Small, pictures: Tensor, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    run = inference(small, tmp_path / "file")
    assert_answers(run, small, pictures)
    assert run.engine == "torch"


def test_what_cannot_be_exported_is_torchs(small: Small, pictures: Tensor, tmp_path: Path) -> None:
    def answers(images: Tensor) -> dict[str, Tensor]:
        return {"roots": torch.linalg.eigvals(images[:, 0]).real}

    run = Inference(small, answers, side=16, folder=tmp_path)
    assert run(pictures)["roots"].shape == (3, 16)
    assert run.engine == "torch"
    assert not list(tmp_path.iterdir())


def test_copies_of_a_network_have_their_own_answers(small: Small, pictures: Tensor, tmp_path: Path) -> None:
    run = inference(small, tmp_path)
    run(pictures)
    again = copy.deepcopy(run)
    with torch.no_grad():
        small.layer.weight.zero_()
    assert isinstance(again.network, Small)
    assert_answers(again, again.network, pictures)
    assert float(again(pictures)["mean"].abs().max()) > 0.01


def test_small_networks_are_not_worth_exporting(small: Small, pictures: Tensor, tmp_path: Path) -> None:
    run = Inference(small, small.answers, side=16, least=1000, folder=tmp_path)
    assert_answers(run, small, pictures)
    assert not list(tmp_path.iterdir())


def test_the_cache_does_not_grow_without_end(pictures: Tensor, tmp_path: Path) -> None:
    for number in range(MOST_KEPT + 3):
        (tmp_path / f"old{number}{SUFFIX}").write_bytes(b"")
    net = Small().eval()
    inference(net, tmp_path)(pictures)
    assert len(list(tmp_path.iterdir())) == MOST_KEPT


def test_the_cache_is_where_the_system_keeps_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "facewright"


@pytest.mark.parametrize("sides", [(128, 128), (96, 160)])
def test_the_detector_says_the_same_by_both_engines(sides: tuple[int, int]) -> None:
    detector: FaceDetector = load_face_detector()
    images = torch.rand(2, 3, *sides, generator=torch.Generator().manual_seed(1))
    square = torch.rand(2, 3, 192, 192, generator=torch.Generator().manual_seed(2))
    for net, seen in ((detector.short, images), (detector.full, images), (detector.mesh, square)):
        for ours, theirs in zip(net.infer(seen), net(seen), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)  # pixels, and logits of up to 100
        assert net._inference.engine == "onnxruntime"


@pytest.mark.parametrize("architecture", list(BACKBONES))
def test_every_trunk_can_be_exported(architecture: str, tmp_path: Path) -> None:
    net = RNet(CoefficientLayout(3, 4, 5), architecture=architecture, width=0.125, crop_size=96, landmark_head=True)
    crops = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(3))
    run = Inference(net.eval(), net._answers, side=96, folder=tmp_path)
    with torch.no_grad():
        expected = net._answers(crops)
    received = run(crops)
    assert run.engine == "onnxruntime"
    for name, value in expected.items():
        torch.testing.assert_close(received[name], value, rtol=1e-4, atol=1e-4)


def test_the_embedded_network_says_the_same_by_both_engines() -> None:
    net = load_weights("open")
    crops = torch.rand(2, 3, net.crop_size, net.crop_size, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        expected = net.predict(crops)
    received = net.infer(crops)
    assert net._inference.engine == "onnxruntime"
    torch.testing.assert_close(received.coefficients.id, expected.coefficients.id, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(received.points_px, expected.points_px, rtol=1e-4, atol=1e-3)
