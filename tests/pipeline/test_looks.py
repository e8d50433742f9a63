"""R-Net that looks twice: crops by the landmarks that it sees; and how the flow is put together by what is asked."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from facewright.align import align_face, five_from_68
from facewright.assets import embedded_path
from facewright.detect import FaceDetector, load_face_detector
from facewright.errors import AssetNotFoundError, SettingsError, WeightsError
from facewright.geometry.frames import apply_homogeneous
from facewright.morphable.container import load_face_model, save_face_model
from facewright.morphable.linear import FaceModel
from facewright.photo import photo_from_array, read_photo
from facewright.pipeline.estimator import Candidate
from facewright.pipeline.flow import Reconstructor, load_reconstructor
from facewright.pipeline.methods import EMBEDDED_REFINE
from facewright.pipeline.reconstruction import Reconstruction
from facewright.records import AlignedFace, FaceDetection, Photo
from facewright.regress import weights as weights_module
from facewright.regress.rnet import RNet, RNetPrediction
from facewright.regress.weights import EMBEDDED_WEIGHTS, WeightsCard, describe_weights, save_weights
from tests.pipeline.flows import rnet_flow, rnet_of

HEIGHT, WIDTH, SCALE_PX = 420, 500, 120.0
MARKS = (36, 45, 8)
"""Landmarks that are painted red, green and blue: outer eye corners and chin."""


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return load_face_detector()


@pytest.fixture(scope="module")
def shape68(toy_model: FaceModel) -> Tensor:
    """The mean landmarks, dm, y down."""
    return toy_model.mean_shape[toy_model.annotations.ibug68][:, :2] * torch.tensor([1.0, -1.0])


@pytest.fixture(scope="module")
def landmarks(shape68: Tensor) -> Tensor:
    """Where the face is in the photo: off the middle."""
    return torch.tensor([290.0, 190.0]) + SCALE_PX * shape68


@pytest.fixture(scope="module")
def photo(landmarks: Tensor) -> Photo:
    """A dot at each of three landmarks, on black."""
    row, column = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    dots = [torch.exp(-((column - x) ** 2 + (row - y) ** 2) / 50.0) for x, y in landmarks[list(MARKS)].tolist()]
    return photo_from_array(torch.stack(dots, -1))


class DotNet(RNet):
    """Sees the three dots, and says that the mean face's landmarks lie by them: an affine map, exact for a true face.

    Keeps what it was shown.
    """

    def __init__(self, model: FaceModel, shape68: Tensor, *, crop_size: int, offset_px: float = 0.0) -> None:
        super().__init__(model.layout, architecture="resnet18", width=0.0625, crop_size=crop_size, landmark_head=True)
        self.shape68, self.offset_px = shape68, offset_px
        self.shown: list[Tensor] = []

    def predict(self, crops: Tensor) -> RNetPrediction:
        assert crops.shape[1:] == (3, self.crop_size, self.crop_size)
        self.shown.append(crops)
        ticks = torch.arange(self.crop_size).to(crops)
        total = crops.sum((2, 3))
        found = torch.stack([crops.sum(2) @ ticks / total, crops.sum(3) @ ticks / total], -1)
        ones = torch.ones(68, 1)
        design = torch.cat([self.shape68, ones], 1)
        maps = torch.linalg.solve(design[list(MARKS)].expand(len(crops), 3, 3), found)
        sigma = torch.full((len(crops), 68), 0.02 * self.crop_size)
        return RNetPrediction(self.layout.zeros(len(crops)), design @ maps + self.offset_px, sigma)


def detection_of(landmarks: Tensor, offset: tuple[float, float] = (0.0, 0.0), grown: float = 1.0) -> FaceDetection:
    """Five points that are wrong together."""
    five = five_from_68(landmarks)
    middle = five.mean(0)
    wrong = middle + grown * (five - middle) + torch.tensor(offset)
    return FaceDetection(torch.cat([wrong.amin(0), wrong.amax(0)]), 1.0, wrong)


def starts_of(flow: Reconstructor, photo: Photo, detections: list[FaceDetection]):
    """What goes into the fit."""
    estimator = rnet_of(flow)
    return estimator.answers([Candidate(photo, face, estimator.crop(photo, face.five)) for face in detections])


def assert_same_place(found: AlignedFace, wanted: AlignedFace, atol_px: float) -> None:
    """Crops show the same part of the photo: corners agree, crop px."""
    corners = torch.tensor([[0.0, 0.0], [223.0, 0.0], [0.0, 223.0], [223.0, 223.0]]).double()
    there = apply_homogeneous(torch.linalg.inv(wanted.T_photo_crop) @ found.T_photo_crop, corners)
    torch.testing.assert_close(there, corners, atol=atol_px, rtol=0)


WRONG = (((14.0, -8.0), 1.0), ((0.0, 0.0), 1.15), ((-10.0, 12.0), 0.9))


@pytest.mark.parametrize("crop_size", [112, 224])
def test_a_second_look_puts_a_bad_crop_right(
    toy_model: FaceModel, detector: FaceDetector, shape68: Tensor, landmarks: Tensor, photo: Photo, crop_size: int
) -> None:
    """Whatever the first crop was cut by, the second lies where true five points put it."""
    net = DotNet(toy_model, shape68, crop_size=crop_size)
    once, twice = (rnet_flow(toy_model, detector, net, looks=looks) for looks in (1, 2))
    detections = [detection_of(landmarks, *wrong) for wrong in WRONG]
    wanted = align_face(photo, five_from_68(landmarks))
    for first, second in zip(starts_of(once, photo, detections), starts_of(twice, photo, detections), strict=True):
        assert first.aligned.crop.shape == second.aligned.crop.shape == (3, 224, 224)
        with pytest.raises(AssertionError):
            assert_same_place(first.aligned, wanted, 4.0)
        assert_same_place(second.aligned, wanted, 1.1)  # whole pixels
    assert len(net.shown) == 3


@pytest.mark.parametrize("crop_size", [56, 112, 224])
def test_belief_lies_on_the_photo(
    toy_model: FaceModel, detector: FaceDetector, shape68: Tensor, landmarks: Tensor, photo: Photo, crop_size: int
) -> None:
    """Through the halved crop and back: no half pixel is lost on the way (it would be 0.6 px of the photo)."""
    net = DotNet(toy_model, shape68, crop_size=crop_size)
    flow = rnet_flow(toy_model, detector, net, looks=2)
    for start in starts_of(flow, photo, [detection_of(landmarks, *wrong) for wrong in WRONG]):
        assert start.belief is not None
        there = apply_homogeneous(start.aligned.T_photo_crop, start.belief.points_px)
        torch.testing.assert_close(there, landmarks, atol=0.12, rtol=0)
        torch.testing.assert_close(start.belief.sigma_px, torch.full((68,), 0.02 * 224))


def test_a_net_of_the_crops_own_size_sees_the_crop_itself(
    toy_model: FaceModel, detector: FaceDetector, shape68: Tensor, landmarks: Tensor, photo: Photo
) -> None:
    """To the bit, as ever; a net of half the size sees means of two by two pixels."""
    nets = {size: DotNet(toy_model, shape68, crop_size=size) for size in (112, 224)}
    detection = detection_of(landmarks)
    crop = align_face(photo, detection.five).crop
    for net in nets.values():
        (start,) = starts_of(rnet_flow(toy_model, detector, net), photo, [detection])
        assert torch.equal(start.aligned.crop, crop)
    assert torch.equal(nets[224].shown[0][0], crop)
    halved = crop.unflatten(1, (112, 2)).unflatten(3, (112, 2)).mean((2, 4))
    torch.testing.assert_close(nets[112].shown[0][0], halved)


@pytest.mark.parametrize("offset_px", [torch.nan, 1e5])
def test_nonsense_keeps_the_first_crop(
    toy_model: FaceModel,
    detector: FaceDetector,
    shape68: Tensor,
    landmarks: Tensor,
    photo: Photo,
    offset_px: float,
) -> None:
    """Landmarks that are no numbers, or outside of the photo; without a landmark head there are none."""
    net = DotNet(toy_model, shape68, crop_size=112, offset_px=offset_px)
    blind = RNet(toy_model.layout, architecture="resnet18", width=0.0625, crop_size=112).eval()
    detection = detection_of(landmarks, (5.0, 5.0))
    first = align_face(photo, detection.five)
    for rnet in (net, blind):
        (start,) = starts_of(rnet_flow(toy_model, detector, rnet, looks=2), photo, [detection])
        assert torch.equal(start.aligned.crop, first.crop)
        assert torch.equal(start.aligned.T_photo_crop, first.T_photo_crop)
        assert start.coefficients is not None


def test_results_come_with_the_crop_of_the_last_look(
    toy_model: FaceModel, detector: FaceDetector, shape68: Tensor, landmarks: Tensor, photo: Photo
) -> None:
    """Through the front door, several faces in several photos: each result's camera is that of its own crop."""
    flow = rnet_flow(toy_model, detector, DotNet(toy_model, shape68, crop_size=112), looks=2)
    moved = Photo(photo.pixels.roll(-40, 2), "moved")
    gone = landmarks - torch.tensor([40.0, 0.0])
    found = flow.faces_in_batch(
        [photo, moved],
        detections=[[detection_of(landmarks, *wrong) for wrong in WRONG[:2]], [detection_of(gone, (8.0, 8.0))]],
    )
    assert [(face.input, face.face) for face in found] == [(0, 0), (0, 1), (1, 0)]
    for face in found:
        assert isinstance(face, Reconstruction)
        marks, picture = ((landmarks, photo), (gone, moved))[face.input]
        assert_same_place(face.aligned, align_face(picture, five_from_68(marks)), 1.1)
        assert face.method == "rnet"
        # the mean head in the crop's middle: its landmarks lie around those of the photo
        torch.testing.assert_close(face.landmarks.mean(0), marks.mean(0), atol=8.0, rtol=0)


