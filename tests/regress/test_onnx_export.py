"""R-Net in onnxruntime: the same numbers, by name, for any number of crops."""

import builtins
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from facewright.errors import ExportError, MissingExtraError
from facewright.records import CoefficientLayout
from facewright.regress import onnx_export
from facewright.regress.backbones import BACKBONES, Backbone
from facewright.regress.backbones.dlib import DlibTrunk
from facewright.regress.backbones.mobilenet import TABLES, MobileNetV3
from facewright.regress.backbones.resnet import BottleneckUnit, ResNet
from facewright.regress.onnx_export import FORMAT, export_onnx, onnx_difference
from facewright.regress.rnet import RNet, head_sizes
from facewright.regress.weights import WeightsCard

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

COEFFICIENTS = ["id", "exp", "tex", "angles", "sh", "translation"]
LANDMARKS = ["landmarks", "landmark_sigma"]
LAYOUT = CoefficientLayout(5, 4, 3)
CARD = WeightsCard(face_model="toy", recipe="none", seed=3, figures={"nme": 0.05}, licence="CC0-1.0")
# Every kind of layer of every trunk, in fewer units: exporting takes a second per thirty layers.
SHORT_TRUNKS: dict[str, Callable[[], Backbone]] = {
    "resnet_v1_50_slim": lambda: ResNet(BottleneckUnit, (2, 1, 1, 1), width=0.125, layout="slim"),
    "mobilenet": lambda: MobileNetV3([TABLES["small"][i] for i in (0, 2, 3, 4)], width=0.25),
    "dlib_resnet29": lambda: DlibTrunk(4, width=0.25),
}


def trained(net: RNet) -> RNet:
    """Heads that say something, batch statistics that have seen something."""
    for name, parameter in net.named_parameters():
        if not name.startswith("backbone."):
            nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():
        net(torch.rand(4, 3, net.crop_size, net.crop_size))
    return net.eval()


def short_net(trunk: str, *, landmark_head: bool = False, points: torch.Tensor | None = None) -> RNet:
    net = RNet(LAYOUT, architecture="resnet18", width=0.125, crop_size=64, landmark_head=landmark_head, points=points)
    net.backbone = SHORT_TRUNKS[trunk]()
    features = net.backbone.num_features
    net.heads = nn.ModuleDict({name: nn.Linear(features, size) for name, size in head_sizes(LAYOUT).items()})
    if landmark_head:
        net.landmark_head = nn.Linear(features, 3 * 68)
    if net.neck is not None:
        net.neck = nn.Linear(features, net.neck.out_features)
    return trained(net)


@pytest.fixture(scope="module")
def net() -> RNet:
    torch.manual_seed(0)
    return short_net("resnet_v1_50_slim", landmark_head=True)


