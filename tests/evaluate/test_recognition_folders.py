"""LFW's folder through the command line, with the method that the package has for it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from facewright.assets import embedded_path
from facewright.cli import main

PHOTOS = {"Ann_A": ("astronaut.jpg", (100, 6, 350, 256)), "Grace_G": ("grace_hopper.jpg", (12, 0, 512, 500))}
"""With the square that shows the face where LFW's pictures have it."""


@pytest.mark.slow
def test_lfw_by_3dmm_cnn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two people, each again under a second name, so that the directions come from a fold of other names."""
    lines = ["2 1"]
    for fold in "12":
        ann, grace = (f"{name}{fold}" for name in PHOTOS)
        for name, (photo, square) in zip((ann, grace), PHOTOS.values(), strict=True):
            with Image.open(embedded_path(f"photos/{photo}")) as whole:
                picture = whole.crop(square).resize((250, 250))
            for number in (1, 2):
                path = tmp_path / "lfw" / name / f"{name}_{number:04d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture.save(path, quality=95)
        lines += [f"{ann}\t1\t2", f"{ann}\t1\t{grace}\t2"]
    (tmp_path / "pairs.txt").write_text("\n".join(lines) + "\n")
    out = tmp_path / "out"
    assert main(["evaluate", "lfw", "--data", str(tmp_path), "--method", "3dmm-cnn", "--out", str(out)]) == 0
    assert "3dmm-cnn" in capsys.readouterr().out
    found = json.loads((out / "result.json").read_text())
    assert found["figures"]["auc"]["value"] == 100.0
    assert (out / "report.html").is_file()
