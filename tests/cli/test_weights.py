"""``facewright weights``."""

import json
import re
from pathlib import Path

import pytest
import torch

from facewright.records import CoefficientLayout
from facewright.regress.backbones import BACKBONES
from facewright.regress.backbones.dlib import DlibTrunk
from facewright.regress.onnx_export import onnx_difference
from facewright.regress.rnet import RNet
from facewright.regress.weights import WeightsCard, load_weights, save_weights
from tests.cli.conftest import Run
from tests.regress.references import SLIM_HEADS, official_forward, random_official_state
from tests.regress.tensorflow_files import frozen_graph, slim_strides, slim_variables

WIDTH = 0.125
CROPS = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(5))


def test_import_writes_a_file_that_answers_as_the_source_does(run: Run, tmp_path: Path) -> None:
    white = random_official_state(4, width=WIDTH, heads=(80, 64, 80, 3, 9, 2, 1))
    torch.save({"net_recon": white, "opt_00": {"state": {0: {"step": 3}}}}, tmp_path / "epoch_20.pth")
    out = tmp_path / "folder" / "net.safetensors"
    done = run("weights", "import", tmp_path / "epoch_20.pth", "--out", out)
    assert done.code == 0
    assert done.lines == [
        "found    PyTorch checkpoint epoch_20.pth: R-Net for bfm2009, white light",
        "note     white light (9 values) was repeated for red, green and blue",
        f"wrote    {out}",
    ]
    raw = official_forward(white, CROPS)
    expected = torch.cat([raw[:, :227], raw[:, 227:236].repeat(1, 3), raw[:, 236:239]], 1)
    with torch.no_grad():
        received = load_weights(out, face_model="bfm2009-front").forward_vector(CROPS)
    assert (received - expected).norm() / expected.norm() < 1e-5


def test_info_prints_the_card(run: Run, tmp_path: Path) -> None:
    (tmp_path / "FaceReconModel.pb").write_bytes(
        frozen_graph(slim_variables(2, width=WIDTH, heads=SLIM_HEADS), slim_strides())
    )
    out = tmp_path / "tf.safetensors"
    assert run("weights", "import", tmp_path / "FaceReconModel.pb", "--out", out, "--half").code == 0
    card = json.loads(run("weights", "info", out).out)
    assert card["architecture"] == "resnet_v1_50_slim"
    assert card["layout"] == {"id": 80, "exp": 64, "tex": 80}
    assert (card["face_model"], card["input_coding"], card["light"]) == ("bfm2009", "bgr_0_255", "color")


def test_export_writes_onnx_and_says_how_close_it_is(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setitem(BACKBONES, "resnet18", lambda width: DlibTrunk(1, width=width, cells=1))  # short: traced fast
    net = RNet(CoefficientLayout(3, 2, 2), architecture="resnet18", width=0.125, crop_size=32)
    for parameter in net.heads.parameters():
        torch.nn.init.normal_(parameter)
    weights, out = tmp_path / "net.safetensors", tmp_path / "folder" / "net.onnx"
    save_weights(net, WeightsCard("toy"), weights)
    done = run("weights", "export-onnx", weights, "--out", out)
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(r"checked  onnxruntime answers as torch does, to \d\.\de-0[6-9] of .*", done.lines[0])
    assert done.lines[1:] == [f"wrote    {out}"]
    assert onnx_difference(load_weights(weights), out, CROPS[:, :, :32, :32]) < 1e-4


@pytest.mark.parametrize(
    "action", [("import", "--out", "net.safetensors"), ("export-onnx", "--out", "net.safetensors"), ("info",)]
)
def test_missing_and_foreign_files_are_wrong_commands(run: Run, tmp_path: Path, action: tuple[str, ...]) -> None:
    (tmp_path / "text.pth").write_text("not a network")
    verb, *rest = action
    rest = [str(tmp_path / word) if word.endswith(".safetensors") else word for word in rest]
    for name in ("absent.pth", "text.pth"):
        failed = run("weights", verb, tmp_path / name, *rest)
        assert failed.code == 2
        assert name in failed.err
        assert failed.out == ""
    assert not (tmp_path / "net.safetensors").exists()
