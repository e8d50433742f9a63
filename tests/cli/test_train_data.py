"""``facewright train prepare`` and ``synthesize``: what they say and how they end."""

import json
from pathlib import Path

import pytest

from facewright.assets import embedded_path
from facewright.cli.train_data import stored_crop_size
from facewright.train.shards import load_data
from tests.cli.conftest import Run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """The bundled portrait and an empty file."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "good.jpg").write_bytes(embedded_path("photos/grace_hopper.jpg").read_bytes())
    return folder


def test_photographs_are_prepared_and_prepared_again_in_no_time(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    command = ("train", "prepare", photos, "--out", out, "--workers", 1, "--crop-size", 64)
    done = run(*command)
    assert (done.code, done.lines[-1]) == (0, f"{out}: 1 samples of 1 jobs in 1 shards")
    assert [(sample.key, sample.crop_size) for sample in load_data(out).samples()] == [("good.jpg#0", 64)]
    assert run(*command).code == 0


def test_failures_and_refusals_are_named(run: Run, photos: Path, tmp_path: Path) -> None:
    (photos / "empty.jpg").touch()
    done = run("train", "prepare", photos, "--out", tmp_path / "data", "--workers", 1, "--min-eye-px", 5000)
    assert done.code == 1
    assert "empty.jpg: PhotoError: expected a picture" in done.err
    assert "left out: 1 faces (small)" in done.out
    assert "no samples" in done.err
    assert json.loads((tmp_path / "data" / "report.json").read_text())["rejected"] == {"small": 1}


def test_another_card_and_wrong_seeds_are_wrong_commands(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    assert run("train", "prepare", photos, "--out", out, "--workers", 1, "--min-eye-px", 5000).code == 1
    done = run("train", "prepare", photos, "--out", out, "--workers", 1)
    assert done.code == 2
    assert "TrainingDataError" in done.err
    assert run("train", "prepare", tmp_path / "nowhere", "--out", out).code == 2
    done = run("train", "synthesize", "--out", out, "--count", 10, "--first-seed", 10**9)
    assert done.code == 2
    assert "higher ones are for measuring" in done.err


def test_data_are_stored_as_large_as_a_preset_wants_them(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    assert run("train", "prepare", photos, "--out", out, "--workers", 1, "--for", "paper").code == 0
    assert (load_data(out).card.crop_size, load_data(out).card.margin) == (224, 28)
    assert [sample.crop_size for sample in load_data(out).samples()] == [224]
    done = run("train", "synthesize", "--out", tmp_path / "made", "--count", 1, "--workers", 1, "--for", "deng-tf")
    assert done.code == 0
    assert load_data(tmp_path / "made").card.crop_size == 224
    assert [stored_crop_size(None, name) for name in (None, "open", "deng-pytorch")] == [128, 128, 224]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--for", "abacus"),
            "expected a preset of coefficients, deng-pytorch, deng-tf, light, open, open-scalar, paper",
        ),
        (("--for", "paper", "--crop-size", "64"), "expected --crop-size or --for, received both"),
        (("--crop-size", "0"), "--crop-size of at least 32, at most 2048; received 0"),
        (("--crop-size", "-5"), "--crop-size of at least 32, at most 2048; received -5"),
    ],
)
def test_sizes_that_cannot_be_are_wrong_commands(
    run: Run, photos: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    out = tmp_path / "data"
    for command in (("prepare", photos), ("synthesize", "--count", 1)):
        done = run("train", *command, "--out", out, *arguments)
        assert done.code == 2
        assert message in done.err.replace("\n", " ")
    assert not out.exists()