@pytest.fixture(scope="module")
def exported(net: RNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    export_onnx(net, CARD, path)
    return path


@pytest.mark.parametrize(("trunk", "points"), [("mobilenet", None), ("dlib_resnet29", torch.arange(70))])
def test_every_kind_of_trunk_answers_as_in_torch_and_is_left_as_it_is(
    trunk: str, points: torch.Tensor | None, tmp_path: Path
) -> None:
    """With the names of dense points, depths and doubts where there are any."""
    net = short_net(trunk, points=points).double().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    export_onnx(net, CARD, tmp_path / "net.onnx", opset=20)
    assert net.training
    torch.testing.assert_close(dict(net.state_dict()), before, rtol=0, atol=0)
    assert onnx_difference(net.float().eval(), tmp_path / "net.onnx", torch.rand(3, 3, 64, 64)) < 1e-4
    written = onnx.load(tmp_path / "net.onnx")
    assert written.opset_import[0].version == 20
    dense = {"points", "point_sigma", "depth", "depth_sigma", "id_sigma", "exp_sigma", "tex_sigma"}
    expected = {*COEFFICIENTS} if points is None else {*COEFFICIENTS, *LANDMARKS, *dense}
    assert {output.name for output in written.graph.output} == expected


@pytest.mark.parametrize("batch", [1, 3])
def test_outputs_have_names_and_any_batch_goes_in(net: RNet, exported: Path, batch: int) -> None:
    crops = torch.rand(batch, 3, 64, 64)
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    names = [*COEFFICIENTS, *LANDMARKS]
    answers = dict(zip(names, session.run(names, {"crops": crops.numpy()}), strict=True))
    with torch.no_grad():
        seen = net.predict(crops)
    expected = {name: getattr(seen.coefficients, name) for name in COEFFICIENTS}
    expected |= {"landmarks": seen.landmarks_px, "landmark_sigma": seen.landmarks_sigma_px}
    for name, wanted in expected.items():
        assert answers[name].shape == wanted.shape
        np.testing.assert_allclose(
            answers[name], wanted.numpy(), rtol=0, atol=1e-4 * float(wanted.max() - wanted.min())
        )
    assert onnx_difference(net, exported, crops) < 1e-4


def test_the_difference_is_a_share_of_the_range(net: RNet, exported: Path) -> None:
    crops = torch.rand(2, 3, 64, 64)
    other = deepcopy(net)
    with torch.no_grad():
        angles = net(crops).angles
        other.heads["angles"].bias += 0.5 * (angles.max() - angles.min())
    assert onnx_difference(other, exported, crops) == pytest.approx(0.5, rel=1e-3)


def test_the_file_is_valid_and_carries_its_card(exported: Path) -> None:
    model = onnx.load(exported)
    onnx.checker.check_model(model, full_check=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["format"] == FORMAT
    card = json.loads(metadata["card"])
    assert asdict(CARD).items() <= card.items()
    assert (card["kind"], card["crop_size"], card["layout"]) == ("rnet", 64, asdict(LAYOUT))
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]


def test_the_file_does_not_say_where_it_was_made(exported: Path) -> None:
    content = exported.read_bytes()
    assert str(Path(torch.__file__).parents[2]).encode() not in content
    assert b".py" not in content


def test_half_precision_is_half_as_large_and_nearly_as_good(
    net: RNet, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "traced", lambda net, opset: onnx.load(exported))  # tracing again takes seconds
    path = tmp_path / "half.onnx"
    export_onnx(net, CARD, path, half=True)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert path.stat().st_size < 0.6 * exported.stat().st_size
    assert 0 < onnx_difference(net, path, torch.rand(2, 3, 64, 64)) < 5e-3


@pytest.mark.parametrize("opset", [17, 99])
def test_opsets_that_cannot_be_written_are_refused(net: RNet, tmp_path: Path, opset: int) -> None:
    with pytest.raises(ExportError, match=f"expected an opset of 18 to .* received {opset}"):
        export_onnx(net, CARD, tmp_path / "net.onnx", opset=opset)
    assert not list(tmp_path.iterdir())


def test_without_the_extra_the_message_says_how_to_get_it(
    net: RNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = builtins.__import__

    def without(name: str, *rest: object, **named: object) -> object:
        if name == "onnxscript":
            raise ModuleNotFoundError("no such module", name=name)
        return found(name, *rest, **named)  # pyright: ignore[reportArgumentType] - passed on as they came

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"onnxscript.*pip install 'facewright\[onnx\]'"):
        export_onnx(net, CARD, tmp_path / "net.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("width", [0.25, 1.0])
@pytest.mark.parametrize("architecture", sorted(BACKBONES))
def test_every_architecture_answers_as_in_torch(architecture: str, width: float, tmp_path: Path) -> None:
    net = trained(RNet(LAYOUT, architecture=architecture, width=width, crop_size=112, landmark_head=True))
    export_onnx(net, CARD, tmp_path / "net.onnx")
    for batch in (1, 3):
        assert onnx_difference(net, tmp_path / "net.onnx", torch.rand(batch, 3, 112, 112)) < 1e-4