def tiny_weights(
    model: FaceModel, path: Path, *, name: str, landmark_head: bool = True, edition: int | None = None
) -> Path:
    net = RNet(model.layout, architecture="resnet18", width=0.0625, crop_size=32, landmark_head=landmark_head)
    save_weights(net, WeightsCard(name, face_model_edition=model.edition if edition is None else edition), path)
    return path


@pytest.fixture(scope="module")
def open_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_weights(load_face_model(), tmp_path_factory.mktemp("weights") / "mine.safetensors", name="open")


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch, open_weights: Path) -> None:
    """The package's weights are small ones."""
    asked = {EMBEDDED_WEIGHTS["open"], EMBEDDED_WEIGHTS["fast"]}

    def path_of(name: str) -> Path:
        assert name in asked
        return open_weights

    monkeypatch.setattr(weights_module, "embedded_path", path_of)


def facts_of(flow: Reconstructor) -> tuple[str, str, int, int]:
    rnet = rnet_of(flow)
    return flow.method, flow.weights, rnet.looks, rnet.refine


@pytest.mark.usefixtures("embedded")
def test_the_open_head_comes_with_its_network() -> None:
    assert facts_of(load_reconstructor()) == ("rnet", "open", 2, EMBEDDED_REFINE)
    assert facts_of(load_reconstructor(method="rnet", weights="fast", refine=3)) == ("rnet", "fast", 2, 3)
    assert facts_of(load_reconstructor(refine=0))[3] == 0
    fit = load_reconstructor(method="fit")
    assert (fit.method, fit.weights) == ("fit", "")


