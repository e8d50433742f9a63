"""``facewright train rnet --preset smoke``, from stored data to weights, by the command line."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facewright.cli import main, parse
from facewright.cli.train import Train, TrainNetwork
from facewright.export.asset import to_uint8
from facewright.morphable.container import save_face_model
from facewright.morphable.linear import FaceModel
from facewright.photo import read_photo
from facewright.regress.rnet import RNet
from facewright.regress.weights import WeightsCard, load_weights, save_weights
from facewright.train.losses.supervised import BASIC_TERMS
from facewright.train.make import make_data
from facewright.train.rnet_settings import RUN_PRESETS, RNetSettings
from facewright.train.run_folder import read_log
from facewright.train.samples import DataCard, TrainingSample, empty_points
from facewright.train.settings import TrainSettings, settings_json
from tests.train.pictures import draw_batch, some_faces

SIZE = 48
COUNT = 8


@pytest.fixture(scope="module")
def folder(toy_model: FaceModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face model, photographs and synthetic pictures of it, and a network that begins with wild guesses."""
    path = tmp_path_factory.mktemp("smoke")
    save_face_model(toy_model, path / "toy.npz")
    for number, kind in enumerate(("photographs", "synthetic")):
        truth = kind == "synthetic"
        card = DataCard(kind, SIZE, 0, source=f"toy {kind}")
        if truth:
            card = replace(card, face_model="toy", layout=toy_model.layout)
        samples = stored_samples(toy_model, seed=number, truth=truth)
        make_data(path / kind, card, range(COUNT), lambda job, of=samples: [of[job]])
    torch.manual_seed(0)
    net = RNet(toy_model.layout, architecture="resnet18", width=0.125, crop_size=SIZE, landmark_head=True)
    for head in net.heads.values():
        for parameter in head.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    save_weights(net, WeightsCard("toy"), path / "wild.safetensors")
    return path


def stored_samples(model: FaceModel, *, seed: int, truth: bool) -> list[TrainingSample]:
    faces = some_faces(model, COUNT, seed)
    batch = draw_batch(model, faces, SIZE, torch.full((COUNT,), truth))
    vectors = model.layout.pack(faces).numpy()
    return [
        TrainingSample(
            key,
            np.ascontiguousarray(to_uint8(batch.crops[k]).transpose(1, 2, 0)),
            to_uint8(batch.skin[k]),
            0,
            batch.landmarks[k].numpy(),
            batch.landmark_weights[k].numpy(),
            *empty_points(468),
            vectors[k] if truth else None,
        )
        for k, key in enumerate(batch.keys)
    ]


def command(folder: Path, *more: str) -> list[str]:
    data = [str(folder / "photographs"), str(folder / "synthetic")]
    fixed = ["--preset", "smoke", "--face-model", str(folder / "toy.npz"), "--device", "cpu"]
    return ["train", "rnet", "--data", *data, *fixed, *more]


def test_smoke_lowers_every_loss_and_resumes_exactly(folder: Path, toy_model: FaceModel, tmp_path: Path) -> None:
    out, wild = tmp_path / "run", str(folder / "wild.safetensors")
    line = command(folder, "--init", wild, "--landmark-head", "--shares", "0.5", "0.5", "--out", str(out))
    assert main(line) == 0
    log = read_log(out / "log.jsonl")
    weak = {"photometric", "landmark", "coefficient", "gamma"}
    assert set(log[0]["terms"]) == {f"weak/{n}" for n in weak} | {f"supervised/{n}" for n in BASIC_TERMS}
    for name in log[0]["terms"]:
        first, last = (np.mean([entry["terms"][name] for entry in part]) for part in (log[:3], log[-3:]))
        assert last < 0.8 * first, name
    net = load_weights(out / "weights.safetensors", layout=toy_model.layout, face_model="toy")
    files = {path.name for path in out.iterdir()}
    assert files == {
        "config.json",
        "run.json",
        "log.jsonl",
        "checkpoints",
        "sheets",
        "tensorboard",
        "weights.safetensors",
    }
    sheets = sorted(path.name for path in (out / "sheets").iterdir())
    assert sheets == ["step_00000000.png", "step_00000029.png"]
    assert read_photo(out / "sheets" / "step_00000029.png").width > 3 * 224
    assert any((out / "tensorboard").iterdir())

    (out / "checkpoints" / "step_00000030.pt").unlink()  # as if it had been killed before the end
    assert main([*line, "--resume"]) == 0
    assert without_clock(read_log(out / "log.jsonl")) == without_clock(log)
    again = load_weights(out / "weights.safetensors").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in net.state_dict().items())


def without_clock(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if name != "images_per_second"} for line in log]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backbone", "abacus"], "--backbone of"),
        (["--crop-size", "96"], "photographs stores crops of 48 px, and the network sees 96 px"),
        (["--crop-size", "96"], "with --crop-size 96, or train with --crop-size 48"),
        (["--crop-size", "8"], "--crop-size of at least 32"),
        (["--shares", "1"], "one share for each of 2 --data"),
        (["--accumulate", "3"], "--batch-size that 1 processes with 3 accumulated parts divide evenly; received 8"),
        (["--lr", "0"], "--lr above 0"),
        (["--face-model", "open"], "holds truth for face model 'toy'"),
        (["--init", "nothing.safetensors"], "expected a weights file at nothing.safetensors"),
        (["--device", "abacus"], "--device of auto, cpu or cuda"),
        (["--data", "nowhere"], "nowhere"),
        (["--config", "nothing.json"], "nothing.json"),
    ],
)
def test_what_cannot_be_trained_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(command(folder, "--out", str(tmp_path / "run"), *arguments)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_settings_come_from_the_preset_the_command_and_the_file(folder: Path, tmp_path: Path) -> None:
    def parsed(*more: str) -> TrainSettings[RNetSettings]:
        train = parse(command(folder, "--out", "run", *more))
        assert isinstance(train, Train)
        assert isinstance(train.action, TrainNetwork)
        return train.action.settings

    changed = parsed("--lr", "0.5", "--optimizer", "adam", "--no-jitter", "--backbone-lr-scale", "0.1")
    assert (changed.optimizer.lr, changed.optimizer.name, changed.optimizer.backbone_lr_scale) == (0.5, "adam", 0.1)
    assert not changed.data.jitter
    assert changed.steps == RUN_PRESETS["smoke"].steps
    file = tmp_path / "config.json"
    file.write_text(settings_json(changed))
    assert parsed("--config", str(file)) == changed
