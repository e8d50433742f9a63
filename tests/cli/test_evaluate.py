"""``facewright evaluate`` end to end."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facewright.cli import main

LITTLE = ["--mirrored", "0", "--people", "0", "--no-turns", "--clips", "0"]


def test_synthetic_people_and_a_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        options = ["--method", "mean", "--n", "1", "--size", "256", "--out", str(tmp_path / name)]
        assert main(["evaluate", "synthetic", *options, *LITTLE]) == 0
    printed = capsys.readouterr().out
    assert "nme_68" in printed
    assert (tmp_path / "a" / "report.html").is_file()
    assert main(["evaluate", "compare", str(tmp_path / "a/result.json"), str(tmp_path / "b/result.json")]) == 0
    assert "no difference beyond chance" in capsys.readouterr().out


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
