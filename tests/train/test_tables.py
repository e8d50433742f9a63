"""One line in each of two tables is all that a new network takes: files, ONNX, commands, runs and resuming follow."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from facewright.errors import WeightsError
from facewright.records import CoefficientLayout
from facewright.regress.kinds import KINDS
from facewright.regress.weights import WeightsCard, describe_weights, load_weights, read_card, save_weights
from facewright.train.jitter import NO_JITTER
from facewright.train.loader import BatchStream
from facewright.train.make import make_data
from facewright.train.run_folder import read_log
from facewright.train.shards import load_data
from facewright.train.trainees import TRAINEES
from tests.cli.conftest import Outcome, Run, exit_code
from tests.toy_network import TOY_KIND, TOY_TRAINEE, ToyNet
from tests.train.samples import PHOTOGRAPHS, Dots

CARD = WeightsCard("none", figures={"color": 0.5})


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "toy", TOY_KIND)
    monkeypatch.setitem(TRAINEES, "toy", TOY_TRAINEE)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str | Path) -> Outcome:
        code = exit_code([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return command


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "photographs"
    make_data(folder, PHOTOGRAPHS, range(20), Dots(PHOTOGRAPHS))
    return folder


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_weights(ToyNet(4, 16), CARD, tmp_path / "toy.safetensors")
    return tmp_path / "toy.safetensors"


def test_weights_files_hold_a_new_kind(saved: Path, run: Run) -> None:
    torch.manual_seed(0)
    net, loaded = ToyNet(4, 16), load_weights(saved, kind="toy", face_model="none")
    crops = torch.rand(2, 3, 16, 16)
    assert isinstance(loaded, ToyNet)
    assert not loaded.training
    torch.testing.assert_close(loaded(crops), net(crops))
    assert read_card(saved) == CARD
    card = describe_weights(saved)
    assert (card["kind"], card["channels"], card["crop_size"]) == ("toy", 4, 16)
    assert "layout" not in card
    assert json.loads(run("weights", "info", saved).out) == card
    with pytest.raises(WeightsError, match="expected weights of R-Net, received 'toy'"):
        load_weights(saved, kind="rnet")


def test_its_entries_are_checked_too(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="describes no toy: expected channels to be a whole number, 1 to 64"):
        save_weights(ToyNet(65, 16), CARD, tmp_path / "toy.safetensors")


def test_it_becomes_onnx_with_its_own_outputs(saved: Path, run: Run, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    done = run("weights", "export-onnx", saved, "--out", tmp_path / "toy.onnx")
    assert (done.code, done.err) == (0, "")
    session = onnxruntime.InferenceSession(tmp_path / "toy.onnx", providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["color", "doubt"]
    assert json.loads(session.get_modelmeta().custom_metadata_map["card"])["kind"] == "toy"


def test_it_is_a_command_whose_runs_resume_exactly(photographs: Path, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "run"
    line = ("train", "toy", "--data", photographs, "--out", out, "--preset", "wide", "--darkness", "0.5")
    assert run(*line).code == 0
    log = without_clock(out)
    assert [entry["step"] for entry in log] == list(range(6))
    assert log[-1]["terms"]["color"] == log[-1]["total"]
    card = describe_weights(out / "weights.safetensors")
    assert (card["kind"], card["channels"], card["seed"]) == ("toy", 8, 0)
    assert card["recipe"].startswith("preset wide, 6 steps of 4")
    assert sorted(path.name for path in (out / "sheets").iterdir()) == ["step_00000000.png", "step_00000005.png"]
    weights = load_weights(out / "weights.safetensors").state_dict()

    (out / "checkpoints" / "step_00000006.pt").unlink()  # as if it had been killed before the end
    assert run(*line, "--resume").code == 0
    assert without_clock(out) == log
    again = load_weights(out / "weights.safetensors").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in weights.items())

    config = tmp_path / "run" / "config.json"
    second = ("train", "toy", "--data", photographs, "--out", tmp_path / "second", "--config", config)
    assert run(*second).code == 0
    assert without_clock(tmp_path / "second") == log


def test_faces_that_nothing_is_learnt_from_are_looked_at_with_every_checkpoint(
    photographs: Path, run: Run, tmp_path: Path
) -> None:
    make_data(tmp_path / "held_out", PHOTOGRAPHS, range(100, 107), Dots(PHOTOGRAPHS))
    line = ("train", "toy", "--data", photographs)
    done = run(*line, "--out", tmp_path / "run", "--val", tmp_path / "held_out")
    assert done.code == 0
    entries = [entry for entry in without_clock(tmp_path / "run") if "validation" in entry]
    assert [entry["step"] for entry in entries] == [1, 3, 5]
    assert all(entry["validation"]["terms"]["color"] == entry["validation"]["total"] > 0 for entry in entries)
    sheets = sorted(path.name for path in (tmp_path / "run" / "sheets").glob("validation_*"))
    assert sheets == [f"validation_0000000{step}.png" for step in (1, 3, 5)]
    # 7 faces are 2 batches of 4, of the averaged network as it is saved
    net, data = load_weights(tmp_path / "run" / "weights.safetensors"), load_data(tmp_path / "held_out")
    stream = BatchStream([data], batch_size=4, crop_size=16, layout=CoefficientLayout(0, 0, 0), jitter=NO_JITTER)
    missed = [(net(b.crops)[:, :3] - b.crops.mean((2, 3))).square().mean() for b in map(stream.batch, range(2))]
    assert entries[-1]["validation"]["total"] == pytest.approx(float(torch.stack(missed).mean().detach()), rel=1e-4)
    # nobody learns from looking
    assert run(*line, "--out", tmp_path / "blind").code == 0
    assert without_clock(tmp_path / "blind") == [
        entry for entry in without_clock(tmp_path / "run") if "validation" not in entry
    ]
    assert f"step 5, validation: {entries[-1]['validation']['total']:.4g} (color" in done.err


def test_the_rate_falls_when_validation_no_longer_does(photographs: Path, run: Run, tmp_path: Path) -> None:
    """A gain of 90 % is asked, so nothing is one; resumed, it is remembered to the bit."""
    make_data(tmp_path / "held_out", PHOTOGRAPHS, range(100, 103), Dots(PHOTOGRAPHS))
    out, watched = tmp_path / "run", ("--val", tmp_path / "held_out")
    plateau = ("--schedule", "plateau", "--patience", "0", "--least-gain", "0.9", "--decay-factor", "0.5")
    line = ("train", "toy", "--data", photographs, *plateau, "--out", out)
    assert "--val" in run(*line).err
    assert run(*line, *watched).code == 0
    log = without_clock(out)
    # validated after steps 1, 3, 5: the first is the best so far, each later one no better
    assert [entry["lr"] for entry in log if "lr" in entry] == pytest.approx([1e-2] * 4 + [5e-3] * 2)
    (out / "checkpoints" / "step_00000006.pt").unlink()
    assert run(*line, *watched, "--resume").code == 0
    assert without_clock(out) == log
    # what is watched decides what a step does: it may not change
    assert "checkpoint_every" in run(*line, *watched, "--resume", "--checkpoint-every", "3").err
    assert "data.val" in run(*line, "--val", photographs, "--resume").err


def test_a_run_without_a_terminal_says_what_it_does(photographs: Path, run: Run, tmp_path: Path) -> None:
    done = run("train", "toy", "--data", photographs, "--out", tmp_path / "run", "--log-every", "2")
    lines = done.err.splitlines()
    assert {"trainee: toy", "data.batch_size: 4", "network.channels: 4", "steps: 6"} <= set(lines)
    steps = [line for line in lines if line.startswith("step ")]
    assert [line.split(":")[0] for line in steps] == [f"step {step} of 6" for step in (0, 2, 4, 5)]
    assert all("color" in line and "images/s" in line for line in steps)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("toy", "--darkness", "nan"), "--darkness of at least 0; received nan"),
        (("toy", "--darkness", "0"), "expected --darkness above 0"),
        (("toy", "--channels", "65"), "--channels of at least 1, at most 64; received 65"),
        (("toy", "--preset", "open"), "expected a --preset of thin, wide; received 'open'"),
        (("toy", "--crop-size", "64"), "stores crops of 48 px, and the network sees 64 px"),
        (("toy", "--val", "nowhere"), "nowhere"),
        (("toy", "--val-batches", "0"), "--val-batches of at least 1, .*; received 0"),
        (("rnet", "--preset", "thin"), "expected a --preset of paper, .*; received 'thin'"),
    ],
)
def test_its_settings_are_checked_too(
    photographs: Path, tmp_path: Path, run: Run, arguments: tuple[str, ...], message: str
) -> None:
    name, *more = arguments
    failed = run("train", name, "--data", photographs, "--out", tmp_path / "run", *more)
    assert failed.code == 2
    assert re.search(message, failed.err)
    assert not (tmp_path / "run").exists()


def test_a_run_of_another_network_is_no_config(photographs: Path, tmp_path: Path, run: Run) -> None:
    assert run("train", "toy", "--data", photographs, "--out", tmp_path / "run", "--steps", "1").code == 0
    config = tmp_path / "run" / "config.json"
    failed = run("train", "rnet", "--data", photographs, "--out", tmp_path / "other", "--config", config)
    assert failed.code == 2
    assert "expected no channels" in failed.err


def test_a_run_of_which_no_step_was_finite_is_an_error(photographs: Path, tmp_path: Path, run: Run) -> None:
    line = ("train", "toy", "--data", photographs, "--out", tmp_path / "run", "--darkness", "1e38")
    failed = run(*line)
    assert failed.code == 2
    assert "all 6 steps were skipped" in failed.err
    assert "trained" not in failed.out
    assert not (tmp_path / "run" / "weights.safetensors").exists()
    assert run(*line, "--resume").code == 2


def without_clock(folder: Path) -> list[dict[str, Any]]:
    log = read_log(folder / "log.jsonl")
    return [{name: value for name, value in line.items() if name != "images_per_second"} for line in log]
