"""``facewright evaluate`` end to end."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facewright.cli import main
from facewright.cli.console import CommandError
from facewright.cli.evaluate import LikenessPictures
from facewright.evaluate.benchmarks.likeness import LikenessPlan

LITTLE = ["--mirrored", "0", "--people", "0", "--clips", "0"]


def test_synthetic_people_and_a_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--method", "mean", "--n", "1", "--size", "256", "--out", str(tmp_path / "a")]
    assert main(["evaluate", "synthetic", *options, *LITTLE]) == 0
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    printed = capsys.readouterr().out
    assert "nme_68" in printed
    assert (tmp_path / "a" / "report.html").is_file()
    assert main(["evaluate", "compare", str(tmp_path / "a/result.json"), str(tmp_path / "b/result.json")]) == 0
    assert "no difference beyond chance" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [("synthetic", "n", "0"), ("synthetic", "n", "-3"), ("synthetic", "people", "-1"), ("now", "limit", "-1")],
)
def test_impossible_counts_are_refused_before_anything_is_loaded(
    command: str, option: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("something was loaded")

    for name in ("load_method", "load_face_model"):
        monkeypatch.setattr(f"facewright.cli.evaluate.{name}", loaded)
    data = [] if command == "synthetic" else ["--data", str(tmp_path)]
    assert main(["evaluate", command, *data, f"--{option}", value, "--out", str(tmp_path / "out")]) == 2
    assert f"expected --{option} of" in capsys.readouterr().err


def test_the_weights_that_are_given_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every benchmark, with no method named."""
    asked = []

    def remembered(name: str, **options: object) -> None:
        asked.append((name, options["weights"]))
        raise CommandError("enough")

    monkeypatch.setattr("facewright.cli.evaluate.load_method", remembered)
    on_data = ("aflw2000", "now", "realy", "micc", "facewarehouse", "bu3dfe", "florence-prnet", "lfw", "ytf", "ijba")
    for name in ("synthetic", *on_data):
        data = [] if name == "synthetic" else ["--data", str(tmp_path)]
        assert main(["evaluate", name, *data, "--weights", "mine.safetensors", "--out", str(tmp_path / "out")]) == 2
    assert asked == [("auto", "mine.safetensors")] * 11


def test_likeness_pictures_go_with_the_scenes() -> None:
    assert LikenessPictures().plan(200) == LikenessPictures().plan(1000) == LikenessPlan()
    few = LikenessPictures().plan(3)
    assert (few.people, few.clips) == (0, 0)
    assert LikenessPictures().plan(100) == replace(LikenessPlan(), people=5, clips=1)
    assert LikenessPictures(people=7, turns=False).plan(3) == replace(few, people=7, turns=False)


def test_aflw_predictions_from_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import scipy.io

    rng = np.random.default_rng(0)
    for folder in ("data", "files"):
        (tmp_path / folder).mkdir()
    for k in (2, 4):
        points = rng.uniform(50, 200, (68, 3))
        Image.new("RGB", (250, 250)).save(tmp_path / f"data/image{k:05d}.jpg")
        labels = {"pt3d_68": points.T, "Pose_Para": np.zeros((1, 7))}
        scipy.io.savemat(tmp_path / f"data/image{k:05d}.mat", labels)
        np.save(tmp_path / f"files/image{k:05d}.npy", points[:, :2] - 1.0)
    options = ["--data", str(tmp_path / "data"), "--predictions", str(tmp_path / "files"), "--label", "exact"]
    assert main(["evaluate", "aflw2000", *options, "--out", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert "this run: exact" in out
    assert "1998 of the 2,000" in err.replace("\n", "")
    assert '"nme_68"' in (tmp_path / "out/result.json").read_text()


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("now", "realy", "micc", "facewarehouse", "bu3dfe", "lfw", "ytf", "ijba"):
        options = ["--data", str(tmp_path), "--predictions", str(tmp_path), "--out", str(tmp_path / "out")]
        assert main(["evaluate", name, *options]) == 2
        assert "BenchmarkError" in capsys.readouterr().err
    options = ["--data", str(tmp_path), "--predictions", str(tmp_path / "x"), "--out", str(tmp_path / "out")]
    assert main(["evaluate", "now", *options]) == 2
    assert "folder of predictions" in capsys.readouterr().err.replace("\n", "")
