"""Face parsing from drawings to weights, by the command line; what its batches hold; what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from facewright.cli import main
from facewright.compiled import can_compile
from facewright.records import PARTS
from facewright.regress.parsing import ParsingNet
from facewright.regress.weights import WeightsCard, load_weights, save_weights
from facewright.train.jitter import NO_JITTER, place_crop
from facewright.train.live import LiveStream, joined_batch
from facewright.train.loader import BatchStream
from facewright.train.loop import split_batch
from facewright.train.parsing_training import Looks, ParsingCourse, ParsingSettings, begin_parsing, changed_looks
from facewright.train.run_folder import read_log
from facewright.train.samples import DataCard
from facewright.train.shards import load_data

pytestmark = pytest.mark.skipif(not can_compile(), reason="numba is not installed")
SIZE = 67
SMALL = ParsingSettings(crop_size=SIZE, blocks=4, width=0.25, channels=16, init="", kept=0)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "data"
    command = ["train", "synthesize", "--out", str(folder), "--count", "16", "--per-person", "2", "--workers", "1"]
    assert main([*command, "--parts", "--crop-size", str(SIZE)]) == 0
    return folder


@pytest.fixture(scope="module")
def batch(data):
    stream = BatchStream([load_data(data)], batch_size=8, crop_size=SIZE, jitter=NO_JITTER, view=1.25)
    return stream.batch(0)


def test_what_is_stored_comes_back_in_a_wider_view(data, batch):
    """Shares sum to 1 where there is a picture, and to 0 elsewhere; the view is a quarter wider about the middle."""
    (first, *_) = load_data(data).samples()
    assert first.parts is not None
    assert first.parts.shape == (*first.window_srgb.shape[:2], 4)
    assert batch.parts.shape == (8, 4, SIZE, SIZE)
    total = batch.parts.sum(1)[:, 1:-1, 1:-1]
    assert ((total < 0.02) | ((total - 1.0).abs() < 0.02)).float().mean() > 0.98
    assert (batch.parts[:, 1].mean((1, 2)) > 0.1).sum() >= 6  # a head is seen
    card = DataCard("synthetic", SIZE, 8)
    near, wide = (place_crop(card, SIZE, NO_JITTER, np.zeros(4), 0.9, view) for view in (1.0, 1.25))
    assert wide.middle == near.middle
    assert wide.pitch == pytest.approx(1.25 * near.pitch)


def test_live_pictures_have_parts_and_mix_with_those_that_have_none():
    drawn = LiveStream(2, SIZE, seed=3, parts=True, view=1.25).batch(0)
    assert drawn.parts is not None
    assert drawn.parts.shape == (2, 4, SIZE, SIZE)
    silent = replace(drawn, parts=None)
    mixed = joined_batch(drawn, silent)
    assert mixed.parts is not None
    assert mixed.parts[:2].equal(drawn.parts)
    assert not mixed.parts[2:].any()
    assert joined_batch(silent, silent).parts is None


def test_looks_change_pictures_and_parts_together(batch):
    """A mirrored picture has mirrored parts; noise is a thing; unknown stays unknown."""
    torch.manual_seed(0)
    changed = changed_looks(batch, Looks(0.0, 0.0, 0.0, 0.0, 0.0))
    assert changed.parts is not None
    for before, after, parts, others in zip(batch.crops, changed.crops, batch.parts, changed.parts, strict=True):
        as_it_was = torch.allclose(after, before.clamp_min(1e-4), atol=1e-5)
        assert as_it_was or torch.allclose(after, before.flip(-1).clamp_min(1e-4), atol=1e-5)
        assert others.equal(parts if as_it_was else parts.flip(-1))
    covered = changed_looks(batch, Looks(covered=1.0))
    assert covered.parts is not None
    assert (covered.parts[:, PARTS.index("thing")].mean() - batch.parts[:, PARTS.index("thing")].mean()) > 0.02
    assert covered.crops.min() >= 0
    assert covered.crops.max() <= 1


def test_a_batch_is_learnt_by_heart(batch):
    torch.manual_seed(1)
    course = ParsingCourse(ParsingNet(crop_size=SIZE, blocks=4, width=0.25, channels=16), SMALL)
    optimizer = torch.optim.Adam(course.net.parameters(), 5e-3)
    history = []
    for _ in range(40):
        losses = course.losses(course.answer(course.net, batch.crops), batch)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        history.append({name: float(term.detach()) for name, term in losses.terms.items()})
    assert set(history[0]) == set(course.terms())
    for name, share in (("entropy", 0.7), ("head", 0.9)):
        assert history[-1][name] < share * history[0][name], name
    halves = list(split_batch(batch, 2))
    parts = [course.losses(course.answer(course.net, half.crops), half).total for half in halves]
    whole = course.losses(course.answer(course.net, batch.crops), batch).total
    torch.testing.assert_close(torch.stack(parts).mean(), whole)
    assert course.preview(course.net, halves[0], "by heart").shape[0] == 3


def test_from_drawings_to_weights(data, tmp_path, capsys):
    run = tmp_path / "run"
    learn = ["train", "parsing", "--preset", "smoke", "--device", "cpu", "--out"]
    assert main([*learn, str(run), "--data", str(data), "--val", str(data), "--steps", "4", "--sheet-every", "4"]) == 0
    assert read_log(run / "log.jsonl")[-1]["step"] == 3
    net = load_weights(run / "weights.safetensors", kind="parsing")
    shares = net.predict(torch.rand(2, 3, SIZE, SIZE)).shares
    torch.testing.assert_close(shares.sum(1), torch.ones(2, SIZE, SIZE))
    with pytest.raises(ValueError, match="expected crops of 67 px"):
        net.predict(torch.rand(1, 3, 80, 80))
    silent = tmp_path / "silent"
    plain = ["train", "synthesize", "--out", str(silent), "--count", "2", "--workers", "1", "--crop-size", str(SIZE)]
    assert main(plain) == 0
    assert main([*learn, str(tmp_path / "no"), "--data", str(silent)]) == 2
    assert "synthesize --parts" in capsys.readouterr().err


def test_it_starts_from_trunks_and_from_itself(tmp_path):
    """The first blocks of the embedded R-Net, held still; or another parsing network, of the same size alone."""
    course = begin_parsing(ParsingSettings(), 0, torch.device("cpu"))
    trunk, theirs = course.net.get_submodule("backbone"), load_weights("open").backbone
    for name, value in trunk.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name], rtol=0, atol=0)
    still = {name for name, value in trunk.named_parameters() if not value.requires_grad}
    assert {name.split(".")[1] for name in still if name.startswith("blocks")} == {"0", "1", "2"}
    file = tmp_path / "small.safetensors"
    save_weights(begin_parsing(SMALL, 5, torch.device("cpu")).net, WeightsCard("open"), file)
    again = begin_parsing(replace(SMALL, init=str(file)), 0, torch.device("cpu")).net
    assert again.state_dict()["last.weight"].equal(load_weights(file).state_dict()["last.weight"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kept", "5", "--blocks", "4"], "--kept of at most --blocks 4"),
        (["--init", "", "--kept", "2"], "--init"),
        (["--blocks", "11"], "blocks"),
    ],
)
def test_wrong_settings_exit_before_any_work(options, message, tmp_path, capsys):
    assert main(["train", "parsing", "--out", str(tmp_path / "run"), "--source", "live", *options]) in (1, 2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