def test_settings_that_a_method_would_ignore_are_refused(open_weights: Path) -> None:
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"method": "fit", "weights": open_weights}, r"no weights with method 'fit'.*mine\.safetensors"),
        ({"method": "fit", "weights": "nonexistent"}, "no weights with method 'fit'"),
        ({"method": "fit", "refine": 3}, "no rounds to refine with method 'fit', received 3"),
        ({"refine": -3}, "refine of at least 0, at most 100; received -3"),
        ({"method": "magic"}, r"a method out of auto, rnet, prnet, 3dmm-cnn, guided, fit, received 'magic'"),
    )
    for wrong, words in cases:
        with pytest.raises(SettingsError, match=words):
            load_reconstructor(**wrong)


def test_brought_weights_keep_to_their_own_method(open_weights: Path, tmp_path: Path) -> None:
    for path in (open_weights, str(open_weights)):
        assert facts_of(load_reconstructor(weights=path)) == ("rnet", "mine.safetensors", 2, 0)
    assert facts_of(load_reconstructor(weights=open_weights, refine=2))[3] == 2
    blind = tiny_weights(load_face_model(), tmp_path / "blind.safetensors", name="open", landmark_head=False)
    assert facts_of(load_reconstructor(weights=blind))[2] == 1


def test_weights_for_the_open_head_of_old_are_refused(tmp_path: Path) -> None:
    old = tiny_weights(load_face_model(), tmp_path / "old.safetensors", name="open", edition=2)
    with pytest.raises(WeightsError, match="made for edition 2 of face model 'open', and edition 3 is to decode it"):
        load_reconstructor(weights=old)


def test_the_embedded_networks_are_for_the_embedded_head() -> None:
    head = load_face_model()
    for name in EMBEDDED_WEIGHTS.keys() - {"identity"}:  # which knows no head
        card = describe_weights(name)
        assert (card["face_model"], card["face_model_edition"]) == (head.name, head.edition) == ("open", 3)
    assert describe_weights("prnet")["kind"] == "prnet"


def test_other_face_models_have_no_network_of_their_own_unless_one_is_brought(
    toy_model: FaceModel, open_weights: Path, tmp_path: Path
) -> None:
    toy = tmp_path / "toy.npz"
    save_face_model(toy_model, toy)
    assert load_reconstructor(face_model=toy).method == "guided"
    assert load_reconstructor(face_model=toy, method="fit").method == "fit"
    with pytest.raises(AssetNotFoundError, match=r"weights for face model 'toy', received none: pass --weights"):
        load_reconstructor(face_model=toy, method="rnet")
    with pytest.raises(WeightsError, match="made for face model 'open'"):
        load_reconstructor(face_model=toy, method="rnet", weights=open_weights)
    own = tiny_weights(toy_model, tmp_path / "toy.safetensors", name="toy")
    assert load_reconstructor(face_model=toy, weights=own).method == "rnet"
    with pytest.raises(AssetNotFoundError, match="found none"):
        load_reconstructor(face_model=toy, weights=tmp_path / "nowhere.safetensors")


def test_blendshapes_of_the_network_alone_stay_in_their_box() -> None:
    flow = load_reconstructor(refine=0)
    rnet = rnet_of(flow).rnet
    with torch.no_grad():
        rnet.get_parameter("heads.exp.bias").copy_(torch.linspace(-2.0, 2.0, rnet.layout.exp))
    (face,) = flow.faces_in(read_photo(embedded_path("photos/astronaut.jpg")), faces="largest")
    assert face.coefficients.exp.min() == 0.0
    assert face.coefficients.exp.max() == 1.0
